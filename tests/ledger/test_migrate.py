"""A ledger of any earlier day is taken over with its records, and what the migrations make is the schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.ledger import database, migrate
from gateway.ledger.query import Selection, recent
from gateway.ledger.schema import COLUMNS, REVISION, metadata, unwanted
from gateway.ledger.writer import Ledger
from tests.ledger.migrations import make_first, migrations
from tests.ledger.records import rewritten
from tests.loaded import loaded_by

# What the first gateway made, word for word.
FIRST = """
CREATE TABLE ledger_version (version INTEGER NOT NULL);
CREATE TABLE calls (seq INTEGER NOT NULL, id TEXT NOT NULL, caller_call_id TEXT NOT NULL,
    callee_call_id TEXT NOT NULL, caller_trunk TEXT NOT NULL, callee_trunk TEXT NOT NULL,
    caller TEXT NOT NULL, called TEXT NOT NULL, invited_at DOUBLE NOT NULL, ringing_at DOUBLE NOT NULL,
    answered_at DOUBLE NOT NULL, ended_at DOUBLE NOT NULL, original_status INTEGER NOT NULL,
    original_phrase TEXT NOT NULL,
    original_q850 INTEGER NOT NULL, emitted_status INTEGER NOT NULL, emitted_phrase TEXT NOT NULL,
    emitted_q850 INTEGER NOT NULL, origin TEXT NOT NULL, rule TEXT NOT NULL, guard TEXT NOT NULL,
    mode TEXT NOT NULL, shadow_rule TEXT NOT NULL, shadow_status INTEGER NOT NULL, label TEXT NOT NULL,
    attempts INTEGER NOT NULL, ended_by TEXT NOT NULL, end_reason TEXT NOT NULL, PRIMARY KEY (seq));
CREATE INDEX calls_ended_at ON calls (ended_at);
CREATE INDEX calls_id ON calls (id);
INSERT INTO ledger_version VALUES (1);
"""
FIRST_FIELDS = FIRST[FIRST.index("seq") : FIRST.index("PRIMARY")].replace("\n", " ").split(", ")[1:-1]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A ledger of the first gateway with three records, one of which it wrote twice."""
    path = tmp_path / "gateway.db"
    names = [field.split()[0] for field in FIRST_FIELDS]
    insert = f"INSERT INTO calls ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    with sqlite3.connect(path) as connection:
        connection.executescript(FIRST)
        for number in (1, 2, 2, 3):
            record = rewritten(number)
            connection.execute(insert, [getattr(record, name) for name in names])
    connection.close()
    return path


def test_the_ledger_of_the_first_gateway_is_taken_over_and_loses_its_doubles(first: Path) -> None:
    writer = Ledger(f"sqlite:///{first}", keep=1e10, log=pytest.fail)
    writer.record(rewritten(4))
    trio.run(writer.flush)
    trio.run(writer.close)
    engine = database.open_for_reading(f"sqlite:///{first}")
    with engine.connect() as connection:
        assert recent(connection, Selection(), 10) == [rewritten(number) for number in (4, 3, 2, 1)]
        assert not sa.inspect(connection).has_table("ledger_version")
    engine.dispose()


def test_an_earlier_ledger_is_not_read_before_it_is_brought_up_to_date(first: Path) -> None:
    with pytest.raises(database.LedgerError) as caught:
        database.open_for_reading(f"sqlite:///{first}")
    assert str(caught.value) == (
        f"the ledger sqlite:///{first} has the tables of version 0001, not yet {REVISION}; "
        "`gateway run` brings it up to date as it starts"
    )
    assert database.probe(f"sqlite:///{first}").endswith(
        f", writable, tables of version 0001, which the next start brings to {REVISION}"
    )


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sa.Connection, found: str) -> None:
        run(connection, found)
        raise RuntimeError("killed")

    run = migrate._migrate
    monkeypatch.setattr(migrate, "_migrate", fail)
    with pytest.raises(RuntimeError, match="killed"):
        database.open_for_writing(database.parse_url(f"sqlite:///{first}"))
    with sqlite3.connect(first) as connection:
        assert connection.execute("SELECT version FROM ledger_version").fetchall() == [(1,)]
        assert connection.execute("SELECT COUNT(*) FROM calls").fetchone() == (4,)
        indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
        assert sorted(indexes) == [("calls_ended_at",), ("calls_id",)]
    connection.close()


@pytest.mark.parametrize("begun", ["empty", "first", "first migration"])
def test_what_is_made_or_migrated_is_what_the_schema_says(first: Path, begun: str) -> None:
    url = database.parse_url(f"sqlite:///{first if begun == 'first' else first.with_name('new.db')}")
    if begun == "first migration":
        make_first(url)
    engine = database.open_for_writing(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == REVISION
        assert compare_metadata(context, metadata) == []
        columns = [column["name"] for column in sa.inspect(connection).get_columns("calls")]
        assert columns == ["seq", *COLUMNS]
    engine.dispose()


def test_words_about_callers_that_stand_in_a_database_without_calls_are_kept(tmp_path: Path) -> None:
    """Early gateways made that table where no ledger was."""
    path = tmp_path / "gateway.db"
    url = database.parse_url(f"sqlite:///{path}")
    word = unwanted.insert().values(
        at=1.0, identity="1001", role="from", callee="", stage="", attested=False, trunk=""
    )
    engine = database.connect(url, writing=True)
    with engine.begin() as connection:
        unwanted.create(connection)
        connection.execute(word)
    engine.dispose()

    engine = database.open_for_writing(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.execute(sa.select(unwanted.c.identity)).scalars().all() == ["1001"]
    engine.dispose()


def test_an_empty_database_needs_no_alembic(tmp_path: Path) -> None:
    """It would stay in the memory of each gateway that starts for the first time."""
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    loaded = loaded_by(
        f"from gateway.ledger import database; database.open_for_writing(database.parse_url({url!r}))"
    )
    assert (tmp_path / "gateway.db").exists()
    assert "alembic" not in loaded


def test_the_schema_names_the_last_migration() -> None:
    assert ScriptDirectory.from_config(migrations()).get_heads() == [REVISION]
