"""The table of calls as the writer has it: rows go in, and old ones out.

Into an SQLite file rows are put by a process of its own (`dictation.py`). Into any other database the thread
that calls puts them by itself: a server works elsewhere, so that the thread waits for the most part, and a
database in memory is this process's alone. It rests between rows then (`pace.py`), so that calls have the
interpreter for most of the time; but not when records come faster than it then writes them. Rows go in with
many a statement: Python's sqlite3 gives up the interpreter lock for each one, and getting it back from a busy
loop costs more than the insert itself.

Opening the database, with all that its tables may need, and deleting are the thread's in either case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL

from . import database
from .dictation import Dictation
from .halving import insert_all
from .pace import Pace
from .schema import COLUMNS, calls
from .sqlite_file import identity

_ROWS = (50, 10, 1)  # rows a statement, largest first; 50 rows are 1,500 of SQLite's 32,766 variables

# What a driver raises when one value cannot be stored, as opposed to a database that cannot be used.
_BAD_DATA = (sa.exc.DataError, sa.exc.IntegrityError, ValueError, OverflowError, TypeError)

_decode = msgspec.msgpack.Decoder(list[object]).decode


class Table:
    """The table of calls in the database at `url`. For one thread at a time, but for `abandon`.

    `hurries` tells whether there is no time to rest.
    """

    def __init__(self, url: URL, hurries: Callable[[], bool]) -> None:
        self._url = url
        self._path = database.sqlite_path(url)
        self._hurries = hurries
        self._engine: sa.Engine | None = None
        self._file: tuple[int, int] | None = None
        self._statements: dict[int, str] = {}
        self._dictation: Dictation | None = None
        if self._path is not None and database.is_plain_file(url):
            statement = statements(url.get_dialect()())[1]
            self._dictation = Dictation(self._path, statement, database.BUSY)

    @property
    def is_open(self) -> bool:
        """Whether there is an engine on the database."""
        return self._engine is not None

    def open(self) -> sa.Engine:
        """Return an engine on the database, opened now if need be. Blocks. Raises what `insert` does."""
        if self._path is not None and identity(self._path) != self._file:
            self.disconnect()  # SQLite would go on with a file that nobody can find
        if self._engine is None:
            self._engine = database.open_for_writing(self._url)
            self._statements = statements(self._engine.dialect)
            if self._path is not None:
                self._file = identity(self._path)
        return self._engine

    def insert(self, rows: Sequence[bytes]) -> list[str]:
        """Insert rows, but those that are there already; return why some were refused. Opens the database
        where need be, if there are no rows, too. Blocks. Raises when the database fails.
        """
        engine = self.open()
        if not rows:
            return []
        if self._dictation is not None:
            return self._dictation.insert(rows)
        return insert_all(partial(self._insert_at_leisure, engine), rows, _BAD_DATA, database.reason)

    def delete_before(self, oldest: float, most: int) -> int:
        """Delete so many of the calls that ended before a time; return how many it were. Blocks."""
        assert self._engine is not None
        old = sa.select(calls.c.seq).where(calls.c.ended_at < oldest).order_by(calls.c.ended_at).limit(most)
        with self._engine.begin() as connection:
            return connection.execute(sa.delete(calls).where(calls.c.seq.in_(old))).rowcount

    def disconnect(self) -> None:
        """Close the connections of this process; the next use opens the database anew."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def abandon(self) -> None:
        """Leave a thread that is at work here to its fate, and use another `Table` from now on."""
        if self._dictation is not None:
            self._dictation.abandon()

    def close(self) -> None:
        """Let go of all that there is. Blocks for a few seconds at most."""
        if self._dictation is not None:
            self._dictation.close()
        self.disconnect()

    def _insert_at_leisure(self, engine: sa.Engine, rows: Sequence[bytes]) -> None:
        pace = Pace(self._hurries)
        with engine.begin() as connection:
            at = 0
            for count in _ROWS:
                while len(rows) - at >= count:
                    values: list[object] = []
                    for row in rows[at : at + count]:
                        values += _decode(row)
                    connection.exec_driver_sql(self._statements[count], tuple(values))
                    at += count
                    pace.rest()


def statements(dialect: sa.Dialect) -> dict[int, str]:
    """Return the INSERT statements by the number of their rows, in the driver's own parameter style."""
    quote = dialect.identifier_preparer.quote
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    row = f"({', '.join([mark] * len(COLUMNS))})"
    head = f"INSERT INTO {quote(calls.name)} ({', '.join(map(quote, COLUMNS))}) VALUES "
    tail = " ON CONFLICT DO NOTHING"  # a batch whose commit was not heard of comes again
    return {rows: head + ", ".join([row] * rows) + tail for rows in _ROWS}
