"""Keeps the messages of failed and rewritten calls longer than the ring does, and the newest call records.

A call's messages are taken out of the ring a moment after the call has ended, twenty calls a second at most
and as many as need a thousand messages a second to be looked at. So a flood of rejections costs a small
share of the processor; what cannot be looked at in time is left to the ring.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import trio

from gateway.b2bua.record import CallRecord
from gateway.wire import WireMessage

from .ring import Ring

_AFTER = 2.0  # seconds after a call's end: the last ACK has come by then
_WAITING = 200  # calls whose messages are still to be taken
_RECORDS = 1_000
_CALLS = 5_000
_PAUSE = 0.05  # seconds between two calls,
_IDLE = 0.5  # and between two looks while none waits
_EACH = 0.001  # seconds of pause for each message that had to be looked at,
_LONGEST = 10.0  # and no more than this


class Keeper:
    """A RecordSink. ``limit`` is how many bytes of messages it keeps; ``left_out`` counts the failed and
    rewritten calls that it did not get to.
    """

    def __init__(self, ring: Ring, limit: int, clock: Callable[[], float]) -> None:
        self.left_out = 0
        self._ring = ring
        self._limit = limit
        self._clock = clock
        self._size = 0
        self._records: deque[CallRecord] = deque(maxlen=_RECORDS)
        self._waiting: deque[CallRecord] = deque()
        self._kept: OrderedDict[str, list[WireMessage]] = OrderedDict()

    @property
    def count(self) -> int:
        """How many calls' messages are kept beside the ring."""
        return len(self._kept)

    def record(self, record: CallRecord) -> None:
        """Take the record of a call that has just ended. Returns at once and never raises."""
        self._records.append(record)
        if _is_kept(record):
            if len(self._waiting) < _WAITING:
                self._waiting.append(record)
            else:
                self.left_out += 1

    def find(self, id_: str) -> CallRecord | None:
        """Return a call among the newest, by its id, the beginning of it, or the Call-ID of either leg."""
        return next((record for record in reversed(self._records) if is_meant(record, id_)), None)

    async def messages(self, call_ids: tuple[str, ...], record: CallRecord | None) -> list[WireMessage]:
        """Return the messages of a call, in order of time: those that were kept, or what the ring has."""
        if record is not None and record.id in self._kept:
            return self._kept[record.id]
        wanted = [call_id.encode() for call_id in call_ids]
        if record is None:
            return await self._ring.find(wanted)
        return await self._ring.find(wanted, record.invited_at, record.ended_at)

    async def run(self) -> None:
        """Keep what is to be kept, until cancelled."""
        while True:
            before = self._ring.indexed
            if self._waiting and self._waiting[0].ended_at + _AFTER <= self._clock():
                await self._keep(self._waiting.popleft())
            pause = _PAUSE if self._waiting else _IDLE
            await trio.sleep(min(max((self._ring.indexed - before) * _EACH, pause), _LONGEST))

    async def _keep(self, record: CallRecord) -> None:
        legs = [call_id.encode() for call_id in legs_of(record)]
        found = await self._ring.find(legs, record.invited_at, record.ended_at, _AFTER)
        self._kept[record.id] = found
        self._size += _size(found)
        while self._size > self._limit or len(self._kept) > _CALLS:
            self._size -= _size(self._kept.popitem(last=False)[1])


def legs_of(record: CallRecord) -> tuple[str, ...]:
    """Return the Call-IDs of a call's legs, the caller's first."""
    branches = [branch.call_id for branch in record.branches or ()]
    return tuple(dict.fromkeys([record.caller_call_id, record.callee_call_id, *branches]))


def is_meant(record: CallRecord, id_: str) -> bool:
    """Tell whether a call is meant by its id, the beginning of it, or the Call-ID of either leg."""
    return record.id.startswith(id_) or id_ in (record.caller_call_id, record.callee_call_id)


def _is_kept(record: CallRecord) -> bool:
    """Tell whether a call was rewritten, or failed otherwise than by its caller's giving up."""
    if record.ended_by == "caller" and record.end_reason == "cancelled":
        return False
    if record.emitted_status >= 300 or record.end_reason != "bye":
        return True
    emitted = (record.emitted_status, record.emitted_phrase, record.emitted_q850)
    return emitted != (record.original_status, record.original_phrase, record.original_q850)


def _size(messages: list[WireMessage]) -> int:
    return sum(len(message.payload) + 200 for message in messages)
