"""How much a trunk may carry: calls at a time (`max_calls`) and new calls a second (`max_cps`).

Both count calls in both directions, since a contract with a carrier does. A trunk without limits has no
:class:`Load`, so that it costs its calls nothing.
"""

from __future__ import annotations


class Load:
    """What a limited trunk carries. Kept over reloads, so that calls that are up go on counting.

    New calls come out of a bucket that holds what the trunk may begin in one second, at least one, and that
    fills at `max_cps`: a burst of that size passes, and the mean is kept.
    """

    __slots__ = ("_bucket", "_filled_at", "calls", "max_calls", "max_cps")

    def __init__(self, max_calls: int | None, max_cps: float | None) -> None:
        self.calls = 0
        self.limit(max_calls, max_cps)
        self._bucket = self._size
        self._filled_at = 0.0

    def limit(self, max_calls: int | None, max_cps: float | None) -> None:
        """Set the limits; None is no limit."""
        self.max_calls = max_calls
        self.max_cps = max_cps

    @property
    def _size(self) -> float:
        return max(1.0, self.max_cps or 1.0)

    def enter(self, now: float) -> bool:
        """Count a new call in, or tell that there is no room for it."""
        if self.max_calls is not None and self.calls >= self.max_calls:
            return False
        if self.max_cps is not None:
            self._bucket = min(self._size, self._bucket + (now - self._filled_at) * self.max_cps)
            self._filled_at = now
            if self._bucket < 1.0:
                return False
            self._bucket -= 1.0
        self.calls += 1
        return True

    def leave(self) -> None:
        """Count a call out that was counted in."""
        self.calls -= 1
