"""The log: JSON lines, and no floods."""

from __future__ import annotations

import json
import logging
import sys

from gateway.telemetry.logs import BURST, PERIOD, JsonFormatter, RateLimit


def line(text: str, *args: object, place: int = 1) -> logging.LogRecord:
    return logging.LogRecord("gateway", logging.WARNING, "call.py", place, text, args, None)


def test_a_line_is_a_json_object() -> None:
    record = line("target %s is down", "carrier “A”\n")
    record.created, record.msecs = 1_000_000.5, 500.0
    assert json.loads(JsonFormatter("gw1").format(record)) == {
        "time": "1970-01-12T13:46:40.500Z",
        "level": "WARNING",
        "gateway": "gw1",
        "message": "target carrier “A”\n is down",
    }
    assert "\n" not in JsonFormatter("gw1").format(record)


def test_a_bug_has_its_trace() -> None:
    record = line("a bug")
    try:
        raise ValueError("which one")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "ValueError: which one" in json.loads(JsonFormatter("gw1").format(record))["exception"]


def test_a_flood_is_cut_short_and_said_in_the_next_line() -> None:
    now = [0.0]
    limit = RateLimit(lambda: now[0])
    assert sum(limit.filter(line("again")) for _ in range(BURST + 5)) == BURST
    assert limit.filter(line("from elsewhere", place=2))
    now[0] = PERIOD
    after = line("again at %d", 7)
    assert limit.filter(after)
    assert after.getMessage() == "again at 7 (and 5 more like it)"
    quiet = line("again")
    assert limit.filter(quiet)
    assert quiet.getMessage() == "again"
