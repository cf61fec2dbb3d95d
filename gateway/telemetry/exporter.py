"""Sends traces and metrics to a collector over OTLP/HTTP, from a thread of its own.

The loop appends to a bounded queue and goes on; encoding, sending, waiting and trying again are the thread's.
A collector that is slow or gone costs traces, which are counted, and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from gateway.b2bua.record import CallRecord

from .spans import SpanMaker

QUEUE = 2_048
"""Calls that may wait for the collector."""
_BATCH = 64  # calls in one request
_PAUSE = 0.5  # seconds between two looks at the queue
_TIMEOUT = 10.0  # seconds that a request may take, tries in all


class Exporter:
    """``endpoint`` is the collector's base URL; ``log`` is told when it fails, and when it is back.

    ``exported``, ``dropped`` (the queue was full, or the gateway stopped) and ``failed`` (the collector did
    not take them) count calls.
    """

    def __init__(self, endpoint: str, maker: SpanMaker, log: Callable[[str], None]) -> None:
        self.exported = 0
        self.dropped = 0
        self.failed = 0
        base = endpoint.rstrip("/")
        self._shown = endpoint.rpartition("@")[2]  # without a password
        self._log = log
        self._fails = False
        self._maker = maker
        self._spans = OTLPSpanExporter(f"{base}/v1/traces", timeout=_TIMEOUT)
        self._metrics = OTLPMetricExporter(f"{base}/v1/metrics", timeout=_TIMEOUT)
        self._queue: deque[CallRecord] = deque()
        self._reading: MetricsData | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def trace(self, record: CallRecord) -> None:
        """Take a call to be traced. Returns at once and never raises."""
        if len(self._queue) < QUEUE:
            self._queue.append(record)
        else:
            self.dropped += 1

    def read(self, reading: MetricsData) -> None:
        """Take a reading of the metrics; one that has not been sent yet is replaced."""
        self._reading = reading

    def close(self, seconds: float) -> None:
        """Send what is left, for at most ``seconds``. Blocks."""
        deadline = time.monotonic() + seconds
        self._stopping.set()
        self._thread.join(seconds * 0.8)
        self._spans.shutdown()  # type: ignore[no-untyped-call]  # which ends the waiting between tries
        self._metrics.shutdown()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self.dropped += len(self._queue)
        self._queue.clear()

    # -- in the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while self._queue:
            self._send_batch()
        reading, self._reading = self._reading, None
        if reading is not None:
            self._send_metrics(reading)

    def _send_batch(self) -> None:
        spans: list[ReadableSpan] = []
        calls = 0
        while calls < _BATCH:
            try:
                record = self._queue.popleft()
            except IndexError:
                break
            calls += 1
            spans += self._maker.spans(record)
        try:
            taken = self._spans.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # whatever a library raises costs traces, never the thread
            taken = False
        if taken:
            self.exported += calls
        else:
            self.failed += calls
        self._note(taken)

    def _send_metrics(self, reading: MetricsData) -> None:
        try:
            taken = self._metrics.export(reading) is MetricExportResult.SUCCESS
        except Exception:
            taken = False
        self._note(taken)

    def _note(self, taken: bool) -> None:
        """Say when the collector begins to fail, and when it is back."""
        if taken is self._fails:
            self._fails = not taken
            state = "takes telemetry again" if taken else "does not take telemetry; calls go on"
            self._log(f"collector {self._shown} {state}")
