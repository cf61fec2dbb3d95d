"""Bringing a ledger's tables to this version of the schema, whatever made them.

Alembic keeps the version in a table of its own and runs the files in `migrations` that are still to be run;
all of them in one transaction, so that a gateway killed on the way leaves the ledger as it was. The ledgers
of the first gateways have the tables of version 0001 and another table for the version; they are taken over.

An empty database gets what `schema.py` describes, without Alembic: that would take ten megabytes of a gateway
that may never need it again.
"""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa

from .schema import REVISION, calls, metadata

_FIRST = "0001"
_VERSION = sa.Table(  # as Alembic makes it
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_LOCK = 0x51BC_A115  # any number, by which gateways that start on one PostgreSQL server know this lock


class UnknownRevisionError(Exception):
    """The tables are of a version that only a later gateway knows; `str()` is the version."""


def revision(connection: sa.Connection) -> str | None:
    """Return the version of the tables in a database; None when it has none of the ledger's."""
    inspector = sa.inspect(connection)
    if inspector.has_table(_VERSION.name):
        found = connection.execute(sa.select(_VERSION.c.version_num)).scalar()
        if found is not None:
            return str(found)
    return _FIRST if inspector.has_table(calls.name) else None


def upgrade(engine: sa.Engine) -> None:
    """Make or change the tables, if need be. Raises UnknownRevisionError, or what the database raises."""
    with engine.connect() as connection:
        if _is_current(revision(connection)):
            return
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # Python would begin only at the first INSERT
        else:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # an index may take its time
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        found = revision(connection)
        if found is None:
            _make(connection)
        elif not _is_current(found):  # nobody else did it while we waited for the lock
            _migrate(connection, found)
        connection.commit()


def _is_current(found: str | None) -> bool:
    if found is not None and found > REVISION:
        raise UnknownRevisionError(found)
    return found == REVISION


def _make(connection: sa.Connection) -> None:
    metadata.create_all(connection)  # but for what is there already
    _VERSION.create(connection, checkfirst=True)
    connection.execute(sa.insert(_VERSION).values(version_num=REVISION))


def _migrate(connection: sa.Connection, found: str) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of its plugins as it is imported
    # Imported here: it takes longer than all else that a command needs, and is needed once a version.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if found == _FIRST and not sa.inspect(connection).has_table(_VERSION.name):
        command.stamp(config, _FIRST)
    command.upgrade(config, REVISION)
