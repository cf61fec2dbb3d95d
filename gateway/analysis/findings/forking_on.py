"""A proxy, or whoever hunts, that tries another branch after a 6xx."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, number, seconds, who
from gateway.analysis.model import Call, Mark
from gateway.ladder.model import shown_address

KIND = Kind(
    "forking-after-6xx",
    "Hunting goes on after a 6xx",
    "A branch said 6xx, which speaks for the called party everywhere, and the host that hunts tried "
    "another branch all the same. A proxy must add no branch after a 6xx (RFC 3261 16.7 step 5). The "
    "person who refused is rung again elsewhere.",
    "Let the host stop on 6xx (on the gateway: take 6xx out of advance_on). If the 6xx is one that speaks "
    "for one branch only, let it be a 4xx: the twin of 600 and 603 is 486, of 604 it is 404, of 606 it is "
    "488.",
)
_CROSSING = 0.02  # seconds within which INVITE and 6xx pass each other on the way


def find(call: Call) -> Iterator[Case]:
    """Find branches that begin after another one said 6xx."""
    for branches in call.forks():
        stops = [hop for hop in branches if hop.status >= 600]
        if not stops:
            continue
        stop = min(stops, key=lambda hop: hop.final.at if hop.final is not None else 0.0)
        known_at = stop.acks[0].at if stop.acks else stop.ending.at + _CROSSING
        later = [hop for hop in branches if hop.invite.at > known_at]
        if not later:
            continue
        hunter = shown_address(later[0].asker)
        waited = seconds(later[0].invite.at - stop.ending.at)
        yield Case(
            KIND,
            hunter,
            f"{hunter} got {stop.status} from {who(stop)}, and {waited} later tried {who(later[0])}"
            f" for the same call to {number(stop)}",
            (Mark.of(stop.ending), *(Mark.of(hop.invite, "tried all the same") for hop in later[:3])),
            Sure.CERTAIN if later[0].joined_by in ("", "Via") else Sure.LIKELY,
            call=call,
        )
