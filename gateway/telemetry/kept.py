"""The messages of traced calls, as somebody has kept them who sees the wire.

Finding a call's messages is a search through what was on the wire in its time, which on a busy gateway takes
milliseconds. So it is done for traced calls only, a moment after they have ended, and within a budget: calls
beyond it get the messages that their record tells of (`noted.py`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import trio

from gateway.b2bua.record import CallRecord
from gateway.sip.errors import MalformedError
from gateway.sip.message import Response, parse

from .feed import MessageNote, TracedCall

BUDGET = 0.01
"""Seconds that one look may take, but for the search that exceeds it."""
_MOST = 2_048  # calls that may wait for a look
_SLICE = 100  # messages that are read in one go: a millisecond

Address = tuple[str, int]


class KeptMessage(Protocol):
    """A message as it was on the wire at ``at``, in seconds since the epoch."""

    @property
    def at(self) -> float:
        """When it was received or sent."""

    @property
    def source(self) -> Address:
        """Where it came from."""

    @property
    def payload(self) -> bytes:
        """All of it."""


class KeptMessages(Protocol):
    """Somebody who keeps messages for a while."""

    async def find(self, call_ids: Iterable[bytes], begun: float, ended: float) -> Sequence[KeptMessage]:
        """Return what is still there of the dialogs with these Call-IDs between two times, in order."""


class Completion:
    """Gives calls their messages and hands them on to ``done``. Messages from ``own`` addresses were sent by
    the gateway.
    """

    def __init__(
        self,
        kept: KeptMessages,
        own: Collection[Address],
        done: Callable[[TracedCall], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept = kept
        self._own = own
        self._done = done
        self._clock = clock
        self._waiting: deque[TracedCall] = deque()

    def take(self, call: TracedCall) -> None:
        """Take a call; it goes on with the next look."""
        if call.part == "rest" or len(self._waiting) >= _MOST:
            self._done(call)
        else:
            self._waiting.append(call)

    async def look(self) -> None:
        """Find the messages of the calls that wait, as far as the budget goes, and let all of them go on."""
        ends = self._clock() + BUDGET
        for _ in range(len(self._waiting)):
            call = self._waiting[0]
            if self._clock() < ends:
                call.messages = await self._notes(call.record) or None
            self._done(self._waiting.popleft())

    def flush(self) -> None:
        """Let the calls that wait go on as they are."""
        while self._waiting:
            self._done(self._waiting.popleft())

    async def _notes(self, record: CallRecord) -> list[MessageNote]:
        call_ids = [record.caller_call_id, *(branch.call_id for branch in record.branches or ())]
        ended = record.ended_at or record.answered_at
        kept = await self._kept.find(
            [call_id.encode() for call_id in call_ids if call_id], record.invited_at, ended
        )
        notes = []
        for index, message in enumerate(kept):
            if index % _SLICE == _SLICE - 1:
                await trio.lowlevel.checkpoint()
            if (note := self._note(message)) is not None:
                notes.append(note)
        return notes

    def _note(self, message: KeptMessage) -> MessageNote | None:
        """Return what a trace tells of a message; None of one that cannot be read."""
        try:
            read = parse(message.payload)
            method = read.cseq[1].decode()
        except MalformedError:
            return None
        received = message.source not in self._own
        call_id = read.call_id.decode("utf-8", "replace")
        if isinstance(read, Response):
            phrase = read.phrase.decode("utf-8", "replace")
            return MessageNote(message.at, received, call_id, method, read.status, phrase)
        return MessageNote(message.at, received, call_id, method)
