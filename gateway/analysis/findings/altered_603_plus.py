"""603+ "Network Blocked" that a host on the way altered."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, who
from gateway.analysis.model import Call, Hop, Mark
from gateway.analysis.shipped import judged
from gateway.rules.network_blocked import is_near_miss, says_network_blocked

KIND = Kind(
    "603-plus-altered",
    "A 603+ was altered on the way",
    'A carrier said 603 "Network Blocked" with its Reason (ATIS-1000099), and a host on the way passed it '
    "on with another status, phrase or Reason. It must reach the caller unchanged (47 CFR 64.1200(k)(9)): "
    "the Reason tells whom to turn to.",
    "Mend the host. Behind the gateway nothing is to be set: a guard lets a 603+ through byte for byte.",
)


def find(call: Call) -> Iterator[Case]:
    """Find hosts that got a 603+ and passed on something else."""
    for hop in call.hops:
        if hop.final is None or hop.status < 300:
            continue
        for below in hop.below:
            if below.final is not None and _is_603_plus(below):
                changes = _changes(below, hop)
                if changes:
                    yield Case(
                        KIND,
                        who(hop),
                        f"{who(hop)} got a 603+ from {who(below)} and passed it on"
                        f" with {' and '.join(changes)}",
                        (Mark.of(below.final, "as it came"), Mark.of(hop.final, "as it went on")),
                        call=call,
                    )


def _is_603_plus(hop: Hop) -> bool:
    if hop.status != 603:
        return False
    facts, _ = judged(hop)
    return says_network_blocked(facts) and not is_near_miss(facts)


def _changes(came: Hop, went: Hop) -> list[str]:
    before, after = came.response, went.response
    changes = []
    if before.status != after.status:
        changes.append(f"status {after.status}")
    if before.phrase != after.phrase:
        changes.append("another phrase")
    kept = [reason.raw for reason in judged(went)[0].reasons.values]
    if not kept:
        changes.append("no Reason")
    elif [reason.raw for reason in judged(came)[0].reasons.values] != kept:
        changes.append("another Reason")
    return changes
