"""`gateway replay`: what a candidate rule file would have done to calls that are over.

The calls come from the ledger, which keeps what each decision was made by, or from a capture, where each
rejection is judged as if no rule had touched it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import sqlalchemy as sa
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway import config as settings
from gateway.b2bua.record import TrunkNote
from gateway.captures.exchanges import Exchange, rejections
from gateway.captures.pcap import CaptureError, messages
from gateway.ladder.model import shown_time
from gateway.ledger import canaries as events
from gateway.ledger import query
from gateway.ledger.canaries import apply_pauses
from gateway.ledger.database import LedgerError, open_for_reading, reason
from gateway.ledger.evidence import Unpacker
from gateway.ledger.packing import NOT_KEPT, emitted_checksum
from gateway.ledger.past import read_history
from gateway.patterns import BadValue, parse_duration
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.rules import Facts, RuleSet, TrunkView
from gateway.rules.history import Watch
from gateway.rules.replay import Call, Group, Outcome, Replay, largest
from gateway.sip.rows import header_key
from gateway.sip.uri import number_of

from .output import (
    FAILED,
    ConfigOption,
    JsonOption,
    LedgerOption,
    RulesOption,
    complain,
    print_json,
    printable,
)
from .sources import ledger_url, read_rules

UNCHANGED, CHANGED = 0, 1
"""Exit codes."""

Judged = Iterator[tuple[Facts, Outcome, Call]]


def replay(
    *,
    rules: RulesOption = None,
    ledger: LedgerOption = "",
    pcap: Annotated[
        Path | None, Parameter(name="--pcap", help="A capture (pcap or pcapng) instead of a ledger.")
    ] = None,
    since: Annotated[
        str,
        Parameter(
            name="--since", show_default=False, help='Only calls that ended in this time, such as "24h".'
        ),
    ] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Decide again about calls that are over, under other rules, and show what would have changed.

    Exits with 0 when nothing would have changed, with 1 when something would, with 2 when something cannot be
    read.
    """
    try:
        selection = query.Selection(since=time.time() - parse_duration(since) if since else 0.0)
    except BadValue as error:
        complain(f"--since: {error}; {error.remedy}")
        return FAILED
    if pcap is not None and (ledger or since):
        complain("--pcap: a capture has neither ledger nor --since; leave one of the two out")
        return FAILED
    try:
        loaded = settings.load(config)
        candidate = read_rules(rules, loaded)
        found = Replay(candidate, emitted_checksum)
        if pcap is not None:
            _run(found, from_capture(pcap, loaded), None)
        else:
            _replay_ledger(found, ledger or ledger_url(loaded), selection)
    except (LedgerError, CaptureError, settings.SettingsErrors) as error:
        complain(error)
        return FAILED
    except sa.exc.SQLAlchemyError as error:
        complain(f"the ledger cannot be read ({reason(error)}); try again, or run `gateway doctor`")
        return FAILED
    except (msgspec.MsgspecError, ValueError) as error:
        complain(f"the ledger holds evidence that cannot be read ({error}); use the gateway that wrote it")
        return FAILED
    unseen = [] if pcap is not None else list(_unseen(candidate))
    if json:
        print_json(found.as_dict() | {"not_replayed": unseen})
    else:
        _print(found, unseen)
    return CHANGED if found.changed else UNCHANGED


def _replay_ledger(found: Replay, url: str, selection: query.Selection) -> None:
    engine = open_for_reading(url)
    with engine.connect() as connection:
        apply_pauses(found.rules, events.history(connection))
        total = query.count(connection, selection) if sys.stderr.isatty() else None
        _run(found, from_ledger(connection, selection, found.rules.watches), total)
    engine.dispose()


def from_ledger(
    connection: sa.Connection, selection: query.Selection, watches: frozenset[Watch] = frozenset()
) -> Judged:
    """Yield what was known of each decision in the ledger, and what was made of it.

    `watches` are what the rules count of earlier calls; it is counted anew, call by call.
    """
    unpack = Unpacker().unpack
    history = read_history(connection, watches, selection.since, as_kept=True) if watches else None
    for record, blob in query.evidence(connection, selection, others=history is not None):
        if blob is not None:
            facts, outcome = unpack(blob, record)
            facts.history = history
            yield facts, outcome, Call(record.id, record.ended_at, record.caller, record.called)
        if history is not None:
            history.record(record)


