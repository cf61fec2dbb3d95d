"""Q.850 causes that say something else than the status they come with."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, who
from gateway.analysis.model import Call, Hop, Mark
from gateway.analysis.shipped import judged
from gateway.rules import Facts
from gateway.rules.causes import PROTOCOL, cause_for, cause_name, status_for

KIND = Kind(
    "q850-contradicts-status",
    "The Q.850 cause contradicts the status",
    "The final's Reason has a Q.850 cause that stands for another status (RFC 3398). Peers differ in "
    "which of the two they believe: FreeSWITCH and AudioCodes let the cause override the status, others "
    "do not look at it, so the same answer ends in different ways.",
    "Ask who sends it to make the two agree. The gateway rewrites status and cause together; by the rule "
    "below it makes them agree.",
)
_VAGUE = frozenset((16, 31, 111, 127))  # said of anything
_TWINS = {600: 486, 603: 403, 604: 404, 606: 488, 607: 403, 608: 403, 408: 480}
"""Status -> another one for the same fact: 6xx everywhere and 4xx here; nobody answered."""


def find(call: Call) -> Iterator[Case]:
    """Find finals whose status and cause do not agree, where they come from."""
    for hop in call.hops:
        if hop.status < 400 or hop.status in PROTOCOL or not hop.is_local:
            continue
        if b"reason" not in hop.ending.caught.payload.lower():
            continue
        facts, rule = judged(hop)
        cause, status = facts.reasons.q850, hop.status
        if not cause or cause in _VAGUE or _agree(status, facts):
            continue
        if rule.startswith(("dead-number", "gone-number")):
            continue  # it has a finding of its own
        meant = facts.status_of_cause
        yield Case(
            KIND,
            f"{who(hop)}, {status} with cause {cause}",
            f"{who(hop)} said {status} with Q.850 cause {cause} ({cause_name(cause)}), which stands for"
            f" {meant}",
            (Mark.of(hop.invite), Mark.of(hop.ending, f"Q.850;cause={cause}")),
            rule=_rule(hop, cause, meant),
            call=call,
        )


def _agree(status: int, facts: Facts) -> bool:
    cause = facts.reasons.q850
    meant = {status_for(cause, False, {}), status_for(cause, True, {})}
    if meant == {0} or cause_for(status, {}) == cause:
        return True
    return any(_TWINS.get(each, each) == _TWINS.get(status, status) for each in meant)


def _rule(hop: Hop, cause: int, meant: int) -> str:
    """Return a rule that lets the cause decide; cause 21, which is all that some know, lets the status."""
    status = hop.status if cause == 21 else meant
    return f"""\
[[rule]]
name = "cause-{cause}-with-{hop.status}"
description = "{hop.status} with Q.850 cause {cause} ({cause_name(cause)}): made to agree"
when.status = {hop.status}
when.q850 = {cause}
then.status = {status}
"""
