"""One rule, compiled: when it matches, and what it does then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.rules.conditions import Condition
from gateway.rules.facts import Facts
from gateway.sip.message import Row

Test = Callable[[Facts], bool]

COHERENT, KEEP, DROP = -2, -1, 0
"""Instead of a Q.850 cause: the one that agrees with the status, the one that came, none."""
REMOVE = -1
"""Instead of the seconds of Retry-After: no such header."""
FROM_Q850 = -1
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


FEW_VALUED = frozenset(("status", "from", "to", "method", "origin", "rang", "q850"))
"""Conditions on what takes few values over all responses: their outcome is remembered by these."""


@dataclass(frozen=True, slots=True)
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
    gates: tuple[Test, ...] = field(init=False)
    """The tests of the few-valued conditions, but for the status, by which rules are indexed."""
    tests: tuple[Test, ...] = field(init=False)
    """The tests of all others."""

    def __post_init__(self) -> None:
        gates, tests = [], []
        for condition in self.conditions:
            if condition.key not in FEW_VALUED or not condition.choices:
                tests.append(condition.test)
            elif condition.key != "status":
                gates.append(condition.test)
        object.__setattr__(self, "gates", tuple(gates))
        object.__setattr__(self, "tests", tuple(tests))
