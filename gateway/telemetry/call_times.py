"""How long calls take, from their records."""

from __future__ import annotations

from gateway.b2bua.record import CallRecord
from gateway.histogram import CALL_SECONDS, Histogram


class CallTimes:
    """Keeps histograms by the trunk that was called last.

    ``setup`` is the time from INVITE to answer, of answered calls; ``final`` the time from INVITE to
    rejection, of rejected ones.
    """

    def __init__(self) -> None:
        self.setup: dict[str, Histogram] = {}
        self.final: dict[str, Histogram] = {}

    def answered(self, record: CallRecord) -> None:
        """Take a call that has just been answered."""
        _observe(self.setup, record.callee_trunk, record.answered_at - record.invited_at)

    def ended(self, record: CallRecord) -> None:
        """Take a call that has just ended."""
        if record.emitted_status and not record.answered_at:
            _observe(self.final, record.callee_trunk, record.ended_at - record.invited_at)


def _observe(times: dict[str, Histogram], trunk: str, seconds: float) -> None:
    histogram = times.get(trunk)
    if histogram is None:
        histogram = times[trunk] = Histogram(CALL_SECONDS)
    histogram.observe(seconds)
