"""`gateway check`: is this configuration, with these rules, fit to be served with?

Every mistake is printed, not only the first, each as one sentence with its place. What is valid but probably
not meant is a warning; a note only informs and does not count.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
from cyclopts import Parameter

from gateway.config import Config, SettingsError, SettingsErrors, load
from gateway.ledger.database import LedgerError, open_for_reading, parse_url, reason
from gateway.ledger.unfired import unfired
from gateway.rules import Finding, RuleSet, lint, load_rules
from gateway.rules.lint import never_fired
from gateway.transport.tls import Certificates
from gateway.workers.seat import workers_of
from gateway.workers.unsupported import unsupported

from .output import (
    CLEAN,
    FAILED,
    WARNINGS,
    ConfigOption,
    JsonOption,
    LedgerOption,
    RulesOption,
    complain,
    print_json,
)
from .sources import read_rules

_IDLE = (("shadow", "in shadow"), ("off", "off"))


def check(
    *,
    config: ConfigOption = None,
    rules: RulesOption = None,
    show_notes: Annotated[
        bool,
        Parameter(name="--notes", show_default=False, negative="", help="Print what only informs, too."),
    ] = False,
    ledger: LedgerOption = "",
    json: JsonOption = False,
) -> int:
    """Check configuration and rules without starting.

    Where there is a ledger, rules that never matched a call in it are noted.
    Exits with 0 when all is clean, with 1 when there are warnings, with 2 when there are errors.
    """
    errors: list[SettingsError] = []
    settings: Config | None = None
    ruleset: RuleSet | None = None
    try:
        settings = load(config)
    except SettingsErrors as found:
        errors += found.errors
    try:
        if settings is not None:
            ruleset = read_rules(rules, settings)
        elif rules is not None:  # a mistake in the one file does not hide those in the other
            ruleset = load_rules(rules, None)
    except SettingsErrors as found:
        errors += found.errors
    if settings is not None:
        errors += _useless(settings)
    if settings is not None and workers_of(settings) > 1:
        errors += unsupported(settings)
    findings = [] if ruleset is None else lint(ruleset, _known_trunks(rules, settings))
    try:
        findings += _never_fired(ledger, settings, ruleset)
    except LedgerError as error:
        errors.append(SettingsError("", 0, "", *_parts(error)))
    warnings = [finding for finding in findings if finding.level == "warning"]
    notes = [finding for finding in findings if finding.level == "note"]
    if json:
        print_json({
            "errors": list(map(_as_dict, errors)),
            "warnings": list(map(_finding_as_dict, warnings)),
            "notes": list(map(_finding_as_dict, notes)),
        })  # fmt: skip
    else:
        complain(*errors, *(f"{warning.text} (warning)" for warning in warnings))
        if show_notes:
            complain(*(f"{note.text} (note)" for note in notes))
        if settings is not None and ruleset is not None and not errors:
            print(f"checked {_summary(settings, ruleset)}: {_verdict(len(warnings), len(notes))}")
    return FAILED if errors else WARNINGS if warnings else CLEAN


def _useless(config: Config) -> list[SettingsError]:
    """Return what would be found as the gateway starts: certificates and a ledger that it cannot use."""
    errors: list[SettingsError] = []
    try:
        Certificates(config)
    except SettingsErrors as found:
        errors += found.errors
    try:
        if config.ledger.url:
            parse_url(config.ledger.url)
    except LedgerError as error:
        errors.append(config.source.error(("ledger", "url"), *_parts(error)))
    return errors


def _parts(error: LedgerError) -> tuple[str, str]:
    """Return what is wrong with a ledger, and the remedy."""
    problem, _, remedy = str(error).rpartition("; ")
    return (problem, remedy) if problem else (remedy, "try again, or run `gateway doctor`")


def _never_fired(url: str, config: Config | None, ruleset: RuleSet | None) -> list[Finding]:
    """Return the findings of the ledger at `url`, or else of the configured one, if it is there; none for
    files that have mistakes. Raises LedgerError when the ledger that was named cannot be read.
    """
    if config is None or ruleset is None:
        if url:
            open_for_reading(url).dispose()
        return []
    try:
        with open_for_reading(url or config.ledger.url).connect() as connection:
            idle = list(unfired(connection, ruleset))
    except (LedgerError, sa.exc.SQLAlchemyError) as error:
        if url:
            raise LedgerError(reason(error)) from None
        return []
    return [never_fired(ruleset, each.rule, each.calls, _day(each.since)) for each in idle]


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _known_trunks(rules: Path | None, config: Config | None) -> Mapping[str, str] | None:
    """Return the trunks that rules can speak of; None when a rule file was given alone."""
    return None if config is None or (rules is not None and config.is_embedded) else config.trunk_kinds


def _finding_as_dict(finding: Finding) -> dict[str, str | int]:
    return _as_dict(finding.text) | {"rule": finding.rule, "kind": finding.kind}


def _as_dict(error: SettingsError) -> dict[str, str | int]:
    return {
        "file": error.file,
        "line": error.line,
        "key": error.key,
        "problem": error.problem,
        "remedy": error.remedy,
    }


def _summary(config: Config, ruleset: RuleSet) -> str:
    """Say what was checked, such as "gateway.toml (2 trunks, 2 routes) and rules.toml (5 rules, 1 off)"."""
    name = "the embedded default" if config.is_embedded else config.source.file
    modes = Counter(rule.mode for rule in ruleset.rules)
    idle = "".join(f", {modes[mode]} {word}" for mode, word in _IDLE if modes[mode])
    trunks, routes = _number(len(config.trunks), "trunk"), _number(len(config.routes), "route")
    rules = _number(len(ruleset.rules), "rule")
    return f"{name} ({trunks}, {routes}) and {ruleset.source.file} ({rules}{idle})"


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _verdict(warnings: int, notes: int) -> str:
    """Say how it stands, such as "no mistakes, 3 notes (see --notes)"."""
    verdict = _number(warnings, "warning") if warnings else "no mistakes"
    return f"{verdict}, {_number(notes, 'note')} (see --notes)" if notes else verdict
