"""What happens in the database costs records at most, and is told once; the calls never notice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
import trio.testing
from sqlalchemy.dialects import postgresql

from gateway.b2bua.record import CallRecord, Evidence, TrunkNote
from gateway.ledger import database, patience, table, writer
from gateway.ledger.packing import Row, RowMaker, pack
from gateway.ledger.query import Selection, count, recent
from gateway.ledger.schema import COLUMNS, REVISION, calls
from gateway.ledger.table import Table
from gateway.ledger.writer import Ledger
from gateway.rules import Decision, Facts
from gateway.sip.message import Response
from tests.ledger.records import NOON, Judged, answered, rewritten

MONTH = 30 * 86400.0
WAYS = ("", "?timeout=1")  # by a process of its own, and, with what only SQLAlchemy knows of, by the thread


def evidence() -> Evidence:
    rows = [(b"From", b"From: <sip:1001@pbx.example>"), (b"Reason", b"Reason: Q.850;cause=1")]
    carrier, pbx = TrunkNote("carrier", "carrier"), TrunkNote("pbx", "pbx")
    facts = Facts(Response(603, b"Decline", rows, {}), None, carrier, pbx, now=NOON)
    return Judged(facts, Decision(603, b"Decline"), rows)


class Bench:
    """A ledger under test in a directory of its own, with what it logged and a clock that is set by hand."""

    def __init__(self, path: Path, way: str = "", **options: int) -> None:
        self.path = path
        self.url = f"sqlite:///{path}{way}"
        self.now = NOON
        self.log: list[str] = []
        self.ledger = Ledger(self.url, MONTH, log=self.log.append, clock=lambda: self.now, **options)

    def stored(self) -> list[CallRecord]:
        engine = database.open_for_reading(self.url)
        with engine.connect() as connection:
            found = recent(connection, Selection(), limit=100_000)
        engine.dispose()
        return found

    def do(self, *steps: Callable[[], Awaitable[object]]) -> None:
        async def main() -> None:
            for step in steps:
                await step()

        trio.run(main)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(database, "BUSY", 0.01)  # a lock is given up at once
    return Bench(tmp_path / "var" / "gateway.db")


def test_the_table_has_a_column_for_each_field_of_a_record() -> None:
    assert (
        tuple(name for name in CallRecord.__struct_fields__ if name not in ("branches", "trace")) == COLUMNS
    )


def test_records_come_back_as_they_were_and_the_directory_is_made(bench: Bench) -> None:
    records = [
        rewritten(1, caller="Jörg", label='"a" \u2713'),
        answered(2),
        rewritten(3, rule="", guard="protocol"),
    ]
    for record in records:
        bench.ledger.record(record)
    assert bench.ledger.waiting == 3
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert sorted(bench.stored(), key=lambda record: record.id) == records
    assert (bench.ledger.written, bench.ledger.waiting, bench.ledger.failed, bench.ledger.dropped) == (
        3,
        0,
        0,
        0,
    )
    assert bench.log == []


def test_what_comes_while_a_batch_is_written_waits_for_the_next_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else batches become small under load, and each costs a transaction."""
    insert = Table.insert
    sizes: list[int] = []

    def insert_and_record(self: Table, rows: Sequence[bytes]) -> list[str]:
        sizes.append(len(rows))
        bench.ledger.record(rewritten(10 + len(sizes)))
        return insert(self, rows)

    bench.ledger.record(rewritten(1))
    bench.ledger.record(rewritten(2))
    monkeypatch.setattr(Table, "insert", insert_and_record)
    bench.do(bench.ledger.flush)
    assert (sizes, bench.ledger.written, bench.ledger.waiting) == ([2], 2, 1)
    bench.do(bench.ledger.flush)
    assert (sizes, bench.ledger.written, bench.ledger.waiting) == ([2, 1], 3, 1)
    monkeypatch.undo()
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert len(bench.stored()) == 4


