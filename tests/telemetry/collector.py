"""A collector for tests: a real HTTP server that takes OTLP, or misbehaves."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Keeps what it was sent, decoded. `status` is what it answers; `hangs` makes it answer nothing
    until it is left.
    """

    def __init__(self, status: int = 200, hangs: bool = False) -> None:
        self.status = status
        self.spans: list[Span] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.lines: list[LogRecord] = []
        self.requests = 0
        self.asked = threading.Event()
        self._release = threading.Event()
        if not hangs:
            self._release.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                collector._release.wait(300)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        """Decode a request."""
        self.requests += 1
        if path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
            self.spans += [span for scope in scopes for span in scope.spans]
        elif path == "/v1/metrics":
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
        else:
            assert path == "/v1/logs"
            logs = ExportLogsServiceRequest.FromString(body)
            scopes_ = [scope for resource in logs.resource_logs for scope in resource.scope_logs]
            self.lines += [line for scope in scopes_ for line in scope.log_records]
        self.asked.set()

    def last(self, name: str) -> list[int]:
        """Return the points of a counter in the last reading of the metrics."""
        scopes = [scope for resource in self.metrics[-1].resource_metrics for scope in resource.scope_metrics]
        found = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        return [point.as_int for metric in found for point in metric.sum.data_points]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def attributes(span: object) -> dict[str, object]:
    """The attributes of a span, event or data point, as Python values."""
    found: dict[str, object] = {}
    for pair in span.attributes:  # type: ignore[attr-defined]
        found[pair.key] = getattr(pair.value, pair.value.WhichOneof("value"))
    return found
