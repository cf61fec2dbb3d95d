"""What waits on disk outlives an outage, a full disk and a killed process, in order and once."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.ledger import database, writer
from gateway.ledger.spool import Spool, left_behind, of_worker
from gateway.ledger.writer import Ledger
from tests.ledger.records import NOON, rewritten
from tests.ledger.spooled import ids, rows
from tests.ledger.victim import run_and_kill


class Outage:
    """A ledger whose database is locked from the start until `end`."""

    def __init__(self, path: Path, **options: int) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.spool = path.with_name("gateway.db.spool")
        self.log: list[str] = []
        self.now = NOON
        database.open_for_writing(database.parse_url(self.url)).dispose()
        self._lock = sqlite3.connect(path, isolation_level=None)
        self._lock.execute("BEGIN EXCLUSIVE")
        self.ledger = self.start(**options)

    def start(self, **options: Any) -> Ledger:
        return Ledger(
            self.url,
            keep=1e9,
            spool_path=self.spool,
            log=self.log.append,
            clock=lambda: self.now,
            **options,
        )

    def end(self) -> None:
        self._lock.close()

    def stored(self) -> list[str]:
        """The ids in the order in which they were written."""
        with sqlite3.connect(self.path) as connection:
            found = [id_ for (id_,) in connection.execute("SELECT id FROM calls ORDER BY seq")]
        connection.close()
        return found


@pytest.fixture
def outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    monkeypatch.setattr(database, "BUSY", 0.01)
    outage = Outage(tmp_path / "gateway.db")
    yield outage
    outage.end()


def play(*steps: Callable[[], Awaitable[object]]) -> None:
    async def main() -> None:
        for step in steps:
            await step()

    trio.run(main)


def test_records_of_an_outage_are_written_in_order_before_those_that_come_later(outage: Outage) -> None:
    ledger = outage.ledger
    play(ledger.open)
    for number in range(1, 4):
        ledger.record(rewritten(number))
        play(ledger.flush)
    outage.now = NOON + 60
    assert (ledger.waiting, ledger.spooled, ledger.written, ledger.lag) == (3, 3, 0, 58.75)
    outage.end()
    ledger.record(rewritten(4))
    play(ledger.flush)
    assert (ledger.waiting, ledger.written, ledger.lag) == (0, 4, 0.0)
    ledger.record(rewritten(5))
    play(ledger.flush, ledger.close)
    assert outage.stored() == ids(1, 2, 3, 4, 5)
    assert outage.log == [
        f"ledger: {outage.url} cannot be written (database is locked); "
        f"calls go on, and records wait in {outage.spool}",
        f"ledger: {outage.url} is written again after 60 s; 0 records were lost",
    ]


def test_records_of_an_outage_wait_for_the_next_process(outage: Outage) -> None:
    outage.ledger.record(rewritten(1))
    play(outage.ledger.open, outage.ledger.close)
    assert outage.log[-1] == f"ledger: 1 records wait in {outage.spool} for the next start"
    outage.end()
    ledger = outage.start()
    play(ledger.open, ledger.flush, ledger.close)
    assert (outage.stored(), ledger.missing, ledger.waiting) == (ids(1), 0, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_start_with_fewer_workers_writes_what_waits_in_the_spools_of_those_that_are_no_more(
    outage: Outage, workers: int
) -> None:
    """There were four; the last one was killed as it had two records more."""
    for index in range(4):
        waiting = Spool(of_worker(outage.spool, index))
        waiting.append(rows(10 * index + 1, 10 * index + 2))
        waiting.append(rows(10 * index + 3))
        if index == 3:
            waiting.note_unsettled(2)
        waiting.close()
    outage.spool.with_name(f"{outage.spool.name}.bak").write_text("of somebody else")
    orphans = [of_worker(outage.spool, index) for index in range(workers, 4)]
    assert left_behind(outage.spool, workers) == orphans
    ledger = outage.start(left=lambda: left_behind(outage.spool, workers))
    play(ledger.open, ledger.flush)
    assert (ledger.spooled, ledger.lag, ledger.missing) == (3 * (1 + len(orphans)), 0.0, 2)
    ledger.record(rewritten(40))
    outage.end()
    play(ledger.flush, ledger.flush, ledger.close)
    served = range(1, workers)
    assert sorted(outage.stored()) == ids(
        *(10 * index + number for index in range(4) if index not in served for number in (1, 2, 3)), 40
    )
    assert (ledger.written, ledger.failed, ledger.waiting) == (len(outage.stored()), 0, 0)
    assert not any(file.exists() for each in orphans for file in (each, each.with_name(f"{each.name}.count")))
    assert all(of_worker(outage.spool, index).exists() for index in served)
    assert outage.spool.with_name(f"{outage.spool.name}.bak").exists()


def test_spools_of_others_that_cannot_be_written_yet_wait_on(outage: Outage) -> None:
    other = Spool(of_worker(outage.spool, 3))
    other.append(rows(1))
    other.close()
    ledger = outage.start(left=lambda: left_behind(outage.spool, 1))
    ledger.record(rewritten(2))
    play(ledger.open, ledger.flush, ledger.close)
    assert outage.log[-1] == (
        f"ledger: 2 records wait in {of_worker(outage.spool, 3)}, {outage.spool} for the next start"
    )
    assert left_behind(outage.spool, 1) == [of_worker(outage.spool, 3)]


def test_a_spool_of_others_that_is_in_use_is_left_to_them(outage: Outage) -> None:
    outage.end()
    other = Spool(of_worker(outage.spool, 1))
    other.append(rows(1))
    ledger = outage.start(left=lambda: left_behind(outage.spool, 1))
    play(ledger.open, ledger.flush, ledger.close)
    assert outage.stored() == []
    assert outage.log == [
        f"ledger: the spool {of_worker(outage.spool, 1)} cannot be used (another gateway writes to it)"
    ]
    other.close()


def test_records_damaged_in_the_spool_are_counted_as_failed(outage: Outage) -> None:
    ledger = outage.ledger
    play(ledger.open)
    for number in (1, 2):
        ledger.record(rewritten(number))
        play(ledger.flush)
    content = bytearray(outage.spool.read_bytes())
    content[100] ^= 1
    outage.spool.write_bytes(content)
    outage.end()
    play(ledger.flush, ledger.close)
    assert (outage.stored(), ledger.written, ledger.failed) == (ids(2), 1, 1)
    assert outage.log[-1].startswith("ledger: a record was refused (damaged in the spool)")


def test_a_batch_that_was_written_and_is_read_again_is_kept_once(outage: Outage) -> None:
    outage.ledger.record(rewritten(1))
    play(outage.ledger.open, outage.ledger.flush)
    frame = outage.spool.read_bytes()
    outage.end()
    play(outage.ledger.flush, outage.ledger.close)
    outage.spool.write_bytes(frame)
    ledger = outage.start()
    play(ledger.open, ledger.flush, ledger.close)
    assert outage.stored() == ids(1)


def test_a_long_outage_is_made_up_for_while_new_records_queue_behind(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_BATCH", 2)
    monkeypatch.setattr(writer, "_CATCH_UP", 3)
    ledger = outage.ledger
    play(ledger.open)
    for number in range(1, 11):
        ledger.record(rewritten(number))
    play(ledger.flush)
    outage.end()
    ledger.record(rewritten(11))
    play(ledger.flush)
    assert (outage.stored(), ledger.spooled) == (ids(*range(1, 7)), 5)
    play(ledger.flush, ledger.close)
    assert outage.stored() == ids(*range(1, 12))


def no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_from_the_start_leaves_the_ledger_at_work_without_a_spool(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapped count that the disk has no room for would end the process when it is touched."""
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", no_space)
        play(outage.ledger.open)
    assert outage.log[0] == f"ledger: the spool {outage.spool} cannot be used (no space left on device)"
    outage.ledger.record(rewritten(1))
    outage.end()
    play(outage.ledger.flush, outage.ledger.close)
    assert outage.stored() == ids(1)


