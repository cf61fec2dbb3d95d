"""One rule, compiled: when it matches, and what it does then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.rules.conditions import Condition
from gateway.rules.facts import Facts
from gateway.sip.message import Row

COHERENT, KEEP, DROP = -2, -1, 0
"""Instead of a Q.850 cause: the one that agrees with the status, the one that came, none."""
REMOVE = -1
"""Instead of the seconds of Retry-After: no such header."""


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


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the file. `conditions` stand in the order they are asked, the cheap ones first; `tests` are
    their tests without that of the status, which the index by status has made.
    """

    name: str
    description: str
    mode: str
    line: int
    index: int
    """Its place among the [[rule]] tables of the file, from 0."""
    statuses: frozenset[int]
    methods: frozenset[str]
    conditions: tuple[Condition, ...]
    tests: tuple[Callable[[Facts], bool], ...]
    actions: Actions
