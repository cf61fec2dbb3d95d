"""SIP messages out of TCP streams: segments put in order, copies passed over, then cut by `sip.framing`.

Most streams of a capture are not SIP, and some began before it. So a stream is listened to from where a SIP
message begins in it; until then a few of its segments are kept, because the first of them may come late. A
gap that is not filled in time is passed over, to where the next message begins. Streams are bounded in number
and in what waits in each; the one that has been silent longest is let go.
"""

from __future__ import annotations

import heapq
import re
from collections import OrderedDict

from gateway.captures.files import Notes
from gateway.captures.packets import Segment
from gateway.sip.framing import Framer

START = re.compile(
    rb"(?:\r\n)*+(?:SIP/2\.0 [1-6][0-9]{2} |[A-Z]{3,16} [A-Za-z]{3,8}:[^\s]{1,4096} SIP/2\.0\r?\n)"
)
"""How a SIP message begins."""

_OPENING = re.compile(rb"[\r\n]*+(?:SIP/2\.0 |[A-Z]{3,16} [A-Za-z]{3,8}:)")
_LONGEST_OPENING = 64  # bytes by which a stream is known for SIP or for something else

_STREAMS = 2048
_EARLY = 4  # segments kept of a stream in which no message has begun
_AHEAD = 65_536  # bytes that wait for some before them
_AHEAD_SEGMENTS = 128  # likewise; 64 KiB are 122 of the smallest that are usual (RFC 9293 3.7.1)
_PATIENCE = 3.0  # seconds that they wait: what was lost has been sent again by then (RFC 6298)
_HALF = 1 << 31
_ALL = (1 << 32) - 1


class Streams:
    """The TCP streams of one capture, each direction of a connection for itself."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._streams: OrderedDict[tuple[int, tuple[str, int], tuple[str, int]], _Stream] = OrderedDict()

    def feed(self, point: int, at: float, segment: Segment) -> list[bytes]:
        """Take a segment that was caught at `point`, at this time; return the messages that it completes."""
        key = (point, segment.source, segment.destination)
        stream = self._streams.get(key)
        if stream is None or segment.is_first:
            stream = self._streams[key] = _Stream(self._notes)
            if len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
        self._streams.move_to_end(key)
        sequence = segment.sequence
        if segment.is_first:  # SYN takes a number of its own
            sequence = (sequence + 1) & _ALL
            stream.open(sequence)
        return stream.feed(sequence, segment.payload, at) if segment.payload else []


class _Stream:
    """One direction of one connection."""

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_early",
        "_framer",
        "_next",
        "_notes",
        "_opening",
        "_place",
        "_places",
        "_since",
    )

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._framer: Framer | None = None  # None while this is not known for SIP
        self._opening = b""
        self._next = -1  # the number of the byte that is awaited; -1 while no message has begun
        self._place = 0  # the same, but places do not run over
        self._early: dict[int, bytes] = {}  # by number, while no message has begun
        self._ahead: dict[int, bytes] = {}  # by place, from then on
        self._ahead_bytes = 0
        self._places: list[int] = []  # of these; a heap
        self._since = 0.0  # when the first of these came

    def open(self, sequence: int) -> None:
        """Learn the number of the first byte, from the packet that opens the connection."""
        self._next = sequence

    def feed(self, sequence: int, data: bytes, at: float) -> list[bytes]:
        """Take the bytes from `sequence` on, caught at this time; return the messages that they complete."""
        messages = self._put(sequence, data, at)
        while self._ahead and (
            at - self._since > _PATIENCE or self._ahead_bytes > _AHEAD or len(self._ahead) > _AHEAD_SEGMENTS
        ):
            messages += self._skip_gap(at)
        return messages

    def _put(self, sequence: int, data: bytes, at: float) -> list[bytes]:
        """Read bytes that are awaited and those that follow them, keep those that are ahead."""
        if self._next < 0:
            if START.match(data) is None:
                if len(self._early) >= _EARLY:
                    del self._early[next(iter(self._early))]
                self._early[sequence] = data
                return []
            self._next = sequence
            for number, early in self._early.items():
                self._keep(_distance(sequence, number), early)
            self._early.clear()
            self._since = at
        elif not self._ahead:
            self._since = at
        distance = _distance(self._next, sequence)
        if distance > 0:
            self._keep(distance, data)
            return []
        messages = self._take(distance, data)
        while self._places and self._places[0] <= self._place:
            place = heapq.heappop(self._places)
            kept = self._ahead.pop(place)
            self._ahead_bytes -= len(kept)
            messages += self._take(place - self._place, kept)
        return messages

    def _keep(self, distance: int, data: bytes) -> None:
        """Have bytes wait, of copies the longest."""
        place = self._place + distance
        kept = self._ahead.get(place)
        if kept is None:
            heapq.heappush(self._places, place)
        elif len(data) <= len(kept):
            return
        self._ahead[place] = data
        self._ahead_bytes += len(data) - len(kept or b"")

    def _take(self, distance: int, data: bytes) -> list[bytes]:
        """Read what begins with the byte that is awaited or before it; pass over what has been."""
        new = data[-distance:]
        self._next = (self._next + len(new)) & _ALL
        self._place += len(new)
        return self._read(new) if new else []

    def _read(self, data: bytes) -> list[bytes]:
        if self._framer is None:
            data = self._opening + data
            if _OPENING.match(data) is None:
                if len(data) < _LONGEST_OPENING:
                    self._opening = data
                else:  # something else, until a message begins just with a segment
                    self._stop()
                return []
            self._opening = b""
            self._framer = Framer()
        messages = self._framer.feed(data)
        if self._framer.error is not None:
            number, place = self._next, self._place
            waiting = self._stop()
            self._early = {(number + at - place) & _ALL: each for at, each in waiting}
        return messages

    def _stop(self) -> list[tuple[int, bytes]]:
        """Wait for a message to begin; return what was ahead, with its places, in order."""
        waiting = sorted(self._ahead.items())
        self._ahead.clear()
        self._ahead_bytes = 0
        self._places.clear()
        self._framer = None
        self._opening = b""
        self._next = -1
        return waiting

    def _skip_gap(self, at: float) -> list[bytes]:
        """Go on behind a gap that nothing fills: with the next segment in which a message begins."""
        self._notes.segments_lost += 1
        number, place = self._next, self._place
        messages: list[bytes] = []
        for ahead, data in self._stop():
            messages += self._put((number + ahead - place) & _ALL, data, at)
        return messages


def _distance(here: int, there: int) -> int:
    """Return how far a number is ahead of another, negative when it is behind (RFC 9293 3.4)."""
    return ((there - here + _HALF) & _ALL) - _HALF
