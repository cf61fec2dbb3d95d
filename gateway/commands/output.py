"""What all commands share in speaking to people: colours only on a terminal, nothing that a terminal obeys.

Much of what commands print came from the network: numbers, phrases, header values. It is printed as it is,
neither as markup of ours nor as control sequences of the terminal's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

CLEAN, WARNINGS, FAILED = 0, 1, 2
"""Exit codes."""

MOST = 1_000_000
"""What is listed at a time, at most."""

_UNLIMITED = 1000  # columns of a file or pipe: one call stays on one line, for grep

ConfigOption = Annotated[
    Path | None, Parameter(name="--config", help="Configuration; without it, the embedded default.")
]
RulesOption = Annotated[
    Path | None, Parameter(name="--rules", help="Rule file, instead of the one the configuration names.")
]
JsonOption = Annotated[
    bool, Parameter(name="--json", show_default=False, negative="", help="Print JSON, for a program.")
]

LedgerOption = Annotated[
    str,
    Parameter(
        name="--ledger", show_default=False, help="The ledger's database URL, instead of the configuration's."
    ),
]


def console() -> Console:
    """Return standard output: as wide as the terminal or COLUMNS says, and else without a limit."""
    out = Console(highlight=False, markup=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _UNLIMITED
    return out


def columns(*headings: str) -> Table:
    """Return an empty table in the one style that all commands have."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def printable(text: str) -> str:
    """Return text from the network as a terminal may see it: on one line, without control characters."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def cell(*parts: str, between: str = "\n", style: str = "") -> Text:
    """Return a cell of a table: its parts, each made `printable`, side by side or one below another."""
    return Text(between.join(map(printable, parts)), style=style)


def complain(*sentences: object) -> None:
    """Print sentences on standard error, one a line."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def is_possible(option: str, value: int, high: int, low: int = 1) -> bool:
    """Tell whether an option's number is one from `low` to `high`, and complain when not."""
    if low <= value <= high:
        return True
    complain(f"{option}: {value} is not possible; write a whole number from {low} to {high}")
    return False


def names_somebody(option: str, number: str) -> bool:
    """Tell whether an option that was given has digits or letters of a number, and complain when not: the end
    that is nothing would be that of every number.
    """
    if not number or any(map(str.isalnum, number)):
        return True
    complain(f"{option}: {printable(number)!r} is no number; write the last digits of one")
    return False


def print_json(value: Any) -> None:
    """Print a value as JSON, indented: both programs and people read it."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
