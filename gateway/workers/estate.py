"""What a worker leaves behind: the calls that are up in it, in memory that outlives it.

When a call is answered its worker writes what the ledger would want of it into a slot of shared memory, and
frees the slot when the call is over. Whoever takes the place of a worker that died finds there which calls
were lost, and has them recorded. Calls that were not answered yet leave nothing: to write each of these down
would cost every call, and their callers hear of nothing and try again.

A slot begins with the length of what is in it, which is written last: so what is torn counts as not there.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from operator import attrgetter

import msgspec

from gateway.b2bua.record import CallRecord

ENDED_BY = "worker died"
"""The end of a call whose worker died, in its record."""
_SLOT = 512  # bytes, of which eight tell how many are in use
_SLOTS = 100_000
_HEAD = 8  # bytes: how many slots have ever been in use


class _Kept(msgspec.Struct, array_like=True, gc=False):
    """What is kept of a call that is up: these fields of its record, as an array in this order."""

    id: str
    caller_call_id: str
    callee_call_id: str
    caller_trunk: str
    callee_trunk: str
    caller: str
    called: str
    invited_at: float
    ringing_at: float
    answered_at: float
    original_status: int
    original_phrase: str
    emitted_status: int
    emitted_phrase: str
    origin: str
    attempts: int


_FIELDS = _Kept.__struct_fields__
_values: Callable[[CallRecord], tuple[object, ...]] = attrgetter(*_FIELDS)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class Estate:
    """The slots of one worker's place; make it before the fork. A sink of its call records.

    ``left_out`` counts calls that found no slot, or did not fit into one.
    """

    def __init__(self, slots: int = _SLOTS) -> None:
        self.left_out = 0
        self._limit = slots
        self._memory = mmap.mmap(-1, _HEAD + slots * _SLOT)
        self._lengths = memoryview(self._memory).cast("q")
        self._used = 0
        self._free: list[int] = []  # places of the memory, in eighths
        self._places: dict[str, int] = {}  # by id of the call

    def answered(self, record: CallRecord) -> None:
        """Keep a call that is up now."""
        data = _encode(_values(record))
        size = len(data)
        if size > _SLOT - 8 or not (self._free or self._used < self._limit):
            self.left_out += 1
            return
        if self._free:
            place = self._free.pop()
        else:
            place = (_HEAD + self._used * _SLOT) // 8
            self._used += 1
            self._lengths[0] = self._used
        start = 8 * place + 8
        self._memory[start : start + size] = data
        self._lengths[place] = size
        self._places[record.id] = place

    def record(self, record: CallRecord) -> None:
        """Forget a call that has ended. Returns at once and never raises."""
        place = self._places.pop(record.id, None)
        if place is not None:
            self._lengths[place] = 0
            self._free.append(place)

    def inherit(self, died_at: float) -> Iterator[CallRecord]:
        """Take over from a worker that died then: return its calls that were up, and begin anew."""
        for number in range(self._lengths[0]):
            place = (_HEAD + number * _SLOT) // 8
            size, self._lengths[place] = self._lengths[place], 0
            if size:
                kept = _decode(self._memory[8 * place + 8 : 8 * place + 8 + size])
                known = {name: getattr(kept, name) for name in _FIELDS}
                yield CallRecord(**known, ended_at=died_at, ended_by="gateway", end_reason=ENDED_BY)
        self._lengths[0] = 0
