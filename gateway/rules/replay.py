"""What a rule file would have made of calls that are over, against what was made of them.

Each final response is decided on again, by the facts of its day, and the outcome compared. What differs is
counted in groups, with a few examples of each; so are responses about which a guard decided although a rule
of the candidate would have matched. Only the response that the caller was told is judged: where a candidate
goes on hunting where the call ended, or stops, nobody can know what would have come of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import msgspec

from gateway.rules.decision import emitted_q850
from gateway.rules.emit import emit
from gateway.rules.facts import Facts
from gateway.rules.rule import Rule
from gateway.rules.ruleset import RuleSet
from gateway.sip.rows import Rows

EXAMPLES = 3
"""How many calls of each group are named."""

_GROUPS = 10_000  # phrases come from the network; what is over this is counted together


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What was made of a final response: the triple that left, who decided, and what else follows."""

    status: int
    phrase: str
    q850: int
    rule: str = ""
    guard: str = ""
    shadow_rule: str = ""
    shadow_status: int = 0
    hunt: str = ""
    headers: int = 0
    """A checksum of the header lines that left."""
    numbers_hidden: bool = False
    """Whether the numbers of the facts are not the real ones."""

    @property
    def answer(self) -> str:
        """The triple, as people read it: "404/1 Not Found"."""
        cause = f"/{self.q850}" if self.q850 else ""
        return f"{self.status}{cause} {self.phrase}".rstrip()

    @property
    def by(self) -> str:
        """Who decided."""
        guard = f"guard {self.guard}" if self.guard else ""
        return ", ".join(filter(None, (self.rule, guard))) or "no rule"


class Call(NamedTuple):
    """Which call it was, for an example."""

    id: str
    at: float
    caller: str
    called: str


class Change(NamedTuple):
    """One kind of change; `what` names what differs: "answer", "headers", "hunt", "shadow" or "rule"."""

    what: str
    said: str
    was: str
    now: str
    was_by: str
    now_by: str


@dataclass(slots=True)
class Group:
    """Calls of one kind: how many, and some of them."""

    count: int = 0
    examples: list[Call] = field(default_factory=list)

    def add(self, call: Call) -> None:
        """Count a call."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(call)


_UNCHANGED = ("rule", "shadow")
"""Kinds of change that the caller does not see and that change no hunting."""


class Replay:
    """Decides again under `rules`, and keeps count. `checksum` makes `Outcome.headers` of header rows."""

    def __init__(self, rules: RuleSet, checksum: Callable[[Rows, bool], int]) -> None:
        self.rules = rules
        self.judged = 0
        self.blind = 0
        """Calls with hidden numbers, whose outcome hangs on a rule that asks about numbers: not judged."""
        self.changes: dict[Change, Group] = {}
        self.held_back: dict[tuple[str, str], Group] = {}
        """(guard, rule that would have matched) -> calls."""
        self.by_rule: Counter[str] = Counter()
        """Calls by the rule of the candidate that decides."""
        self._checksum = checksum
        self._enforced = cache(self._of_status)
        self._on_numbers = any(_asks_numbers(rule) for rule in rules.rules if rule.mode != "off")

    @property
    def changed(self) -> int:
        """How many calls would have gone otherwise."""
        return sum(group.count for change, group in self.changes.items() if change.what not in _UNCHANGED)

    def judge(self, facts: Facts, was: Outcome, call: Call) -> None:
        """Decide again about one response, and compare with what was made of it."""
        if was.numbers_hidden and self._on_numbers and self._hangs_on_numbers(facts):
            self.blind += 1
            return
        self.judged += 1
        decision = self.rules.decide(facts)
        now = Outcome(
            decision.status,
            decision.phrase.decode("utf-8", "replace"),
            emitted_q850(decision, facts),
            decision.rule,
            decision.guard,
            decision.shadow_rule,
            decision.shadow_status,
            decision.hunt,
            self._checksum(emit(decision, facts), was.numbers_hidden),
            was.numbers_hidden,
        )
        if decision.rule:
            self.by_rule[decision.rule] += 1
        elif decision.guard:
            self._note_held_back(facts, decision.guard, call)
        if now != was:
            self._note(facts, was, now, call)

    def _note(self, facts: Facts, was: Outcome, now: Outcome, call: Call) -> None:
        phrase = facts.response.phrase.decode("utf-8", "replace")
        said = Outcome(facts.response.status, phrase, facts.reasons.q850).answer
        change = Change(_difference(was, now), said, _shown(was, now), _shown(now, was), was.by, now.by)
        if change not in self.changes and len(self.changes) >= _GROUPS:
            change = Change(change.what, "others", "", "", "", "")
        self.changes.setdefault(change, Group()).add(call)

    def _note_held_back(self, facts: Facts, guard: str, call: Call) -> None:
        for rule in self._enforced(facts.response.status):
            if all(condition.test(facts) for condition in rule.conditions) and rule.decides(facts):
                self.held_back.setdefault((guard, rule.name), Group()).add(call)
                return

    def _hangs_on_numbers(self, facts: Facts) -> bool:
        return any(_asks_numbers(rule) for rule in self._enforced(facts.response.status))

    def _of_status(self, status: int) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules.rules if rule.mode == "enforce" and status in rule.statuses)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values, the largest groups first."""
        return {
            "rules": self.rules.version_hash,
            "judged": self.judged,
            "changed": self.changed,
            "not_judged_for_hidden_numbers": self.blind,
            "changes": [
                {**change._asdict(), "count": group.count, "examples": _as_dicts(group)}
                for change, group in largest(self.changes)
            ],
            "held_back": [
                {"guard": guard, "rule": rule, "count": group.count, "examples": _as_dicts(group)}
                for (guard, rule), group in largest(self.held_back)
            ],
            "decided_by_rule": dict(self.by_rule.most_common()),
        }


def largest(groups: dict[Any, Group]) -> list[tuple[Any, Group]]:
    """Return groups, those with the most calls first."""
    return sorted(groups.items(), key=lambda item: -item[1].count)


def _as_dicts(group: Group) -> list[dict[str, Any]]:
    return [call._asdict() for call in group.examples]


def _asks_numbers(rule: Rule) -> bool:
    """Tell whether what a rule makes of a call hangs on its numbers; hashes of them can be counted, but not
    compared with what a rule names, or drawn by as their numbers were.
    """
    keys = (condition.key for condition in rule.conditions if condition.key != "caller.calls")
    return rule.canary is not None or any(key.startswith(("called", "caller")) for key in keys)


def _difference(was: Outcome, now: Outcome) -> str:
    """Return the gravest thing in which two outcomes differ."""
    if (was.status, was.phrase, was.q850) != (now.status, now.phrase, now.q850):
        return "answer"
    if was.headers != now.headers:
        return "headers"
    if was.hunt != now.hunt:
        return "hunt"
    return "rule" if was.by != now.by else "shadow"


def _shown(outcome: Outcome, other: Outcome) -> str:
    """Return an outcome for people, with whatever only they can differ in."""
    words = [outcome.answer]
    if outcome.hunt != other.hunt:
        words.append(f"hunt {outcome.hunt or 'by the trunk'}")
    if (outcome.shadow_rule, outcome.shadow_status) != (other.shadow_rule, other.shadow_status):
        said = f"{outcome.shadow_rule} {outcome.shadow_status}" if outcome.shadow_rule else "none"
        words.append(f"shadow {said}")
    return ", ".join(words)
