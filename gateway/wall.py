"""What the clock on the wall shows, which people and time servers set while the gateway runs.

The gateway's own time never steps: timers go by it, and so does all that is compared with another moment in
memory, calls under way and counts of earlier ones included. It is in seconds since the epoch and what the
wall clock showed when the gateway started. By how far the wall clock is `ahead` of it by now (NTP has set it,
the machine was suspended) is added where a moment is told outside, or asked for by the hour; so all moments
of a record move by the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_STEP = 0.05  # seconds; less is no step, and nothing to date records anew by
_AT_ONCE = 0.005  # seconds that reading both clocks may take, or they do not show the same moment


def make_clock() -> Callable[[], float]:
    """Make a clock in seconds since the epoch that never steps: monotonic, set once by the wall clock."""
    offset = time.time() - time.monotonic()
    monotonic = time.monotonic
    return lambda: monotonic() + offset


class Wall:
    """The wall clock against the gateway's own."""

    ahead: float
    """Seconds from what the gateway's own clock shows to what the wall clock does; 0.0 until they part."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def shows(self, at: float) -> float:
        """Return what the wall clock showed at a moment of the gateway's own."""
        return at + self.ahead

    def least(self, at: float) -> float:
        """Return the earlier of a moment of the gateway's own and what the wall clock showed then: to delete
        by, for whoever sets a clock ahead by mistake must not lose what cannot be had again.
        """
        return at + min(self.ahead, 0.0)

    def follow(self, clock: Callable[[], float]) -> float:
        """Look at both clocks. Return the seconds by which the wall clock has been set, 0.0 if it has not."""
        before = clock()
        step = time.time() - before - self.ahead
        if abs(step) <= _STEP or clock() - before > _AT_ONCE:
            return 0.0
        self.ahead += step
        return step
