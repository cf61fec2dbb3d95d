"""Rules that have decided nothing for as long as they have been in force, by the calls and the versions of
the rules that the ledger keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from gateway.rules import RuleSet
from gateway.rules.rule import Rule
from gateway.toml_source import SettingsError, TomlSource

from . import versions
from .query import MOST_CALLS, begin_of_newest
from .schema import calls

_VERSIONS = 100  # that are looked through for the time since when a rule is there


class Unfired(NamedTuple):
    """A rule that decided none of so many rejections with a status it asks for, since then."""

    rule: Rule
    calls: int
    since: float


def unfired(connection: sa.Connection, rules: RuleSet) -> Iterator[Unfired]:
    """Yield the rules that never fired, not even in shadow, in the order of the file. At most the newest
    1,000,000 calls are looked at.

    A rule that has not been in force yet, or about whose statuses no call was decided, is none of them.
    """
    oldest = begin_of_newest(connection, MOST_CALLS)
    counts: dict[float, dict[int, int]] = {}
    fired: dict[float, set[str]] = {}
    in_force = _in_force_since(connection)
    for rule in rules.rules:
        if rule.mode == "off" or rule.name not in in_force:
            continue
        since = max(in_force[rule.name], oldest)
        if since not in counts:
            counts[since] = _rejections(connection, since)
            fired[since] = _fired(connection, since)
        judged = sum(count for status, count in counts[since].items() if status in rule.statuses)
        if judged and rule.name not in fired[since]:
            yield Unfired(rule, judged, since)


def _in_force_since(connection: sa.Connection) -> dict[str, float]:
    """Return since when each rule of the version that was applied last has been there, by its name."""
    since: dict[str, float] = {}
    left: set[str] | None = None
    for version in versions.history(connection, _VERSIONS):
        names = _names(version.text)
        left = names if left is None else left & names
        since.update(dict.fromkeys(left, version.applied_at))
        if not left:
            break
    return since


def _names(text: str) -> set[str]:
    try:
        tables = TomlSource.parse(text, "").data.get("rule", [])
    except SettingsError:
        return set()
    return {str(table.get("name")) for table in tables if isinstance(table, dict)}


def _rejections(connection: sa.Connection, since: float) -> dict[int, int]:
    """Return how many calls rules were asked about, by what the far end said."""
    status = calls.c.original_status
    query = sa.select(status, sa.func.count()).group_by(status)
    query = query.where(calls.c.ended_at >= since, calls.c.rules_hash != "")
    return {status: count for status, count in connection.execute(query)}


def _fired(connection: sa.Connection, since: float) -> set[str]:
    """Return the names of the rules that matched some call, in shadow or not."""
    names = (calls.c.rule, calls.c.shadow_rule)
    queries = (sa.select(name).where(calls.c.ended_at >= since).distinct() for name in names)
    return {name for query in queries for (name,) in connection.execute(query)}
