"""Telemetry as a part of the gateway: what it counts, what it traces, and where that goes."""

from __future__ import annotations

from collections.abc import Callable

import trio

from gateway.b2bua.record import CallRecord
from gateway.config import Config
from gateway.histogram import LOOP_SECONDS, Histogram

from .call_times import CallTimes
from .exporter import Exporter
from .metric import Metric
from .numbers import mask_for
from .otlp_metrics import metrics_data
from .prometheus import Prometheus
from .sampling import Sampler
from .spans import SpanMaker, resource_of

_READING = 15.0  # seconds between two readings that are sent to the collector
_CLOSE = 5.0  # seconds that a stop may wait for the collector
_LATE = 1.0  # seconds of loop lag at which no more calls should come


class Telemetry:
    """A RecordSink. ``collect`` must be set before :meth:`run`; it reads every metric. ``log`` is told when
    the collector fails, and when it is back.
    """

    def __init__(self, config: Config, clock: Callable[[], float], log: Callable[[str], None]) -> None:
        settings = config.telemetry
        self.times = CallTimes()
        self.loop_lag = Histogram(LOOP_SECONDS)
        self.collect: Callable[[], list[Metric]] = list
        self.exporter: Exporter | None = None
        self._name = config.gateway.name
        self._clock = clock
        self._begun = clock()
        self._last_lag = 0.0
        self._sampler = Sampler(settings.sample, settings.sample_rewritten, settings.max_traces_per_second)
        if settings.otlp:
            maker = SpanMaker(self._name, mask_for(settings.numbers))
            self.exporter = Exporter(settings.otlp, maker, log)
        self._prometheus = Prometheus(lambda: self.collect())

    def record(self, record: CallRecord) -> None:
        """Take the record of a call that has just ended. Returns at once and never raises."""
        self.times.record(record)
        if self.exporter is not None and self._sampler.keeps(record):
            self.exporter.trace(record)

    def note_lag(self, seconds: float) -> None:
        """Take how late a tick came."""
        self._last_lag = seconds
        self.loop_lag.observe(seconds)

    @property
    def is_late(self) -> bool:
        """Whether the loop has too much to do."""
        return self._last_lag > _LATE

    def traces(self) -> dict[str, int]:
        """Return how many traces there were, by what became of them."""
        if self.exporter is None:
            return {}
        return {
            "exported": self.exporter.exported,
            "dropped": self.exporter.dropped,
            "failed": self.exporter.failed,
            "thinned": self._sampler.thinned,
        }

    def render(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return self._prometheus.render()

    async def run(self) -> None:
        """Send readings of the metrics to the collector, if there is one, until cancelled."""
        exporter = self.exporter
        if exporter is None:
            return
        exporter.start()
        while True:
            exporter.read(metrics_data(self.collect(), resource_of(self._name), self._begun, self._clock()))
            await trio.sleep(_READING)

    async def close(self) -> None:
        """Send what is left, for at most 5 seconds. Call it once :meth:`run` has ended."""
        if self.exporter is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self.exporter.close, _CLOSE)
