"""Lines of the log, and who reads them too slowly."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from gateway.telemetry.log_writer import LIMIT, LogWriter

LONG = "x" * 1_000  # so that few fill a pipe


class Pipe(NamedTuple):
    reading: int
    writing: int

    def lines(self, count: int) -> list[str]:
        """Read so many lines."""
        got = b""
        while got.count(b"\n") < count:
            got += os.read(self.reading, 65_536)
        return got.decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = Pipe(*os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def line(text: object) -> logging.LogRecord:
    return logging.LogRecord("gateway", logging.WARNING, "call.py", 1, "line %s", (text,), None)


def test_lines_are_written_in_order(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writing)
    for number in range(100):
        writer.emit(line(number))
    writer.close()
    assert pipe.lines(100) == [f"line {number}" for number in range(100)]


@pytest.mark.parametrize("blocking", [True, False])
def test_nobody_waits_for_a_reader_who_has_stopped(pipe: Pipe, blocking: bool) -> None:
    """A bounded number of lines wait; others are left out, and the next line says how many."""
    os.set_blocking(pipe.writing, blocking)
    writer = LogWriter(pipe.writing)
    sent = LIMIT + 500  # more than wait and fit into the pipe
    for number in range(sent):
        writer.emit(line(f"{number} {LONG}"))
    written = pipe.lines(LIMIT)
    writer.emit(line("last"))
    writer.close()
    while not written[-1].endswith("last"):
        written += pipe.lines(1)
    kept = [int(each.split()[1]) for each in written[:-1] if each.endswith(LONG)]
    left_out = [int(each.split()[0]) for each in written if each.endswith("left out here: nobody read them")]
    assert kept == sorted(kept)
    assert len(kept) >= LIMIT
    assert left_out
    assert len(kept) + sum(left_out) == sent


def test_a_reader_who_has_gone_costs_lines_only() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing)
    for number in range(3):
        writer.emit(line(number))
    writer.close()
    os.close(writing)


def test_a_process_that_was_forked_writes_its_own_lines(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writing)
    writer.emit(line(1))
    writer.close()
    child = os.fork()
    if child == 0:
        writer.emit(line(2))
        writer.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert pipe.lines(2) == ["line 1", "line 2"]
