"""The messages of the last minutes, so that a call can be looked at after it went wrong.

What came in a tenth of a second is one segment: the very batches of the transports. Nothing in it is copied
or read until somebody asks for a call; then messages are searched for its Call-IDs, two million a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import trio

from gateway.wire import WireMessage

from .identity import call_id_of, x_cid_of
from .tap import Batch, copy_of

_OVERHEAD = 160  # bytes that a message costs beside its own: its object, its pair with the flow, its places
_SLICE = 1024 * 1024  # bytes that are searched in one go: half a millisecond
_LEGS = 64  # Call-IDs of one call that are looked for
MOST = 2_000
"""Messages of one dialog that are shown."""
_LATEST = 34.0  # seconds after its end that a call's last retransmissions may take


class Segment:
    """Messages in order of time."""

    __slots__ = ("_batches", "_first", "begun", "count", "ended", "size")

    def __init__(self, batches: Sequence[Batch], first: int) -> None:
        self._batches = batches
        self._first = first  # the place of its first message
        self.begun, self.ended = batches[0][0], batches[-1][0]
        sizes = [len(data) for _, _, messages in batches for data, _ in messages]
        self.count = len(sizes)
        self.size = sum(sizes) + _OVERHEAD * self.count

    def mentioning(self, word: bytes) -> Iterator[tuple[int, WireMessage]]:
        """Yield each message that has these bytes in it, with its place among all messages."""
        place = self._first
        for at, sent, messages in self._batches:
            for index, (data, flow) in enumerate(messages, place):
                if word in data:
                    yield index, copy_of(at, sent, data, flow)
            place += len(messages)


class Ring:
    """Listens to the tap and keeps the newest messages: as many as fit into ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self.size = 0
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
        self, call_ids: Iterable[bytes], begun: float = 0.0, ended: float = 0.0, pause: float = 0.0
    ) -> list[WireMessage]:
        """Return the messages of dialogs with these Call-IDs, and of the legs that name them as X-CID, in
        order. ``begun`` and ``ended`` narrow the search to a call's time; ``pause`` is how many
        seconds to wait after each megabyte.
        """
        wanted = dict.fromkeys(call_ids)
        wanted.pop(b"", None)
        segments = [
            segment
            for segment in self._segments
            if segment.ended >= begun - 1.0 and (not ended or segment.begun <= ended + _LATEST)
        ]
        found: dict[int, WireMessage] = {}
        waiting = list(wanted)
        while waiting:
            call_id = waiting.pop()
            for place, message in await _search(segments, call_id, pause):
                if call_id_of(message.payload) == call_id:
                    found[place] = message
                elif x_cid_of(message.payload) == call_id:
                    leg = call_id_of(message.payload)
                    if leg not in wanted and len(wanted) < _LEGS:
                        wanted[leg] = None
                        waiting.append(leg)
        return [found[place] for place in sorted(found)]


async def _search(segments: Iterable[Segment], word: bytes, pause: float) -> list[tuple[int, WireMessage]]:
    """Return at most :data:`MOST` messages that have these bytes in them; let others run in between."""
    found: list[tuple[int, WireMessage]] = []
    searched = 0
    for segment in segments:
        found += islice(segment.mentioning(word), MOST - len(found))
        searched += segment.size
        if searched >= _SLICE:
            searched = 0
            await trio.sleep(pause)
    return found
