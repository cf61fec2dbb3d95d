"""Asking a real name server on loopback, well-behaved and not; and the resolver on top of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import pytest
import trio

from gateway.addresses import HostPort
from gateway.routing.locate import Address, Reach
from gateway.routing.records import Answer, Kind, Naptr, Question, Srv
from gateway.transport.nameserver import NameServers, read_hosts
from gateway.transport.resolver import Resolver
from tests.routing.zone import target, udp
from tests.transport import name_server as lab
from tests.transport.name_server import NameServer

RECORDS = (
    "example. 300 SOA ns.example. admin.example. 1 3600 600 86400 30",
    'example. 60 NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp.example.',
    "_sip._udp.example. 120 SRV 1 2 5062 a.example.",
    "a.example. 300 A 127.0.0.1",
    "a.example. 300 AAAA ::1",
    "alias.example. 40 CNAME a.example.",
    "absent.example. 50 SRV 0 0 0 .",
    "strange.example. 50 SRV 0 0 5060 a\\032b\\000.example.",
)


@pytest.fixture
def server() -> Iterator[NameServer]:
    with lab.name_server(*RECORDS) as server:
        yield server


def ask(server: NameServer | None, name: str, kind: Kind, timeout: float = 0.5) -> Answer:
    port = lab.unused_port() if server is None else server.port
    servers = NameServers((HostPort("127.0.0.1", port),), timeout)

    async def main() -> Answer:
        with trio.fail_after(20):
            return await servers.ask(Question(name, kind))

    return trio.run(main)


def test_each_kind_of_record_comes_with_its_time_to_live(server: NameServer) -> None:
    assert ask(server, "example", "NAPTR") == Answer(
        60.0, naptr=(Naptr(10, 20, "s", "SIP+D2U", "", "_sip._udp.example"),)
    )
    assert ask(server, "_sip._udp.example", "SRV") == Answer(120.0, srv=(Srv(1, 2, 5062, "a.example"),))
    assert ask(server, "a.example", "A") == Answer(300.0, addresses=("127.0.0.1",))
    assert ask(server, "a.example", "AAAA") == Answer(300.0, addresses=("::1",))
    assert server.asked[0] == "UDP example. NAPTR"


def test_that_there_is_nothing_comes_with_the_time_of_the_soa_2308_5(server: NameServer) -> None:
    assert ask(server, "none.example", "A") == Answer(30.0)
    assert ask(server, "a.example", "NAPTR") == Answer(30.0)


def test_an_alias_that_the_reply_does_not_resolve_is_passed_on(server: NameServer) -> None:
    assert ask(server, "alias.example", "A") == Answer(40.0, alias="a.example")


def test_names_that_are_none_are_passed_on_as_text(server: NameServer) -> None:
    assert ask(server, "absent.example", "SRV").srv == (Srv(0, 0, 0, "."),)
    assert ask(server, "strange.example", "SRV").srv == (Srv(0, 0, 5060, "a\\032b\\000.example"),)


def test_a_reply_that_was_cut_is_fetched_over_tcp_1123_6_1_3_2(server: NameServer) -> None:
    server.vice = lab.cutting
    assert ask(server, "a.example", "A", timeout=5).addresses == ("127.0.0.1",)
    assert server.asked == ["UDP a.example. A", "TCP a.example. A"]


def test_a_reply_over_tcp_is_read_only_so_far(server: NameServer) -> None:
    """Reading 64 KiB of records would hold up every call for a quarter of a second."""
    server.vice = lab.cutting
    server.records += [f"big.example. 300 A 10.0.{at >> 8}.{at & 255}" for at in range(505)]
    assert len(ask(server, "big.example", "A", timeout=10).addresses) == 505  # 16 bytes each
    server.records += [f"big.example. 300 A 10.1.0.{at}" for at in range(8)]
    assert ask(server, "big.example", "A", timeout=10) == Answer(5.0, failed=True)


def test_a_reply_over_udp_that_is_too_long_is_not_heard(server: NameServer) -> None:
    """Nobody asked for one of more than 512 bytes (RFC 1035 4.2.1), and reading 64 KiB takes long."""
    server.records += [f"big.example. 300 A 10.0.{at >> 8}.{at & 255}" for at in range(254)]
    assert len(ask(server, "big.example", "A", timeout=5).addresses) == 254  # 16 bytes each
    server.records += [f"big.example. 300 A 10.1.0.{at}" for at in range(3)]
    assert ask(server, "big.example", "A") == Answer(5.0, failed=True)


def test_a_reply_that_follows_one_that_is_too_long_is_heard(server: NameServer) -> None:
    server.before = bytes(4_097)
    assert ask(server, "a.example", "A").addresses == ("127.0.0.1",)


def test_what_may_be_a_long_reply_is_read_in_a_thread(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls have their turn meanwhile."""
    main = threading.main_thread()
    replies: list[bool] = []
    read = dns.message.from_wire

    def noted(data: bytes, **options: Any) -> dns.message.Message:
        if data[2] & 0x80:  # QR
            replies.append(threading.current_thread() is main)
        return read(data, **options)

    monkeypatch.setattr(dns.message, "from_wire", noted)
    server.vice = lab.cutting
    assert ask(server, "a.example", "A", timeout=5).addresses == ("127.0.0.1",)
    assert replies == [True, False]  # over UDP it is short


@pytest.mark.parametrize("cut", [0, 1, 2, 40])
def test_a_reply_that_ends_too_soon_is_a_failure(server: NameServer, cut: int) -> None:
    server.vice, server.cut = lab.cutting, cut
    assert ask(server, "a.example", "A") == Answer(5.0, failed=True)


