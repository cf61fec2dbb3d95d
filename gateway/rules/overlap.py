"""Which rules get in one another's way: does one hold whenever another does, may both hold at once?

Proved where conditions are decidable (sets of statuses, causes, trunks, spans of time, prefixes of numbers),
suspected where regular expressions are compared by the words they are written in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum

from gateway.patterns import TrunkPattern
from gateway.rules.conditions import Condition, Span
from gateway.rules.rule import Rule

_TEXTS = ("phrase", "reason_text", "server", "header.", "request_header.")
_NUMBERS = ("called", "caller")
_TIMES = ("after", "ringing")


class Certainty(IntEnum):
    """How sure it is that one thing follows from another."""

    NO = 0
    SUSPECTED = 1
    PROVED = 2


class Overlaps:
    """Compares rules; `trunks` (name -> kind) are those that there are, None when they are not known."""

    def __init__(self, trunks: Mapping[str, str] | None) -> None:
        self._trunks = trunks

    def covers(self, first: Rule, second: Rule) -> Certainty:
        """Tell whether `first` holds whenever `second` does, their statuses left aside."""
        certainty = Certainty.PROVED
        for condition in first.conditions:
            if condition.key == "status":
                continue
            found = (self._implied(other, condition) for other in _of_key(second, condition.key))
            certainty = min(certainty, max(found, default=Certainty.NO))
            if not certainty:
                break
        return certainty

    def common(self, first: Rule, second: Rule) -> dict[str, frozenset[object]]:
        """Return the values that both rules match, by key, where they differ in decidable conditions only.

        Empty when they never match together, or when that cannot be known.
        """
        shared: dict[str, frozenset[object]] = {}
        keys = [condition.key for condition in first.conditions]
        if sorted(keys) != sorted(condition.key for condition in second.conditions):
            return {}
        for condition, other in zip(_in_order(first), _in_order(second), strict=True):
            if condition.wanted == other.wanted:
                continue
            if not condition.choices or not other.choices or condition.key in (*_NUMBERS, *_TIMES):
                return {}
            if condition.key.startswith(_TEXTS):
                return {}
            both = self._expanded(condition) & self._expanded(other)
            if not both:
                return {}
            shared[condition.key] = both
        return shared

    def _implied(self, narrow: Condition, wide: Condition) -> Certainty:
        """Tell whether `wide` holds whenever `narrow`, a condition on the same, does."""
        if narrow.wanted == wide.wanted or (narrow.choices and wide.choices >= narrow.choices):
            return Certainty.PROVED
        if not (narrow.choices and wide.choices):
            return Certainty.NO
        if wide.key in ("from", "to"):
            expanded = self._expanded(narrow)
            proved = bool(expanded) and expanded <= self._expanded(wide)
        elif wide.key in _TIMES:
            proved = _each(narrow.choices, wide.choices, _span_within)
        elif wide.key in _NUMBERS:
            proved = _each(narrow.choices, wide.choices, str.startswith)
        elif wide.key.startswith(_TEXTS):
            return Certainty(_each(narrow.choices, wide.choices, _found_in_words))
        else:
            proved = False
        return Certainty.PROVED if proved else Certainty.NO

    def _expanded(self, condition: Condition) -> frozenset[object]:
        """Return the choices of a condition, trunks by their names where these are known."""
        if condition.key not in ("from", "to") or self._trunks is None:
            return condition.choices
        pattern = TrunkPattern(list(condition.choices))
        return frozenset(name for name, kind in self._trunks.items() if pattern.matches(name, kind))


def _of_key(rule: Rule, key: str) -> Iterable[Condition]:
    return (condition for condition in rule.conditions if condition.key == key)


def _in_order(rule: Rule) -> list[Condition]:
    return sorted(rule.conditions, key=lambda condition: condition.key)


def _each(narrow: Collection[object], wide: Collection[object], within: object) -> bool:
    """Tell whether each of the narrow choices lies within one of the wide ones."""
    assert callable(within)
    return all(any(within(one, other) for other in wide) for one in narrow)


def _span_within(narrow: Span, wide: Span) -> bool:
    return wide.low <= narrow.low and narrow.high <= wide.high


def _found_in_words(narrow: str, wide: str) -> bool:
    """Tell whether an expression finds something in the words that another is written in: `number` does so in
    `number (is )?invalid`, and most likely in what that one finds.
    """
    return re.search(wide, narrow, re.IGNORECASE) is not None
