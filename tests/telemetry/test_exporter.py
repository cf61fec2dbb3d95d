"""The exporter and its child: what becomes of telemetry when the collector, or the child, fails."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from gateway.histogram import Histogram
from gateway.telemetry.exporter import QUEUE, Exporter
from gateway.telemetry.feed import Calls, LogLine, Reading, read_frame, write_frame
from gateway.telemetry.metric import Metric
from tests.telemetry.collector import Collector, attributes
from tests.telemetry.traced import export, hello, hunted_call

LOOPBACK_NOBODY = "http://127.0.0.1:9"


def test_a_frame_comes_back_as_it_was() -> None:
    found = Histogram((1.0, 2.0))
    found.observe(1.5)
    reading = Reading([Metric("x", "X", "histogram", ("a",), [(("b",), found)])], 7.0)
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb") as sink:
        write_frame(sink, Calls([hunted_call()]))
        write_frame(sink, reading)
        sink.close()
        calls = read_frame(source)
        again = read_frame(source)
        assert read_frame(source) is None
    assert isinstance(calls, Calls)
    assert calls.calls[0].record.rule == "dead-number"
    assert isinstance(again, Reading)
    ((labels, value),) = again.metrics[0].samples
    assert isinstance(value, Histogram)
    assert (labels, value.counts, value.total) == (("b",), [0, 1, 0], 1.5)


def test_a_queue_that_is_full_drops_and_counts() -> None:
    exporter = Exporter(hello(LOOPBACK_NOBODY), [].append)
    call = hunted_call()
    for _ in range(QUEUE + 7):
        exporter.trace(call)
    assert exporter.dropped == 7


def test_of_too_many_lines_the_oldest_give_way() -> None:
    with Collector() as collector:
        exporter = Exporter(hello(collector.url), [].append)
        for number in range(QUEUE + 3):
            exporter.note(LogLine(1.0, logging.INFO, f"{number}"))
        exporter.start()
        exporter.close(10.0)
    assert [line.body.string_value for line in collector.lines] == [str(n) for n in range(3, QUEUE + 3)]


def test_a_line_has_its_severity_its_call_and_its_trace() -> None:
    with Collector() as collector:
        exporter = Exporter(hello(collector.url), [].append)
        exporter.note(LogLine(2.5, logging.WARNING, "no answer", "ab" * 16, {"sip.gateway.call.id": "c1"}))
        exporter.start()
        exporter.close(10.0)
    (line,) = collector.lines
    assert (line.severity_text, line.severity_number) == ("WARNING", line.severity_number)
    assert 13 <= line.severity_number <= 16  # WARN
    assert (line.time_unix_nano, line.trace_id) == (2_500_000_000, bytes.fromhex("ab" * 16))
    assert attributes(line) == {"sip.gateway.call.id": "c1"}


@pytest.mark.parametrize("status", [400, 500])
def test_a_collector_that_refuses_costs_traces_only(status: int) -> None:
    with Collector(status=status) as collector:
        lines: list[str] = []
        exporter = export([hunted_call()], collector, lines)
    assert (exporter.exported, exporter.failed) == (0, 1)
    assert lines == [f"collector {collector.url} does not take telemetry; calls go on"]


def test_a_collector_that_hangs_holds_a_stop_up_no_longer_than_it_may() -> None:
    with Collector(hangs=True) as collector:
        exporter = Exporter(hello(collector.url), [].append)
        exporter.start()
        exporter.trace(hunted_call())
        assert collector.asked.wait(20)
        exporter.trace(hunted_call())
        exporter.close(0.2)
        assert (exporter.exported, exporter.failed, exporter.dropped) == (0, 1, 1)


def test_a_child_that_dies_is_started_anew() -> None:
    with Collector() as collector:
        lines: list[str] = []
        exporter = Exporter(hello(collector.url), lines.append)
        exporter.start()
        exporter.trace(hunted_call())
        assert collector.asked.wait(20)
        wait_until(lambda: exporter.exported == 1)
        assert exporter._child is not None
        exporter._child.send_signal(signal.SIGKILL)
        exporter._child.wait()
        exporter.trace(hunted_call())
        wait_until(lambda: exporter.failed == 1)
        exporter.trace(hunted_call())
        exporter.close(10.0)
    assert (exporter.exported, exporter.failed) == (2, 1)
    assert lines == [
        f"collector {collector.url} does not take telemetry; calls go on",
        f"collector {collector.url} takes telemetry again",
    ]


def test_the_child_ends_with_the_gateway_and_heeds_no_signal_of_its_group() -> None:
    child = subprocess.Popen([sys.executable, "-m", "gateway.telemetry.sender"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    write_frame(child.stdin, hello(LOOPBACK_NOBODY))  # type: ignore[arg-type]
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    wait_until(lambda: all(ignores(child.pid, number) for number in signals))
    for number in signals:
        child.send_signal(number)
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(20) == 0


def test_no_password_of_the_collector_is_in_the_command_line_or_the_log() -> None:
    with Collector(status=400) as collector:
        lines: list[str] = []
        url = collector.url.replace("http://", "http://user:s3cret@")
        exporter = Exporter(hello(url), lines.append)
        exporter.start()
        exporter.trace(hunted_call())
        assert collector.asked.wait(20)
        assert exporter._child is not None
        assert "s3cret" not in str(exporter._child.args)
        exporter.close(10.0)
    assert lines
    assert "s3cret" not in "".join(lines)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or process does, at most 30 seconds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ignores(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process ignores a signal, as /proc says."""
    with open(f"/proc/{pid}/status") as file:
        (ignored,) = (int(line.split()[1], 16) for line in file if line.startswith("SigIgn"))
    return bool(ignored >> (number - 1) & 1)
