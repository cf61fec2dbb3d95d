"""One rule, compiled: when it matches, and what it does then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.rules.canary import Canary
from gateway.rules.conditions import Condition
from gateway.rules.facts import Facts
from gateway.sip.rows import Row

Test = Callable[[Facts], bool]

COHERENT: Final = -2
KEEP: Final = -1
DROP: Final = 0
"""Instead of a Q.850 cause: the one that agrees with the status, the one that came, none."""
REMOVE: Final = -1
"""Instead of the seconds of Retry-After: no such header."""
FROM_Q850: Final = -1
"""Instead of a status: the one that the Q.850 cause stands for."""


@dataclass(frozen=True, slots=True)
class Actions:
    """The `then` of a rule. A status of 0 and an empty phrase stand for what came."""

    status: int = 0
    phrase: bytes = b""
    q850: int = KEEP
    original: str = "reason"
    """Where a replaced status is kept: "reason", "header" or "none"."""
    retry_after: int | None = None
    """Seconds to put in, REMOVE, or None to leave the header as it came."""
    set: tuple[Row, ...] = ()
    """Headers to put in, instead of those of the same name."""
    remove: frozenset[bytes] = frozenset()
    """Keys of headers to take out."""
    hunt: str = ""
    passes: bool = False
    label: str = ""

    @property
    def edits_headers(self) -> bool:
        """Whether headers other than Reason change."""
        return self.retry_after is not None or bool(self.set or self.remove)


_WORDS = frozenset((
    "status", "phrase", "q850", "sip_cause", "reason_text", "location", "from", "to", "method", "origin",
    "rang",
))  # fmt: skip
"""The conditions that look at nothing but what the far end said, to whom, and whether it rang."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule of the file. `conditions` stand in the order they are asked, the cheap ones first."""

    name: str
    description: str
    mode: str
    index: int
    """Its place among the [[rule]] tables of the file, from 0."""
    statuses: frozenset[int]
    methods: frozenset[str]
    conditions: tuple[Condition, ...]
    actions: Actions
    canary: Canary | None = None
    """Which share of the calls it decides, where that is not all."""
    on_words: tuple[Test, ...] = field(init=False)
    """The tests whose outcome follows from the words, but for the status, by which rules are indexed."""
    on_more: tuple[Test, ...] = field(init=False)
    """The tests of all others."""
    on_history: tuple[Condition, ...] = field(init=False)
    """The conditions on earlier calls, which decisions tell what they saw of."""

    def __post_init__(self) -> None:
        asked = [condition for condition in self.conditions if condition.key != "status"]
        on_words = tuple(condition.test for condition in asked if condition.key in _WORDS)
        on_more = tuple(condition.test for condition in asked if condition.key not in _WORDS)
        object.__setattr__(self, "on_words", on_words)
        object.__setattr__(self, "on_more", on_more)
        object.__setattr__(self, "on_history", tuple(each for each in asked if each.watches))

    @property
    def decides_all(self) -> bool:
        """Whether it decides about every call that it matches."""
        return self.mode == "enforce" and self.canary is None

    def decides(self, facts: Facts) -> bool:
        """Tell whether it decides about a call that it matches, or only records what it would have done."""
        return self.mode == "enforce" and (self.canary is None or self.canary.takes(facts))

    def saw(self, facts: Facts) -> str:
        """Return the counts that the rule's conditions on earlier calls saw, for people; "" without any."""
        return ", ".join(f"{condition.key} was {condition.seen(facts)}" for condition in self.on_history)
