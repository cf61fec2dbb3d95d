"""`gateway calls`: what became of recent calls, or of one, out of the ledger.

The list has one row a call. Whatever comes in pairs, such as what the far end said and what the caller got,
stands side by side where the line is long enough and one above the other where it is not, so that 80 columns
hold everything. An answer is shown as "603/1 Decline": the status, its Q.850 cause if it had one, the phrase.
"""

from __future__ import annotations

import time
from typing import Annotated

import sqlalchemy as sa
from cyclopts import Parameter
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway import config as settings
from gateway.b2bua.record import CallRecord
from gateway.ledger.database import LedgerError, open_for_reading, reason
from gateway.ledger.query import Selection, by_call_id, by_id, count, recent
from gateway.patterns import BadValue, parse_duration
from gateway.rules.causes import cause_name

from .output import (
    CLEAN,
    FAILED,
    ConfigOption,
    JsonOption,
    LedgerOption,
    cell,
    columns,
    complain,
    console,
    print_json,
    printable,
)
from .sources import ledger_url

_SIDE_BY_SIDE = 150  # columns from which pairs fit on one line


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
            return _list(connection, selection, max(limit, 0), json)
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
        console().print(_in_full(found[0]))
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
            Text.assemble(cell(_said(record)), between, "→ ", cell(_got(record), style=_style(record))),
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
    return _answer(record.original_status, record.original_phrase, record.original_q850)


def _got(record: CallRecord) -> str:
    return _answer(record.emitted_status, record.emitted_phrase, record.emitted_q850)


def _style(record: CallRecord) -> str:
    """Return how the answer to the caller is shown: a good end in green, a changed answer in yellow."""
    if 200 <= record.emitted_status < 300:
        return "green"
    return "bold yellow" if record.original_status and _said(record) != _got(record) else ""


def _answer(status: int, phrase: str, q850: int) -> str:
    if not status:
        return "no answer"
    return f"{status}/{q850} {phrase}".rstrip() if q850 else f"{status} {phrase}".rstrip()


def _decided(record: CallRecord) -> str:
    """Return who decided: a guard, a rule, a rule whose answer a guard translated, or nobody."""
    guard = f"guard {record.guard}" if record.guard else ""
    if guard or record.rule:
        return ", ".join(filter(None, (record.rule, guard)))
    return f"({record.shadow_rule} in shadow: {record.shadow_status})" if record.shadow_rule else "-"


def _lasted(record: CallRecord) -> str:
    """Return how long the call was talked on, or else how long it took to fail."""
    return _seconds(record.ended_at - (record.answered_at or record.invited_at))


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# -- one call --------------------------------------------------------------------------------------


def _in_full(record: CallRecord) -> Group:
    facts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name, value, style in _facts(record):
        if value:
            facts.add_row(cell(name, style="dim"), cell(value, style=style))
    return Group(cell(f"call {record.id}", style="bold"), facts)


def _facts(record: CallRecord) -> list[tuple[str, str, str]]:
    """Return name, value and style of everything that is known of a call; an empty value is not shown."""
    start = record.invited_at
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start))
    ended_by = f"by {record.ended_by}" if record.ended_by else ""
    why = f"({record.end_reason})" if record.end_reason else ""
    guard = f"guard {record.guard}" if record.guard else ""
    rule = f"rule {record.rule}" if record.rule else ""
    shadow = f"rule {record.shadow_rule} would have sent {record.shadow_status}" if record.shadow_rule else ""
    return [
        ("caller", f"{record.caller or '-'} on {record.caller_trunk or '-'}", ""),
        ("called", f"{record.called or '-'} on {record.callee_trunk or '-'}", ""),
        ("INVITE", f"{day}.{int(start % 1 * 1000):03}", ""),
        ("rang", _after(start, record.ringing_at), ""),
        ("answered", _after(start, record.answered_at), ""),
        ("ended", " ".join(filter(None, (_after(start, record.ended_at), ended_by, why))), ""),
        ("targets tried", str(record.attempts), ""),
        ("gateway said" if record.origin == "local" else "far end said", _said_in_full(record), ""),
        ("caller got", _got_in_full(record), _style(record)),
        ("decided by", ", ".join(filter(None, (rule, guard))) or "no rule", "cyan"),
        ("in shadow", shadow, ""),
        ("label", record.label, ""),
        ("rules", record.rules_hash, ""),
        ("caller's Call-ID", record.caller_call_id, ""),
        ("callee's Call-ID", record.callee_call_id, ""),
    ]


def _after(start: float, at: float) -> str:
    return f"after {_seconds(at - start)}" if at else ""


def _said_in_full(record: CallRecord) -> str:
    return _in_full_answer(record.original_status, record.original_phrase, record.original_q850)


def _got_in_full(record: CallRecord) -> str:
    return _in_full_answer(record.emitted_status, record.emitted_phrase, record.emitted_q850)


def _in_full_answer(status: int, phrase: str, q850: int) -> str:
    if not q850:
        return _answer(status, phrase, 0)
    name = cause_name(q850)
    return f"{_answer(status, phrase, 0)}, Q.850 cause {q850}" + (f" ({name})" if name else "")
