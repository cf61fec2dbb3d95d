"""`gateway scorecard`: how each trunk did, and what changed against the time before."""

from __future__ import annotations

import time
from typing import Annotated, Any

import sqlalchemy as sa
from cyclopts import Parameter
from rich.table import Table

from gateway import config as settings
from gateway.ledger.database import LedgerError, open_for_reading, reason
from gateway.ledger.query import ended_between
from gateway.ledger.scorecard import Final, Score, Shift, scores, shifts
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
    print_json,
)
from .sources import ledger_url


def scorecard(
    *,
    trunk: Annotated[
        str, Parameter(name="--trunk", show_default=False, help="Only calls to this trunk.")
    ] = "",
    since: Annotated[str, Parameter(name="--since", help="The time that is looked at.")] = "7d",
    limit: Annotated[int, Parameter(name="--limit", help="How many kinds of finals a trunk at most.")] = 20,
    json: JsonOption = False,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """Show what each trunk said how often, how many calls it completed, who tried again, and what changed
    against a time as long before.

    Exits with 0, or with 2 when the ledger cannot be read.
    """
    if not is_possible("--limit", limit, MOST):
        return FAILED
    try:
        seconds = parse_duration(since)
    except BadValue as error:
        complain(f"--since: {error}; {error.remedy}")
        return FAILED
    now = time.time()
    try:
        engine = open_for_reading(ledger or ledger_url(settings.load(config)))
        with engine.connect() as connection:
            present = scores(ended_between(connection, now - seconds, now, trunk))
            past = scores(ended_between(connection, now - 2 * seconds, now - seconds, trunk))
        engine.dispose()
    except (LedgerError, settings.SettingsErrors) as error:
        complain(error)
        return FAILED
    except sa.exc.SQLAlchemyError as error:
        complain(f"the ledger cannot be read ({reason(error)}); try again, or run `gateway doctor`")
        return FAILED
    changes = {name: list(shifts(past.get(name, Score()), score)) for name, score in present.items()}
    if json:
        print_json({name: _as_dict(score, changes[name]) for name, score in sorted(present.items())})
        return CLEAN
    if not present:
        print("No calls in that time.")
    out = console()
    for name, score in sorted(present.items()):
        near = f", {score.near_misses} near-miss 603+" if score.near_misses else ""
        answered = f"ASR {score.asr:.1%}, NER {score.ner:.1%}{near}"
        out.print(cell(f"{name}: {score.calls:,} calls, {answered}", style="bold"))
        out.print(_table(score, limit))
        for shift in changes[name]:
            was = f"was {shift.was:.1%} of calls in the {since} before"
            out.print(cell(f"changed: {shift.what} {was}, is {shift.now:.1%}", style="yellow"))
    return CLEAN


def _as_dict(score: Score, changes: list[Shift]) -> dict[str, Any]:
    return score.as_dict() | {"changes": [change._asdict() for change in changes]}


def _table(score: Score, limit: int) -> Table:
    table = columns("calls", "share", "final", "location", "rang", "after", "tried again")
    for final, count in score.finals.most_common(limit):
        table.add_row(
            cell(f"{count:,}"),
            cell(f"{count / score.calls:.1%}"),
            cell(_shown(final)),
            cell(final.location or "-"),
            cell("yes" if final.rang else "no"),
            cell(final.delay),
            cell(f"{score.retries[final] / count:.0%}" if final.status else "-"),
        )
    return table


def _shown(final: Final) -> str:
    if not final.status:
        return final.phrase
    cause = f"/{final.q850}" if final.q850 else ""
    return f"{final.status}{cause} {final.phrase}".rstrip()
