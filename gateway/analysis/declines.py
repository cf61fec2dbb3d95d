"""What a 603 most probably meant, by its own words and by what lies around it in the call."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from gateway.analysis.model import Call, Hop
from gateway.analysis.shipped import judged
from gateway.rules import Facts
from gateway.rules.network_blocked import is_near_miss, says_network_blocked

AT_ONCE = 1.0
"""Seconds within which no person decides: a device or a network said no by itself."""

_BUSY = frozenset((408, 480, 486, 487, 600))


class Decline(Enum):
    """What a 603 meant."""

    NETWORK_BLOCKED = auto()
    """A 603+ (ATIS-1000099), or what was meant as one."""
    DEAD_NUMBER = auto()
    BLOCKED_CALLER = auto()
    IN_A_CALL = auto()
    """The device was in another call."""
    DEVICE_DND = auto()
    """One device of several said no by itself."""
    ONE_DEVICE = auto()
    """One device of several was declined by a person."""
    PLAIN = auto()
    """Nothing says that it was not meant so."""


def declines(call: Call, meaning: Decline) -> Iterator[tuple[Hop, Facts, str]]:
    """Yield each hop whose receiver said 603 and meant this, with its facts and the shipped rule for it."""
    for hop in call.hops:
        if hop.status == 603 and hop.is_local:
            facts, rule = judged(hop)
            if _meaning(hop, facts, rule) is meaning:
                yield hop, facts, rule


def _meaning(hop: Hop, facts: Facts, rule: str) -> Decline:
    if is_near_miss(facts) or says_network_blocked(facts):
        return Decline.NETWORK_BLOCKED
    if rule.startswith(("dead-number", "gone-number")):
        return Decline.DEAD_NUMBER
    if rule.startswith("caller-blocked"):
        return Decline.BLOCKED_CALLER
    if hop.in_call is not None:
        return Decline.IN_A_CALL
    if not stopped(hop) or any(sibling.status >= 600 for sibling in hop.siblings):
        return Decline.PLAIN
    if "do-not-disturb" in rule or (not facts.rang and (facts.after or 0.0) < AT_ONCE):
        return Decline.DEVICE_DND
    return Decline.ONE_DEVICE


def stopped(hop: Hop) -> list[Hop]:
    """Return the other branches that the 603 of this one ended, or after which it ended the hunt.

    Branches that failed by themselves, as carriers do that are tried one after the other, do not count.
    """
    at = hop.ending.at
    pending = [sibling for sibling in hop.siblings if sibling.pending_at(at)]
    return pending or [sibling for sibling in hop.siblings if sibling.status in _BUSY]
