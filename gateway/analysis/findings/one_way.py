"""Dialogs of which only one direction works."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from gateway.analysis.finding import Case, Kind, Sure
from gateway.analysis.model import Call, Inside, Leg, Mark
from gateway.ladder.model import shown_address
from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_addresses
from gateway.sip.uri import parse_uri

KIND = Kind(
    "one-way-dialog",
    "A dialog works in one direction only",
    "Inside an answered call one side's requests (BYE, re-INVITE, UPDATE) get no answer, or the other "
    "side no longer knows the call. It stays up on one side: billed, and its line taken, until a timer "
    "ends it.",
    "Look at where these requests go: the Contact and Record-Route of the other side. Private addresses "
    "behind a NAT, a proxy without Record-Route, and firewalls that forget are usual. On the gateway: nat "
    "and dialog_ping, or session_timer, for this trunk.",
)
_LEAST = 2  # repetitions
_SHOWN = 4.0  # seconds of capture afterwards
_GONE = frozenset((408, 481))


def find(call: Call) -> Iterator[Case]:
    """Find dialogs whose requests are not answered, or whose other side no longer knows them."""
    for leg in call.legs:
        for each in leg.inside:
            text = _fault(leg, each, call.capture_ends)
            if text:
                yield Case(
                    KIND,
                    shown_address(each.request.destination),
                    text,
                    _marks(leg, each),
                    Sure.LIKELY,
                    call=call,
                )


def _fault(leg: Leg, each: Inside, capture_ends: float) -> str:
    """Say what is wrong with a request inside a dialog, "" when nothing is."""
    request = each.request
    ends = f"{request.title} from {shown_address(request.source)} to {shown_address(request.destination)}"
    if not any(200 <= hop.status < 300 for hop in leg.hops):
        return ""
    if each.final is None:
        if len(each.resent) < _LEAST or capture_ends - request.at < _SHOWN:
            return ""
        return f"{ends} was sent {len(each.resent) + 1} times and never answered{_private(leg, each)}"
    if each.final.status in _GONE and request.method != b"BYE":
        return f"{ends} got {each.final.status}: the other side no longer has the call"
    return ""


def _private(leg: Leg, each: Inside) -> str:
    """Say so where the other side gave a private address to be reached at, and is at a public one."""
    host = each.request.destination[0]
    for hop in leg.hops:
        for event in (hop.invite, hop.final):
            if event is None or host in event.source:
                continue
            try:
                contacts = parse_addresses(event.message.values(b"Contact"))
                named = [parse_uri(contact.uri).host.decode("ascii", "replace") for contact in contacts]
            except MalformedError:
                continue
            if host in named and _is_private(host) and not _is_private(event.source[0]):
                return f" (the other side is at {event.source[0]}, and its Contact says {host})"
    return ""


def _is_private(host: str) -> bool:
    return ip_address(host).is_private


def _marks(leg: Leg, each: Inside) -> tuple[Mark, ...]:
    answers = [hop.final for hop in leg.hops if hop.final is not None and 200 <= hop.status < 300]
    marks = [Mark.of(answers[0], "answered"), Mark.of(each.request)]
    marks += [Mark.of(event, "again") for event in each.resent[:3]]
    if each.final is not None:
        marks.append(Mark.of(each.final))
    return tuple(marks)
