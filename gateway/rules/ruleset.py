"""The rules of one file, ready to decide.

`decide` looks up the rules that can match the status and asks them in the order of the file; a rule that
cannot match the status costs nothing, however many there are. The decision to do nothing, by far the most
frequent, is made once for each status and phrase, and shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gateway.rules.decision import Decision, by_guard, by_rule
from gateway.rules.explain import Explanation, explain
from gateway.rules.facts import Facts
from gateway.rules.guards import GUARDED, is_near_miss, judge
from gateway.rules.rule import Rule
from gateway.toml_source import TomlSource

FAILURES = range(400, 700)
"""The statuses that rules can speak of."""

# Decisions kept to be shared: a phrase is text from the network, and must not fill the memory.
_MOST_SHARED = 1024
_LONGEST_SHARED = 64


class RuleSet:
    """A compiled rule file. Immutable, but for the decisions it remembers."""

    def __init__(self, source: TomlSource, rules: Iterable[Rule]) -> None:
        self.source = source
        self.rules = tuple(rules)
        """The rules in the order of the file, those that are off among them."""
        self.version_hash = hashlib.sha256(source.text.encode()).hexdigest()[:12]
        """Names this version of the file in records and on screens."""
        self._by_status = {
            status: tuple(rule for rule in self.rules if rule.mode != "off" and status in rule.statuses)
            for status in FAILURES
        }
        self._shared: dict[tuple[int, bytes], Decision] = {}

    def decide(self, facts: Facts) -> Decision:
        """Decide what to answer instead of the response. Never raises, whatever the response holds."""
        response = facts.response
        status = response.status
        near_miss = False
        if facts.in_dialog or status in GUARDED:
            ruling = judge(facts)
            if ruling is not None:
                return by_guard(ruling, facts)
            near_miss = is_near_miss(facts)
        shadow = None
        for rule in self._by_status[status]:
            for test in rule.tests:
                if not test(facts):
                    break
            else:
                if rule.mode == "enforce":
                    return by_rule(rule, shadow, facts, near_miss)
                shadow = shadow or rule
        if shadow is not None or near_miss or status == 607:
            return by_rule(None, shadow, facts, near_miss)
        return self._shared.get((status, response.phrase)) or self._pass(status, response.phrase)

    def explain(self, facts: Facts) -> Explanation:
        """Say what `decide` decides about `facts`, and why nothing before it did."""
        return explain(self.rules, self.source.file, facts, self.decide(facts))

    def _pass(self, status: int, phrase: bytes) -> Decision:
        decision = Decision(status, phrase)
        if len(phrase) <= _LONGEST_SHARED:
            if len(self._shared) >= _MOST_SHARED:
                self._shared.clear()
            self._shared[status, phrase] = decision
        return decision
