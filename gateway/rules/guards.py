"""What no rule may touch: the guards, which are asked before every rule.

Some final responses are protocol (a 407 asks for credentials, a 487 answers our own CANCEL), some are law (a
603+ "Network Blocked" must reach the caller unchanged), and some carry a fact that a rewrite would wash away
(607 a person, 608 a machine, RFC 8197 and RFC 8688). Each guard has a name, which records and metrics show.

Guards are found by the status, in one look-up, so a plain 404 or 486 pays only for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.rules.causes import PROTOCOL
from gateway.rules.facts import Facts
from gateway.rules.network_blocked import says_network_blocked

MEANINGS = {
    "in-dialog": "an answer inside a dialog belongs to that dialog",
    "not-a-failure": "only 4xx, 5xx and 6xx are ever rewritten",
    "protocol": "this status steers the protocol between the two sides",
    "network-blocked": "a 603+ Network Blocked must reach the caller byte for byte (ATIS-1000099)",
    "rejected-608": "a machine rejected the call (RFC 8688)",
    "unwanted-607": "a person does not want the call (RFC 8197), or a 603 carries that fact",
}
"""The guards in the order they are asked, each with its reason for people."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a guard decided. `status` is what to say instead, 0 to pass the response as it came; `fact` is
    what the SIP Reason must say then (607, 608), 0 for nothing.
    """

    guard: str
    status: int = 0
    fact: int = 0
    hunt: str = ""


_IN_DIALOG = Ruling("in-dialog")
_NOT_A_FAILURE = Ruling("not-a-failure")
_PROTOCOL = Ruling("protocol")
_BLOCKED = Ruling("network-blocked", hunt="stop")
_REJECTED = Ruling("rejected-608", hunt="stop")
_REJECTED_AS_603 = Ruling("rejected-608", 603, 608, "stop")
_UNWANTED = Ruling("unwanted-607", hunt="stop")
_RESTORED = {status: Ruling("unwanted-607", status, hunt="stop") for status in (607, 608)}


def _declined(facts: Facts) -> Ruling | None:
    """Judge a 603: is it a 603+, or does it stand for a 607 or 608?"""
    reasons = facts.reasons
    if reasons.analytics and says_network_blocked(facts) and not facts.target.rewrite_network_blocked:
        return _BLOCKED
    fact = reasons.sip_cause
    if fact in _RESTORED:
        return _RESTORED[fact] if fact in facts.target.supports else _UNWANTED
    return None


def _rejected(facts: Facts) -> Ruling:
    """Judge a 608, which goes to who understands it, and as a 603 that says so to everybody else."""
    return _REJECTED if 608 in facts.target.supports else _REJECTED_AS_603


_BY_STATUS: dict[int, Callable[[Facts], Ruling | None]] = {
    **dict.fromkeys(range(100, 400), lambda facts: _NOT_A_FAILURE),
    **dict.fromkeys(PROTOCOL, lambda facts: _PROTOCOL),
    603: _declined,
    608: _rejected,
}

GUARDED = frozenset(_BY_STATUS)
"""The statuses about which a guard may have something to say outside a dialog."""


def judge(facts: Facts) -> Ruling | None:
    """Return what a guard decides about the response, or None when rules may decide.

    A 607 is open to rules; that no 607 reaches a trunk without it is seen to when the decision is drawn up.
    """
    if facts.in_dialog:
        return _IN_DIALOG
    check = _BY_STATUS.get(facts.response.status)
    return None if check is None else check(facts)
