"""603 for a caller who was blocked, without what would let the caller know and complain."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.declines import Decline, declines
from gateway.analysis.finding import Case, Kind, Sure, who
from gateway.analysis.model import Call, Mark

KIND = Kind(
    "603-for-blocked-caller",
    "603 for a blocked caller",
    "The far end said 603 Decline and speaks of blocking: a machine refused the caller, not a person the "
    "call. Callers that are blocked must be told so: by 608 Rejected with somebody to turn to (RFC 8688), "
    'or by 603 "Network Blocked" with its Reason (ATIS-1000099), which providers in the US owe. It must '
    "not become 404: others would strike a living number off their lists.",
    "Ask the carrier for 603+ or 608. No rule can mend it, because only who blocked knows whom to turn "
    "to; the shipped rules let it pass as it is.",
)


def find(call: Call) -> Iterator[Case]:
    """Find 603 that speak of blocking and are no 603+."""
    for hop, facts, _ in declines(call, Decline.BLOCKED_CALLER):
        words = next(iter(facts.reasons.texts), facts.phrase)
        yield Case(
            KIND,
            who(hop),
            f'{who(hop)} said 603 to the caller {hop.caller or "without a number"} with the words "{words}"',
            (Mark.of(hop.invite), Mark.of(hop.ending)),
            Sure.LIKELY,
            call=call,
        )
