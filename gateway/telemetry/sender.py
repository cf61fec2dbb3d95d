"""The process that encodes telemetry as OTLP and sends it: what the gateway's `Exporter` starts.

It lives by `gateway/child.py`, and answers to each frame whether the collector took it.
"""

from __future__ import annotations

import logging
from typing import BinaryIO

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from gateway import child

from .feed import REFUSED, TAKEN, Calls, Frame, Hello, Reading, read_frame
from .otlp_logs import log_record
from .otlp_metrics import metrics_data
from .spans import SpanMaker, resource_of

_TIMEOUT = 10.0  # seconds that a request may take, tries in all
_NICE = 5


class Sender:
    """Sends what is in frames to the collector that ``hello`` names."""

    def __init__(self, hello: Hello) -> None:
        base = hello.endpoint.rstrip("/")
        self._begun = hello.begun
        self._resource = resource_of(hello.name)
        self._maker = SpanMaker(self._resource)
        self._spans = OTLPSpanExporter(f"{base}/v1/traces", timeout=_TIMEOUT)
        self._metrics = OTLPMetricExporter(f"{base}/v1/metrics", timeout=_TIMEOUT)
        self._logs = OTLPLogExporter(f"{base}/v1/logs", timeout=_TIMEOUT)

    def send(self, frame: Frame) -> bool:
        """Send a frame; tell whether the collector took it."""
        if isinstance(frame, Calls):
            spans = [span for call in frame.calls for span in self._maker.spans(call)]
            return self._spans.export(spans) is SpanExportResult.SUCCESS
        if isinstance(frame, Reading):
            data = metrics_data(frame.metrics, self._resource, self._begun, frame.at)
            return self._metrics.export(data) is MetricExportResult.SUCCESS
        assert not isinstance(frame, Hello), "said once"
        records = [log_record(line, self._resource) for line in frame.lines]
        return self._logs.export(records) is LogRecordExportResult.SUCCESS


def serve(source: BinaryIO, answers: BinaryIO) -> None:
    """Send frames until there are no more."""
    hello = read_frame(source)
    if not isinstance(hello, Hello):
        return
    sender = Sender(hello)
    _answer(answers, True)
    while (frame := read_frame(source)) is not None:
        try:
            taken = sender.send(frame)
        except Exception:  # whatever a library raises costs this frame
            taken = False
        _answer(answers, taken)


def _answer(answers: BinaryIO, taken: bool) -> None:
    answers.write(TAKEN if taken else REFUSED)
    answers.flush()


if __name__ == "__main__":
    # The gateway says by itself when a collector fails, once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    child.live(serve, _NICE)
