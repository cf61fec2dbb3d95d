"""What somebody on the wire of ``tests.helpers`` wants to do later, on the wire's own clock."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from tests.helpers import Net


class Jobs:
    """A station of a `Net` that does what is due, as an endpoint fires its timers."""

    def __init__(self, net: Net) -> None:
        self.timers = self
        self._net = net
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        net.stations["jobs", 0] = self  # type: ignore[assignment]

    def after(self, seconds: float, job: Callable[[], object]) -> None:
        """Do a job some seconds from now."""
        heapq.heappush(self._due, (self._net.now + seconds, next(self._order), job))

    def next_due(self) -> float | None:
        """When there is something to do next."""
        return self._due[0][0] if self._due else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def drain(self) -> list[tuple[bytes, object]]:
        """Nothing: whoever gives jobs sends by itself."""
        return []
