"""An SQLite file is written by a process of its own. It may die, hang and be outlived; no record is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
import trio

from gateway.ledger import database, dictation, patience
from gateway.ledger.packing import RowMaker, array_head, pack
from gateway.ledger.schema import COLUMNS
from gateway.ledger.table import Table
from gateway.ledger.writer import Ledger
from tests.ledger.records import NOON, answered, rewritten
from tests.ledger.test_writer import MONTH, Bench, evidence
from tests.ledger.victim import ROOT, run_and_kill
from tests.loaded import loaded_by
from tests.telemetry.test_exporter import ignores, wait_until

DIED = "the process that writes it has died (signal 9)"


class Desk(Bench):
    """A ledger with a spool, and the process that writes for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.spool = path.with_name("spool")
        self.ledger = Ledger(
            self.url, MONTH, spool_path=self.spool, log=self.log.append, clock=lambda: self.now
        )

    @property
    def child(self) -> subprocess.Popen[bytes]:
        used = self.ledger._table._dictation
        assert used is not None
        assert used._child is not None
        return used._child

    @property
    def is_at_work(self) -> bool:
        used = self.ledger._table._dictation
        return used is not None and used._is_at_work

    @property
    def shown(self) -> str:
        return database.shown(database.parse_url(self.url))

    @property
    def failure(self) -> str:
        return f"ledger: {self.shown} cannot be written ({{}}); calls go on, and records wait in {self.spool}"

    @property
    def recovery(self) -> str:
        return f"ledger: {self.shown} is written again after 0 s; 0 records were lost"

    def ids(self) -> list[str]:
        """The ids in the order in which they were written."""
        with sqlite3.connect(self.path) as connection:
            found = [id_ for (id_,) in connection.execute("SELECT id FROM calls ORDER BY seq")]
        connection.close()
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "var" / "a file #1, 100%.db")


def ids(*numbers: int) -> list[str]:
    return [f"call-{number:06}" for number in numbers]


def play(run: Callable[[], object]) -> None:
    async def main() -> None:
        with trio.fail_after(60):
            await run()  # type: ignore[misc]

    trio.run(main)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, and has been waited for if it was ours."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    state, parent = status.rpartition(")")[2].split()[:2]
    return state == "Z" and int(parent) != os.getpid()


# -- what is written ---------------------------------------------------------------------------------------


def test_each_value_gets_there_as_what_it_is(desk: Desk) -> None:
    desk.ledger.record(rewritten(1, evidence=evidence()))
    desk.ledger.record(answered(2, caller='"Jörg" \u2713\0'))
    desk.do(desk.ledger.flush, desk.ledger.close)
    with sqlite3.connect(desk.path) as connection:
        kinds = [f"typeof({name})" for name in ("caller", "ended_at", "attempts", "evidence")]
        found = connection.execute(f"SELECT {', '.join(kinds)}, caller, evidence FROM calls ORDER BY seq")
        assert found.fetchall() == [
            ("text", "real", "integer", "blob", "1001", pack(evidence(), False)),
            ("text", "real", "integer", "null", '"Jörg" \u2713\0', None),
        ]
    connection.close()
    assert desk.log == []


def test_one_process_writes_all_batches_and_ends_with_the_ledger(desk: Desk) -> None:
    async def run() -> None:
        pids = set()
        for number in range(3):
            desk.ledger.record(rewritten(number))
            await desk.ledger.flush()
            pids.add(desk.child.pid)
        (pid,) = pids
        await desk.ledger.close()
        assert is_gone(pid)

    before = len(os.listdir("/proc/self/fd"))
    play(run)
    assert desk.ids() == ids(0, 1, 2)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_ledger_that_has_nothing_to_write_starts_no_process(desk: Desk) -> None:
    desk.do(desk.ledger.open, desk.ledger.flush)
    assert desk.ledger._table._dictation is not None
    assert desk.ledger._table._dictation._child is None
    desk.do(desk.ledger.close)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{}?timeout=1", "postgresql+psycopg://a@/b"])
def test_what_no_path_alone_can_open_is_written_by_the_thread(url: str, tmp_path: Path) -> None:
    table = Table(database.parse_url(url.format(tmp_path / "l.db")), lambda: True)
    assert table._dictation is None


def test_a_large_batch_goes_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictation, "_FRAME", 1000)
    for number in range(30):
        desk.ledger.record(rewritten(number, caller="7" * 2000 if number == 20 else "7"))
    desk.do(desk.ledger.flush, desk.ledger.close)
    assert desk.ids() == ids(*range(30))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_rows_that_are_joined_are_one_array(count: int) -> None:
    assert array_head(count) + b"\xc0" * count == msgspec.msgpack.encode([None] * count)


# -- the process dies, or hangs ----------------------------------------------------------------------------


