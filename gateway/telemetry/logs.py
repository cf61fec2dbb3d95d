"""How lines of the log are written, and how many.

A line is written for changes and failures, never for an ordinary call. What one place in the code has to say
is bounded, so that a flood of failures does not become a flood of lines; how many were left out stands in the
next line from there.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

BURST = 10
"""Lines of one place in the code within PERIOD."""
PERIOD = 10.0  # seconds
_CONSOLE = "%(asctime)s %(levelname)s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, gateway, message, and the trace of a bug."""

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
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class RateLimit(logging.Filter):
    """Lets BURST lines of each place pass within PERIOD, and tells with the next one how many did not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._places: dict[tuple[str, int], tuple[float, int]] = {}  # since when, and how many

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line may pass."""
        place, now = (record.pathname, record.lineno), self._clock()
        since, count = self._places.get(place, (now, 0))
        left_out = count - BURST
        if now - since >= PERIOD:
            since, count = now, 0
            if left_out > 0:
                record.msg = f"{record.getMessage()} (and {left_out} more like it)"
                record.args = None
        self._places[place] = (since, count + 1)
        return count < BURST


def configure(form: str, gateway: str) -> None:
    """Have every line written in a form ("console" or "json"), and no more than there should be."""
    formatter = JsonFormatter(gateway) if form == "json" else logging.Formatter(_CONSOLE)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
        handler.addFilter(RateLimit())
    # The exporter says by itself when a collector fails, once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
