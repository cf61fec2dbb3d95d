"""487 for a call that nobody cancelled."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, number, who
from gateway.analysis.model import Call, Hop, Mark

KIND = Kind(
    "487-without-cancel",
    "487 without a CANCEL",
    "The answer was 487 Request Terminated, which is said to who has cancelled the call or hung up on it "
    "(RFC 3261 9.2, 15.1.2); here nobody had. The caller takes it for its own doing and shows no reason. "
    "Behind it is mostly a host that gave up ringing, or that passed on the 487 of a branch that it had "
    "cancelled itself.",
    "Let the host say why: 480 or 408 when nobody answered, the best answer of the other branches after a "
    "fork. The gateway never rewrites a 487, since it steers the protocol.",
)


def find(call: Call) -> Iterator[Case]:
    """Find 487 without CANCEL, where they come from."""
    for hop in call.hops:
        if hop.status != 487 or hop.cancels or _was_ended(hop):
            continue
        if any(below.status == 487 and not below.cancels for below in hop.below):
            continue  # it is only passed on; the branch below has the finding
        cancelled = [below.cancels[0] for below in hop.below if below.cancels]
        yield Case(
            KIND,
            who(hop),
            f"{who(hop)} said 487 to the call for {number(hop)}, which nobody had cancelled",
            (
                Mark.of(hop.invite),
                *(Mark.of(cancel, "its own, to a branch") for cancel in cancelled[:2]),
                Mark.of(hop.ending),
            ),
            Sure.CERTAIN if cancelled else Sure.LIKELY,
            call=call,
        )


def _was_ended(hop: Hop) -> bool:
    """Tell whether it was ended in another way: by BYE in an early dialog, or by the Expires of the INVITE
    (RFC 3261 13.3.1).
    """
    if any(each.request.method == b"BYE" and each.request.at <= hop.ending.at for each in hop.leg.inside):
        return True
    expires = hop.request.get(b"Expires") or b""
    return len(expires) < 10 and expires.isdigit() and hop.ending.at - hop.invite.at >= int(expires) - 1
