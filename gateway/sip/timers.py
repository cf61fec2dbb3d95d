"""One heap for every timer of the gateway.

Nearly all SIP timers are one of a few durations and nearly all of them never matter (the answer came). So a
timer is a bare reference in the list of its 10 ms slot, the heap holds one number a slot, and nothing is ever
taken out: who was scheduled looks at its own state when called and ignores a call that it does not need.
Setting a timer costs a dictionary look-up and an append, however many are waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final, Protocol

SLOTS_PER_SECOND: Final = 100
EVERYBODY: Final = 1 << 40


class Timed(Protocol):
    """Something with timers of its own."""

    def on_timer(self, now: float) -> None:
        """Do what has become due by ``now`` (seconds); called at times, possibly for nothing."""


class Timers:
    """Calls back at or up to 10 ms after the asked time, when somebody calls :meth:`fire`."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Timed]] = {}
        self._heap: list[int] = []

    def at(self, when: float, target: Timed) -> None:
        """Have ``target.on_timer`` called once ``when`` (seconds) has come."""
        slot = int(when * SLOTS_PER_SECOND) + 1  # strictly later, or rounding could lose the timer
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = [target]
            heapq.heappush(self._heap, slot)
        else:
            waiting.append(target)

    def fire(
        self, now: float, on_bug: Callable[[Exception], None] | None = None, most: int = EVERYBODY
    ) -> None:
        """Call those whose time has come, in order of time, at most so many of them.

        ``on_bug`` is told of what one of them raises, and the others have their turn all the same; without
        it the exception comes out.
        """
        heap = self._heap
        # The same division as in next_due, so that what falls due then also fires then.
        while most > 0 and heap and heap[0] / SLOTS_PER_SECOND <= now:
            slot = heapq.heappop(heap)
            due = self._slots.pop(slot)
            if len(due) > most:
                self._slots[slot] = due[most:]
                heapq.heappush(heap, slot)
                due = due[:most]
            most -= len(due)
            for target in due:
                try:
                    target.on_timer(now)
                except Exception as bug:
                    if on_bug is None:
                        raise
                    on_bug(bug)

    def next_due(self) -> float | None:
        """The time of the earliest slot, or None when nothing waits."""
        return self._heap[0] / SLOTS_PER_SECOND if self._heap else None

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))