def from_capture(path: Path, config: settings.Config) -> Judged:
    """Yield the rejections in a capture, each as if it had passed unchanged. Raises CaptureError."""
    trunks = _TrunksBySource(config)
    for exchange in rejections(messages(path)):
        facts = _facts(exchange, trunks)
        response = facts.response
        outcome = Outcome(
            response.status,
            response.phrase.decode("utf-8", "replace"),
            facts.reasons.q850,
            headers=emitted_checksum(response.rows, False),
        )
        call_id = exchange.request.call_id.decode("utf-8", "replace")
        yield facts, outcome, Call(call_id, exchange.ended, facts.caller, facts.called)


class _TrunksBySource:
    """Finds trunks by address; an address that is no trunk's counts as a carrier's when it answers, and as a
    PBX's when it asks.
    """

    def __init__(self, config: settings.Config) -> None:
        self._table = TrunkTable(Trunk(trunk) for trunk in config.trunks) if not config.is_embedded else None
        self._others: dict[tuple[str, str], TrunkNote] = {}

    def of(self, address: tuple[str, int], kind: str) -> TrunkView:
        """Return the trunk at an address."""
        found = None if self._table is None else self._table.find(*address)
        return found or self._others.setdefault((address[0], kind), TrunkNote(address[0], kind))


def _facts(exchange: Exchange, trunks: _TrunksBySource) -> Facts:
    request, response = exchange.request, exchange.response
    assert response is not None, "a rejection has a response"
    return Facts(
        response,
        request,
        trunks.of(exchange.asked, "carrier"),
        trunks.of(exchange.asker, "pbx"),
        request.method,
        number_of(request.uri),
        number_of(request.sender.uri),
        bool(exchange.rang),
        exchange.ended - exchange.begun,
        exchange.ended - exchange.rang if exchange.rang else None,
        now=exchange.ended,
    )


def _run(found: Replay, calls: Iterable[tuple[Facts, Outcome, Call]], total: int | None) -> None:
    """Judge all calls; `total` is how many there are at most, for the bar of a terminal."""
    if not sys.stderr.isatty():
        for facts, outcome, call in calls:
            found.judge(facts, outcome, call)
        return
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        for number, (facts, outcome, call) in enumerate(calls, 1):
            found.judge(facts, outcome, call)
            if number % 5000 == 0:
                progress.update(task, completed=number)


def _unseen(rules: RuleSet) -> Iterator[str]:
    """Say which conditions of the rules ask about what the ledger does not keep."""
    for rule in rules.rules:
        if rule.mode == "off":
            continue
        for condition in rule.conditions:
            kind, _, name = condition.key.partition(".")
            key = header_key(name.encode())
            if kind in ("header", "request_header") and (key in NOT_KEPT or key == b"Identity"):
                yield f"rule {rule.name}: {condition.key} is not in the ledger; taken as absent or empty"


# -- for people ------------------------------------------------------------------------------------


def _print(found: Replay, unseen: list[str]) -> None:
    many = "" if found.judged == 1 else "s"
    print(f"{found.judged:,} call{many} judged under rules {found.rules.version_hash}: {_verdict(found)}")
    for change, group in largest(found.changes):
        was_by = f" (by {change.was_by})"
        print(printable(f"{group.count:>8,}  {change.said}: {change.was}{was_by} -> {change.now}"
                        f" (by {change.now_by}) [{change.what}]"))  # fmt: skip
        _print_examples(group)
    if found.held_back:
        print("held back by guards:")
    for (guard, rule), group in largest(found.held_back):
        print(printable(f"{group.count:>8,}  guard {guard} decided where rule {rule} would have matched"))
        _print_examples(group)
    if found.blind:
        print(f"{found.blind:,} not judged: their numbers are hidden, and rules about them ask for numbers")
    for sentence in unseen:
        print(printable(sentence))


def _verdict(found: Replay) -> str:
    if not found.changed:
        return "nothing would have changed for anybody" if found.changes else "nothing would have changed"
    return f"{found.changed:,} would have gone otherwise ({_percent(found.changed / found.judged)})"


def _percent(share: float) -> str:
    """Return a share with two digits, 100 % without an exponent."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _print_examples(group: Group) -> None:
    for call in group.examples:
        at = shown_time(call.at, "%Y-%m-%d %H:%M:%SZ")
        numbers = f"{call.caller or '-'} → {call.called or '-'}"
        print(printable(f"{'':10}{call.id}  {at}  {numbers}"))
