"""What a finding is made of: the kind, which explains, and the cases, which prove."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.analysis.model import Call, Hop, Mark
from gateway.ladder.model import shown_address


class Sure(Enum):
    """How sure a finding is of what it says."""

    CERTAIN = "certain"
    """The messages say so themselves."""
    LIKELY = "likely"
    """It follows from how the messages lie to one another; in some unusual set-up it would be right so."""
    POSSIBLE = "possible"
    """The same messages come of a fault and of something that is in order: look."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding, for people."""

    name: str
    """What programs and documents call it."""
    title: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Case:
    """One time that it happened."""

    kind: Kind
    subject: str
    """Who or what is at fault, such as an address; cases with the same one are told together."""
    text: str
    """What happened, in one sentence."""
    evidence: tuple[Mark, ...]
    """The messages that show it, in the order of time."""
    sure: Sure = Sure.CERTAIN
    rule: str = ""
    """TOML of a rule for rules.toml that mends it, "" where none does."""
    call: Call | None = None
    """The call that it happened to; None for what no single call shows."""


def who(hop: Hop) -> str:
    """Return who was asked on this hop, for people."""
    return shown_address(hop.asked)


def number(hop: Hop) -> str:
    """Return the called number or user, for people."""
    return hop.called or "somebody without a number"


def seconds(length: float) -> str:
    """Write a length of time for people.

    >>> seconds(0.0421), seconds(1.5), seconds(75)
    ('42 ms', '1.5 s', '75 s')
    """
    if length < 1:
        return f"{length * 1000:.0f} ms"
    return f"{length:.1f} s" if length < 10 else f"{length:.0f} s"
