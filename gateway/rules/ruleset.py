"""The rules of one file, ready to decide.

`decide` looks up the rules that can match the status and asks them in the order of the file; a rule that
cannot match the status costs nothing, however many there are.

A far end says the same few things over and over. Where all rules about a status look only at what the far end
says in status, phrase and Reason, and at who talks to whom, the decision on such words is remembered by them.
Elsewhere, which rules are left to be asked is remembered by what takes few values: who talks to whom, the
method, the cause, whether it rang. So a decision costs what is asked of texts, numbers and times, with
ten rules or ten thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from gateway.rules.decision import Decision, by_guard, by_rule
from gateway.rules.emit import with_reason_rows
from gateway.rules.explain import Explanation, explain
from gateway.rules.facts import Facts, TrunkView
from gateway.rules.guards import GUARDED, is_near_miss, judge
from gateway.rules.rule import Rule
from gateway.toml_source import TomlSource

FAILURES = range(400, 700)
"""The statuses that rules can speak of."""

_WORDS = frozenset(
    ("status", "phrase", "q850", "sip_cause", "reason_text", "location", "from", "to", "method", "origin")
)
"""The conditions that see nothing but what decisions are remembered by."""

# It is text from the network that decisions are remembered by, and must not fill the memory.
_MOST_REMEMBERED = 2048
_LONGEST_REMEMBERED = 256

_Words = tuple[int, bytes, bytes | None, TrunkView, TrunkView, bytes, bool, bool]
_Case = tuple[int, TrunkView, TrunkView, bytes, bool, bool, int]


class RuleSet:
    """A compiled rule file. Immutable, but for the decisions it remembers."""

    def __init__(self, source: TomlSource, rules: Iterable[Rule], files: Iterable[Path] = ()) -> None:
        self.source = source
        self.files = tuple(files)
        """The number lists that the rules name: when one of these changes, the rules must be read anew."""
        self.rules = tuple(rules)
        """The rules in the order of the file, those that are off among them."""
        self.version_hash = hashlib.sha256(source.text.encode()).hexdigest()[:12]
        """Names this version of the file in records and on screens."""
        by_status: dict[int, list[Rule]] = {status: [] for status in FAILURES}
        looks_further: set[int] = set()
        for rule in self.rules:
            if rule.mode != "off":
                for status in rule.statuses:
                    by_status[status].append(rule)
                if not _WORDS.issuperset([condition.key for condition in rule.conditions]):
                    looks_further |= rule.statuses
        self._by_status = {status: tuple(found) for status, found in by_status.items()}
        self._repeatable = frozenset(FAILURES) - looks_further
        self._remembered: dict[_Words, Decision] = {}
        self._left: dict[_Case, tuple[Rule, ...]] = {}

    def decide(self, facts: Facts) -> Decision:
        """Decide what to answer instead of the response. Never raises, whatever the response holds."""
        response = facts.response
        status, phrase = response.status, response.phrase
        reason = response.index.get(b"Reason")
        if (
            status not in self._repeatable
            or len(phrase) > _LONGEST_REMEMBERED
            or (reason is not None and (len(reason) > _LONGEST_REMEMBERED or response.repeated(b"Reason")))
        ):
            return self._decide(facts)
        words = (
            status, phrase, reason, facts.source, facts.target, facts.method, facts.local, facts.in_dialog,
        )  # fmt: skip
        decision = self._remembered.get(words)
        if decision is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            decision = with_reason_rows(self._decide(facts), facts)
            self._remembered[words] = decision
        return decision

    def _decide(self, facts: Facts) -> Decision:
        status = facts.response.status
        near_miss = False
        if facts.in_dialog or status in GUARDED:
            ruling = judge(facts)
            if ruling is not None:
                return by_guard(ruling, facts)
            near_miss = is_near_miss(facts)
        shadow = None
        for rule in self._rules_left(facts, status):
            for test in rule.tests:
                if not test(facts):
                    break
            else:
                if rule.mode == "enforce":
                    return by_rule(rule, shadow, facts, near_miss)
                shadow = shadow or rule
        if shadow is not None or near_miss or status == 607:
            return by_rule(None, shadow, facts, near_miss)
        return Decision(status, facts.response.phrase)

    def _rules_left(self, facts: Facts, status: int) -> tuple[Rule, ...]:
        """Return the rules about this status whose few-valued conditions hold."""
        rules = self._by_status[status]
        if not rules:
            return rules
        case = (
            status, facts.source, facts.target, facts.method, facts.local, facts.rang, facts.reasons.q850
        )  # fmt: skip
        left = self._left.get(case)
        if left is None:
            if len(self._left) >= _MOST_REMEMBERED:
                self._left.clear()
            left = tuple(rule for rule in rules if all(gate(facts) for gate in rule.gates))
            self._left[case] = left
        return left

    def explain(self, facts: Facts) -> Explanation:
        """Say what `decide` decides about `facts`, and why nothing before it did."""
        return explain(self.rules, self.source, facts, self.decide(facts))