@pytest.mark.parametrize("vice", [lab.silent, lab.failing, lab.babbling, lab.forging])
def test_a_server_that_does_not_answer_properly_ends_in_a_failure(server: NameServer, vice: lab.Vice) -> None:
    server.vice = vice
    assert ask(server, "a.example", "A") == Answer(5.0, failed=True)


def test_a_server_that_is_not_there_ends_in_a_failure() -> None:
    assert ask(None, "a.example", "A") == Answer(5.0, failed=True)


def test_what_nobody_asked_for_is_not_heard(server: NameServer) -> None:
    server.vice = lab.straying
    answer = ask(server, "a.example", "A")
    assert (answer.addresses, answer.failed) == ((), False)


def test_a_name_that_cannot_be_asked_for_ends_in_a_failure(server: NameServer) -> None:
    assert ask(server, "x" * 64 + ".example", "A").failed
    assert server.asked == []


def test_the_second_server_answers_when_the_first_is_dead(server: NameServer) -> None:
    servers = NameServers((HostPort("127.0.0.1", lab.unused_port()), HostPort("127.0.0.1", server.port)), 5.0)
    assert trio.run(servers.ask, Question("a.example", "A")).addresses == ("127.0.0.1",)


def test_a_machine_without_name_servers_knows_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", _no_configuration)
    servers = NameServers((), 1.0)
    assert servers.servers == []
    assert trio.run(servers.ask, Question("a.example", "A")).failed
    assert trio.run(servers.ask, Question("localhost", "A")).addresses == ("127.0.0.1",)


def _no_configuration(_self: object, _file: object) -> None:
    raise dns.resolver.NoResolverConfiguration


# --- this machine's own table ----------------------------------------------------------------------------


def test_the_table_of_hosts_is_read_with_its_mistakes(tmp_path: Path) -> None:
    table = tmp_path / "hosts"
    table.write_bytes(
        b"# ours\n192.0.2.1 PBX pbx.example # once\n2001:DB8::1\tpbx\nnonsense pbx\n192.0.2.2\n\xff\n\n"
    )
    assert read_hosts(table) == {
        "localhost": ("127.0.0.1", "::1"),
        "pbx": ("192.0.2.1", "2001:db8::1"),
        "pbx.example": ("192.0.2.1",),
    }
    assert read_hosts(tmp_path / "none") == {"localhost": ("127.0.0.1", "::1")}


@pytest.mark.parametrize(
    ("name", "kind", "addresses"),
    [
        ("pbx.example", "A", ("192.0.2.1",)),
        ("pbx.example", "AAAA", ("2001:db8::1",)),
        ("pbx.example", "NAPTR", ()),
        ("_sip._udp.pbx.example", "SRV", ()),
    ],
)
def test_nobody_is_asked_about_a_name_of_this_machine(
    server: NameServer, name: str, kind: Kind, addresses: tuple[str, ...]
) -> None:
    servers = NameServers((HostPort("127.0.0.1", server.port),), 1.0)
    servers.hosts = {"pbx.example": ("192.0.2.1", "2001:db8::1")}
    assert trio.run(servers.ask, Question(name, kind)) == Answer(3600.0, addresses=addresses, is_own=True)
    assert server.asked == []


# --- all of it -------------------------------------------------------------------------------------------


def located(server: NameServer, uri: str, timeout: float = 1.0) -> list[Address]:
    """Find a target through a resolver and a real server."""
    servers = NameServers((HostPort("127.0.0.1", server.port),), timeout)
    told: list[tuple[Address, ...]] = []

    class Call:
        def on_located(self, addresses: tuple[Address, ...], _now: float) -> None:
            told.append(addresses)
            done.set()

    async def main() -> None:
        resolver = Resolver(
            Reach.of([("udp", "127.0.0.1"), ("udp", "::1")]),
            servers.ask,
            trio.current_time,
            lambda: None,
            on_bug=_raise,
            timeout=timeout,
        )
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(resolver.run)
                assert resolver.locate(target(uri), Call(), trio.current_time()) is None
                await done.wait()
                nursery.cancel_scope.cancel()

    done = trio.Event()
    trio.run(main)
    return list(told[0])


def _raise(bug: Exception) -> None:
    raise bug


def test_a_target_is_found_by_naptr_srv_and_addresses_3263_4(server: NameServer) -> None:
    assert located(server, "sip:example") == udp("[::1]:5062", "127.0.0.1:5062")
    assert server.asked[:2] == ["UDP example. NAPTR", "UDP _sip._udp.example. SRV"]
    assert sorted(server.asked[2:]) == ["UDP a.example. A", "UDP a.example. AAAA"]


def test_a_target_is_found_although_every_reply_was_cut(server: NameServer) -> None:
    server.vice = lab.cutting
    assert located(server, "sip:example", timeout=10) == udp("[::1]:5062", "127.0.0.1:5062")


def test_a_target_whose_name_is_an_alias_is_found(server: NameServer) -> None:
    assert located(server, "sip:alias.example:5070") == udp("[::1]:5070", "127.0.0.1:5070")


@pytest.mark.parametrize("vice", [lab.silent, lab.failing, lab.babbling, lab.forging, lab.straying])
def test_a_server_with_a_vice_ends_in_a_clear_outcome(server: NameServer, vice: lab.Vice) -> None:
    server.vice = vice
    assert located(server, "sip:example") == []


def test_a_server_that_is_silent_on_naptr_still_leads_to_the_peer(server: NameServer) -> None:
    """There are firewalls that drop what they do not know; half of the time is left for the rest."""

    def vice(reply: dns.message.Message) -> bytes | None:
        return None if server.asked[-1].endswith("NAPTR") else reply.to_wire()

    server.vice = vice
    assert located(server, "sip:example", timeout=2.0) == udp("[::1]:5062", "127.0.0.1:5062")
