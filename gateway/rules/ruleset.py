"""The rules of one file, ready to decide.

Rules are indexed by status; one that cannot match the status costs nothing, however many there are.

A far end says the same few things over and over. So what follows from the words alone (status, phrase,
Reason, who talks to whom, whether it rang) is worked out once for the same words: the guards, the rules whose
conditions on words hold, and what each of them would answer. What is left to ask each time are the conditions
on other headers, numbers and times of the few rules that remain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.rules.decision import Decision, by_guard, by_rule
from gateway.rules.emit import prepared
from gateway.rules.explain import Explanation, explain
from gateway.rules.facts import Facts, TrunkView
from gateway.rules.guards import GUARDED, judge
from gateway.rules.network_blocked import is_near_miss
from gateway.rules.rule import Rule
from gateway.toml_source import TomlSource

FAILURES = range(400, 700)
"""The statuses that rules can speak of."""

# The words come from the network, and must not fill the memory.
_MOST_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 256

_Words = tuple[int, bytes, bytes | None, TrunkView, TrunkView, bytes, bool, bool, bool]


class _Case:
    """What is to be done about certain words: `decision`, or else whatever the rules that are left decide."""

    __slots__ = ("_near_miss", "_outcomes", "_rules", "decision")

    def __init__(
        self, decision: Decision | None, rules: tuple[Rule, ...] = (), near_miss: bool = False
    ) -> None:
        self.decision = decision
        self._rules = rules
        self._near_miss = near_miss
        self._outcomes: dict[tuple[Rule | None, Rule | None], Decision] = {}

    def decide(self, facts: Facts) -> Decision:
        """Ask the rules that are left, and draw up what the first that matches says."""
        shadow = None
        rest: tuple[str, ...] = ()
        for rule in self._rules:
            for test in rule.on_more:
                if not test(facts):
                    break
            else:
                if rule.decides(facts):
                    return self._outcome(rule, shadow, rest, facts)
                if rule.canary is not None:
                    rest += (rule.name,)
                shadow = shadow or rule
        return self._outcome(None, shadow, rest, facts)

    def _outcome(
        self, rule: Rule | None, shadow: Rule | None, rest: tuple[str, ...], facts: Facts
    ) -> Decision:
        who = (rule, shadow)
        decision = self._outcomes.get(who)
        if decision is None:
            decision = prepared(by_rule(rule, shadow, facts, self._near_miss), facts)
            self._outcomes[who] = decision
        saw = [each.saw(facts) for each in who if each is not None and each.on_history]
        return decision.about(", ".join(saw), rest) if saw or rest else decision


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
        for rule in self.rules:
            if rule.mode != "off":
                for status in rule.statuses:
                    by_status[status].append(rule)
        self.watches = frozenset(
            watch
            for rule in self.rules
            if rule.mode != "off"
            for condition in rule.on_history
            for watch in condition.watches
        )
        """What must be counted of earlier calls, so that the rules can be asked."""
        self._by_status = {status: tuple(found) for status, found in by_status.items()}
        self._remembered: dict[_Words, _Case] = {}

    def decide(self, facts: Facts) -> Decision:
        """Decide what to answer instead of the response. Never raises, whatever the response holds."""
        response = facts.response
        phrase = response.phrase
        reason = response.get(b"Reason")
        if len(phrase) > _LONGEST_REMEMBERED or (
            reason is not None and (len(reason) > _LONGEST_REMEMBERED or response.repeated(b"Reason"))
        ):
            return self._decide(facts)
        words = (
            response.status, phrase, reason, facts.source, facts.target, facts.method, facts.rang,
            facts.local, facts.in_dialog,
        )  # fmt: skip
        case = self._remembered.get(words)
        if case is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            case = self._remembered[words] = self._case(facts)
        return case.decision or case.decide(facts)

    def _decide(self, facts: Facts) -> Decision:
        """Decide about words that are not to be remembered."""
        case = self._case(facts)
        return case.decision or case.decide(facts)

    def _case(self, facts: Facts) -> _Case:
        """Work out what follows from the words."""
        status = facts.response.status
        near_miss = False
        if facts.in_dialog or status in GUARDED:
            ruling = judge(facts)
            if ruling is not None:
                return _Case(prepared(by_guard(ruling, facts), facts), (), False)
            near_miss = is_near_miss(facts)
        left = []
        needs_more = False
        for rule in self._by_status[status]:
            for test in rule.on_words:
                if not test(facts):
                    break
            else:
                left.append(rule)
                if rule.on_more or rule.canary is not None:
                    needs_more = True
                elif rule.mode == "enforce":
                    break
        case = _Case(None, tuple(left), near_miss)
        if not needs_more:
            case.decision = case.decide(facts)
        return case

    def explain(self, facts: Facts) -> Explanation:
        """Say what `decide` decides about `facts`, and why nothing before it did."""
        return explain(self.rules, self.source, facts, self.decide(facts))
