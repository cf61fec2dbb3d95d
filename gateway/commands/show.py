"""`gateway calls show`: one call with the ladder of its messages, as the running gateway remembers it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from gateway import config as settings
from gateway.b2bua.record import CallRecord
from gateway.ladder.facts import CALLER_GOT, DECIDED_BY, answer, facts
from gateway.ladder.model import Ladder
from gateway.ladder.recorded import decision_of
from gateway.ladder.text import render
from gateway.ledger.database import LedgerError, open_for_reading, reason
from gateway.ledger.query import by_call_id, by_id
from gateway.os_errors import in_words

from .asking import ConsoleError, ConsoleOption, ask
from .output import (
    CLEAN,
    FAILED,
    ConfigOption,
    JsonOption,
    LedgerOption,
    cell,
    complain,
    console,
    print_json,
    printable,
)
from .sources import ledger_url

_FORMS = (".html", ".svg", ".pcap", ".json")


class _View(msgspec.Struct):
    """What is used here of the console's answer."""

    call: CallRecord | None
    ladder: Ladder


class _Known(msgspec.Struct):
    """What the ledger knows of the console's answer."""

    call: dict[str, Any]
    decision: str
    messages: tuple[()] = ()
    ladder: Ladder = msgspec.field(default_factory=lambda: Ladder([], []))


def show(
    call: Annotated[str, Parameter(help="The id of a call, how it begins, or the Call-ID of either leg.")],
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(
            name="--out",
            show_default=False,
            help="Write the call to a file, by its ending: .html, .svg, .pcap or .json.",
        ),
    ] = None,
    json: JsonOption = False,
    url: ConsoleOption = "",
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """Show a call with its messages on both legs, and what was decided between them.

    The messages are those that the running gateway still has in memory; what is known beside them comes from
    the ledger where the gateway cannot be asked; a ledger that is named is asked for calls that it does not
    know, too. Exits with 0, with 1 when the call is not there, with 2 when neither can be read.
    """
    if out is not None and out.suffix not in _FORMS:
        complain(f"--out: {out} ends in none of {', '.join(_FORMS)}")
        return FAILED
    try:
        loaded = settings.load(config)
    except settings.SettingsErrors as errors:
        complain(errors)
        return FAILED
    form = out.suffix[1:] if out is not None else "json"
    try:
        with ask(loaded, url, f"/api/calls/{quote(call, safe='')}?format={form}") as response:
            body = response.read()
    except ConsoleError as error:
        if error.status == 404:
            if ledger and out is None:
                return _from_ledger(loaded, ledger, call, json)
            return _unknown("no call has", call)
        complain(error)
        if error.status or out is not None:
            return FAILED
        return _from_ledger(loaded, ledger, call, json)
    if out is not None:
        return _write(out, body)
    view = msgspec.json.decode(body, type=_View)
    if json:
        print_json(msgspec.json.decode(body))
    else:
        _print(view)
    return CLEAN


def _write(path: Path, body: bytes) -> int:
    try:
        path.write_bytes(body)
    except OSError as error:
        complain(f"{path}: cannot be written: {in_words(error)}")
        return FAILED
    return CLEAN


def _print(view: _View) -> None:
    out = console()
    if view.call is not None:
        print_facts(view.call)
        out.print()
    if not view.ladder.arrows:
        out.print("Its messages are not kept any more.")
        return
    width = out.width if out.is_terminal else 120
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    out.print(render(view.ladder, width, plain=plain), no_wrap=True, overflow="ignore", crop=False)


def _from_ledger(config: settings.Config, ledger: str, call: str, json: bool) -> int:
    """Show what the ledger knows of a call whose messages the gateway cannot be asked for."""
    try:
        with open_for_reading(ledger or ledger_url(config)).connect() as connection:
            found = by_id(connection, call, 1) or by_call_id(connection, call, 1)
    except LedgerError as error:
        complain(error)
        return FAILED
    except sa.exc.SQLAlchemyError as error:
        complain(f"the ledger cannot be read ({reason(error)}); try again, or run `gateway doctor`")
        return FAILED
    if not found:
        return _unknown("no call in the ledger has", call)
    if json:  # as the gateway would answer that keeps no messages of the call any more
        known = msgspec.structs.asdict(found[0])
        del known["evidence"]  # which only the ledger reads
        print_json(_Known(known, decision_of(found[0])))
    else:
        print_facts(found[0])
    return CLEAN


def _unknown(nobody: str, call: str) -> int:
    complain(f"{nobody} an id or Call-ID like {printable(call)!r}; `gateway calls` lists recent ones")
    return 1


def print_facts(record: CallRecord) -> None:
    """Print everything that is known of a call beside its messages."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    styles = {CALLER_GOT: style_of(record), DECIDED_BY: "cyan"}
    for name, value in facts(record):
        if value:
            table.add_row(cell(name, style="dim"), cell(value, style=styles.get(name, "")))
    out = console()
    out.print(Text(f"call {printable(record.id)}", style="bold"))
    out.print(table)


def style_of(record: CallRecord) -> str:
    """Return how the answer to the caller is shown: a good end in green, a changed answer in yellow."""
    if 200 <= record.emitted_status < 300:
        return "green"
    said = answer(record.original_status, record.original_phrase, record.original_q850)
    got = answer(record.emitted_status, record.emitted_phrase, record.emitted_q850)
    return "bold yellow" if record.original_status and said != got else ""