def test_a_record_lets_go_of_the_messages_once_it_is_dropped_or_in_a_row(tmp_path: Path) -> None:
    """Others may keep the record. Rows are made when a few dozen have come, or all must be written."""
    bench = Bench(tmp_path / "gateway.db", limit=40)
    records = [rewritten(n, evidence=evidence()) for n in range(41)]
    for record in records[:32]:
        bench.ledger.record(record)
    assert all(record.evidence is None for record in records[:32])
    for record in records[32:]:
        bench.ledger.record(record)
    assert bench.ledger.dropped == 1
    assert records[40].evidence is None
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert all(record.evidence is None for record in records)
    assert sorted(bench.stored(), key=lambda record: record.id) == [rewritten(n) for n in range(40)]
    with sqlite3.connect(bench.path) as connection:
        assert connection.execute("SELECT evidence FROM calls").fetchone() == (pack(evidence(), False),)
    connection.close()


def test_what_comes_while_the_last_batch_is_written_is_told_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Ledger._store

    def store_and_record(self: Ledger, batch: Sequence[Row]) -> list[str]:
        refused = store(self, batch)
        if batch:
            bench.ledger.record(rewritten(2))
        return refused

    monkeypatch.setattr(Ledger, "_store", store_and_record)
    bench.ledger.record(rewritten(1))
    bench.do(bench.ledger.close)
    assert (bench.ledger.written, bench.ledger.failed) == (1, 1)


@pytest.mark.parametrize("number", [1, 9, 10, 49, 50, 111, 2345])
@pytest.mark.parametrize("way", WAYS)
def test_batches_of_every_size_are_written_whole(tmp_path: Path, way: str, number: int) -> None:
    bench = Bench(tmp_path / "gateway.db", way)
    for at in range(number):
        bench.ledger.record(rewritten(at))
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert {record.id for record in bench.stored()} == {f"call-{at:06}" for at in range(number)}
    assert bench.ledger.written == number


def test_the_database_is_in_write_ahead_mode_and_says_its_version(bench: Bench) -> None:
    bench.ledger.record(rewritten())
    bench.do(bench.ledger.flush)
    with sqlite3.connect(bench.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISION,)]
    connection.close()
    bench.do(bench.ledger.close)


def test_run_writes_twice_a_second_and_close_writes_the_rest(bench: Bench) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(bench.ledger.run)
            bench.ledger.record(rewritten(1))
            while not bench.ledger.written:
                await trio.sleep(0.01)
            bench.ledger.record(rewritten(2))
            nursery.cancel_scope.cancel()
        await bench.ledger.close()

    trio.run(main)  # by the clock: what another process does takes time that no mock clock knows of
    assert [record.id for record in bench.stored()] == ["call-000002", "call-000001"]


def test_a_full_list_drops_what_comes_later_and_counts_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "gateway.db", limit=3)
    for at in range(5):
        bench.ledger.record(rewritten(at))
    assert (bench.ledger.waiting, bench.ledger.dropped) == (3, 2)
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert {record.id for record in bench.stored()} == {"call-000000", "call-000001", "call-000002"}


