"""Final responses that are sent again and again, because no ACK comes."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, seconds, who
from gateway.analysis.model import Call, Mark
from gateway.ladder.model import shown_address

KIND = Kind(
    "final-not-acknowledged",
    "A final is never acknowledged",
    "The final response to an INVITE was repeated, and no ACK came (RFC 3261 13.2.2.4, 17.1.1.3). Either "
    "it does not reach the caller, or the ACK goes where nobody listens. A rejection is repeated for 32 "
    "s; an answered call is hung up after that.",
    "Compare where the response went with the Via and Contact of the INVITE, and where an ACK would go "
    "with the Contact and Record-Route of the response: mostly a private address, a port that is not "
    "open, or a NAT or ALG on the way. On the gateway: nat, advertise.",
)
_LEAST = 2  # repetitions: 500 ms and 1 s after the first


def find(call: Call) -> Iterator[Case]:
    """Find finals that were repeated and not acknowledged."""
    for hop in call.hops:
        if hop.final is None or hop.acks:
            continue
        again = [event for event in hop.finals_again if event.to_tag == hop.final.to_tag]
        if len(again) < _LEAST:
            continue
        span = seconds(again[-1].at - hop.final.at)
        yield Case(
            KIND,
            shown_address(hop.asker),
            f"{who(hop)} said {hop.status} {len(again) + 1} times within {span},"
            f" and {shown_address(hop.asker)} never acknowledged it",
            (Mark.of(hop.invite), Mark.of(hop.final), Mark.of(again[0], "again"), Mark.of(again[-1], "last")),
            Sure.CERTAIN,
            call=call,
        )
