"""Hunting: which rejections lead to the next target, and which of several the caller is told.

Both are decided on the original response; what a rule makes of it is a separate output.
"""

from __future__ import annotations

from typing import Final

from gateway.routing.route import Hop
from gateway.routing.trunk import Trunk
from gateway.rules.decision import Decision
from gateway.rules.facts import Facts
from gateway.sip.message import Response
from gateway.sip.rows import Rows

from .leg import CalleeLeg

_FOR_THE_CALLER: Final = (401, 407, 415, 420, 484)  # RFC 3261 16.7 step 6: these ask the caller to act


class Verdict:
    """One target's rejection and what is to become of it: the decision, the header rows to emit, and the
    Q.850 cause in them (0 for none). ``facts`` are what it was decided by, under the rules of version
    ``rules_hash``; ``call_id`` is the Call-ID of the leg it came on.
    """

    __slots__ = ("call_id", "decision", "facts", "local", "q850", "response", "rows", "rules_hash", "trunk")

    def __init__(
        self,
        response: Response,
        decision: Decision,
        rows: Rows,
        q850: int,
        trunk: Trunk,
        local: bool,
        facts: Facts,
        rules_hash: str,
    ) -> None:
        self.response = response
        self.decision = decision
        self.rows = rows
        self.q850 = q850
        self.trunk = trunk
        self.local = local
        self.facts = facts
        self.rules_hash = rules_hash
        self.call_id = b""


def stops_all(verdict: Verdict) -> bool:
    """Tell whether a rejection speaks for every target, those that are still ringing too.

    A guard's or rule's ``hunt`` decides first, then the original status: a 6xx does (RFC 3261 16.7 step 5).
    """
    if verdict.decision.hunt:
        return verdict.decision.hunt == "stop"
    return verdict.response.status >= 600 and not verdict.trunk.hunts_on(verdict.response.status)


def next_hops(leg: CalleeLeg, verdict: Verdict) -> tuple[Hop, ...]:
    """Return what to try after this leg's rejection, in order; nothing when it ends here.

    A guard's or rule's ``hunt`` decides first, then what the trunk hunts on. Once the caller may have heard
    an announcement, another target would talk over it. Further addresses of the same target are for where
    this one failed, not for where it answered (RFC 3263 4.3).
    """
    if verdict.decision.hunt:
        if verdict.decision.hunt == "stop":
            return ()
    elif not leg.trunk.hunts_on(verdict.response.status) or (
        leg.gave_early_media and not leg.trunk.hunts_after_early_media
    ):
        return ()
    hops = leg.fallbacks
    if not has_failed(verdict.response.status, verdict.local):
        while hops and hops[0].is_alternate:
            hops = hops[1:]
    return hops


def has_failed(status: int, local: bool) -> bool:
    """Tell whether a target failed, rather than refused: silence, no way to send, or 503 (RFC 3263 4.3)."""
    return local or status == 503


def better(first: Verdict | None, second: Verdict) -> Verdict:
    """Return the rejection that tells the caller more (RFC 3261 16.7 step 6)."""
    if first is None or _rank(second) <= _rank(first):
        return second
    return first


def _rank(verdict: Verdict) -> int:
    """Lower is better: 6xx, then the lowest class, in it what the caller can act on; what a peer said before
    what we made up ourselves. The later of two equals stands.
    """
    status = verdict.response.status
    if status >= 600:
        return 0
    if verdict.local:
        return 18
    return status // 100 * 2 + (status not in _FOR_THE_CALLER)