def test_a_locked_database_keeps_records_waiting_and_is_told_once_with_its_recovery(bench: Bench) -> None:
    bench.do(bench.ledger.open)
    lock = sqlite3.connect(bench.path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    bench.ledger.record(rewritten(1))
    for _ in range(3):
        bench.do(bench.ledger.flush)
    assert (bench.ledger.waiting, bench.ledger.written) == (1, 0)
    assert bench.log == [
        f"ledger: {bench.url} cannot be written (database is locked); "
        "calls go on, and up to 100000 records wait"
    ]
    lock.execute("ROLLBACK")
    lock.close()
    bench.now += 35
    bench.do(bench.ledger.flush, bench.ledger.flush, bench.ledger.close)
    assert bench.log[1:] == [f"ledger: {bench.url} is written again after 35 s; 0 records were lost"]
    assert [record.id for record in bench.stored()] == ["call-000001"]


def test_the_recovery_says_how_many_records_the_failure_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.01)
    bench = Bench(tmp_path / "gateway.db", limit=2)
    bench.do(bench.ledger.open)
    lock = sqlite3.connect(bench.path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    bench.ledger.record(rewritten(0))
    bench.do(bench.ledger.flush)
    for at in range(1, 7):
        bench.ledger.record(rewritten(at))
    bench.do(bench.ledger.flush)
    lock.close()
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert bench.log[-1] == f"ledger: {bench.url} is written again after 0 s; 5 records were lost"
    assert len(bench.log) == 2


def test_a_directory_that_cannot_be_made_costs_records_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a directory is wanted")
    bench = Bench(tmp_path / "var" / "gateway.db", limit=2)
    for at in range(3):
        bench.ledger.record(rewritten(at))
    bench.do(bench.ledger.flush, bench.ledger.flush)
    assert (bench.ledger.waiting, bench.ledger.written, bench.ledger.dropped) == (2, 0, 1)
    assert len(bench.log) == 1
    assert "cannot be written (file exists: " in bench.log[0]


def test_close_gives_up_in_time_and_says_what_was_lost(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a directory is wanted")
    bench = Bench(tmp_path / "var" / "gateway.db")
    bench.ledger.record(rewritten())

    async def close() -> float:
        before = trio.current_time()
        await bench.ledger.close()
        return trio.current_time() - before

    took = trio.run(close, clock=trio.testing.MockClock(autojump_threshold=0.02))
    assert took == pytest.approx(5.0)
    assert (bench.ledger.failed, bench.ledger.waiting) == (1, 0)
    assert bench.log[1:] == ["ledger: 1 records were lost at the end; free or repair the database"]


def test_a_ledger_of_another_version_is_left_alone(bench: Bench) -> None:
    bench.do(bench.ledger.open, bench.ledger.close)
    with sqlite3.connect(bench.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    bench.ledger.record(rewritten())
    bench.do(bench.ledger.flush)
    assert bench.ledger.waiting == 1
    assert bench.log == [
        f"ledger: the ledger {bench.url} has the tables of version 9999, and this gateway knows {REVISION}; "
        "name another ledger, or use the gateway that wrote it; calls go on, and up to 100000 records wait"
    ]


def test_a_file_that_is_removed_is_made_again(bench: Bench) -> None:
    bench.ledger.record(rewritten(1))
    bench.do(bench.ledger.flush)
    for path in bench.path.parent.iterdir():
        path.unlink()
    bench.ledger.record(rewritten(2))
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert [record.id for record in bench.stored()] == ["call-000002"]


@pytest.mark.parametrize("way", WAYS)
def test_a_record_that_cannot_be_stored_is_lost_alone(tmp_path: Path, way: str) -> None:
    bench = Bench(tmp_path / "gateway.db", way)
    for at in range(250):
        bench.ledger.record(rewritten(at, caller="\udcff" if at in (7, 201) else "1001"))
    bench.do(bench.ledger.flush)
    bench.ledger.record(rewritten(250, caller="\udcff"))
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert (bench.ledger.written, bench.ledger.failed) == (248, 3)
    assert {"call-000007", "call-000201"}.isdisjoint(record.id for record in bench.stored())
    assert len(bench.log) == 1
    assert bench.log[0].startswith("ledger: a record was refused ('utf-8' codec can't encode")


@pytest.mark.parametrize("way", WAYS)
def test_a_record_that_this_database_refuses_is_lost_alone(tmp_path: Path, way: str) -> None:
    """It can be encoded, but SQLite has no whole number of more than 64 bits."""
    bench = Bench(tmp_path / "gateway.db", way)
    for at in range(250):
        bench.ledger.record(rewritten(at, attempts=2**63 if at in (7, 8, 201) else 1))
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert (bench.ledger.written, bench.ledger.failed) == (247, 3)
    lost = {"call-000007", "call-000008", "call-000201"}
    assert lost.isdisjoint(record.id for record in bench.stored())
    assert bench.log == [
        "ledger: a record was refused (Python int too large to convert to SQLite INTEGER); "
        "more like it are only counted"
    ]


def test_a_number_that_no_text_can_hold_is_hidden_like_any_other(tmp_path: Path) -> None:
    """It came from the network, so it must neither be raised on nor keep the others from being written."""
    bench = Bench(tmp_path / "gateway.db")
    bench.ledger = Ledger(bench.url, MONTH, rows=RowMaker(True, b"key"), log=bench.log.append)
    for at, caller in enumerate(("\udcff", "\udcfe", "1001")):
        bench.ledger.record(rewritten(at, caller=caller))
    bench.do(bench.ledger.flush, bench.ledger.close)
    assert len({record.caller for record in bench.stored()}) == 3
    assert bench.log == []


def test_records_older_than_keep_are_deleted_in_small_batches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_BATCH", 10)
    for at in range(25):
        bench.ledger.record(rewritten(at))
    bench.ledger.record(rewritten(40))
    bench.now = NOON + 30 + MONTH
    left = []

    async def main() -> None:
        await bench.ledger.flush()
        for _ in range(4):
            await bench.ledger._expire()
            left.append(len(bench.stored()))
        bench.now += 61
        await bench.ledger._expire()
        left.append(len(bench.stored()))
        await bench.ledger.close()

    trio.run(main)
    assert left == [16, 6, 1, 1, 0]


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(database.LedgerError) as caught:
        Ledger("gateway.db", MONTH, log=print)
    assert str(caught.value) == (
        "'gateway.db' is not a database URL; write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
    )


def test_the_tables_and_statements_are_postgresql_too() -> None:
    dialect = postgresql.dialect()
    made = str(sa.schema.CreateTable(calls).compile(dialect=dialect))
    assert "seq BIGSERIAL NOT NULL" in made
    assert 'id TEXT COLLATE "C" NOT NULL' in made
    assert "ended_at DOUBLE PRECISION NOT NULL" in made
    insert = table.statements(dialect)[10]
    assert insert.count("%s") == 10 * len(COLUMNS)


def test_a_password_is_never_shown() -> None:
    url = database.parse_url("postgresql+psycopg://gateway:secret@db.example/calls")
    assert "secret" not in database.shown(url)


def test_counting_agrees_with_what_was_written(bench: Bench) -> None:
    for at in range(12):
        bench.ledger.record(rewritten(at))
    bench.do(bench.ledger.flush, bench.ledger.close)
    engine = database.open_for_reading(bench.url)
    with engine.connect() as connection:
        assert count(connection, Selection()) == 12
    engine.dispose()


@pytest.mark.parametrize("way", WAYS)
def test_a_database_that_keeps_the_connection_and_says_nothing_costs_no_record(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither now nor when it comes to itself, with a batch of its own that it had been given before."""
    monkeypatch.setattr(patience, "PATIENT", 0.1)
    log: list[str] = []
    url, spool = f"sqlite:///{tmp_path / 'ledger.db'}{way}", tmp_path / "spool"
    ledger = Ledger(url, MONTH, spool_path=spool, log=log.append, clock=lambda: NOON)
    insert, awake = Table.insert, threading.Event()

    def hang(self: Table, rows: Sequence[bytes]) -> list[str]:
        if rows:
            awake.wait(20)
        return insert(self, rows)

    async def main() -> None:
        await ledger.open()
        monkeypatch.setattr(Table, "insert", hang)
        ledger.record(answered(id="first"))
        await ledger.flush()
        assert (ledger.spooled, len(ledger._queue)) == (1, 0)
        assert "no answer for" in log[-1]
        await ledger.flush()  # with another connection, as silent
        monkeypatch.setattr(Table, "insert", insert)
        ledger.record(answered(id="second"))
        awake.set()
        with trio.fail_after(20):
            while ledger.spooled:
                await ledger.flush()
                await trio.sleep(0.05)
        await trio.sleep(0.1)  # for those that were left
        ledger.record(answered(id="third"))
        await ledger.flush()
        await ledger.close()

    trio.run(main)
    engine = database.open_for_reading(database.parse_url(url))
    with engine.connect() as connection:
        assert count(connection, Selection()) == 3
    engine.dispose()
