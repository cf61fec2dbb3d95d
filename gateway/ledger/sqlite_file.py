"""A database that is an SQLite file: what a connection that writes to it sets, and whether it is still there.

A file may be removed, or another put in its place, while it is open. SQLite goes on with the one that it has
opened, which nobody can find any more; so whoever writes compares what is at the path with that. To close the
old connection does no harm to the new file: SQLite leaves the log beside a file alone that is not its own.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

_PRAGMAS = (
    "page_size=8192",  # of a new file; a record costs a tenth less than with 4096
    "journal_mode=WAL",  # readers and the writer do not wait for each other
    "synchronous=NORMAL",  # a power cut may cost the last records, never the file
    # What a statement would need to be undone: in a file, it is as much to write as the records themselves.
    "temp_store=MEMORY",
)


def prepare_writing(connection: sqlite3.Connection) -> None:
    """Set what a connection that writes needs. Raises sqlite3.Error."""
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def identity(path: str | Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from any other; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
