"""Reaching the ledger's database, and saying in one sentence why it cannot be reached.

A database is named by an SQLAlchemy URL. SQLite's own needs (directories, write-ahead log, busy timeout, one
connection for a database in memory) are met here, with `sqlite_file.py`, and nowhere else.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.pool import StaticPool

from gateway.os_errors import in_words

from . import halving
from .migrate import UnknownRevisionError, revision, upgrade
from .schema import REVISION, calls
from .sqlite_file import prepare_writing

BUSY = 1.0
"""Seconds that a statement waits for a lock that somebody else holds."""
_SERVER_OPTIONS = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,  # ms without an acknowledgement, after which a server is gone
    "keepalives_idle": 10,  # s of silence, after which it is asked for a sign: it may have died meanwhile
    "options": "-c statement_timeout=10000",
}
"""What psycopg is told, so that a server that hangs costs seconds. A URL's own parameters go before these."""
_PASSWORD = re.compile(r"(://[^:@]*):.*@")


class LedgerError(Exception):
    """The ledger cannot be used; `str()` is a sentence for a person, with what would be right."""


def parse_url(url: str) -> URL:
    """Return the database URL, parsed. Raises LedgerError when it is none."""
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: the port is no number
        remedy = "write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
        hidden = _PASSWORD.sub(r"\1:***@", url)
        raise LedgerError(f"{hidden!r} is not a database URL; {remedy}") from None


def shown(url: URL) -> str:
    """Return the URL as it may be printed: without its password."""
    return url.render_as_string(hide_password=True)


def reason(error: BaseException) -> str:
    """Return what a database or the operating system said, in a few words on one line."""
    if isinstance(error, sa.exc.DBAPIError):
        error = error.orig or error
    return halving.reason(error)


def sqlite_path(url: URL) -> Path | None:
    """Return the file of an SQLite database; None for one in memory and for every other kind of database."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))


def is_plain_file(url: URL) -> bool:
    """Tell whether a database is an SQLite file that Python's sqlite3 opens by its path alone."""
    return sqlite_path(url) is not None and url.get_driver_name() == "pysqlite" and not url.query


def connect(url: URL, *, writing: bool) -> sa.Engine:
    """Return an engine for `url`; nothing is opened yet. Raises LedgerError.

    An engine for reading leaves the database as it is; one for writing puts SQLite into write-ahead mode, so
    that readers and the writer do not wait for each other.
    """
    options: dict[str, Any] = {}
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite:
        options["connect_args"] = {"timeout": BUSY, "check_same_thread": False}
        if sqlite_path(url) is None:
            options["poolclass"] = StaticPool
    elif url.get_driver_name() == "psycopg":
        options["connect_args"] = {
            name: value for name, value in _SERVER_OPTIONS.items() if name not in url.query
        }
    try:
        engine = sa.create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise LedgerError(f"{shown(url)} needs the package {error.name}; {_install(error.name)}") from None
    except sa.exc.ArgumentError as error:
        raise LedgerError(f"{shown(url)} cannot be used ({reason(error)}); correct the URL") from None
    if sqlite:
        sa.event.listen(engine, "connect", _prepare_writing if writing else _prepare_reading)
    return engine


def _install(package: str | None) -> str:
    return 'pip install "sip-truth-gateway[postgresql]"' if package == "psycopg" else "install it"


def _prepare_writing(connection: sqlite3.Connection, _record: object) -> None:
    prepare_writing(connection)


