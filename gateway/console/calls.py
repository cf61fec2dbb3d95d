"""Calls over HTTP: one call with its messages and ladder, and captures while they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import aclosing, suppress
from functools import partial
from typing import Annotated, Any, Protocol

import msgspec
import sqlalchemy as sa
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.b2bua.core import B2bua
from gateway.b2bua.record import CallRecord, moved
from gateway.captures import write
from gateway.ladder.facts import facts
from gateway.ladder.model import Ladder
from gateway.ladder.page import page
from gateway.ladder.recorded import decision_of, recorded
from gateway.ladder.svg import svg
from gateway.ledger.database import LedgerError, open_for_reading
from gateway.ledger.lasting import LastingEngine
from gateway.ledger.patience import Patience
from gateway.ledger.query import by_call_id, by_id
from gateway.sip.flow import Flow
from gateway.tap.keeper import is_meant, legs_of
from gateway.tap.live import Capture, Choice
from gateway.tap.service import Wiretap
from gateway.wire import Address, WireMessage, without_secrets

CAPTURES = 4
"""Captures at a time."""
_AT_A_TIME = 8  # look-ups in the ledger
_SLICE = 1_000  # calls that are looked at in one go: less than a millisecond
_LARGEST_ORDER = 4_096  # bytes
_READING = 10.0  # seconds that an order may take to arrive
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Message(msgspec.Struct):
    """A message as the API shows it; ``at`` is in seconds since the epoch, addresses are HOST and PORT."""

    at: float
    transport: str
    source: Address
    destination: Address
    text: str


class CallView(msgspec.Struct):
    """One call as the API shows it; ``call`` is None for a dialog that was no call."""

    call: dict[str, Any] | None
    decision: str
    messages: list[Message]
    ladder: Ladder


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be captured: messages with a trunk, of calls from or to a number, both, or all."""

    trunk: str = ""
    number: Annotated[str, msgspec.Meta(max_length=64)] = ""
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 60.0
    bytes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100_000_000


Known = tuple[CallRecord | None, list[WireMessage]]
"""A call's record and its messages, as far as they are in memory."""


async def look(wiretap: Wiretap, b2bua: B2bua, id_: str, record: CallRecord | None = None) -> Known:
    """Return what is in memory of a call, by its id, the beginning of it, or the Call-ID of either leg;
    ``record`` is given where it is known already.
    """
    keeper = wiretap.keeper
    if record is None and keeper is not None:
        record = keeper.find(id_)
    if record is None:
        record = await _up(b2bua, id_)
    if keeper is None:
        return record, []
    return record, await keeper.messages((id_,) if record is None else legs_of(record), record)


async def _up(b2bua: B2bua, id_: str) -> CallRecord | None:
    """Return the record of a call that is up; let others run in between, for there may be very many."""
    calls = list(b2bua.calls)
    for begin in range(0, len(calls), _SLICE):
        for call in calls[begin : begin + _SLICE]:
            if is_meant(call.record, id_):
                return call.record
        await trio.lowlevel.checkpoint()
    return None


class Others(Protocol):
    """The other workers of the gateway, where there are some."""

    async def look(self, id_: str, record: CallRecord | None) -> list[Known]:
        """Return what each of them has in memory of a call."""

    def share_captures(self, captures: Collection[Capture]) -> None:
        """Have what they see go to these captures, too."""


