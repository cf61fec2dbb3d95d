"""How a batch goes into a database some of whose rows it refuses, and what is said of it.

Waiting does not help where data is refused: the batch is halved until the row at fault is alone, and only
that one is lost. Both ways into a database do so: the writer's own thread (`table.py`) and the process that
writes files (`scribe.py`), which is to be small, so nothing is imported here that it does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from gateway.os_errors import in_words

T = TypeVar("T")


def insert_all(
    insert: Callable[[Sequence[T]], None],
    rows: Sequence[T],
    bad_data: tuple[type[Exception], ...],
    why: Callable[[BaseException], str],
) -> list[str]:
    """Insert rows in one transaction, without those that are refused; return why these were.

    `insert` raises one of `bad_data` when a value cannot be stored, and then nothing of its rows is. Raises
    what else it raises: the database cannot be used.
    """
    try:
        insert(rows)
    except bad_data as error:
        if len(rows) == 1:
            return [why(error)]
        middle = len(rows) // 2
        first = insert_all(insert, rows[:middle], bad_data, why)
        return first + insert_all(insert, rows[middle:], bad_data, why)
    return []


def reason(error: BaseException) -> str:
    """Return what a database or the operating system said, in a few words on one line."""
    if isinstance(error, OSError):
        words = in_words(error)
        return f"{words}: {error.filename}" if error.filename else words
    return " ".join(str(error).split()) or type(error).__name__
