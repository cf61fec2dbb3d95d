"""`gateway rules canaries` and `gateway rules enable`: rules that decide a share of calls, and may stop by
themselves; how they do, and how they go on.
"""

from __future__ import annotations

import getpass
import os
import time
from typing import Annotated, Any

import sqlalchemy as sa
from cyclopts import Parameter

from gateway.config import Config
from gateway.ledger import canaries as events
from gateway.ledger import query
from gateway.ledger.canaries import ENABLED, NOTICE, CanaryEvent, apply_pauses
from gateway.ledger.versions import AUTHOR
from gateway.rules.rule import Rule
from gateway.rules.trials import CANARY, REST
from gateway.toml_source import closest

from .ledgers import Refused, with_ledger
from .output import (
    CLEAN,
    ConfigOption,
    JsonOption,
    LedgerOption,
    RulesOption,
    cell,
    columns,
    complain,
    console,
    print_json,
    printable,
)
from .sources import read_rules

_DAY = 86400.0
RUNNING = 1
"""Exit code of `enable` for a canary that is not stopped."""


def canaries(
    *,
    rules: RulesOption = None,
    json: JsonOption = False,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """List the canaries: their shares, how many calls they decided, which are stopped, and why."""

    def work(connection: sa.Connection, loaded: Config) -> int:
        found = read_rules(rules, loaded)
        apply_pauses(found, events.history(connection))
        counts = query.canary_counts(connection, time.time() - _DAY)
        rows = [_row(rule, counts) for rule in found.rules if rule.canary is not None]
        if json:
            print_json(rows)
        elif not rows:
            print(f"No rule of {found.source.file} has a share.")
        else:
            table = columns("canary", "share", "calls in 24h", "rest", "stop when", "state")
            for row in rows:
                at = row["stopped_at"]
                state = f"STOPPED {_moment(at)}: {row['why']}" if at else "running"
                table.add_row(
                    cell(row["rule"]),
                    *(cell(str(row[key])) for key in ("share", CANARY, REST)),
                    cell(row["stop_when"] or "never"),
                    cell(state, style="bold red" if at else ""),
                )
            console().print(table)
        return CLEAN

    return with_ledger(ledger, config, work)


def enable(
    rule: Annotated[str, Parameter(help="The name of the rule.")],
    /,
    *,
    rules: RulesOption = None,
    ledger: LedgerOption = "",
    config: ConfigOption = None,
) -> int:
    """Let a canary that was stopped go on. A running gateway does so within 10 seconds.

    Exits with 0, with 1 when it is not stopped, with 2 when there is no such canary or on an error.
    """

    def work(connection: sa.Connection, loaded: Config) -> int:
        found = read_rules(rules, loaded)
        canary = _find(rule, {each.name: each for each in found.rules}).canary
        if canary is None:
            raise Refused(f"rule {printable(rule)} has no share, so that nothing stops it; write share = 0.1")
        apply_pauses(found, events.history(connection))
        if canary.pause_at(None) is None:
            complain(f"canary {printable(rule)} is not stopped; `gateway rules canaries` shows how it does")
            return RUNNING
        at = time.time() + NOTICE
        author = os.environ.get(AUTHOR) or _user()
        events.keep(connection, CanaryEvent(at, ENABLED, rule, canary.id, found.version_hash, author, ""))
        print(f"canary {printable(rule)} decides again from {_moment(at)} on")
        return CLEAN

    return with_ledger(ledger, config, work, writing=True)


def _user() -> str:
    """Return the name of the user, or the number where nothing says the name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _find(name: str, rules: dict[str, Rule]) -> Rule:
    if name in rules:
        return rules[name]
    meant = closest(name, rules)
    remedy = f'did you mean "{printable(meant)}"?' if meant else "`gateway rules canaries` lists canaries"
    raise Refused(f"no rule is called {printable(name)!r}; {remedy}")


def _row(rule: Rule, counts: dict[tuple[str, str], int]) -> dict[str, Any]:
    canary = rule.canary
    assert canary is not None, "only canaries have rows"
    pause = canary.pause_at(None)
    return {
        "rule": rule.name,
        "share": canary.share,
        "stop_when": canary.stop_when.written if canary.stop_when else "",
        CANARY: counts.get((rule.name, CANARY), 0),
        REST: counts.get((rule.name, REST), 0),
        "stopped_at": pause.begun if pause else 0.0,
        "why": pause.why if pause else "",
    }


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
