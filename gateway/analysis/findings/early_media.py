"""Rejections that were spoken: an announcement in early media, and then a code."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, number, seconds, who
from gateway.analysis.model import Call, Event, Hop, Mark
from gateway.rules import q850_of
from gateway.rules.causes import PROTOCOL, cause_name

KIND = Kind(
    "early-media-rejection",
    "The rejection was an announcement",
    "The far end opened early media without saying that it rings (183 with SDP, no 180), and then "
    'refused, or the caller gave up: why was in an announcement, such as "the number you have dialed is '
    'not in service". A PBX, a dialer or a caller who does not listen learns only the code that comes '
    "afterwards, if any.",
    "Ask the carrier for the Q.850 cause in the 183 or in the final (RFC 6432), or for the final at once "
    "without the announcement; then rules can go by it.",
)
_LEAST = 1.0  # seconds of audio
_HEARD = 3.0  # seconds after which a caller who heard an announcement hangs up
_LONGEST = 30.0  # seconds: what lasts longer is rather ringing tone
_BUSY = frozenset((408, 486, 600))  # what comes after ringing tone, too


def find(call: Call) -> Iterator[Case]:
    """Find calls that were refused, or given up, after early media that was no ringing."""
    for hop in call.hops:
        opened = _announcement(hop)
        if opened is None or not hop.is_local:
            continue
        end, heard = _end(hop, opened)
        if end is None:
            continue
        cause = q850_of(hop.response) if hop.final is not None else 0
        told = f"Q.850 cause {cause} ({cause_name(cause)})" if cause else "no Q.850 cause"
        outcome = f"said {end.status} with {told}" if end.status else "heard the caller give up"
        yield Case(
            KIND,
            who(hop),
            f"{who(hop)} played audio to the caller of {number(hop)} for {seconds(heard)} and then {outcome}",
            (Mark.of(hop.invite), Mark.of(opened, "early media"), Mark.of(end)),
            Sure.POSSIBLE,
            call=call,
        )


def _announcement(hop: Hop) -> Event | None:
    """Return the 183 that opens early media, where nothing says that it rings."""
    if any(event.status == 180 for event in hop.provisional):
        return None
    return next((event for event in hop.provisional if event.status == 183 and event.message.body), None)


def _end(hop: Hop, opened: Event) -> tuple[Event | None, float]:
    """Return what ended the announcement, and after how long; None when it was none."""
    if hop.cancels:
        heard = hop.cancels[0].at - opened.at
        return (hop.cancels[0], heard) if _HEARD <= heard <= _LONGEST else (None, heard)
    if hop.final is None:
        return None, 0.0
    heard = hop.final.at - opened.at
    refused = hop.status >= 400 and hop.status not in PROTOCOL and hop.status not in _BUSY
    return (hop.final, heard) if refused and _LEAST <= heard <= _LONGEST else (None, heard)
