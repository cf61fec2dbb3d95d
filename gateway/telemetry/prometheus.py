"""Metrics as Prometheus reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from gateway.histogram import Histogram

from .metric import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Prometheus(Collector):
    """Renders a reading of metrics, and what the system says of the process."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> list[Family]:
        """Return nothing: names are not checked beforehand."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield every metric."""
        yield from map(_family, self._metrics)

    def render(self) -> bytes:
        """Return all metrics in the text format. With thousands of series that takes tens of milliseconds."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry)


def _family(metric: Metric) -> Family:
    family: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
    if metric.kind == "histogram":
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, found in metric.samples:
            assert isinstance(found, Histogram)
            family.add_metric(labels, list(_buckets(found)), found.total)
        return family
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.samples:
        assert not isinstance(value, Histogram)
        family.add_metric(labels, value)
    return family


def _buckets(found: Histogram) -> Iterator[tuple[str, float]]:
    for bound, count in zip((*found.bounds, math.inf), accumulate(found.counts), strict=True):
        yield "+Inf" if bound == math.inf else str(bound), count
