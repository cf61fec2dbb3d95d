"""Telemetry as a part of the gateway: what it counts, what it traces, and where that goes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Literal

import msgspec
import trio

from gateway.b2bua.record import CallRecord, Evidence, moved
from gateway.b2bua.tracing import Tracing
from gateway.config import Config
from gateway.histogram import LOOP_SECONDS, Histogram
from gateway.wall import Wall

from .call_times import CallTimes
from .exporter import Exporter
from .feed import Grounds, Hello, Reading, TracedCall
from .kept import Address, Completion, KeptMessages
from .logs import OtlpHandler
from .long_calls import LongCalls
from .metric import Metric
from .numbers import mask_for
from .prometheus import Prometheus
from .sampling import Sampler

log = logging.getLogger("gateway")

_LOOK = 1.0  # seconds between two looks for calls that have become long, and for messages
_READING = 15  # looks between two readings that are sent to the collector
_START = 10.0  # seconds that the sender may take to be loaded; it may be later, too
_CLOSE = 4.8  # seconds that a stop may wait for the collector
_LATE = 1.0  # seconds of loop lag at which no more calls should come


class Telemetry:
    """A RecordSink. ``collect`` must be set before :meth:`run`; it reads every metric. ``keeps_evidence``
    says whether somebody else still needs what calls were decided by once this sink has seen it. ``clock`` is
    that of calls; what is sent goes by ``wall``.
    """

    def __init__(
        self, config: Config, clock: Callable[[], float], keeps_evidence: bool, wall: Wall | None = None
    ) -> None:
        settings = config.telemetry
        self.times = CallTimes()
        self.loop_lag = Histogram(LOOP_SECONDS)
        self.collect: Callable[[], list[Metric]] = list
        self.exporter: Exporter | None = None
        self.sends_readings = True  # False where another worker sends those of all
        self.tracing = Tracing(config.gateway.name, settings.sample if settings.otlp else None)
        self._clock = clock
        self._wall = wall or Wall()
        self._last_lag = 0.0
        self._keeps_evidence = keeps_evidence
        self._mask = mask_for(settings.numbers)
        self._sampler = Sampler(settings.sample, settings.sample_rewritten, settings.max_traces_per_second)
        self._long = LongCalls(self._sampler.draws)
        self._completion: Completion | None = None
        if settings.otlp:
            hello = Hello(settings.otlp, config.gateway.name, self._wall.shows(clock()))
            self.exporter = Exporter(hello, lambda text: log.warning("%s", text))

    def watch_wire(self, kept: KeptMessages, own: Collection[Address]) -> None:
        """Have traces tell of each message, as somebody has kept them; ``own`` are the gateway's addresses.
        Without, they tell of those that the record does.
        """
        if self.exporter is not None:
            self._completion = Completion(kept, own, self._export)

    def answered(self, record: CallRecord) -> None:
        """Take the record of a call that has just been answered. Returns at once and never raises."""
        self.times.answered(record)
        if self.exporter is not None:
            self._long.answered(record)

    def record(self, record: CallRecord) -> None:
        """Take the record of a call that has just ended. Returns at once and never raises."""
        self.times.ended(record)
        if record.ended_by == "gateway":
            self._log_failure(record)
        if self.exporter is not None:
            if self._long.ended(record):
                self._trace(record, "rest")
            elif self._sampler.keeps(record, record.ended_at):
                self._trace(record, "whole")
        if not self._keeps_evidence:
            record.evidence = None  # others may keep the record, but not the messages of a call

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

    def reading(self) -> Callable[[], bytes]:
        """Read every metric, and return what writes them as Prometheus reads them; a thread may do that."""
        return Prometheus(self.collect()).render

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send readings of the metrics, and calls that last long, to the collector, if there is one, until
        cancelled; started when what sends them is loaded, which takes a second of CPU that calls should not
        miss. Lines of the log go there, too, from now on.
        """
        exporter = self.exporter
        if exporter is None:
            task_status.started()
            return
        exporter.start()
        await trio.to_thread.run_sync(exporter.wait_ready, _START)
        task_status.started()
        handler = OtlpHandler(exporter.note)
        logging.getLogger().addHandler(handler)
        try:
            looks = 0
            while True:
                now = self._clock()
                self.trace_long(now)
                if self._completion is not None:
                    await self._completion.look()
                if looks % _READING == 0:
                    self._read(exporter)
                looks += 1
                await trio.sleep(_LOOK)
        finally:
            self._read(exporter)  # or the calls since the last reading would never be counted
            logging.getLogger().removeHandler(handler)

    def trace_long(self, now: float) -> None:
        """Trace the beginning of the calls that have become long."""
        for record in self._long.due(now):
            if self._sampler.keeps(record, now):
                self._long.told.add(record.id)
                self._trace(record, "opening")

    async def close(self) -> None:
        """Send what is left, for at most 5 seconds. Call it once :meth:`run` has ended."""
        if self._completion is not None:
            self._completion.flush()
        if self.exporter is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self.exporter.close, _CLOSE)

    # -- in private -------------------------------------------------------------------------------------

    def _read(self, exporter: Exporter) -> None:
        if self.sends_readings:
            exporter.read(Reading(self.collect(), self._wall.shows(self._clock())))

    def _trace(self, record: CallRecord, part: Literal["whole", "opening", "rest"]) -> None:
        """Hand on what may leave the process of a call: numbers as they may be seen, and no headers."""
        mask, evidence = self._mask, record.evidence
        copy = msgspec.structs.replace(
            record, caller=mask(record.caller), called=mask(record.called), evidence=None
        )
        grounds = None if evidence is None else _grounds(evidence)
        call = TracedCall(copy, self.tracing.trace_id(record), part, grounds)
        if self._completion is not None:
            self._completion.take(call)
        else:
            self._export(call)

    def _export(self, call: TracedCall) -> None:
        """Have a call traced, dated by the wall clock."""
        if self.exporter is None:
            return
        ahead = self._wall.ahead
        if ahead:
            call.record = moved(call.record, ahead)
            for message in call.messages or ():
                message.at += ahead
        self.exporter.trace(call)

    def _log_failure(self, record: CallRecord) -> None:
        """Say that the gateway had to end a call itself."""
        log.warning(
            "a call from %s to %s was ended by the gateway: %s",
            record.caller_trunk,
            record.callee_trunk or "nobody",
            record.end_reason,
            extra={
                "source": record.caller_trunk,
                "call_id": record.id,
                "trace_id": self.tracing.trace_id(record),
            },
        )


def _grounds(evidence: Evidence) -> Grounds:
    facts = evidence.facts
    return Grounds(
        facts.rang,
        facts.finals,
        facts.pending,
        _microseconds(facts.after),
        _microseconds(facts.ringing),
        facts.attested,
        evidence.decision.saw,
    )


def _microseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
