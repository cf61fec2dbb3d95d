"""The messages of the last minutes, in a few pieces of memory that are written again and again.

Every message goes through here, so it is copied and no more: the object that it came in goes at once, while
it is in the processor's cache, and its place is free for the next one. To keep the objects themselves would
have all of them come into the cache once more when they go, thousands at a time, and calls wait meanwhile.
Nothing is read before somebody asks for a call; then the blocks of that call's time are indexed by Call-ID,
each message once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Final

from gateway.sip.flow import Flow
from gateway.sip.message import MAX_DATAGRAM
from gateway.wire import WireMessage

from .identity import call_id_of, x_cid_of
from .tap import Batch, Messages, copy_of

OVERHEAD: Final = 240
"""Bytes that a message may cost beside its own: where it lies, its flow, its place in the index."""
_FEW, _MANY = 32, 512  # blocks, where there is little room, and where there is much
_LEAST: Final = 4 * MAX_DATAGRAM  # bytes of a block, where there is room for two such,
_USUAL: Final = 2 * 1024 * 1024  # and of one that is let go of, and searched, in a millisecond or two


class Block:
    """Messages in order of time, of ``size`` bytes at most. ``first`` is the place of its first message among
    all that ever came; ``begun`` and ``ended`` are the times of its first and last; ``used`` is how many of
    its bytes are taken.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._room = memoryview(bytearray(size))  # the system gives the memory as it is written to
        self._times = array("d")  # of each batch,
        self._sent = bytearray()  # whether it was sent,
        self._places = array("I")  # and the place of its first message here
        self._flows: list[Flow] = []
        self._ends = array("I")  # where each message ends
        self.clear(0, 0.0)

    def clear(self, first: int, at: float) -> None:
        """Let go of everything, for messages from this place and time on."""
        self.first = first
        self.begun = self.ended = at
        self.used = 0
        self._end = 0
        for each in (self._times, self._places, self._ends):
            del each[:]
        self._sent.clear()
        self._flows.clear()
        self._before = array("i")  # the place of the message before it that has the same Call-ID, or -1
        self._last: dict[bytes, int] = {}  # the place of the last message of each Call-ID
        self._links: dict[bytes, list[bytes]] = {}  # Call-IDs of the legs that name another as X-CID

    @property
    def count(self) -> int:
        """How many messages there are."""
        return len(self._flows)

    @property
    def indexed(self) -> int:
        """How many of these can be found."""
        return len(self._before)

    def add(self, at: float, sent: bool, messages: Messages) -> bool:
        """Copy messages that came or went at a time; False when there is no room for all of them."""
        data = b"".join([data for data, _ in messages])
        used = self.used + len(data) + OVERHEAD * len(messages)
        if used > self._size:
            return False
        self.used = used
        if not self._flows:
            self.begun = at
        self.ended = at
        self._times.append(at)
        self._sent.append(sent)
        self._places.append(len(self._flows))
        end = self._end
        self._room[end : end + len(data)] = data
        for message, flow in messages:
            end += len(message)
            self._ends.append(end)
            self._flows.append(flow)
        self._end = end
        return True

    def index(self, most: int) -> int:
        """Go on making messages findable, ``most`` of them; return how many."""
        begun = len(self._before)
        until = min(begun + most, len(self._flows))
        for place in range(begun, until):
            data = self._data(place)
            call_id = call_id_of(data)
            self._before.append(self._last.get(call_id, -1))
            self._last[call_id] = place
            if data[:7] == b"INVITE " and (caller := x_cid_of(data)):
                self._links.setdefault(caller, []).append(call_id)
        return until - begun

    def places(self, call_id: bytes, since: float, until: float) -> list[int]:
        """Return the places of the messages with this Call-ID that came or went in a time, in order."""
        first = self._place_at(bisect_left(self._times, since))
        end = self._place_at(bisect_right(self._times, until))
        found = []
        place = self._last.get(call_id, -1)
        while place >= first:
            if place < end:
                found.append(place)
            place = self._before[place]
        return found[::-1]

    def links(self, call_id: bytes) -> Sequence[bytes]:
        """Return the Call-IDs of the legs that name this one as X-CID."""
        return self._links.get(call_id, ())

    def message(self, place: int) -> WireMessage:
        """Return the message at a place."""
        batch = bisect_right(self._places, place) - 1
        return copy_of(self._times[batch], bool(self._sent[batch]), self._data(place), self._flows[place])

    def _place_at(self, batch: int) -> int:
        return self._places[batch] if batch < len(self._places) else len(self._flows)

    def _data(self, place: int) -> bytes:
        begin = self._ends[place - 1] if place else 0
        return self._room[begin : self._ends[place]].tobytes()


class Store:
    """A listener of the tap that keeps the newest messages: as many as fit into ``limit`` bytes. One that is
    larger than a block is left out.
    """

    def __init__(self, limit: int) -> None:
        self._size = max(min(limit // _FEW, _USUAL), min(limit // 2, _LEAST), limit // _MANY)
        self._most = limit // self._size
        self._blocks: deque[Block] = deque([Block(self._size)])
        self._newest = self._blocks[0]

    @property
    def size(self) -> int:
        """How many bytes the messages take."""
        return sum(block.used for block in self._blocks)

    @property
    def blocks(self) -> list[Block]:
        """What there is, in order of time. The first becomes the last, and is another, when that is full."""
        return list(self._blocks)

    def take(self, batch: Batch) -> None:
        """Keep these, and let the oldest go where there is no room."""
        at, sent, messages = batch
        if self._newest.add(at, sent, messages):
            return
        for message in messages:
            if not self._newest.add(at, sent, [message]):
                self._turn_over()
                self._newest.add(at, sent, [message])

    def _turn_over(self) -> None:
        """Go on with the next block."""
        last = self._newest
        block = Block(self._size) if len(self._blocks) < self._most else self._blocks.popleft()
        block.clear(last.first + last.count, last.ended)
        self._blocks.append(block)
        self._newest = block
