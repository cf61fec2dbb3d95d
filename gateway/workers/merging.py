"""The metrics of all workers as those of one gateway.

Every worker tells the first one its metrics once a second. Counters and histograms are summed, over workers
that have died, too; gauges are summed, but for those that say the same of the whole gateway everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.histogram import Histogram
from gateway.telemetry.metric import Metric, Sample

from .notes import MetricNote

_LEADERS = frozenset(
    (
        "sip_gateway_target_up",
        "sip_gateway_drift_ratio",
        "sip_gateway_info",
        "sip_gateway_canary_stopped",
        "sip_gateway_draining",
    )
)
"""Gauges that are the first worker's alone to say."""
_LARGEST = frozenset(("sip_gateway_ledger_lag_seconds",))
"""Gauges of which the largest counts."""

Value = int | float | Histogram
_Values = dict[tuple[str, ...], Value]


class Merger:
    """What the first worker knows of the metrics of the others."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._latest: dict[int, dict[str, list[Sample]]] = {}
        self._buried: dict[str, _Values] = {}  # counts of workers that have died

    def take(self, note: MetricNote) -> None:
        """Take one metric of one worker."""
        if self._pids.setdefault(note.worker, note.pid) != note.pid:
            self._pids[note.worker] = note.pid
            for name, samples in self._latest.pop(note.worker, {}).items():
                _add(self._buried.setdefault(name, {}), samples)
        self._latest.setdefault(note.worker, {})[note.name] = note.samples

    def merge(self, own: Iterable[Metric]) -> list[Metric]:
        """Return the metrics of the gateway, from those of the first worker."""
        return [self._merged(metric) for metric in own]

    def _merged(self, metric: Metric) -> Metric:
        name = metric.name
        if name in _LEADERS:
            return metric
        values: _Values = {}
        _add(values, metric.samples)
        for told in self._latest.values():
            if name in _LARGEST:
                for labels, value in told.get(name, ()):
                    values[labels] = max(values.get(labels, 0), value)  # type: ignore[type-var]
            else:
                _add(values, told.get(name, ()))
        if metric.kind != "gauge":
            _add(values, self._buried.get(name, {}).items())
        return replace(metric, samples=list(values.items()))


def _add(values: _Values, samples: Iterable[tuple[tuple[str, ...], Value]]) -> None:
    for labels, value in samples:
        values[labels] = _sum(values[labels], value) if labels in values else value


def _sum(one: Value, other: Value) -> Value:
    if isinstance(one, Histogram) and isinstance(other, Histogram):
        counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
        return Histogram(one.bounds, counts, one.total + other.total)
    assert not isinstance(one, Histogram) and not isinstance(other, Histogram), "one name, one kind"
    return one + other
