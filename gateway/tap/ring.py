"""Finds a call's messages among the recent ones, while others go on coming."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

import trio

from gateway.wire import WireMessage

from .store import Block, Store

_SLICE = 250  # messages that are indexed in one go: a millisecond
_LEGS = 64  # Call-IDs of one call that are looked for
MOST = 2_000
"""Messages of one dialog that are found,"""
MOST_IN_ALL = 10_000
"""and of all dialogs of a call."""
_LATEST = 34.0  # seconds after its end that a call's last retransmissions may take
_begun, _ended = attrgetter("begun"), attrgetter("ended")


class Ring:
    """The newest messages, as many as fit into ``limit`` bytes: the ``store`` takes them from the tap.
    ``indexed`` counts the messages that have been indexed, which is what a search costs.
    """

    def __init__(self, limit: int) -> None:
        self.store = Store(limit)
        self.indexed = 0

    async def find(
        self, call_ids: Iterable[bytes], begun: float = 0.0, ended: float = 0.0, latest: float = _LATEST
    ) -> list[WireMessage]:
        """Return the messages of dialogs with these Call-IDs, and of the legs that name them as X-CID, in
        order. ``begun`` and ``ended`` narrow the search to a call's time and ``latest`` seconds after it.
        """
        since, until = begun - 1.0, ended + latest if ended else math.inf
        blocks = self.store.blocks
        blocks = blocks[bisect_left(blocks, since, key=_ended) : bisect_right(blocks, until, key=_begun)]
        await self._index(blocks)
        wanted = dict.fromkeys(call_ids)
        wanted.pop(b"", None)
        found: dict[int, WireMessage] = {}
        waiting = list(wanted)
        while waiting:
            call_id = waiting.pop()
            left = min(MOST, MOST_IN_ALL - len(found))
            # A block that was written anew meanwhile is not indexed, so nothing is found in it.
            for block in blocks:
                places = block.places(call_id, since, until)[:left]
                left -= len(places)
                found |= {block.first + place: block.message(place) for place in places}
                if len(places) > _SLICE:
                    await trio.lowlevel.checkpoint()
                for leg in block.links(call_id):
                    if leg not in wanted and len(wanted) < _LEGS:
                        wanted[leg] = None
                        waiting.append(leg)
            await trio.lowlevel.checkpoint()
        return [found[place] for place in sorted(found)]

    async def _index(self, blocks: Sequence[Block]) -> None:
        """Index what is in them now and is not indexed yet; let others run in between."""
        left = _SLICE
        for block, count in [(block, block.count) for block in blocks]:
            while block.indexed < count and (indexed := block.index(left)):
                self.indexed += indexed
                left -= indexed
                if left <= 0:
                    left = _SLICE
                    await trio.lowlevel.checkpoint()