def test_a_process_killed_between_two_batches_costs_no_record(desk: Desk) -> None:
    async def run() -> None:
        await desk.ledger.open()
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        killed = desk.child
        killed.kill()
        killed.wait()
        desk.ledger.record(rewritten(2))
        await desk.ledger.flush()
        assert (desk.ledger.spooled, desk.log) == (1, [desk.failure.format(DIED)])
        desk.ledger.record(rewritten(3))
        await desk.ledger.flush()
        assert desk.child.pid != killed.pid
        await desk.ledger.close()

    play(run)
    assert desk.ids() == ids(1, 2, 3)
    assert desk.log[1:] == [desk.recovery]


def test_a_process_killed_in_the_midst_of_a_batch_costs_no_record(desk: Desk) -> None:
    async def run() -> None:
        await desk.ledger.open()
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        killed = desk.child
        killed.send_signal(signal.SIGSTOP)  # so that it is in the midst for as long as we like
        desk.ledger.record(rewritten(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.ledger.flush)
            while not desk.is_at_work:
                await trio.sleep(0.01)
            killed.kill()
        assert (desk.ledger.spooled, desk.log) == (1, [desk.failure.format(DIED)])
        await desk.ledger.flush()
        await desk.ledger.close()

    play(run)
    assert desk.ids() == ids(1, 2)
    assert desk.log[1:] == [desk.recovery]


def test_a_process_that_cannot_be_started_costs_no_record(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ledger.record(rewritten(1))
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere/python")
        desk.do(desk.ledger.open, desk.ledger.flush)
    assert desk.log == [desk.failure.format("no such file or directory: /nowhere/python")]
    desk.do(desk.ledger.flush, desk.ledger.close)
    assert desk.ids() == ids(1)


def test_a_process_that_hangs_is_killed_and_another_one_writes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        await desk.ledger.open()
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        hung = desk.child
        hung.send_signal(signal.SIGSTOP)
        desk.ledger.record(rewritten(2))
        with monkeypatch.context() as hasty:
            hasty.setattr(patience, "PATIENT", 0.1)
            await desk.ledger.flush()
        assert desk.ledger.spooled == 1
        assert "cannot be written (no answer for " in desk.log[0]
        while not is_gone(hung.pid):  # the thread that was left has done with it
            await trio.sleep(0.01)
        while desk.ledger.spooled:
            await desk.ledger.flush()
        assert desk.child.pid != hung.pid
        await desk.ledger.close()

    play(run)
    assert desk.ids() == ids(1, 2)
    assert desk.log[1:] == [desk.recovery]


def test_a_thread_that_hangs_elsewhere_leaves_no_process_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one that is idle meanwhile, nor one of its own when it comes to itself."""
    insert, awake = Table.insert, threading.Event()
    came_of_it: list[BaseException] = []

    def hang(self: Table, rows: Sequence[bytes]) -> list[str]:
        awake.wait(60)
        try:
            return insert(self, rows)
        except BaseException as error:
            came_of_it.append(error)
            raise

    async def run() -> None:
        await desk.ledger.open()
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        idle = desk.child
        desk.ledger.record(rewritten(2))
        with monkeypatch.context() as hasty:
            hasty.setattr(patience, "PATIENT", 0.1)
            hasty.setattr(Table, "insert", hang)
            await desk.ledger.flush()
        assert is_gone(idle.pid)
        awake.set()
        while not came_of_it:
            await trio.sleep(0.01)
        assert str(came_of_it[0]) == "nobody waits for this any more"
        await desk.ledger.flush()
        await desk.ledger.close()

    play(run)
    assert desk.ids() == ids(1, 2)


def test_a_process_that_does_not_end_is_killed_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dictation, "_LEAVING", 0.05)

    async def run() -> None:
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        pid = desk.child.pid
        desk.child.send_signal(signal.SIGSTOP)
        await desk.ledger.close()
        assert is_gone(pid)

    play(run)
    assert desk.ids() == ids(1)


# -- the file ----------------------------------------------------------------------------------------------


def test_a_lock_that_lasts_is_told_and_the_process_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.01)
    desk = Desk(desk.path)

    async def run() -> None:
        await desk.ledger.open()
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        pid = desk.child.pid
        lock = sqlite3.connect(desk.path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        desk.ledger.record(rewritten(2))
        await desk.ledger.flush()
        assert (desk.ledger.spooled, desk.log) == (1, [desk.failure.format("database is locked")])
        lock.close()
        await desk.ledger.flush()
        assert desk.child.pid == pid
        await desk.ledger.close()

    play(run)
    assert desk.ids() == ids(1, 2)


def test_a_file_that_is_replaced_is_written_from_the_next_batch_on(desk: Desk, tmp_path: Path) -> None:
    """By a copy that somebody had put aside, say; what both processes had opened is nobody's any more."""
    aside = Desk(tmp_path / "aside" / "gateway.db")
    aside.ledger.record(rewritten(10))
    aside.do(aside.ledger.flush, aside.ledger.close)

    async def run() -> None:
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        pid = desk.child.pid
        for beside in desk.path.parent.glob(f"{desk.path.name}-*"):
            beside.unlink()
        aside.path.replace(desk.path)
        desk.ledger.record(rewritten(11))
        await desk.ledger.flush()
        assert desk.child.pid == pid
        assert desk.ids() == ids(10, 11)
        desk.now = NOON + 10.5 + MONTH  # the first of them is too old, and deleted by the gateway itself
        await desk.ledger._expire()
        await desk.ledger.close()

    play(run)
    assert desk.ids() == ids(11)
    assert desk.log == []


def test_a_file_that_is_removed_under_the_process_alone_fails_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the thread has looked; the process makes no file, since it would have no tables."""
    insert = dictation.Dictation.insert

    def remove_and_insert(self: dictation.Dictation, rows: Sequence[bytes]) -> list[str]:
        for path in desk.path.parent.glob(f"{desk.path.name}*"):
            path.unlink()
        return insert(self, rows)

    async def run() -> None:
        await desk.ledger.open()
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        desk.ledger.record(rewritten(2))
        with monkeypatch.context() as removed:
            removed.setattr(dictation.Dictation, "insert", remove_and_insert)
            await desk.ledger.flush()
        assert desk.log == [desk.failure.format("unable to open database file")]
        await desk.ledger.flush()
        await desk.ledger.close()

    play(run)
    assert desk.ids() == ids(2)
    assert desk.log[1:] == [desk.recovery]


# -- the gateway ends --------------------------------------------------------------------------------------

VICTIM = """
import os, sys, trio
from gateway import child
from gateway.ledger import database
from gateway.ledger.writer import Ledger
from tests.ledger.records import rewritten

database.BUSY = 60
write_frame = child.write_frame

def tell(what):
    os.write(1, f"{what}\\n".encode())  # whole, whoever else tells something

def write_and_tell(stream, *parts):
    write_frame(stream, *parts)
    tell(len(parts))

async def main():
    ledger = Ledger(sys.argv[1], 1e10, log=tell)
    await ledger.open()
    for number in range(20):
        ledger.record(rewritten(number))
    child.write_frame = write_and_tell
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.flush)
        table = ledger._table
        while table._dictation._child is None:
            await trio.sleep(0.01)
        tell(f"child {table._dictation._child.pid}")

trio.run(main)
"""


def test_a_batch_that_the_process_has_is_written_when_the_gateway_is_killed(tmp_path: Path) -> None:
    """It waits for a lock as that happens, and ends when it has done what it was given."""
    path = tmp_path / "gateway.db"
    url = f"sqlite:///{path}"
    database.open_for_writing(database.parse_url(url)).dispose()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    # the opening; the batch, of a head and twenty rows; which process it is
    said = run_and_kill(VICTIM, url, cwd=tmp_path, lines=3, after=0.0)
    assert {"1", "21"} <= set(said)
    (pid,) = (int(line.split()[1]) for line in said if line.startswith("child"))
    assert not is_gone(pid)
    lock.close()
    wait_until(lambda: is_gone(pid))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (20,)
    connection.close()


def test_the_process_heeds_no_signal_of_the_gateways_group_and_ends_with_its_input() -> None:
    command = [sys.executable, "-m", "gateway.ledger.scribe"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert child.stdin is not None
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    wait_until(lambda: all(ignores(child.pid, number) for number in signals))
    for number in signals:
        child.send_signal(number)
    assert child.poll() is None
    wait_until(lambda: os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10)
    child.stdin.write((1000).to_bytes(4) + b"half a frame")
    child.stdin.close()
    assert child.wait(20) == 0


def test_nothing_of_the_database_is_in_the_command_line(desk: Desk) -> None:
    async def run() -> None:
        desk.ledger.record(rewritten(1))
        await desk.ledger.flush()
        assert desk.child.args == [sys.executable, "-P", "-m", "gateway.ledger.scribe"]
        await desk.ledger.close()

    play(run)


def test_the_process_loads_nothing_large() -> None:
    """It is there for as long as the gateway, and once for each worker."""
    loaded = loaded_by("import gateway.ledger.scribe")
    heavy = {
        "sqlalchemy",
        "alembic",
        "trio",
        "asyncio",
        "subprocess",
        "gateway.b2bua",
        "gateway.ledger.schema",
    }
    assert heavy.isdisjoint(loaded)


def test_a_row_has_the_columns_values_in_their_order() -> None:
    record = rewritten(1)
    ended_at, row = RowMaker().encoded(record)
    assert ended_at == record.ended_at
    assert msgspec.msgpack.decode(row) == list(RowMaker()(record))
    assert len(msgspec.msgpack.decode(row)) == len(COLUMNS)