def test_a_full_disk_costs_records_once_the_list_is_full_and_counts_them(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.ledger = outage.start(limit=2)
    ledger = outage.ledger
    play(ledger.open)
    ledger.record(rewritten(1))
    play(ledger.flush)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        for number in range(2, 6):
            ledger.record(rewritten(number))
            play(ledger.flush)
    assert (ledger.spooled, ledger.waiting, ledger.dropped) == (1, 3, 2)
    assert outage.log[1:] == [
        f"ledger: the spool {outage.spool} cannot be written (no space left on device); "
        "up to 2 records wait in memory"
    ]
    outage.end()
    play(ledger.flush, ledger.close)
    assert outage.stored() == ids(1, 2, 3)


def test_a_record_that_no_file_can_hold_is_lost_alone(outage: Outage) -> None:
    ledger = outage.ledger
    play(ledger.open)
    for number in (1, 2, 3):
        ledger.record(rewritten(number, caller="\udcff" if number == 2 else "1001"))
    play(ledger.flush)
    assert (ledger.spooled, ledger.failed) == (2, 1)
    outage.end()
    play(ledger.flush, ledger.close)
    assert outage.stored() == ids(1, 3)


def test_a_spool_that_cannot_be_used_leaves_the_ledger_at_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log: list[str] = []
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    ledger = Ledger(url, 1e9, spool_path=tmp_path / "file" / "spool", log=log.append)
    ledger.record(rewritten())
    play(ledger.open, ledger.flush, ledger.close)
    assert ledger.written == 1
    assert len(log) == 1
    assert "spool cannot be used (" in log[0]


# -- kill -9 ---------------------------------------------------------------------------------------

VICTIM = """
import itertools, sys, trio
from gateway.ledger import database
from gateway.ledger.writer import Ledger
from tests.ledger.records import rewritten
from pathlib import Path

database.BUSY = 0.001
path, first = Path(sys.argv[1]), int(sys.argv[2])
ledger = Ledger(f"sqlite:///{path}", 1e10, spool_path=path.with_name("spool"), log=len)

async def main():
    await ledger.open()
    print("missing", ledger.missing, flush=True)
    for number in itertools.count(first):
        ledger.record(rewritten(number))
        print(number, flush=True)
        if number % 50 == 0:
            await ledger.flush()

trio.run(main)
"""


def kill(path: Path, first: int, after: float) -> tuple[int, list[int]]:
    """Let a process record calls from number `first` on, kill it; return what it missed and what it took."""
    said = run_and_kill(VICTIM, str(path), str(first), cwd=path.parent, lines=120, after=after)
    missing, *taken = said
    return int(missing.split()[1]), list(map(int, taken))


def test_a_killed_process_leaves_a_ledger_that_opens_and_counts_what_it_cost(tmp_path: Path) -> None:
    """Killed at any point of a write, to the database or, while that is locked, to the spool, a ledger lacks
    no more than was counted, and that is two batches of 50 at most.
    """
    path = tmp_path / "gateway.db"
    taken: set[int] = set()
    counts = []
    for turn in range(10):
        lock = sqlite3.connect(path, isolation_level=None)
        if turn % 2:
            lock.execute("BEGIN EXCLUSIVE")
        count, numbers = kill(path, turn * 1_000_000 + 1, turn * 0.017)  # no moment is special
        lock.close()
        counts.append(count)
        taken.update(numbers)
        if turn:
            with sqlite3.connect(path) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.close()

    last = Ledger(f"sqlite:///{path}", 1e10, spool_path=path.with_name("spool"), log=len)
    play(last.open)
    while last.waiting:
        play(last.flush)
    play(last.close)
    counts.append(last.missing)
    with sqlite3.connect(path) as connection:
        stored = [int(id_[5:]) for (id_,) in connection.execute("SELECT id FROM calls")]
    connection.close()
    assert len(set(stored)) == len(stored) >= 10 * 120 - sum(counts)
    assert len(taken - set(stored)) <= sum(counts)
    assert max(counts) <= 100
