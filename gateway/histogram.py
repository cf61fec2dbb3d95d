"""Histograms with fixed buckets, as plain lists: observing is a search in a tuple and an addition."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

CALL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 180.0)
"""Bounds for times that people and networks take."""
LOOP_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Bounds for times that the gateway takes."""


class Histogram(msgspec.Struct, array_like=True, eq=False):
    """Counts of values by ``bounds``, the upper ends of the buckets (inclusive); ``counts`` has one
    more, for what is above all of them.
    """

    bounds: tuple[float, ...]
    counts: list[int] = []
    total: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Histogram:
        """Return the histogram as it is now."""
        return Histogram(self.bounds, self.counts.copy(), self.total)
