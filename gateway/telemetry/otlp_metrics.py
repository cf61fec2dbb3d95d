"""Metrics as OTLP has them: the data types of the SDK, filled from a reading of the gateway's counters."""

from __future__ import annotations

from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import Resource

from gateway.histogram import Histogram

from .metric import Metric
from .spans import SCOPE

_SINCE_START = export.AggregationTemporality.CUMULATIVE


def metrics_data(metrics: list[Metric], resource: Resource, begun: float, now: float) -> export.MetricsData:
    """Return a reading; ``begun`` is when counting began, ``now`` when it was read, in seconds."""
    span = (int(begun * 1e9), int(now * 1e9))
    scope = export.ScopeMetrics(SCOPE, [_metric(metric, *span) for metric in metrics if metric.samples], "")
    return export.MetricsData([export.ResourceMetrics(resource, [scope], "")])


def _metric(metric: Metric, begun: int, now: int) -> export.Metric:
    unit = "s" if metric.name.endswith("_seconds") else "1"
    data: export.Histogram | export.Sum | export.Gauge
    if metric.kind == "histogram":
        data = export.Histogram([*_distributions(metric, begun, now)], _SINCE_START)
    else:
        points = [
            export.NumberDataPoint(_attributes(metric, labels), begun, now, value)
            for labels, value in metric.samples
            if not isinstance(value, Histogram)
        ]
        data = export.Sum(points, _SINCE_START, True) if metric.kind == "counter" else export.Gauge(points)
    return export.Metric(metric.name, metric.help, unit, data)


def _distributions(metric: Metric, begun: int, now: int) -> list[export.HistogramDataPoint]:
    return [
        export.HistogramDataPoint(
            attributes=_attributes(metric, labels),
            start_time_unix_nano=begun,
            time_unix_nano=now,
            count=sum(found.counts),
            sum=found.total,
            bucket_counts=found.counts,
            explicit_bounds=found.bounds,
            min=float("nan"),
            max=float("nan"),
        )
        for labels, found in metric.samples
        if isinstance(found, Histogram)
    ]


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))
