"""Calls over HTTP: one call with its messages and its ladder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import msgspec
import sqlalchemy as sa
import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.b2bua.core import B2bua
from gateway.b2bua.record import CallRecord, moved
from gateway.captures import write
from gateway.ledger.database import LedgerError, open_for_reading
from gateway.ledger.lasting import LastingEngine
from gateway.ledger.patience import Patience
from gateway.ledger.query import by_call_id, by_id
from gateway.tap.keeper import is_meant, legs_of
from gateway.tap.live import Capture
from gateway.tap.service import Wiretap
from gateway.wire import Address, WireMessage, without_secrets

from .drawing import DRAWN, Subject, first
from .growing import HEADERS, PCAP, Growing, SendPiece

_SLICE = 1_000  # calls that are looked at in one go: less than a millisecond
_PACKETS = 50  # messages that are written in one go: likewise
_DRAWERS = 1  # calls that are drawn at a time: two would take from each other, and both from the loop
_AT_A_TIME = 8  # look-ups in the ledger
_FORMS = (*DRAWN, "pcap")

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
        self._drawing = trio.CapacityLimiter(_DRAWERS)

    def routes(self) -> list[Route]:
        """Return what there is to ask for."""
        return [Route("/api/calls/{id:path}", self.call, methods=["GET"])]

    async def call(self, request: Request) -> Response:
        """Show a call by its id, the beginning of it, or the Call-ID of either leg."""
        id_ = request.path_params["id"]
        form = request.query_params.get("format", "json")
        if form not in _FORMS:
            return PlainTextResponse(f"format: {form!r} is none; write {', '.join(_FORMS)}\n", 422)
        record, messages = await self._find(id_) if id_ else (None, [])
        if record is None and not messages:
            return PlainTextResponse("no call has an id or Call-ID like that\n", 404)
        if form == "pcap":
            return Growing(partial(_send_packets, messages), PCAP, HEADERS)
        draw, media_type = DRAWN[form]
        subject = self._subject(id_, record, messages)
        body = await trio.to_thread.run_sync(draw, subject, limiter=self._drawing)
        return Response(body, media_type=media_type, headers=HEADERS)

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
        if not ahead:
            return record, messages
        shown = [message._replace(at=message.at + ahead) for message in messages]
        return None if record is None else moved(record, ahead), shown

    def _subject(self, id_: str, record: CallRecord | None, messages: list[WireMessage]) -> Subject:
        """Return what a thread may draw while the call goes on."""
        shown = first(messages)
        trunks = self._b2bua.trunks()
        names: dict[Address, str] = {}
        for address in {end for message in shown for end in (message.source, message.destination)}:
            trunk = trunks.find(*address)
            names[address] = "" if trunk is None else trunk.name
        left_out = len(messages) - len(shown)
        return Subject(id_, _copied(record), shown, left_out, self._name, self._ours, names)


async def _send_packets(messages: Sequence[WireMessage], send: SendPiece) -> None:
    """Send messages as a pcap file; let others run in between."""
    await send(write.HEADER)
    for begin in range(0, len(messages), _PACKETS):
        some = messages[begin : begin + _PACKETS]
        safe = [message._replace(payload=without_secrets(message.payload)) for message in some]
        await send(b"".join(map(write.packet, safe)))


def _copied(record: CallRecord | None) -> CallRecord | None:
    """Return a record as it is now; that of a call which is up changes."""
    if record is None:
        return None
    branches = record.branches and [msgspec.structs.replace(branch) for branch in record.branches]
    return msgspec.structs.replace(record, branches=branches)


def _from_ledger(ledger: LastingEngine, id_: str) -> CallRecord | None:
    try:
        with ledger.begin() as connection:
            found = by_id(connection, id_, 1) or by_call_id(connection, id_, 1)
    except (LedgerError, sa.exc.SQLAlchemyError):
        return None
    return found[0] if found else None
