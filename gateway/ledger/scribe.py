"""The process that puts call records into an SQLite file: what the writer's `Dictation` starts.

Theory of operation. It lives by `gateway/child.py`. The first frame is an `Opening`; each one after it holds
the rows of a batch, encoded one by one. They go into the database in one transaction, and the answer says
which were refused, or why the database failed. After a failure, or when the file at the path is another one,
the next batch has a connection of its own. A batch that has come whole is written even when the gateway has
been killed meanwhile.

Rows are decoded as the statement takes them, not before, and nothing large is imported: the process is to be
small. It opens the file and never makes it, for making the tables is the gateway's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import BinaryIO
from urllib.parse import quote

import msgspec

from gateway import child

from .halving import insert_all, reason
from .pace import Pace
from .sqlite_file import identity, prepare_writing

_NICE = 10  # records can wait, calls cannot
_WORK = 0.0002  # seconds of CPU between two rests; with them it still writes 20,000 rows a second
_BAD_DATA = (sqlite3.DataError, sqlite3.IntegrityError, ValueError, OverflowError, TypeError)


class Opening(msgspec.Struct, array_like=True):
    """What the process is to do: the file's path, the INSERT statement of one row, and for how many seconds
    it waits for a lock that somebody else holds.
    """

    path: str
    statement: str
    busy: float


class Answer(msgspec.Struct, array_like=True):
    """What became of a batch: why rows of it were refused; `failure` says why nothing of it is written, ""
    when it is.
    """

    refused: list[str] = []
    failure: str = ""


_decode_opening = msgspec.msgpack.Decoder(Opening).decode
_decode_rows = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_row = msgspec.msgpack.Decoder(list[object]).decode
_encode = msgspec.msgpack.Encoder().encode


class Scribe:
    """Writes what is dictated to it."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def take(self, rows: Sequence[msgspec.Raw]) -> Answer:
        """Insert a batch. Never raises."""
        try:
            return Answer(insert_all(self._insert, rows, _BAD_DATA, reason))
        except Exception as error:  # whatever it is, the gateway has the batch, and tries again
            self.close()
            return Answer(failure=reason(error))

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _insert(self, rows: Sequence[msgspec.Raw]) -> None:
        with self._connected() as connection:
            connection.executemany(self._opening.statement, _values(rows))

    def _connected(self) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        path = self._opening.path
        found = identity(path)
        if found != self._file:
            self.close()
        if self._connection is None:
            self._file = found
            uri = f"file:{quote(path)}?mode=rw"
            self._connection = sqlite3.connect(uri, timeout=self._opening.busy, uri=True)
            prepare_writing(self._connection)
        return self._connection


def _values(rows: Sequence[msgspec.Raw]) -> Iterator[list[object]]:
    """Yield the values of each row, with rests in between."""
    pace = Pace(lambda: False, _WORK)
    for row in rows:
        yield _decode_row(row)
        pace.rest()


def serve(source: BinaryIO, answers: BinaryIO) -> None:
    """Write batches until there are no more. Raises BrokenPipeError when nobody waits for an answer."""
    opening = child.read_frame(source)
    if opening is None:
        return
    with closing(Scribe(_decode_opening(opening))) as scribe:
        while _serve_one(scribe, source, answers):
            pass


def _serve_one(scribe: Scribe, source: BinaryIO, answers: BinaryIO) -> bool:
    """Write a batch, and keep nothing of it. Returns whether there was one."""
    frame = child.read_frame(source)
    if frame is None:
        return False
    child.write_frame(answers, _encode(scribe.take(_decode_rows(frame))))
    return True


if __name__ == "__main__":
    child.live(serve, _NICE)
