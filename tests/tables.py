"""Which rows of the state tables the dialogue tests reach.

A dialogue test plays messages and time against a whole gateway on the virtual network. While one runs, every
table of the gateway (found as docs/diagrams.py finds them) notes which of its rows is taken. Tests that feed
inputs to a table by hand live in files named ``*_table.py`` or ``*_tables.py``, and count for nothing here.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
DIALOGUES = (TESTS / "b2bua", TESTS / "routing")
TABLES: list[Any] = runpy.run_path(str(TESTS.parent / "docs" / "diagrams.py"))["find_tables"]()

Cell = tuple[str, str, str]  # class, state, input


def is_dialogue(path: Path) -> bool:
    """Whether a test file plays dialogues."""
    return (
        path.parent in DIALOGUES
        and path.name.startswith("test_")
        and not path.stem.endswith(("_table", "_tables"))
    )


def rows_of(table: Any) -> set[Cell]:
    """Every row of a table."""
    return {(table.__name__, state.name, given.name) for state, given in table.TABLE}


class _Row(tuple[Any, ...]):
    """What a state does with each input, noting what it is asked for."""

    def __new__(cls, steps: tuple[Any, ...], cells: list[Cell | None], reached: set[Cell]) -> _Row:
        row = super().__new__(cls, steps)
        row.cells = cells
        row.reached = reached
        return row

    cells: list[Cell | None]
    reached: set[Cell]

    def __getitem__(self, given: Any) -> Any:
        cell = self.cells[given]
        if cell is not None:
            self.reached.add(cell)
        return super().__getitem__(given)


@contextmanager
def noting(reached: set[Cell]) -> Iterator[None]:
    """Add every row that is taken meanwhile to ``reached``."""
    steps = {table: table.STEPS for table in TABLES}
    for table in TABLES:
        table.STEPS = _noting(table, reached)
    try:
        yield
    finally:
        for table, before in steps.items():
            table.STEPS = before


def _noting(table: Any, reached: set[Cell]) -> tuple[_Row, ...]:
    state, given = next(iter(table.TABLE))
    states: type[IntEnum] = type(state)
    inputs: type[IntEnum] = type(given)
    rows = []
    for state in states:
        cells = [
            (table.__name__, state.name, given.name) if (state, given) in table.TABLE else None
            for given in inputs
        ]
        rows.append(_Row(table.STEPS[state], cells, reached))
    return tuple(rows)
