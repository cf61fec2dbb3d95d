"""Branches that ring on after the call was decided: no CANCEL was sent to them."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, number, who
from gateway.analysis.model import Call, Event, Hop, Mark
from gateway.ladder.model import shown_address

KIND = Kind(
    "branch-not-cancelled",
    "A branch rings on: no CANCEL",
    "The call was over: another branch answered or said 6xx, or the caller hung up. A branch that had "
    "said 1xx and was still open got no CANCEL (RFC 3261 16.7 step 10, 16.10), so that phone rings on, "
    "and may answer a call that nobody makes any more.",
    "Mend the host that forks: it must cancel every open branch after the first 2xx or 6xx, and pass a "
    "CANCEL to all branches. Behind the gateway, which does so, nothing is to be set.",
)
_TIME_TO_CANCEL = 1.0  # seconds
_LEAST_SHOWN = 2.0  # seconds of capture afterwards, without which nothing can be said


def find(call: Call) -> Iterator[Case]:
    """Find open branches without CANCEL."""
    for hop in call.hops:
        end = _decided(hop)
        if end is None or not _rings_on(hop, end.at, call.capture_ends):
            continue
        why = {0: "the caller cancelled the call"}.get(end.status, f"another branch said {end.status}")
        evidence = [Mark.of(hop.invite), Mark.of(hop.provisional[0]), Mark.of(end, "the call is over")]
        if hop.final is not None:
            evidence.append(Mark.of(hop.final, "never cancelled"))
        yield Case(
            KIND,
            shown_address(hop.asker),
            f"{shown_address(hop.asker)} sent no CANCEL to {who(hop)} ({number(hop)}) after {why}",
            tuple(evidence),
            call=call,
        )


def _decided(hop: Hop) -> Event | None:
    """Return what decided the call before this branch had its final: the first 2xx or 6xx of another branch,
    or the caller's CANCEL; None when nothing did.
    """
    ends = [
        sibling.final
        for sibling in hop.siblings
        if sibling.final is not None and (sibling.status >= 600 or 200 <= sibling.status < 300)
    ]
    if hop.above is not None:
        ends += hop.above.cancels
    ends = [end for end in ends if hop.pending_at(end.at)]
    return min(ends, key=lambda end: end.at) if ends else None


def _rings_on(hop: Hop, at: float, capture_ends: float) -> bool:
    if hop.cancels or not hop.provisional or hop.status == 487:
        return False
    if hop.provisional[0].at > at + _TIME_TO_CANCEL or capture_ends - at < _LEAST_SHOWN:
        return False
    return hop.final is None or hop.final.at > at + _TIME_TO_CANCEL
