"""603 from one phone of several, where a person pressed the reject key: 486 was meant."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.declines import Decline, declines, stopped
from gateway.analysis.finding import Case, Kind, Sure, number, who
from gateway.analysis.model import Call, Mark

KIND = Kind(
    "603-for-one-device",
    "One device's 603 stopped all others",
    "One device of a fork or hunt group said 603 Decline. 603 speaks for the person on all devices, so "
    "whoever forks must stop there (RFC 3261 16.7 step 5): the other devices ring no more, or are never "
    "tried. A reject key speaks for one device, and that is 486 Busy Here (RFC 3261 21.4.24).",
    "Set the device, or the PBX that speaks for it, to answer a rejected call with 486; or let the "
    "gateway rewrite it by the rule below.",
)

RULE = """\
[[rule]]
name = "one-device-declined"
description = "603 from one device of several: only this branch is busy"
when.from = "kind:pbx"          # or the trunk's name
when.status = 603
when.branches = "forked"
then.status = 486
"""


def find(call: Call) -> Iterator[Case]:
    """Find devices whose 603 ended a fork or hunt that had other devices to ring."""
    for hop, _, _ in declines(call, Decline.ONE_DEVICE):
        others = stopped(hop)
        pending = [other for other in others if other.pending_at(hop.ending.at)]
        evidence = [Mark.of(hop.invite), Mark.of(hop.ending, "ends the hunt")]
        for other in others[:3]:
            said = other.final or (other.cancels[0] if other.cancels else other.invite)
            evidence.append(Mark.of(said, "another device"))
        many = "another device" if len(others) == 1 else f"{len(others)} other devices"
        did = f"stopped {many} that had not answered yet" if pending else f"ended the hunt after {many}"
        yield Case(
            KIND,
            who(hop),
            f"{who(hop)} said 603 to the call for {number(hop)}, which {did}",
            tuple(sorted(evidence, key=lambda mark: mark.at)),
            Sure.LIKELY if pending else Sure.POSSIBLE,
            RULE,
            call,
        )
