"""Whether the clocks of several captures agree: from messages that two of them caught.

Of two captures at the two ends of a way, a message in one direction is caught later by the delay and the
skew, one in the other direction later by the delay and earlier by the skew. So both directions together give
the skew, as in NTP (RFC 5905 section 8).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from gateway.analysis.model import Event, Mark

LEAST = 0.05
"""Seconds of skew below which nobody is misled."""

_PAIRS = 256
_SAMPLES = 101


class Skew(NamedTuple):
    """How far the clock of one capture is ahead of another's."""

    point: int
    behind: int
    seconds: float
    is_certain: bool
    """Whether messages of both directions say so; else the delay of the way is in it."""
    first: Mark
    second: Mark


class _Pair:
    """What two captures caught of one way: offsets of the later numbered one, by direction."""

    def __init__(self, first: Mark, second: Mark) -> None:
        self.first, self.second = first, second
        self.offsets: dict[bool, deque[float]] = {
            True: deque(maxlen=_SAMPLES),
            False: deque(maxlen=_SAMPLES),
        }


class Clocks:
    """Compares when different captures caught the same message."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[tuple[int, int, str, str], _Pair] = OrderedDict()

    def same(self, one: Event, other: Event) -> None:
        """Take a message that two captures caught."""
        low, high = (one, other) if one.caught.point < other.caught.point else (other, one)
        hosts = sorted((low.source[0], low.destination[0]))
        key = (low.caught.point, high.caught.point, hosts[0], hosts[1])
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= _PAIRS:
                return
            pair = self._pairs[key] = _Pair(Mark.of(low), Mark.of(high))
        pair.offsets[low.source[0] == hosts[0]].append(high.at - low.at)

    def skews(self) -> Iterator[Skew]:
        """Yield each pair of captures whose clocks do not agree."""
        for (low, high, _, _), pair in self._pairs.items():
            there, back = pair.offsets[True], pair.offsets[False]
            is_certain = bool(there and back)
            ahead = (median(there) + median(back)) / 2 if is_certain else median(there or back)
            if abs(ahead) >= (LEAST if is_certain else 1.0):
                if ahead > 0:
                    yield Skew(high, low, ahead, is_certain, pair.second, pair.first)
                else:
                    yield Skew(low, high, -ahead, is_certain, pair.first, pair.second)
