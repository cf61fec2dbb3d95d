"""What ICMP says of our datagrams (RFC 3261 18.4), from the error queue of a real loopback socket, and what
the system says at once.
"""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import cast

import pytest
import trio
import trio.testing

from gateway.sip.flow import Flows
from gateway.sip.message import Request, Response, parse
from gateway.sip.transaction import Timing
from gateway.transport.pump import pump
from gateway.transport.udp import UdpTransport

from .station import CARRIER, PBX, Station, config_text, reply, request, scene, serving
from .test_udp import has_ipv6


def bound(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    return sock


def dead_port(host: str) -> int:
    """A UDP port at which nobody listens."""
    with bound(host) as sock:
        return int(sock.getsockname()[1])


async def invite(station: Station, pbx: trio.socket.SocketType, host: str = PBX) -> list[int]:
    """Have the PBX call over UDP; return the statuses it gets, up to the final one."""
    shown = f"[{host}]" if ":" in host else host
    sent_by = f"{shown}:{pbx.getsockname()[1]}"
    local = station.local("udp")
    await pbx.sendto(request("INVITE", "sip:1@gw", sent_by, transport="UDP"), (local.host, local.port))
    statuses = [100]
    while statuses[-1] < 200:
        answer = parse(await pbx.recv(65_535))
        assert isinstance(answer, Response)
        statuses.append(answer.status)
    return statuses[1:]


@pytest.mark.parametrize(
    ("host", "source", "target"),
    [
        ("127.0.0.1", PBX, CARRIER),
        pytest.param(
            "[::1]",
            "::1",
            "[::1]",
            marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6"),
        ),
    ],
)
@scene
async def test_a_dead_udp_target_is_passed_over_at_once(host: str, source: str, target: str) -> None:
    port = dead_port(target.strip("[]"))
    text = config_text(f'"sip:{target}:{port}"', listen=f'"udp:{host}:0"')
    text = text.replace(f'source = ["{PBX}"]', f'source = ["{source}"]')
    async with serving(text) as station:
        station.endpoint.timing = Timing(60.0, 60.0, 60.0)  # no timer of a transaction has a say here
        with trio.socket.from_stdlib_socket(bound(source)) as pbx:
            assert await invite(station, pbx, source) == [100, 503]


@scene
async def test_other_calls_do_not_suffer_from_a_dead_target() -> None:
    with (
        trio.socket.from_stdlib_socket(bound(CARRIER)) as carrier,
        trio.socket.from_stdlib_socket(bound(PBX)) as pbx,
    ):
        good = carrier.getsockname()[1]
        targets = f'"sip:{CARRIER}:{dead_port(CARRIER)}", "sip:{CARRIER}:{good}"'
        async with serving(config_text(targets)) as station:
            station.endpoint.timing = Timing(60.0, 60.0, 60.0)
            local = station.local("udp")
            for n in range(20):
                sent_by = f"{PBX}:{pbx.getsockname()[1]}"
                asked = request("INVITE", "sip:1@gw", sent_by, transport="UDP", call=f"c{n}")
                await pbx.sendto(asked, (local.host, local.port))
            names = set()
            for _ in range(20):
                got = parse(await carrier.recv(65_535))
                assert isinstance(got, Request)
                names.add(got.need(b"X-CID"))
            assert names == {b"c%d" % n for n in range(20)}


class Firewalled:
    """A UDP socket that sends nothing to one host, as where this machine's firewall forbids it."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._sock = sock
        self._host = host

    def sendto(self, data: bytes, peer: tuple[str, int]) -> int:
        if peer[0] == self._host:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return self._sock.sendto(data, peer)

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


@scene
async def test_calls_that_ring_outlast_a_moment_without_a_way() -> None:
    with (
        trio.socket.from_stdlib_socket(bound(CARRIER)) as carrier,
        trio.socket.from_stdlib_socket(bound(PBX)) as pbx,
    ):
        text = config_text(f'"sip:{CARRIER}:{carrier.getsockname()[1]}"', listen='"udp:127.0.0.1:0"')
        async with serving(text) as station:
            local = station.local("udp")
            sent_by = f"{PBX}:{pbx.getsockname()[1]}"
            first = request("INVITE", "sip:1@gw", sent_by, transport="UDP", call="first")
            await pbx.sendto(first, (local.host, local.port))
            asked = parse(await carrier.recv(65_535))
            assert isinstance(asked, Request)
            await carrier.sendto(reply(asked, 180), (local.host, local.port))
            heard = [parse(await pbx.recv(65_535)) for _ in range(2)]
            assert [answer.status for answer in heard if isinstance(answer, Response)] == [100, 180]
            udp = station.ports.udp
            whole, batches = udp._sockets[local], udp._batches.pop(local, None)
            udp._sockets[local] = cast("socket.socket", Firewalled(whole, CARRIER))
            assert await invite(station, pbx) == [100, 503]
            udp._sockets[local] = whole
            if batches is not None:
                udp._batches[local] = batches
            await carrier.sendto(reply(asked, 200), (local.host, local.port))
            answer = parse(await pbx.recv(65_535))
            assert isinstance(answer, Response)
            assert (answer.status, answer.call_id) == (200, b"first")


@scene
async def test_the_pump_hands_up_what_came_back_without_waiting_for_a_tick() -> None:
    """An error queue that is not emptied would wake the pump for ever."""
    transport = UdpTransport(trio.current_time)
    local = transport.bind("127.0.0.1", 0, "")
    heard: list[bytes] = []

    class Listener:
        def undelivered(self, data: bytes, _now: float) -> None:
            heard.append(data)

        def tick(self, _now: float, _most: int) -> None:
            pass

        def drain(self) -> list[object]:
            return []

    try:
        async with trio.open_nursery() as nursery:
            turn = partial(transport.turn, local, Listener(), Flows([local]))
            nursery.start_soon(pump, transport.socket_of(local), turn, trio.current_time)
            transport._sockets[local].sendto(b"to nobody", (CARRIER, dead_port(CARRIER)))
            while not heard:
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked(0.005)
            nursery.cancel_scope.cancel()
    finally:
        transport.close()
    assert heard == [b"to nobody"]
