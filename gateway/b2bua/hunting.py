"""Serial hunting: which rejections lead to the next target, and which of several the caller is told.

Both are decided on the original response; what a rule makes of it is a separate output.
"""

from __future__ import annotations

import msgspec

from gateway.routing.trunk import Trunk
from gateway.rules.decision import Decision
from gateway.sip.message import Response, Row


class Verdict(msgspec.Struct, eq=False):
    """One target's rejection and what is to become of it: the decision, the header rows to emit, and the
    Q.850 cause in them (0 for none).
    """

    response: Response
    decision: Decision
    rows: list[Row]
    q850: int
    trunk: Trunk
    local: bool


def advances(verdict: Verdict) -> bool:
    """Tell whether hunting goes on after this rejection.

    A guard's or rule's ``hunt`` decides first, then what the trunk hunts on (RFC 3261 16.7 step 5).
    """
    if verdict.decision.hunt:
        return verdict.decision.hunt == "continue"
    return verdict.trunk.hunts_on(verdict.response.status)


def better(first: Verdict | None, second: Verdict) -> Verdict:
    """Return the rejection that tells the caller more (RFC 3261 16.7 step 6)."""
    if first is None or _rank(second) <= _rank(first):
        return second
    return first


def _rank(verdict: Verdict) -> int:
    """Lower is better: 6xx, then the lowest class; what a peer said before what we made up ourselves.
    The later of two equals stands.
    """
    status = verdict.response.status
    if status >= 600:
        return 0
    return 9 if verdict.local else status // 100
