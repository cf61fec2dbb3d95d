"""603 from one device of several that does not want to be disturbed: 486 was meant."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.declines import Decline, declines, stopped
from gateway.analysis.finding import Case, Kind, Sure, number, seconds, who
from gateway.analysis.model import Call, Mark

KIND = Kind(
    "603-for-device-do-not-disturb",
    "One device's do-not-disturb stopped all others",
    "One device of a fork or hunt group said 603 Decline by itself: at once and without ringing, or with "
    "the words do not disturb. Its do-not-disturb key speaks for that device; 603 speaks for the person "
    "on all devices, and stops the others.",
    "Set the device to answer 486 or 480 under do-not-disturb; or let the gateway rewrite it by the rule "
    "below. Where the setting is the person's own, on all devices, 603 is right: then ring no other "
    "device at all.",
)

RULE = """\
[[rule]]
name = "one-device-do-not-disturb"
description = "603 at once from one device of several: it alone does not want to be disturbed"
when.from = "kind:pbx"          # or the trunk's name
when.status = 603
when.branches = "forked"
when.rang = false
when.after = "<1s"
then.status = 486
"""


def find(call: Call) -> Iterator[Case]:
    """Find devices whose own 603 ended a fork or hunt."""
    for hop, facts, rule in declines(call, Decline.DEVICE_DND):
        says = "do-not-disturb" in rule
        waited = seconds(facts.after or 0.0)
        how = "with the words do not disturb" if says else f"after {waited}, by itself"
        evidence = [Mark.of(hop.invite), Mark.of(hop.ending, "one device")]
        evidence += [Mark.of(other.invite, "another device") for other in stopped(hop)[:3]]
        yield Case(
            KIND,
            who(hop),
            f"{who(hop)} said 603 to the call for {number(hop)} {how}, which stopped the other devices",
            tuple(sorted(evidence, key=lambda mark: mark.at)),
            Sure.LIKELY if says else Sure.POSSIBLE,
            RULE,
            call,
        )
