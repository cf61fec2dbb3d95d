"""The ledger on a real PostgreSQL server, and what becomes of records while that is down."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.b2bua.record import CallRecord
from gateway.ledger import canaries, database, versions
from gateway.ledger.canaries import CanaryEvent
from gateway.ledger.drift import DriftWatch
from gateway.ledger.query import Selection, begin_of_newest, by_call_id, by_id, canary_counts, count, recent
from gateway.ledger.schema import REVISION, metadata
from gateway.ledger.unfired import unfired
from gateway.ledger.writer import Ledger
from tests.ledger.migrations import make_first
from tests.ledger.records import NOON, answered, rewritten
from tests.ledger.server import Server
from tests.rules.support import rules


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


class Place:
    """A database of its own, what was logged about it, and a spool."""

    def __init__(self, server: Server, name: str, directory: Path) -> None:
        server.sql(f"CREATE DATABASE {name}")
        self.url = server.url(name)
        self.spool = directory / "spool"
        self.log: list[str] = []
        self.now = NOON

    def ledger(self, keep: float = 1e9) -> Ledger:
        return Ledger(self.url, keep, spool_path=self.spool, log=self.log.append, clock=lambda: self.now)

    def stored(self, selection: Selection | None = None) -> list[CallRecord]:
        engine = database.open_for_reading(self.url)
        with engine.connect() as connection:
            found = recent(connection, selection or Selection(), 10_000)
        engine.dispose()
        return found


@pytest.fixture
def place(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(server, f"ledger_{zlib.crc32(request.node.name.encode())}", tmp_path)


def write(ledger: Ledger, *records: CallRecord) -> None:
    async def main() -> None:
        await ledger.open()
        for record in records:
            ledger.record(record)
        await ledger.close()

    trio.run(main)


def test_records_come_back_as_they_were_and_once(place: Place) -> None:
    records = [rewritten(number) for number in range(1, 124)]
    records.append(answered(200, caller="Jörg", label='"100%" \u2713'))
    write(place.ledger(), *records)
    write(place.ledger(), *records[:5])
    assert sorted(place.stored(), key=lambda record: record.id) == records
    assert place.log == []


def test_a_record_that_the_server_refuses_is_lost_alone(place: Place) -> None:
    """PostgreSQL's text holds no NUL, and a user part of a URI may (%00)."""
    ledger = place.ledger()
    write(ledger, *(rewritten(number, caller="\0" if number == 7 else "1001") for number in range(20)))
    assert (ledger.written, ledger.failed) == (19, 1)
    assert len(place.stored()) == 19
    assert place.log[0].startswith("ledger: a record was refused (")


@pytest.mark.parametrize("begun", ["empty", "first migration"])
def test_the_tables_are_what_the_schema_says(place: Place, begun: str) -> None:
    if begun == "first migration":
        make_first(database.parse_url(place.url))
    engine = database.open_for_writing(database.parse_url(place.url))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    database.open_for_writing(database.parse_url(place.url)).dispose()  # nothing is made twice


def test_questions_have_the_answers_they_have_on_sqlite(place: Place) -> None:
    write(place.ledger(), rewritten(1), rewritten(2, caller_trunk="west"), answered(3, called="100%"))
    assert [record.id for record in place.stored(Selection(rewritten=True))] == ["call-000002", "call-000001"]
    assert [record.id for record in place.stored(Selection(trunk="west"))] == ["call-000002"]
    assert [record.id for record in place.stored(Selection(number="0%"))] == ["call-000003"]
    assert [record.id for record in place.stored(Selection(since=NOON + 60))] == ["call-000003"]
    engine = database.open_for_reading(place.url)
    with engine.connect() as connection:
        assert [record.id for record in by_id(connection, "call-00000")] == [
            "call-000003",
            "call-000002",
            "call-000001",
        ]
        assert [record.id for record in by_call_id(connection, "b2@gw1")] == ["call-000002"]
        assert count(connection, Selection(rewritten=True, trunk="pbx")) == 1
    engine.dispose()


def test_what_became_of_calls_and_rules_is_counted_as_on_sqlite(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.drift._BREATH", 0.0)
    text = '[[rule]]\nname = "idle"\nthen.status = 486\n'
    calls = (rewritten(number, rules_hash="x", mode="canary", ended_at=NOON - 60) for number in range(50))
    write(place.ledger(), *calls, *(answered(number, ended_at=NOON - 86400 * 3) for number in range(60, 110)))
    watch = DriftWatch(place.url, clock=lambda: NOON, log=place.log.append)
    trio.run(watch.look)
    assert watch.distances == {("carrier", "1h"): 1.0, ("carrier", "24h"): 1.0}
    with database.opened(place.url, writing=True) as connection:
        versions.keep(connection, versions.version_of(rules(text), NOON - 86400))
        canaries.keep(connection, CanaryEvent(NOON, canaries.STOPPED, "idle", "id", "x", "gateway", "why"))
    with database.opened(place.url) as connection:
        assert canary_counts(connection, NOON - 3600) == {("carrier-dead-number", "canary"): 50}
        assert begin_of_newest(connection, 10) == NOON - 60
        assert [(each.rule.name, each.calls) for each in unfired(connection, rules(text))] == [("idle", 50)]
        assert [event.why for event in canaries.history(connection)] == ["why"]


def test_old_records_are_deleted(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(keep=60.0)
        for number in (1, 2, 100):
            ledger.record(rewritten(number))
        await ledger.flush()
        place.now = NOON + 120
        await ledger._expire()
        await ledger.close()

    trio.run(main)
    assert [record.id for record in place.stored()] == ["call-000100"]


def test_records_wait_while_the_server_is_down_and_are_written_in_order(server: Server, place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger()
        await ledger.open()
        ledger.record(rewritten(1))
        await ledger.flush()
        server.stop()
        for number in (2, 3):
            ledger.record(rewritten(number))
            await ledger.flush()
        assert (ledger.written, ledger.spooled) == (1, 2)
        server.start()
        ledger.record(rewritten(4))
        await ledger.flush()
        assert (ledger.written, ledger.waiting) == (4, 0)
        await ledger.close()

    trio.run(main)
    assert [record.id for record in place.stored()] == [f"call-00000{number}" for number in (4, 3, 2, 1)]
    assert len(place.log) == 2
    assert f"; calls go on, and records wait in {place.spool}" in place.log[0]
    assert place.log[1].endswith("is written again after 0 s; 0 records were lost")


def test_a_probe_tells_what_a_writer_would_meet(server: Server, place: Place) -> None:
    assert database.probe(place.url).endswith(", writable, and still empty")
    write(place.ledger(), rewritten())
    assert database.probe(place.url).startswith("PostgreSQL ")
    assert database.probe(place.url).endswith(f", writable, tables of version {REVISION}")
    server.sql("DROP ROLE IF EXISTS guest")
    server.sql("CREATE ROLE guest LOGIN")
    guest = place.url.replace("gateway@", "guest@")
    with pytest.raises(database.LedgerError, match=r"cannot be written|no SELECT privilege"):
        database.probe(guest)
    engine = sa.create_engine(place.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    engine.dispose()
    with pytest.raises(database.LedgerError, match="no INSERT privilege on the table calls; grant it"):
        database.probe(guest)


def test_a_server_that_is_not_there_is_told_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(database.LedgerError, match="cannot be written"):
        database.probe(f"postgresql+psycopg://gateway@/calls?host={tmp_path}")