class CallPages:
    """``name`` is the gateway's; ``url`` is the ledger's, "" where it is off; ``ours`` are the addresses of
    the listening points.
    """

    def __init__(
        self,
        wiretap: Wiretap,
        b2bua: B2bua,
        name: str,
        url: str,
        ours: Collection[Address],
        others: Others | None = None,
    ) -> None:
        self._wiretap = wiretap
        self._b2bua = b2bua
        self._name = name
        self._ledger = LastingEngine(lambda: open_for_reading(url)) if url else None
        self._patience = Patience(_AT_A_TIME)
        self._ours = ours
        self._others = others
        self._captures: set[Capture] = set()

    def routes(self) -> list[Route]:
        """Return what there is to ask for."""
        return [
            Route("/api/calls/{id:path}", self.call, methods=["GET"]),
            Route("/api/capture", self.capture, methods=["POST"]),
        ]

    # -- one call ---------------------------------------------------------------------------------------

    async def call(self, request: Request) -> Response:
        """Show a call by its id, the beginning of it, or the Call-ID of either leg."""
        id_ = request.path_params["id"]
        form = request.query_params.get("format", "json")
        if form not in _FORMS:
            return PlainTextResponse(f"format: {form!r} is none; write {', '.join(_FORMS)}\n", 422)
        record, found = await self._find(id_) if id_ else (None, [])
        messages = [message._replace(payload=without_secrets(message.payload)) for message in found]
        if record is None and not messages:
            return PlainTextResponse("no call has an id or Call-ID like that\n", 404)
        body, media_type = _FORMS[form](self, id_, record, messages)
        return Response(body, media_type=media_type, headers=_HEADERS)

    async def _find(self, id_: str) -> Known:
        """Look for a call in memory, in the ledger, and in the memory of the other workers. Return it as the
        wall clock dates it, and the ledger; in memory it goes by the gateway's own.
        """
        ahead = self._wiretap.wall.ahead
        record, messages = await look(self._wiretap, self._b2bua, id_)
        if record is None and self._ledger is not None:
            with suppress(TimeoutError):
                record = await self._patience.run(partial(_from_ledger, self._ledger, id_), grace=0.0)
            if record is not None:
                record = moved(record, -ahead)
                _, messages = await look(self._wiretap, self._b2bua, id_, record)
        if self._others is not None:
            for theirs, more in await self._others.look(id_, record):
                record = record or theirs
                messages = messages + more
            messages.sort(key=lambda message: message.at)
        if record is not None:
            record = moved(record, ahead)
        return record, [message._replace(at=message.at + ahead) for message in messages]

    def _ladder(self, record: CallRecord | None, messages: list[WireMessage]) -> Ladder:
        trunks = self._b2bua.trunks()

        def trunk_of(address: Address) -> str:
            trunk = trunks.find(*address)
            return "" if trunk is None else trunk.name

        return recorded(messages, record, self._name, self._ours, trunk_of)

    def _json(self, _id: str, record: CallRecord | None, messages: list[WireMessage]) -> tuple[bytes, str]:
        view = CallView(
            None if record is None else _fields(record),
            "" if record is None else decision_of(record),
            [Message(*each[:-1], each.payload.decode("utf-8", "replace")) for each in messages],
            self._ladder(record, messages),
        )
        return msgspec.json.encode(view), "application/json"

    def _svg(self, _id: str, record: CallRecord | None, messages: list[WireMessage]) -> tuple[bytes, str]:
        return svg(self._ladder(record, messages)).encode(), "image/svg+xml"

    def _html(self, id_: str, record: CallRecord | None, messages: list[WireMessage]) -> tuple[bytes, str]:
        known = [] if record is None else facts(record)
        title = f"dialog {id_}" if record is None else f"call {record.id}"
        return page(title, known, self._ladder(record, messages)).encode(), "text/html"

    def _pcap(self, _id: str, _record: CallRecord | None, messages: list[WireMessage]) -> tuple[bytes, str]:
        return write.HEADER + b"".join(map(write.packet, messages)), "application/vnd.tcpdump.pcap"

    # -- captures ---------------------------------------------------------------------------------------

    async def capture(self, request: Request) -> Response:
        """Begin a capture; the answer is a pcap file that grows until the time is over."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            # Which a web page of others cannot send without asking first.
            return PlainTextResponse("the body must be application/json\n", 415)
        try:
            order = msgspec.json.decode(await _body(request), type=Order)
        except msgspec.MsgspecError as error:
            return PlainTextResponse(f"{error}\n", 422)
        trunks = self._b2bua.trunks().by_name
        if order.trunk and order.trunk not in trunks:
            return PlainTextResponse(
                f"there is no trunk {order.trunk!r}; there is {', '.join(trunks)}\n", 422
            )
        if len(self._captures) >= CAPTURES:
            return PlainTextResponse(f"{CAPTURES} captures are running; wait for one to end\n", 503)
        return _CaptureResponse(self, order)

    def trunk_of(self, flow: Flow) -> str:
        """Return the name of the trunk at the other end of a flow, "" of a stranger."""
        return self._b2bua.name_of(flow)

    async def stream(self, order: Order, send: Callable[[bytes], Any]) -> None:
        """Send a pcap file as it grows."""
        capture = Capture(Choice(order.trunk, order.number, self.trunk_of), self._wiretap.wall)
        self._captures.add(capture)
        self._wiretap.tap.add(capture)
        self._share_captures()
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
            self._wiretap.tap.remove(capture)
            self._captures.discard(capture)
            self._share_captures()

    def _share_captures(self) -> None:
        if self._others is not None:
            self._others.share_captures(self._captures)


class _CaptureResponse(Response):
    """Sends what comes until the time is over or the asker has gone."""

    def __init__(self, pages: CallPages, order: Order) -> None:
        super().__init__(media_type="application/vnd.tcpdump.pcap", headers=_HEADERS)
        del self.headers["content-length"]
        self._pages = pages
        self._order = order

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def send_piece(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            await self._pages.stream(self._order, send_piece)
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


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


def _from_ledger(ledger: LastingEngine, id_: str) -> CallRecord | None:
    try:
        with ledger.begin() as connection:
            found = by_id(connection, id_, 1) or by_call_id(connection, id_, 1)
    except (LedgerError, sa.exc.SQLAlchemyError):
        return None
    return found[0] if found else None


def _fields(record: CallRecord) -> dict[str, Any]:
    """Return a record without what only the ledger reads."""
    fields = msgspec.structs.asdict(record)
    del fields["evidence"]
    return fields


_FORMS = {
    "json": CallPages._json,
    "svg": CallPages._svg,
    "html": CallPages._html,
    "pcap": CallPages._pcap,
}
