"""Whether two shares differ by more than chance."""

from __future__ import annotations

from math import sqrt


def deviation(part: int, whole: int, other_part: int, other_whole: int) -> float:
    """Return the standard deviation of the difference of two shares of one size, by the pooled estimate.

    Each part is at most its whole, and each whole more than 0.
    """
    pooled = (part + other_part) / (whole + other_whole)
    return sqrt(pooled * (1 - pooled) * (1 / whole + 1 / other_whole))
