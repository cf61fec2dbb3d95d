"""`gateway unwanted`: what callees said of callers by 607; shown as tallies, taken back, exported.

Whoever is kept from being heard by such a list must be able to see it and to be taken off it (RFC 8197
section 6). The gateway heeds what is removed within seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sa
from cyclopts import App, Parameter

from gateway.config import Config
from gateway.ledger import unwanted as table
from gateway.rules.unwanted import tally

from .ledgers import with_ledger
from .output import (
    CLEAN,
    ConfigOption,
    JsonOption,
    LedgerOption,
    cell,
    columns,
    complain,
    console,
    print_json,
)

app = App(name="unwanted", help="Show, take back or export what callees said of unwanted calls (607).")

_Callee = Annotated[
    str,
    Parameter(
        name="--callee", show_default=False, help="Only what this number said; needs [unwanted] lists = true."
    ),
]


@app.command(name="list")
def show(
    caller: Annotated[
        str, Parameter(show_default=False, help="Only this caller: a number as it is listed, or user@host.")
    ] = "",
    /,
    *,
    callee: _Callee = "",
    json: JsonOption = False,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """List callers by how unwanted they are; recent words weigh more. Exits with 0, or 2 on an error."""

    def work(connection: sa.Connection, found: Config) -> int:
        now = time.time()
        entries = table.read(connection, now - found.unwanted.keep, caller, callee)
        tallies = tally(entries, now, found.unwanted.half_life)
        if json:
            print_json(tallies)
        elif not tallies:
            print("Nobody was unwanted.")
        else:
            grid = columns("caller", "weight", "before answer", "mid-call", "attested", "last", "role")
            for each in tallies:
                counts = map(str, (each.before_answer, each.midcall, each.attested))
                parts = [each.identity, f"{each.weight:.1f}", *counts, _shown(each.last_at), each.role]
                grid.add_row(*map(cell, parts))
            console().print(grid)
        return CLEAN

    return with_ledger(ledger, config, work)


@app.command
def remove(
    caller: Annotated[str, Parameter(help="The caller, as `gateway unwanted list` shows it.")],
    /,
    *,
    callee: _Callee = "",
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """Forget what was said of a caller. Exits with 0, with 1 when nothing was, or 2 on an error."""

    def work(connection: sa.Connection, _found: Config) -> int:
        count = table.remove(connection, caller, callee)
        if not count:
            complain(f"nothing was said of {caller!r}; `gateway unwanted list` shows who is listed")
            return 1
        print(f"Removed {count}.")
        return CLEAN

    return with_ledger(ledger, config, work, writing=True)


@app.command
def export(
    *, callee: _Callee = "", json: JsonOption = False, ledger: LedgerOption = "", config: ConfigOption = None
) -> int:
    """Print every word that is kept, the oldest first: tab-separated, or JSON. Exits with 0, or 2."""

    def work(connection: sa.Connection, found: Config) -> int:
        since = time.time() - found.unwanted.keep
        entries = table.read(connection, since, "", callee)
        if json:
            print_json(entries)
            return CLEAN
        for entry in entries:
            attested = "attested" if entry.attested else "-"
            fields = (entry.identity, entry.role, entry.stage, attested, entry.trunk, entry.callee or "-")
            print(f"{entry.at:.3f}", *fields, sep="\t")
        return CLEAN

    return with_ledger(ledger, config, work)


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
