"""486 that meant the person, on all devices: 603 was meant."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, number, who
from gateway.analysis.model import Call, Hop, Mark
from gateway.analysis.shipped import judged, rule_text

KIND = Kind(
    "486-for-everywhere",
    "486 for a person who refuses on all devices",
    "486 Busy Here speaks for one device, so callers and proxies go on: they try other devices, voice "
    "mail, and call again. Here it stands for the person: it says do not disturb, or all devices of the "
    "person gave it, or the caller tries again and again. 603 Decline would have ended it (RFC 3261 "
    "21.6.2).",
    "Set the PBX to answer 603 where a person, not a device, refuses; or let the gateway rewrite it by "
    "the rule below.",
)

ALL_DECLINED = """\
[[rule]]
name = "declined-on-all-devices"
description = "Every device of the person said no: no other one is left to try"
when.from = "kind:pbx"          # or the trunk's name
when.status = 486
when.branches = "all-declined"
then.status = 603
"""
_AGAIN = 2  # earlier attempts that were rejected alike


def find(call: Call) -> Iterator[Case]:
    """Find 486 that speak for more than one device."""
    for hop in call.hops:
        if hop.status == 486 and hop.is_local:
            _, rule = judged(hop)
            if rule.startswith("user-do-not-disturb"):
                yield _case(call, hop, "with the words do not disturb", (), Sure.LIKELY, rule_text(rule))
    for branches in call.forks():
        last = max(branches, key=lambda hop: hop.ending.at if hop.final is not None else 0.0)
        all_busy = all(hop.status == 486 and hop.in_call is None for hop in branches)
        if all_busy and any(hop.rang_at is not None for hop in branches):
            marks = tuple(
                Mark.of(hop.ending) for hop in branches if hop.final is not None and hop is not last
            )
            text = f"as did all {len(branches)} devices, one of them after it had rung"
            yield _case(call, last, text, marks, Sure.POSSIBLE, ALL_DECLINED)
    for hop in call.hops:
        rejected = [attempt for attempt in hop.earlier if attempt.status == 486]
        is_again = hop.above is None and hop.status == 486 and hop.rang_at is not None
        if is_again and len(rejected) >= _AGAIN:
            marks = tuple(attempt.final for attempt in rejected)
            text = f"to the same caller {len(rejected) + 1} times in a row, this time after it had rung"
            yield _case(call, hop, text, marks, Sure.POSSIBLE, "")


def _case(call: Call, hop: Hop, text: str, marks: tuple[Mark, ...], sure: Sure, rule: str) -> Case:
    evidence = (*marks, Mark.of(hop.invite), Mark.of(hop.ending))
    text = f"{who(hop)} said 486 to the call for {number(hop)} {text}"
    in_order = tuple(sorted(evidence, key=lambda mark: mark.at))
    return Case(KIND, who(hop), text, in_order, sure, rule, call)
