"""How lines of the log are written, and how many.

A line is written for changes and failures, never for an ordinary call. A line about a call has the call's id
and that of its trace. What one place in the code has to say of one source is bounded, so that a flood of
failures does not become a flood of lines; how many were left out stands in the next line from there.

Whoever logs says so in `extra`: ``source`` (a trunk), ``call_id`` and ``trace_id``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from .feed import LogLine

BURST = 10
"""Lines of one place in the code about one source within PERIOD."""
PERIOD = 10.0  # seconds
_MOST_PLACES = 2_000  # that are remembered
_CONSOLE = "%(asctime)s %(levelname)s %(message)s"
_OF_A_CALL = ("call_id", "trace_id")


class ConsoleFormatter(logging.Formatter):
    """A line for people: time, level, message, and of which call."""

    def __init__(self) -> None:
        super().__init__(_CONSOLE)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line without the trace of a bug."""
        ids = [f" {name}={record.__dict__[name]}" for name in _OF_A_CALL if name in record.__dict__]
        return super().formatMessage(record) + "".join(ids)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, gateway, message, of which call, and the trace of a bug."""

    def __init__(self, gateway: str) -> None:
        super().__init__()
        self._gateway = gateway

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "gateway": self._gateway,
            "message": record.getMessage(),
        }
        line |= {name: record.__dict__[name] for name in _OF_A_CALL if name in record.__dict__}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class RateLimit(logging.Filter):
    """Lets BURST lines of each place about each source pass within PERIOD, and tells with the next one how
    many did not. A line that several handlers get is counted by the first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        # Since when, and how many.
        self._places: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line may pass."""
        passes = record.__dict__.get("passes")
        if passes is None:
            passes = record.passes = self._passes(record)
        return bool(passes)

    def _passes(self, record: logging.LogRecord) -> bool:
        place = (record.pathname, record.lineno, getattr(record, "source", ""))
        now = self._clock()
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        since, count = self._places.get(place, (now, 0))
        left_out = count - BURST
        if now - since >= PERIOD:
            since, count = now, 0
            if left_out > 0:
                record.msg = f"{record.getMessage()} (and {left_out} more like it)"
                record.args = None
        self._places[place] = (since, count + 1)
        return count < BURST


class OtlpHandler(logging.Handler):
    """Hands each line to ``note``, for a collector; as many as the console would get."""

    def __init__(self, note: Callable[[LogLine], None]) -> None:
        super().__init__()
        self._note = note
        self.addFilter(RateLimit())

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        fields = record.__dict__
        attributes = {
            f"sip.gateway.{name}": str(fields[key])
            for key, name in (("call_id", "call.id"), ("source", "trunk"))
            if key in fields
        }
        if record.exc_info:
            attributes["exception.stacktrace"] = logging.Formatter().formatException(record.exc_info)
        trace_id = str(fields.get("trace_id", ""))
        self._note(LogLine(record.created, record.levelno, record.getMessage(), trace_id, dict(attributes)))


def configure(form: str, gateway: str) -> None:
    """Have every line written in a form ("console" or "json"), and no more than there should be."""
    formatter = JsonFormatter(gateway) if form == "json" else ConsoleFormatter()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
        handler.addFilter(RateLimit())