def _prepare_reading(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA query_only=ON")


def open_for_writing(url: URL) -> sa.Engine:
    """Return an engine whose database has the ledger's tables, made or brought up to date now.

    Raises LedgerError, or what SQLAlchemy, the driver or the operating system raise.
    """
    path = sqlite_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    engine = connect(url, writing=True)
    try:
        upgrade(engine)
    except UnknownRevisionError as error:
        engine.dispose()
        raise _too_new(url, str(error)) from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def open_for_reading(url: str) -> sa.Engine:
    """Return an engine on a ledger that is already there. Raises LedgerError, whatever stands in the way."""
    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if path is not None and not _is_there(path, Path.is_file):
        remedy = "it is made by the first `gateway run`; name another with --ledger"
        raise LedgerError(f"there is no ledger at {path}; {remedy}")
    engine = connect(parsed, writing=False)
    try:
        with engine.connect() as connection:
            _check_version(connection, parsed)
    except LedgerError:
        engine.dispose()
        raise
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        engine.dispose()
        remedy = "check that it is a ledger and may be read"
        raise LedgerError(f"the ledger {shown(parsed)} cannot be read ({reason(error)}); {remedy}") from None
    return engine


def _is_there(path: Path, look: Callable[[Path], bool]) -> bool:
    """Tell what `look` finds. Raises LedgerError where the directory may not be entered."""
    try:
        return look(path)
    except OSError as error:
        words = in_words(error)
        raise LedgerError(f"the ledger {path} cannot be read: {words}; check its permissions") from None


@contextmanager
def opened(url: str, *, writing: bool = False) -> Iterator[sa.Connection]:
    """Open a ledger that is there, for one transaction. Raises LedgerError, or what SQLAlchemy raises."""
    engine = open_for_reading(url)  # which looks whether it is one
    if writing:
        engine.dispose()
        engine = connect(parse_url(url), writing=True)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _check_version(connection: sa.Connection, url: URL) -> None:
    found = revision(connection)
    if found is None:
        raise LedgerError(f"{shown(url)} holds no ledger; it is made by the first `gateway run`")
    if found < REVISION:
        problem = f"the ledger {shown(url)} has the tables of version {found}, not yet {REVISION}"
        raise LedgerError(f"{problem}; `gateway run` brings it up to date as it starts")
    if found > REVISION:
        raise _too_new(url, found)


def _too_new(url: URL, found: str) -> LedgerError:
    problem = f"the ledger {shown(url)} has the tables of version {found}, and this gateway knows {REVISION}"
    return LedgerError(f"{problem}; name another ledger, or use the gateway that wrote it")


def probe(url: str) -> str:
    """Find out whether the ledger at `url` could be written, without making anything.

    Returns a few words that say what is there. Raises LedgerError when records would be lost.
    """
    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if path is not None and not _is_there(path, Path.exists):
        return _probe_directory(path)
    engine = connect(parsed, writing=False)
    try:
        with engine.connect() as connection:
            version = str(connection.exec_driver_sql(_VERSIONS[engine.dialect.name]).scalar()).split()[0]
            if path is not None:
                connection.exec_driver_sql("PRAGMA query_only=OFF")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            found = revision(connection)
            if found is not None and found > REVISION:
                raise _too_new(parsed, found)
            if path is None and engine.dialect.name == "postgresql":
                _check_privileges(connection, parsed, found)
            connection.rollback()
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        problem = f"the ledger {shown(parsed)} cannot be written ({reason(error)})"
        raise LedgerError(f"{problem}; calls go on, and records wait in the spool") from None
    finally:
        engine.dispose()
    state = "and still empty" if found is None else f"tables of version {found}"
    if found is not None and found < REVISION:
        state += f", which the next start brings to {REVISION}"
    return f"{_PRODUCTS[engine.dialect.name]} {version}, writable, {state}"


_PRODUCTS = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_VERSIONS = {"sqlite": "SELECT sqlite_version()", "postgresql": "SHOW server_version"}


def _check_privileges(connection: sa.Connection, url: URL, found: str | None) -> None:
    """Raise LedgerError unless the user may do what writing takes."""
    if connection.execute(sa.select(sa.func.pg_is_in_recovery())).scalar():
        raise LedgerError(f"the ledger {shown(url)} is a standby, which cannot be written; name the primary")
    may_make = sa.func.has_schema_privilege(sa.func.current_schema(), "CREATE")
    if found != REVISION and not connection.execute(sa.select(may_make)).scalar():
        problem = f"the user of {shown(url)} may not make or change tables"
        raise LedgerError(f"{problem}; grant CREATE on the schema, at least for the first start")
    if found is None:
        return
    for privilege in ("SELECT", "INSERT", "DELETE"):
        if not connection.execute(sa.select(sa.func.has_table_privilege(calls.name, privilege))).scalar():
            problem = f"the user of {shown(url)} has no {privilege} privilege on the table {calls.name}"
            raise LedgerError(f"{problem}; grant it")


def _probe_directory(path: Path) -> str:
    """Try the nearest directory that exists above a database that does not."""
    try:
        directory = next(parent for parent in path.absolute().parents if parent.exists())
        trial = directory / f".{path.name}.probe"
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        problem = f"the ledger {path} cannot be made ({in_words(error)})"
        raise LedgerError(f"{problem}; make its directory writable") from None
    return "not there yet; it can be made"
