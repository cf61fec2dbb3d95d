"""`gateway calls`: what became of recent calls, or of one, out of the ledger. `gateway calls show` is beside.

The list has one row a call. Whatever comes in pairs, such as what the far end said and what the caller got,
stands side by side where the line is long enough and one above the other where it is not, so that 80 columns
hold everything. An answer is shown as "603/1 Decline": the status, its Q.850 cause if it had one, the phrase.
"""

from __future__ import annotations

import time
from typing import Annotated

import sqlalchemy as sa
from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from gateway import config as settings
from gateway.b2bua.record import CallRecord
from gateway.ladder.facts import answer, duration
from gateway.ledger.database import LedgerError, open_for_reading, reason
from gateway.ledger.query import Selection, by_call_id, by_id, count, recent
from gateway.patterns import BadValue, parse_duration

from .output import (
    CLEAN,
    FAILED,
    MOST,
    ConfigOption,
    JsonOption,
    LedgerOption,
    cell,
    columns,
    complain,
    console,
    is_possible,
    names_somebody,
    print_json,
    printable,
)
from .show import print_facts, show, style_of
from .sources import ledger_url

app = App(name="calls")
app.command(show)
_SIDE_BY_SIDE = 150  # columns from which pairs fit on one line


@app.default
def calls(
    call: Annotated[
        str | None, Parameter(help="The id of a call, how it begins, or the Call-ID of either leg.")
    ] = None,
    /,
    *,
    limit: Annotated[int, Parameter(name="--limit", help="How many calls at most.")] = 20,
    rewritten: Annotated[
        bool,
        Parameter(
            name="--rewritten", show_default=False, negative="", help="Only calls whose answer was changed."
        ),
    ] = False,
    number: Annotated[
        str,
        Parameter(
            name="--number",
            show_default=False,
            help="Only calls from or to a number; its last digits will do.",
        ),
    ] = "",
    trunk: Annotated[
        str, Parameter(name="--trunk", show_default=False, help="Only calls from or to this trunk.")
    ] = "",
    since: Annotated[
        str,
        Parameter(
            name="--since", show_default=False, help='Only calls that ended in this time, such as "24h".'
        ),
    ] = "",
    json: JsonOption = False,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """Show recent calls, the one that ended last first; or one call in full.

    Exits with 0, with 1 when the one call is not there, with 2 when the ledger cannot be read.
    """
    if not is_possible("--limit", limit, MOST) or not names_somebody("--number", number):
        return FAILED
    try:
        selection = Selection(rewritten, number, trunk, time.time() - parse_duration(since) if since else 0.0)
    except BadValue as error:
        complain(f"--since: {error}; {error.remedy}")
        return FAILED
    try:
        engine = open_for_reading(ledger or ledger_url(settings.load(config)))
        with engine.connect() as connection:
            if call is not None:
                return _one(connection, call, json)
            return _list(connection, selection, limit, json)
    except (LedgerError, settings.SettingsErrors) as error:
        complain(error)
    except sa.exc.SQLAlchemyError as error:
        complain(f"the ledger cannot be read ({reason(error)}); try again, or run `gateway doctor`")
    return FAILED


def _list(connection: sa.Connection, selection: Selection, limit: int, json: bool) -> int:
    found = recent(connection, selection, limit)
    if json:
        print_json(found)
    elif found:
        _print_table(found)
    elif selection != Selection() and count(connection, Selection()):
        print("No call in the ledger is like that.")
    else:
        print("No calls yet.")
    return CLEAN


def _one(connection: sa.Connection, call: str, json: bool) -> int:
    found = by_id(connection, call) or by_call_id(connection, call)
    if not found:
        complain(f"no call has an id or Call-ID like {printable(call)!r}; `gateway calls` lists recent ones")
        return 1
    if json:
        print_json(found)
    elif len(found) == 1:
        print_facts(found[0])
    else:
        _print_table(found)
    if len(found) > 1:
        complain(f"{printable(call)!r} means more than one call; give more of the id")
        return 1
    return CLEAN


# -- the list --------------------------------------------------------------------------------------


def _print_table(found: list[CallRecord]) -> None:
    out = console()
    out.print(_table(found, out.width))


def _table(found: list[CallRecord], width: int) -> Table:
    between = " " if width >= _SIDE_BY_SIDE else "\n"
    table = columns(
        f"time{between}id",
        f"caller{between}→ called",
        f"from{between}→ to",
        f"far end said{between}→ caller got",
        "decided by",
        f"lasted{between}ended by",
    )
    table.padding = (0, 2 if between == " " else 1, 0, 0)
    table.columns[1].no_wrap = True  # a number is read as one
    table.columns[1].overflow = "ellipsis"
    for record in found:
        table.add_row(
            cell(_clock(record.invited_at), record.id, between=between),
            cell(record.caller or "-", f"→ {record.called or '-'}", between=between),
            cell(record.caller_trunk or "-", f"→ {record.callee_trunk or '-'}", between=between),
            Text.assemble(cell(_said(record)), between, "→ ", cell(_got(record), style=style_of(record))),
            cell(_decided(record), style="cyan"),
            cell(_lasted(record), record.ended_by, between=between),
        )
    return table


def _clock(at: float) -> str:
    """Return a time of day in local time, with its date when that is not today."""
    then = time.localtime(at)
    today = time.localtime()
    day = "" if then[:3] == today[:3] else "%m-%d " if then[0] == today[0] else "%Y-%m-%d "
    return time.strftime(f"{day}%H:%M:%S", then)


def _said(record: CallRecord) -> str:
    return answer(record.original_status, record.original_phrase, record.original_q850)


def _got(record: CallRecord) -> str:
    return answer(record.emitted_status, record.emitted_phrase, record.emitted_q850)


def _decided(record: CallRecord) -> str:
    """Return who decided: a guard, a rule, a rule whose answer a guard translated, or nobody."""
    guard = f"guard {record.guard}" if record.guard else ""
    if guard or record.rule:
        return ", ".join(filter(None, (record.rule, guard)))
    return f"({record.shadow_rule} in shadow: {record.shadow_status})" if record.shadow_rule else "-"


def _lasted(record: CallRecord) -> str:
    """Return how long the call was talked on, or else how long it took to fail."""
    return duration(record.ended_at - (record.answered_at or record.invited_at))
