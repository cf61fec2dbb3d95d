"""Rejections that were spoken: an announcement in early media, and then a code."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, number, seconds, who
from gateway.analysis.model import Call, Event, Hop, Mark
from gateway.rules import q850_of
from gateway.rules.causes import PROTOCOL, cause_name
from gateway.sip.message import Response

KIND = Kind(
    "early-media-rejection",
    "The rejection was an announcement",
    "The far end opened early media without saying that it rings (183 with SDP, no 180), and then "
    "refused; or it gave the reason in the 183 and waited for the caller to hang up. Why is in an "
    'announcement, such as "the number you have dialed is not in service". A PBX, a dialer or a caller '
    "who does not listen learns only the code that comes afterwards, if any.",
    "Ask the carrier for the Q.850 cause in the final (RFC 6432), or for the final at once without the "
    "announcement; then rules can go by it.",
)
_LEAST = 1.0  # seconds of audio
_LONGEST = 30.0  # seconds: what lasts longer is rather ringing tone
_AFTER_RINGING = frozenset((408, 486, 600))  # what comes after ringing tone in early media, too
_NOT_ANSWERED = frozenset((17, 18, 19))


def find(call: Call) -> Iterator[Case]:
    """Find calls that were refused, or given up, after early media that was no ringing."""
    for hop in call.hops:
        opened = _announcement(hop)
        end = None if opened is None or not hop.is_local else _end(hop, opened)
        if opened is None or end is None:
            continue
        cause = _cause(end) or _cause(opened)
        told = f"Q.850 cause {cause} ({cause_name(cause)})" if cause else "no Q.850 cause"
        outcome = f"said {end.status}" if end.status else "waited until the caller gave up"
        heard = seconds(end.at - opened.at)
        yield Case(
            KIND,
            who(hop),
            f"{who(hop)} played audio to the caller of {number(hop)} for {heard} and {outcome}, with {told}",
            (Mark.of(hop.invite), Mark.of(opened, "early media"), Mark.of(end)),
            Sure.POSSIBLE if end.status else Sure.LIKELY,
            call=call,
        )


def _announcement(hop: Hop) -> Event | None:
    """Return the 183 that opens early media, where nothing says that it rings."""
    if any(event.status == 180 for event in hop.provisional):
        return None
    return next((event for event in hop.provisional if event.status == 183 and event.message.body), None)


def _end(hop: Hop, opened: Event) -> Event | None:
    """Return what ended the announcement: the final, or the caller's CANCEL where the 183 had a cause; None
    when it was none.
    """
    end = hop.cancels[0] if hop.cancels else hop.final
    if end is None or not _LEAST <= end.at - opened.at <= _LONGEST:
        return None
    if not end.status:
        return end if _cause(opened) else None
    refused = end.status >= 400 and end.status not in PROTOCOL and end.status not in _AFTER_RINGING
    return end if refused and _cause(end) not in _NOT_ANSWERED else None


def _cause(event: Event) -> int:
    message = event.message
    return q850_of(message) if isinstance(message, Response) else 0
