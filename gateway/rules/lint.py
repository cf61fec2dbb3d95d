"""What is probably not meant in a valid rule file: warnings, and notes that only inform.

A warning is a rule that can have no effect. A note says what a rule does to forking: 4xx ends one branch, 6xx
ends them all (RFC 3261 16.7), so a rewrite between the two changes what others do upstream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.rules.causes import PROTOCOL
from gateway.rules.rule import Rule
from gateway.rules.ruleset import RuleSet
from gateway.toml_source import SettingsError

_ALWAYS_GUARDED = PROTOCOL | {608}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `level` is "warning" or "note", `text` a sentence `file:line: key: what; what to do`."""

    level: str
    text: SettingsError


def lint(rules: RuleSet) -> list[Finding]:
    """Return what is worth a look in a valid rule file, in the order of the file."""
    findings = []
    before: list[Rule] = []
    for rule in rules.rules:
        if rule.mode == "off":
            continue
        path = ("rule", rule.index)
        for level, key, problem, remedy in (*_warnings(rule, before), *_notes(rule)):
            findings.append(Finding(level, rules.source.error((*path, *key), problem, remedy)))
        before.append(rule)
    return findings


_Found = tuple[str, tuple[str, ...], str, str]


def _warnings(rule: Rule, before: Iterable[Rule]) -> Iterable[_Found]:
    if rule.statuses <= _ALWAYS_GUARDED:
        problem = "no rule is ever asked about these statuses, because guards protect them"
        yield "warning", ("when", "status"), problem, "remove the rule"
        return
    cover = next((other for other in before if other.mode == "enforce" and _covers(other, rule)), None)
    if cover is not None:
        problem = f'the rule never matches, because "{cover.name}" matches everything that it does'
        yield "warning", (), problem, "move it up, or remove it"


def _covers(first: Rule, second: Rule) -> bool:
    """Tell whether `first` certainly matches whenever `second` does: its conditions are among the other's."""
    wanted = {(condition.key, condition.wanted) for condition in second.conditions}
    return (
        first.statuses >= second.statuses - _ALWAYS_GUARDED
        and first.methods >= second.methods
        and all(
            (condition.key, condition.wanted) in wanted
            for condition in first.conditions
            if condition.key not in ("status", "method")
        )
    )


def _notes(rule: Rule) -> Iterable[_Found]:
    after = rule.actions.status
    if not after:
        return
    if after < 600 and any(600 <= status not in _ALWAYS_GUARDED for status in rule.statuses):
        problem = f"6xx becomes {after}, so that upstream may go on to try other branches"
        yield "note", ("then", "status"), problem, "nothing is to be done if this is meant"
    if after >= 600 and any(status < 600 for status in rule.statuses - _ALWAYS_GUARDED):
        problem = f"a status below 600 becomes {after}, so that upstream stops all other branches"
        yield "note", ("then", "status"), problem, "nothing is to be done if this is meant"
