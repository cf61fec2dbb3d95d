"""The gateway's ports, endpoint and core on loopback sockets, and peers that speak to them over streams.

The gateway is at 127.0.0.1, the PBX at 127.0.0.2, the carrier at 127.0.0.3: their sources tell them apart.
"""

from __future__ import annotations

import functools
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from gateway.b2bua.core import B2bua
from gateway.config import parse as parse_config
from gateway.reading import make_setup
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flows, Local
from gateway.sip.framing import Framer
from gateway.sip.message import Message, Request, Response, parse
from gateway.sip.transaction import Timing
from gateway.transport.connection import Limits
from gateway.transport.ports import Ports

GATEWAY, PBX, CARRIER, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"

CONFIG = """
[gateway]
listen = [{listen}]
{more}
[ledger]
url = ""
[[trunk]]
name = "pbx"
kind = "pbx"
source = ["127.0.0.2"]
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["127.0.0.3"]
target = [{target}]
{carrier}
[[route]]
to = ["carrier"]
"""


def config_text(
    target: str = '"sip:127.0.0.3:9"',
    listen: str = '"udp:127.0.0.1:0", "tcp:127.0.0.1:0"',
    more: str = "",
    carrier: str = "",
) -> str:
    """A gateway.toml with these listeners, and one carrier with these targets."""
    return CONFIG.format(target=target, listen=listen, more=more, carrier=carrier)


class Station:
    """A gateway on its ports."""

    def __init__(self, text: str, limits: Limits | None = None) -> None:
        config = parse_config(text)
        self.bugs: list[Exception] = []
        tokens = itertools.count(1)
        self.ports = Ports(config, trio.current_time, self.bugs.append)
        self.streams = self.ports.streams
        if limits is not None:
            self.streams.limits = limits
        self.flows = Flows(self.ports.locals)
        self.endpoint = Endpoint(self.flows, lambda: b"token%d" % next(tokens), Timing(0.1, 0.4, 0.5))
        self.core = B2bua(self.endpoint, make_setup(config))

    def local(self, transport: str) -> Local:
        """The first listening point of a transport."""
        return next(local for local in self.ports.locals if local.transport == transport)

    def tick(self) -> None:
        """Do what is due now, however lately it was looked at."""
        self.streams._sweep_at = 0.0
        self.ports.tick(self.endpoint, self.flows)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        while not true():
            await trio.sleep(0.01)


@asynccontextmanager
async def serving(text: str, limits: Limits | None = None) -> AsyncIterator[Station]:
    """Serve a configuration, with timers that go by the clock."""
    station = Station(text, limits)

    async def tick() -> None:
        while True:
            station.tick()
            await trio.sleep(0.02)

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(station.ports.serve, station.endpoint, station.flows, station.core.trunks)
            nursery.start_soon(tick)
            yield station
            nursery.cancel_scope.cancel()
        assert station.bugs == []
    finally:
        station.ports.close()


def scene(play: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of an async function; one that hangs fails."""

    @functools.wraps(play)
    def run(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            try:
                with trio.fail_after(20):
                    await play(*args, **kwargs)
            finally:
                while _streams:
                    await trio.aclose_forcefully(_streams.pop())

        trio.run(main)

    return run


_streams: list[trio.abc.Stream] = []  # that a scene has opened


class Wire:
    """A peer's end of a stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        _streams.append(stream)
        self.stream = stream
        self._framer = Framer()
        self._come: list[bytes] = []

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def take(self) -> Message:
        """The next message."""
        while not self._come:
            data = await self.stream.receive_some()
            assert data, "the gateway closed the connection"
            self._come += self._framer.feed(bytes(data))
        return parse(self._come.pop(0))

    async def request(self, method: str) -> Request:
        """The next message, which is this request."""
        message = await self.take()
        assert isinstance(message, Request)
        assert message.method == method.encode()
        return message

    async def response(self, status: int) -> Response:
        """The next message, which is a response with this status."""
        message = await self.take()
        assert isinstance(message, Response)
        assert message.status == status
        return message

    async def end(self) -> bytes:
        """What still comes until the gateway closes the connection."""
        rest = b"".join(self._come)
        self._come = []
        try:
            async for data in self.stream:
                rest += data
        except trio.BrokenResourceError:
            pass
        return rest


async def dial(local: Local, source: str = PBX) -> Wire:
    """Connect to the gateway from an address."""
    sock = trio.socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
    await sock.bind((source, 0))
    await sock.connect((local.host, local.port))
    return Wire(trio.SocketStream(sock))


async def dial_tls(local: Local, context: ssl.SSLContext, source: str = PBX) -> Wire:
    """Connect over TLS from an address, and shake hands."""
    plain = (await dial(local, source)).stream
    secured: trio.SSLStream[Any] = trio.SSLStream(plain, context, server_hostname="gw.example")
    await secured.do_handshake()
    return Wire(secured)


@asynccontextmanager
async def listening(
    port: int = 0, host: str = CARRIER, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, Callable[[], Awaitable[Wire]]]]:
    """Listen as a peer; yields the port, and what accepts the next connection."""
    (listener,) = await trio.open_tcp_listeners(port, host=host)

    async def accept() -> Wire:
        stream: Any = await listener.accept()
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True)
        return Wire(stream)

    async with listener:
        yield listener.socket.getsockname()[1], accept


_branches = itertools.count(1)


def request(
    method: str = "OPTIONS",
    uri: str = "sip:127.0.0.1",
    sent_by: str = "127.0.0.2:5060",
    *,
    transport: str = "TCP",
    via: str = "",
    call: str = "",
    to_tag: str = "",
    seq: int = 1,
    extra: str = "",
    body: bytes = b"",
) -> bytes:
    """A request to the gateway."""
    number = next(_branches)
    call = call or f"call-{number}"
    head = (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {sent_by};branch=z9hG4bK{number}{via}\r\n"
        f"From: <sip:a@127.0.0.2>;tag=a\r\nTo: <sip:b@127.0.0.1>{to_tag and ';tag=' + to_tag}\r\n"
        f"Call-ID: {call}\r\nCSeq: {seq} {method}\r\nMax-Forwards: 70\r\n"
        f"Contact: <sip:a@{sent_by};transport={transport.lower()}>\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def reply(asked: Request, status: int, *, contact: str = "", extra: str = "") -> bytes:
    """A response to a request of the gateway's."""
    to = asked.need(b"To").decode()
    if ";tag=" not in to:
        to += ";tag=b"
    vias = "".join(line.decode() + "\r\n" for line in asked.lines(b"Via"))
    contact = contact and f"Contact: <{contact}>\r\n"
    return (
        f"SIP/2.0 {status} X\r\n{vias}From: {asked.need(b'From').decode()}\r\nTo: {to}\r\n"
        f"Call-ID: {asked.call_id.decode()}\r\nCSeq: {asked.need(b'CSeq').decode()}\r\n{contact}{extra}"
        "Content-Length: 0\r\n\r\n"
    ).encode()
