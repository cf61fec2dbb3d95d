"""A metric as it is at one moment, whoever is to be told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from gateway.histogram import Histogram

MAX_SERIES = 2_000
"""Label sets of one metric; what goes beyond is counted together, under "other"."""

K = TypeVar("K")
Counts: TypeAlias = Mapping[K, float] | Iterable[tuple[K, float]]
Sample: TypeAlias = tuple[tuple[str, ...], int | float | Histogram]  # counts stay whole on their way to OTLP


@dataclass(frozen=True, slots=True)
class Metric:
    """``samples`` are pairs of label values, in the order of ``labels``, and a number or a Histogram."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    samples: list[Sample]


def counter(name: str, help_: str, labels: tuple[str, ...], counts: Counts[K]) -> Metric:
    """Make a metric of counts by label value, or by tuples of them."""
    return Metric(name, help_, "counter", labels, _bounded(labels, counts))


def gauge(name: str, help_: str, labels: tuple[str, ...], values: Counts[K]) -> Metric:
    """Make a metric of values that go up and down."""
    return Metric(name, help_, "gauge", labels, _bounded(labels, values))


def histogram(name: str, help_: str, label: str, by_label: Mapping[str, Histogram]) -> Metric:
    """Make a metric of histograms by the value of one label."""
    samples: list[Sample] = [((value,), found.copy()) for value, found in by_label.items()]
    return Metric(name, help_, "histogram", (label,), samples)


def _bounded(labels: tuple[str, ...], counts: Counts[K]) -> list[Sample]:
    items = counts.items() if isinstance(counts, Mapping) else counts
    found: dict[tuple[str, ...], float] = {}
    for key, count in items:
        values = tuple(map(str, key)) if isinstance(key, tuple) else (str(key),)
        if values not in found and len(found) >= MAX_SERIES:
            values = ("other",) * len(labels)
        found[values] = found.get(values, 0) + count
    return list(found.items())
