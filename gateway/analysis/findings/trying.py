"""INVITEs that wait for their first response, or never get one."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, seconds, who
from gateway.analysis.model import Call, Mark

KIND = Kind(
    "slow-or-missing-100",
    "100 Trying comes late or not at all",
    "An INVITE that is not answered otherwise within 200 ms must be answered with 100 Trying (RFC 3261 "
    "17.2.1). Here the first response took longer than T1, 500 ms, or never came: over UDP the caller "
    "sends the INVITE again, and a host in front may take the trunk for dead and go elsewhere, so that "
    "one call arrives twice.",
    "Look at the host that was asked: overload, a lookup before the 100 (DNS, database, ENUM), or packets "
    "that do not reach it. If no response came at all, look at firewalls, ports and the address first.",
)
_SLOW = 0.5  # seconds: T1
_SILENT = 4.0  # seconds of capture without any response: three repetitions over UDP


def find(call: Call) -> Iterator[Case]:
    """Find INVITEs whose first response is late or missing."""
    for hop in call.hops:
        responses = [*hop.provisional, *([] if hop.final is None else [hop.final])]
        again = [Mark.of(event, "again") for event in hop.resent[:4]]
        if responses:
            first = min(responses, key=lambda event: event.at)
            waited = first.at - hop.invite.at
            if waited <= _SLOW:
                continue
            missing = "" if first.status == 100 else f", a {first.status} without any 100"
            text = f"{who(hop)} took {seconds(waited)} for its first response{missing}"
            again = [mark for mark in again if mark.at < first.at]
            yield _case(call, who(hop), text, (Mark.of(hop.invite), *again, Mark.of(first)))
        elif not hop.acks and not hop.cancels and call.capture_ends - hop.invite.at >= _SILENT:
            text = f"{who(hop)} said nothing at all to an INVITE sent {len(hop.resent) + 1} times"
            yield _case(call, who(hop), text, (Mark.of(hop.invite), *again))


def _case(call: Call, subject: str, text: str, evidence: tuple[Mark, ...]) -> Case:
    return Case(KIND, subject, text, evidence, Sure.CERTAIN, call=call)
