"""The messages of the last minutes, so that a call can be looked at after it went wrong.

What came in a tenth of a second is one segment: the very batches of the transports. Nothing in it is copied
or read until somebody asks for a call; then the segments of that call's time are indexed by Call-ID, each
once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter

import trio

from gateway.wire import WireMessage

from .identity import call_id_of, x_cid_of
from .tap import Batch, copy_of

_OVERHEAD = 240  # bytes that a message costs beside its own: its object, its pair with the flow, its index
_SEGMENT = 700  # bytes that a segment costs beside its messages
_SLICE = 250  # messages that are indexed in one go: a millisecond
_LOOKS = 500  # segments that are searched in one go: likewise
_LEGS = 64  # Call-IDs of one call that are looked for
MOST = 2_000
"""Messages of one dialog that are found,"""
MOST_IN_ALL = 10_000
"""and of all dialogs of a call."""
_LATEST = 34.0  # seconds after its end that a call's last retransmissions may take
_begun, _ended = attrgetter("begun"), attrgetter("ended")


class Segment:
    """Messages in order of time. ``first`` is the place of its first among all messages."""

    __slots__ = (
        "_batches", "_before", "_last", "_links", "_starts",
        "begun", "count", "ended", "first", "is_indexed", "size",
    )  # fmt: skip

    def __init__(self, batches: Sequence[Batch], first: int) -> None:
        self._batches = batches
        self.first = first
        self.begun, self.ended = batches[0][0], batches[-1][0]
        sizes = [len(data) for _, _, messages in batches for data, _ in messages]
        self.count = len(sizes)
        self.size = sum(sizes) + _OVERHEAD * self.count + _SEGMENT
        self.is_indexed = False
        self._starts = array("I")  # the place of each batch's first message
        self._before = array("i")  # the place of the message before it that has the same Call-ID, or -1
        self._last: dict[bytes, int] = {}  # the place of the last message of each Call-ID
        self._links: dict[bytes, list[bytes]] = {}  # Call-IDs of the legs that name another as X-CID

    def index(self, most: int) -> int:
        """Go on making messages findable, ``most`` of them and what is left of a batch; return how many.
        Places are counted from the segment's first message.
        """
        first = place = len(self._before)
        for _, _, messages in self._batches[len(self._starts) :]:
            if place - first >= most:
                return place - first
            self._starts.append(place)
            for data, _ in messages:
                call_id = call_id_of(data)
                self._before.append(self._last.get(call_id, -1))
                self._last[call_id] = place
                place += 1
                if data[:7] == b"INVITE " and (caller := x_cid_of(data)):
                    self._links.setdefault(caller, []).append(call_id)
        self.is_indexed = True
        return place - first

    def places(self, call_id: bytes) -> list[int]:
        """Return the places of the messages with this Call-ID, in order."""
        found = []
        place = self._last.get(call_id, -1)
        while place >= 0:
            found.append(place)
            place = self._before[place]
        return found[::-1]

    def links(self, call_id: bytes) -> Sequence[bytes]:
        """Return the Call-IDs of the legs that name this one as X-CID."""
        return self._links.get(call_id, ())

    def message(self, place: int) -> WireMessage:
        """Return the message at a place."""
        batch = bisect_right(self._starts, place) - 1
        at, sent, messages = self._batches[batch]
        return copy_of(at, sent, *messages[place - self._starts[batch]])


class Ring:
    """Listens to the tap and keeps the newest messages: as many as fit into ``limit`` bytes. ``indexed``
    counts the messages that have been indexed, which is what a search costs.
    """

    def __init__(self, limit: int) -> None:
        self.size = 0
        self.indexed = 0
        self._count = 0  # messages since the start
        self._limit = limit
        self._segments: deque[Segment] = deque()

    def take(self, batches: Sequence[Batch]) -> None:
        """Keep these, and let the oldest go where there is no room."""
        segment = Segment(batches, self._count)
        self._count += segment.count
        self._segments.append(segment)
        self.size += segment.size
        while self.size > self._limit:
            self.size -= self._segments.popleft().size

    async def find(
        self, call_ids: Iterable[bytes], begun: float = 0.0, ended: float = 0.0, latest: float = _LATEST
    ) -> list[WireMessage]:
        """Return the messages of dialogs with these Call-IDs, and of the legs that name them as X-CID, in
        order. ``begun`` and ``ended`` narrow the search to a call's time and ``latest`` seconds after it.
        """
        segments = list(self._segments)  # hours of few calls are hundreds of thousands
        end = bisect_right(segments, ended + latest, key=_begun) if ended else None
        segments = segments[bisect_left(segments, begun - 1.0, key=_ended) : end]
        await self._index(segments)
        wanted = dict.fromkeys(call_ids)
        wanted.pop(b"", None)
        found: dict[int, WireMessage] = {}
        waiting = list(wanted)
        while waiting:
            call_id = waiting.pop()
            left = min(MOST, MOST_IN_ALL - len(found))
            for begin in range(0, len(segments), _LOOKS):
                for segment in segments[begin : begin + _LOOKS]:
                    places = segment.places(call_id)[:left]
                    left -= len(places)
                    found |= {segment.first + place: segment.message(place) for place in places}
                    for leg in segment.links(call_id):
                        if leg not in wanted and len(wanted) < _LEGS:
                            wanted[leg] = None
                            waiting.append(leg)
                await trio.lowlevel.checkpoint()
        return [found[place] for place in sorted(found)]

    async def _index(self, segments: Iterable[Segment]) -> None:
        """Index those that are not indexed yet; let others run in between."""
        left = _SLICE
        for number, segment in enumerate(segments, 1):
            if number % _LOOKS == 0:
                await trio.lowlevel.checkpoint()
            while not segment.is_indexed:
                count = segment.index(left)
                self.indexed += count
                left -= count
                if left <= 0:
                    left = _SLICE
                    await trio.lowlevel.checkpoint()
