"""Copies for Homer: the bytes of HEPv3, legs joined to calls, samples, and servers that are slow or gone."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gateway.addresses import TransportAddress
from gateway.sip.flow import Flow, Local
from gateway.tap.hep import LARGEST, encode
from gateway.tap.homer import QUEUE, Homer, HomerSender
from gateway.wire import WireMessage
from tests.tap.hep3 import decode
from tests.tap.words import CALL, INVITE, PBX, give, received, sent, sip


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


@contextmanager
def sending(
    address: TransportAddress, sample: float = 1.0, log: Callable[[str], None] = print
) -> Iterator[HomerSender]:
    sender = HomerSender(Homer(address, sample, 7, "gw1"), log)
    sender.start()
    try:
        yield sender
    finally:
        sender.close(5)


@contextmanager
def listening(kind: socket.SocketKind) -> Iterator[tuple[socket.socket, TransportAddress]]:
    with socket.socket(socket.AF_INET, kind) as server:
        server.settimeout(10)
        server.bind(("127.0.0.1", 0))
        transport = "udp" if kind == socket.SOCK_DGRAM else "tcp"
        yield server, TransportAddress(transport, "127.0.0.1", server.getsockname()[1])


def test_a_packet_says_when_from_where_to_where_and_what() -> None:
    message = WireMessage(1_700_000_000.25, "udp", ("192.0.2.1", 5060), ("192.0.2.2", 5080), b"OPTIONS")
    packet = encode(message, b"a@pbx", 7, b"gw1", 65_507)
    assert packet is not None
    assert decode(packet) == {
        1: b"\x02", 2: b"\x11", 3: bytes([192, 0, 2, 1]), 4: bytes([192, 0, 2, 2]),
        7: struct.pack(">H", 5060), 8: struct.pack(">H", 5080), 9: struct.pack(">I", 1_700_000_000),
        10: struct.pack(">I", 250_000), 11: b"\x01", 12: struct.pack(">I", 7), 15: b"OPTIONS",
        17: b"a@pbx", 19: b"gw1",
    }  # fmt: skip


def test_tls_over_ipv6_is_said_to_be_tcp() -> None:
    message = WireMessage(1.0, "tls", ("2001:db8::1", 5061), ("2001:db8::2", 40_000), b"x")
    packet = encode(message, b"", 1, b"gw1", 65_507)
    assert packet is not None
    chunks = decode(packet)
    assert (chunks[1], chunks[2]) == (b"\x0a", b"\x06")
    assert chunks[5] == socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert chunks[6] == socket.inet_pton(socket.AF_INET6, "2001:db8::2")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_what_does_not_fit_into_a_packet_is_none(transport: str) -> None:
    message = WireMessage(1.0, "udp", ("192.0.2.1", 1), ("192.0.2.2", 2), b"")
    most = LARGEST[transport]
    empty = encode(message, b"a", 1, b"gw1", most)
    assert empty is not None
    room = most - len(empty)
    packet = encode(message._replace(payload=bytes(room)), b"a", 1, b"gw1", most)
    assert packet is not None and len(packet) == most
    assert encode(message._replace(payload=bytes(room + 1)), b"a", 1, b"gw1", most) is None


@pytest.mark.parametrize("bound", [LARGEST["udp"], 65_535])  # ours, and one that is not the system's
def test_a_message_that_no_datagram_carries_costs_its_own_copy_alone(
    bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LARGEST, "udp", bound)
    begin = sip(INVITE, "a@pbx", "X: ")
    packet = encode(WireMessage(1.0, "udp", PBX.peer, PBX.peer, begin), b"a@pbx", 7, b"gw1", 65_535)
    assert packet is not None
    large = begin + b"x" * (65_520 - len(packet))
    said: list[str] = []
    with listening(socket.SOCK_DGRAM) as (server, address), sending(address, log=said.append) as sender:
        give(sender, [received(1.0, large), *CALL])
        assert [decode(server.recv(65_535))[15] for _ in CALL] == [batch[2][0][0] for batch in CALL]
        until(lambda: (sender.sent, sender.failed) == (5, 1))
    assert said == []


def test_both_legs_of_a_call_carry_the_callers_call_id() -> None:
    with listening(socket.SOCK_DGRAM) as (server, address), sending(address) as sender:
        give(sender, CALL)
        chunks = [decode(server.recv(65_535)) for _ in range(5)]
        assert [each[17] for each in chunks] == [b"a@pbx"] * 5
        assert [each[15] for each in chunks] == [data for _, _, messages in CALL for data, _ in messages]
        until(lambda: sender.sent == 5)


def test_a_leg_that_must_not_name_the_caller_is_joined_all_the_same() -> None:
    with listening(socket.SOCK_DGRAM) as (server, address), sending(address) as sender:
        sender.pair(b"b@gw", b"a@pbx")
        sender.take(sent(1.0, sip(INVITE, "b@gw")))
        assert decode(server.recv(65_535))[17] == b"a@pbx"


def test_credentials_are_blanked_and_lengths_stay() -> None:
    secret = sip(INVITE, "a", "Authorization: Digest username=bob, response=5ccc")
    with listening(socket.SOCK_DGRAM) as (server, address), sending(address) as sender:
        sender.take(received(1.0, secret))
        payload = decode(server.recv(65_535))[15]
        assert b"bob" not in payload and b"5ccc" not in payload and len(payload) == len(secret)


def test_over_tcp_packets_follow_one_another() -> None:
    with listening(socket.SOCK_STREAM) as (server, address):
        server.listen()
        with sending(address) as sender:
            give(sender, CALL)
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                for _, _, messages in CALL:
                    head = stream.read(6)
                    packet = head + stream.read(int.from_bytes(head[4:], "big") - 6)
                    assert decode(packet)[15] == messages[0][0]


def test_a_sample_takes_whole_calls() -> None:
    calls = [
        [
            received(1.0, sip(INVITE, f"a{number}")),
            sent(1.1, sip(INVITE, f"b{number}", f"X-CID: a{number}")),
            received(1.2, sip("SIP/2.0 200 OK", f"b{number}")),
        ]
        for number in range(400)
    ]
    with listening(socket.SOCK_DGRAM) as (server, address), sending(address, 0.25) as sender:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        give(sender, [batch for call in calls for batch in call])
        until(lambda: sender.sent + sender.skipped == 1_200)
        seen = [decode(server.recv(65_535))[17] for _ in range(sender.sent)]
        assert sender.failed == sender.dropped == 0
    assert 50 < len(set(seen)) < 150
    assert all(seen.count(call) == 3 for call in set(seen))


def test_a_server_that_is_gone_costs_copies_and_one_line() -> None:
    with listening(socket.SOCK_STREAM) as (_, address):
        pass  # bound, and closed again: nobody listens there
    said: list[str] = []
    with sending(address, log=said.append) as sender:
        give(sender, CALL)
        until(lambda: sender.failed == 5)
    server = f"tcp:127.0.0.1:{address.port}"
    assert said == [f"capture server {server} does not take messages (connection refused); calls go on"]


def test_a_server_that_does_not_read_costs_copies_beyond_the_queue() -> None:
    with listening(socket.SOCK_STREAM) as (server, address):
        server.listen()
        large = sip(INVITE, "a", "X: " + "x" * 60_000)
        sender = HomerSender(Homer(address, 1.0, 7, "gw1"), lambda _line: None)
        sender.start()
        try:
            for _ in range(QUEUE + 1_000):
                sender.take(received(1.0, large))  # returns, or the test would hang here
            assert sender.dropped >= 1
        finally:
            sender.close(0.1)


def test_what_a_stop_leaves_is_counted() -> None:
    sender = HomerSender(Homer(TransportAddress("udp", "127.0.0.1", 9), 1.0, 7, "gw1"), print)
    sender.take((1.0, True, [(b"x", PBX)] * 3))
    sender.close(0.1)  # it was never started
    assert sender.dropped == 3


def test_a_leg_over_tcp_is_between_the_same_addresses() -> None:
    flow = Flow(Local("tcp", "127.0.0.1", 5060), ("127.0.0.1", 40_000))
    with listening(socket.SOCK_DGRAM) as (server, address), sending(address) as sender:
        sender.take(sent(1.0, b"x", flow=flow))
        chunks = decode(server.recv(65_535))
        assert (chunks[2], chunks[7], chunks[8]) == (
            b"\x06",
            struct.pack(">H", 5060),
            struct.pack(">H", 40_000),
        )


@pytest.mark.parametrize("name", [b"Call-ID: ", b"i:", b"CALL-ID :"])
def test_the_call_id_is_found_in_any_spelling(name: bytes) -> None:
    with listening(socket.SOCK_DGRAM) as (server, address), sending(address) as sender:
        sender.take(received(1.0, b"BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n" + name + b"a@pbx \r\n\r\n"))
        assert decode(server.recv(65_535))[17] == b"a@pbx"
