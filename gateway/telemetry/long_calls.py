"""Calls that are to be traced before they end, since they last long."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.b2bua.record import CallRecord

LONG = 60.0
"""Seconds after its answer from which on a call is long."""
_MOST = 20_000  # calls that are remembered


class LongCalls:
    """Remembers answered calls; ``draws`` tells which are worth it. ``told`` are the ids of those whose
    beginning has been traced.
    """

    def __init__(self, draws: Callable[[CallRecord], bool]) -> None:
        self.told: set[str] = set()
        self._draws = draws
        self._up: dict[str, CallRecord] = {}  # in the order of their answers

    def answered(self, record: CallRecord) -> None:
        """Take a call that has just been answered."""
        if len(self._up) + len(self.told) < _MOST and self._draws(record):
            self._up[record.id] = record

    def due(self, now: float) -> Iterator[CallRecord]:
        """Yield the calls that have become long, each once."""
        while self._up:
            record = next(iter(self._up.values()))
            if record.answered_at > now - LONG:
                return
            del self._up[record.id]
            yield record

    def ended(self, record: CallRecord) -> bool:
        """Forget a call that has ended; tell whether its beginning has been traced."""
        if record.id in self.told:
            self.told.remove(record.id)
            return True
        self._up.pop(record.id, None)
        return False
