"""How long calls take, from their records."""

from __future__ import annotations

from gateway.b2bua.record import CallRecord
from gateway.histogram import CALL_SECONDS, Histogram


class CallTimes:
    """A RecordSink that keeps histograms by the trunk that was called last.

    ``setup`` is the time from INVITE to answer, of answered calls; ``final`` the time from INVITE to
    rejection, of rejected ones.
    """

    def __init__(self) -> None:
        self.setup: dict[str, Histogram] = {}
        self.final: dict[str, Histogram] = {}

    def record(self, record: CallRecord) -> None:
        """Take the record of a call that has just ended."""
        if record.answered_at:
            times, seconds = self.setup, record.answered_at - record.invited_at
        elif record.emitted_status:
            times, seconds = self.final, record.ended_at - record.invited_at
        else:
            return
        histogram = times.get(record.callee_trunk)
        if histogram is None:
            histogram = times[record.callee_trunk] = Histogram(CALL_SECONDS)
        histogram.observe(seconds)
