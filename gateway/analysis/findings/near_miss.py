"""603+ "Network Blocked" gone wrong."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.declines import Decline, declines
from gateway.analysis.finding import Case, Kind, who
from gateway.analysis.model import Call, Mark
from gateway.rules.network_blocked import DEFECTS, defects

KIND = Kind(
    "603-plus-near-miss",
    "A 603+ that is none",
    'A 603+ (ATIS-1000099) has the phrase "Network Blocked" and a Reason whose text begins v=analytics1; '
    "and names an https URL, a telephone number or an e-mail address to turn to. This one lacks some of "
    "it, so to the caller it is a plain 603, or one that leads nowhere.",
    "Report it to the carrier, with the message. No rule can mend it: only who blocked knows whom to turn "
    "to.",
)


def find(call: Call) -> Iterator[Case]:
    """Find near misses and incomplete 603+, where they come from."""
    for hop, facts, _ in declines(call, Decline.NETWORK_BLOCKED):
        wrong = defects(facts)
        if wrong:
            yield Case(
                KIND,
                who(hop),
                f"{who(hop)} said a 603+ that lacks something: {'; '.join(map(DEFECTS.__getitem__, wrong))}",
                (Mark.of(hop.invite), Mark.of(hop.ending)),
                call=call,
            )
