"""The log: JSON lines, and no floods."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from gateway.telemetry.feed import LogLine
from gateway.telemetry.logs import BURST, PERIOD, ConsoleFormatter, JsonFormatter, OtlpHandler, RateLimit
from tests.telemetry.traced import Traced, hunted_call


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


def about(text: str, **extra: str) -> logging.LogRecord:
    """A line with what `extra=` of a logging call puts into it."""
    record = line(text)
    record.__dict__.update(extra)
    return record


def test_a_line_about_a_call_has_its_id_and_that_of_its_trace() -> None:
    record = about("no answer", source="pbx", call_id="c1", trace_id="ab" * 16)
    told = json.loads(JsonFormatter("gw1").format(record))
    assert (told["call_id"], told["trace_id"]) == ("c1", "ab" * 16)
    assert ConsoleFormatter().format(record).endswith(f"no answer call_id=c1 trace_id={'ab' * 16}")
    assert ConsoleFormatter().format(line("changed")).endswith("changed")


def test_one_source_cannot_silence_another() -> None:
    limit = RateLimit(lambda: 0.0)
    assert sum(limit.filter(about("no answer", source="pbx")) for _ in range(BURST + 5)) == BURST
    assert limit.filter(about("no answer", source="carrier"))


def test_invented_sources_cannot_make_the_table_grow() -> None:
    limit = RateLimit(lambda: 0.0)
    for number in range(10_000):
        limit.filter(about("no answer", source=f"{number}"))
    assert len(limit._places) <= 2_000


def test_the_collector_gets_what_the_console_gets() -> None:
    noted: list[LogLine] = []
    handler = OtlpHandler(noted.append)
    now_is = [0.0]
    console = RateLimit(lambda: now_is[0])
    for at in (0.0, PERIOD):
        now_is[0] = at
        for _ in range(BURST + 1):
            record = about("no answer", source="pbx", call_id="c1", trace_id="ab" * 16)
            console.filter(record)
            if handler.filter(record):
                handler.emit(record)
    assert [noted[n].text for n in (0, BURST)] == ["no answer", "no answer (and 1 more like it)"]
    assert len(noted) == 2 * BURST
    assert noted[0].trace_id == "ab" * 16
    assert noted[0].attributes == {"sip.gateway.call.id": "c1", "sip.gateway.trunk": "pbx"}


def test_a_bug_goes_to_the_collector_with_its_trace() -> None:
    noted: list[LogLine] = []
    record = line("a bug")
    try:
        raise ValueError("which one")
    except ValueError:
        record.exc_info = sys.exc_info()
    OtlpHandler(noted.append).emit(record)
    assert "ValueError: which one" in str(noted[0].attributes["exception.stacktrace"])


def test_a_call_that_the_gateway_ended_itself_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    traced = Traced()
    traced.net.pbx.invite()
    traced.net.pbx.take(100)
    traced.net.carrier.take_request("INVITE")
    traced.net.run(40)
    call = traced.only_call
    (told,) = caplog.records
    assert told.getMessage() == "a call from pbx to carrier was ended by the gateway: no answer"
    fields = told.__dict__
    assert (fields["source"], fields["call_id"], fields["trace_id"]) == ("pbx", call.record.id, call.trace_id)


def test_no_line_is_written_for_a_call_that_a_peer_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hunted_call()
    assert caplog.records == []
