"""Captures over HTTP: a pcap file that grows while messages come and go."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import aclosing
from functools import partial
from typing import Annotated

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.b2bua.core import B2bua
from gateway.captures import write
from gateway.sip.flow import Flow
from gateway.tap.live import Capture, Choice
from gateway.tap.service import Wiretap

from .growing import HEADERS, PCAP, Growing, SendPiece

CAPTURES = 4
"""Captures at a time."""
_LARGEST_ORDER = 4_096  # bytes
_READING = 10.0  # seconds that an order may take to arrive


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be captured: messages with a trunk, of calls from or to a number, both, or all."""

    trunk: str = ""
    number: Annotated[str, msgspec.Meta(max_length=64)] = ""
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 60.0
    bytes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100_000_000


class CapturePages:
    """``share`` is told what is to be captured, whenever that changes."""

    def __init__(self, wiretap: Wiretap, b2bua: B2bua, share: Callable[[Collection[Capture]], None]) -> None:
        self._tap = wiretap.tap
        self._wall = wiretap.wall
        self._b2bua = b2bua
        self._share = share
        self._captures: set[Capture] = set()

    def routes(self) -> list[Route]:
        """Return what there is to ask for."""
        return [Route("/api/capture", self.capture, methods=["POST"])]

    async def capture(self, request: Request) -> Response:
        """Begin a capture; the answer is a pcap file that grows until the time is over."""
        if _media_type(request) != "application/json":
            # Which a web page of others cannot send without asking first.
            return PlainTextResponse("the body must be application/json\n", 415)
        try:
            order = msgspec.json.decode(await _body(request), type=Order)
        except msgspec.MsgspecError as error:
            return PlainTextResponse(f"{error}\n", 422)
        if order.number and not any(map(str.isalnum, order.number)):  # the end of every number
            return PlainTextResponse(f"{order.number!r} is no number\n", 422)
        trunks = self._b2bua.trunks().by_name
        if order.trunk and order.trunk not in trunks:
            return PlainTextResponse(
                f"there is no trunk {order.trunk!r}; there is {', '.join(trunks)}\n", 422
            )
        if len(self._captures) >= CAPTURES:
            return PlainTextResponse(f"{CAPTURES} captures are running; wait for one to end\n", 503)
        return Growing(partial(self.stream, order), PCAP, HEADERS)

    def trunk_of(self, flow: Flow) -> str:
        """Return the name of the trunk at the other end of a flow, "" of a stranger."""
        return self._b2bua.name_of(flow)

    async def stream(self, order: Order, send: SendPiece) -> None:
        """Send a pcap file as it grows."""
        capture = Capture(Choice(order.trunk, order.number, self.trunk_of), self._wall)
        self._captures.add(capture)
        self._tap.add(capture)
        self._share(self._captures)
        room = order.bytes - len(write.HEADER)
        try:
            await send(write.HEADER)
            with trio.move_on_after(order.seconds):
                while True:
                    packets = [write.packet(message) for message in await capture.next()]
                    for packet in packets:
                        room -= len(packet)
                        if room < 0:
                            return
                        await send(packet)
        finally:
            self._tap.remove(capture)
            self._captures.discard(capture)
            self._share(self._captures)


def _media_type(request: Request) -> str:
    """Return the type and subtype of what was sent, which have no case (RFC 9110 8.3.1)."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request) -> bytes:
    """Return what was sent, as far as an order may be long; nothing when the asker has gone meanwhile."""
    body = b""
    with trio.move_on_after(_READING):
        try:
            async with aclosing(request.stream()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > _LARGEST_ORDER:
                        break
        except ClientDisconnect:
            return b""
    return body[: _LARGEST_ORDER + 1]
