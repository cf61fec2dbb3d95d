"""603 from a device that was in another call: 486 was meant."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.declines import Decline, declines
from gateway.analysis.finding import Case, Kind, Sure, number, who
from gateway.analysis.model import Call, Mark

KIND = Kind(
    "603-while-in-a-call",
    "A busy device said 603",
    "The device was in a call when it said 603 Decline to another one. It was busy, which is 486 Busy "
    "Here. 603 tells the caller that the person refused, stops hunting, and keeps callers from camping "
    "on.",
    "Set the device to answer 486 when it has no line left; or let the gateway rewrite it by the rule below.",
)

RULE = """\
[[rule]]
name = "busy-device-declined"
description = "603 at once and without ringing, from a PBX whose phones say so when they are in a call"
when.from = "kind:pbx"          # or the trunk's name
when.status = 603
when.rang = false
when.after = "<1s"
then.status = 486
"""


def find(call: Call) -> Iterator[Case]:
    """Find devices that said 603 within another call."""
    for hop, facts, _ in declines(call, Decline.IN_A_CALL):
        assert hop.in_call is not None
        how = "after it rang" if facts.rang else "without ringing"
        yield Case(
            KIND,
            who(hop),
            f"{who(hop)} ({number(hop)}) said 603 {how}, while it was in another call",
            (hop.in_call, Mark.of(hop.invite), Mark.of(hop.ending)),
            Sure.POSSIBLE if facts.rang else Sure.LIKELY,
            RULE,
            call,
        )
