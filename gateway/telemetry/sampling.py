"""Which calls are traced.

A call draws one lot, which is a matter of its id, so that it is settled at the INVITE and each part that asks
hears the same. The lot is held against `sample`, or `sample_rewritten` where the call turned out to be
rewritten; a call whose caller says that its trace is kept (`trace_context`) is drawn in any case. When more
calls are drawn than `max_traces_per_second`, they thin out evenly: of those drawn in a second, as large a
share is kept as would have fitted into the second before.
"""

from __future__ import annotations

from gateway.b2bua.record import CallRecord
from gateway.b2bua.tracing import lot

_ONE = 1.0 - 1e-9  # ten tenths are a little less than one


class Sampler:
    """``sample`` and ``sample_rewritten`` are shares from 0 to 1. ``thinned`` counts calls that were drawn
    and left out.
    """

    def __init__(self, sample: float, sample_rewritten: float, max_per_second: float) -> None:
        self.thinned = 0
        self._sample = sample
        self._sample_rewritten = sample_rewritten
        self._limit = max_per_second
        self._second = 0
        self._drawn = 0  # in this second
        self._kept = 0
        self._share = 1.0
        self._credit = 0.0

    def draws(self, record: CallRecord) -> bool:
        """Tell whether a call belongs to those that are traced, if there is room."""
        if record.trace is not None and record.trace.sampled:
            return True
        rewritten = record.rule and record.emitted_status != record.original_status
        share = self._sample_rewritten if rewritten else self._sample
        return share >= 1.0 or lot(record.id) < share

    def keeps(self, record: CallRecord, now: float) -> bool:
        """Tell whether a call is to be traced, ``now`` that it has ended or has been up for long."""
        if not self.draws(record):
            return False
        if self._has_room(now):
            return True
        self.thinned += 1
        return False

    def _has_room(self, now: float) -> bool:
        second = int(now)
        if second != self._second:
            drawn = self._drawn if second == self._second + 1 else 0
            self._share = min(1.0, self._limit / drawn) if drawn else 1.0
            self._second, self._drawn, self._kept = second, 0, 0
        self._drawn += 1
        self._credit = min(self._credit + self._share, 1.0)
        if self._credit < _ONE or self._kept >= self._limit:
            return False
        self._credit -= 1.0
        self._kept += 1
        return True
