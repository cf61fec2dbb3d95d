"""Puts the messages of a capture together to calls, and lets each call go to be judged when it is over.

Messages come in the order of time. A call is over when nothing has been heard of it for longer than any
timer of SIP runs; one that was answered, when somebody has hung up. Memory is bounded: when there are too
many calls or bytes, one that has been silent for long is judged early. What comes of a call after it was
judged is passed over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gateway.analysis.clocks import Clocks
from gateway.analysis.joining import Joiner, put_below
from gateway.analysis.model import MOST_HOPS, MOST_KEPT, Call, Event, Hop, Inside, Leg
from gateway.analysis.past import Attempts, Devices
from gateway.captures.pcap import Datagram
from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_via, split_list
from gateway.sip.message import Message, Request, Response, parse
from gateway.sip.uri import number_of

LINGER = 40.0
"""Seconds of silence after which a call that is not up is over: longer than 64*T1 (RFC 3261 17.1.1.2)."""

_RINGING = 200.0  # the same while it rings: longer than Timer C (RFC 3261 16.6)
_MOST_BYTES = 96 * 1024 * 1024
_MOST_LEGS = 100_000
_LOOK = 1.0  # seconds of the capture between two looks for calls that are over
_OVERHEAD = 700  # bytes of memory of a message, beside its own
_COPY = 0.02  # seconds within which the same message from the same place was sent once, and caught twice
_JUDGED = 30_000  # calls that were judged, and may be in another capture, too
_SETTLED = 1.0  # seconds after the begin of the capture, from when on it shows the begin of calls


class _Copies:
    """What has been caught of one message: where first, and when last."""

    __slots__ = ("event", "last", "points")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.last = event.at
        self.points = {event.caught.point}


class Tracker:
    """Takes messages in the order of time; gives calls to `judge`."""

    def __init__(self, judge: Callable[[Call], None]) -> None:
        self.malformed = 0
        """Messages that could not be read."""
        self.calls = 0
        """Calls that were seen."""
        self.clocks = Clocks()
        self.strays: list[Event] = []
        """100s whose INVITE the capture does not show: the first ones."""
        self._judge = judge
        self._now = self._begun = self._looked = 0.0
        self._size = 0
        self._legs: dict[bytes, Leg] = {}
        self._live: OrderedDict[int, Call] = OrderedDict()
        self._ringing: OrderedDict[int, Call] = OrderedDict()
        self._up: OrderedDict[int, Call] = OrderedDict()
        self._judged: OrderedDict[bytes, tuple[int, Event]] = OrderedDict()
        self._copies: dict[bytes, dict[int, _Copies]] = {}
        self._joiner = Joiner()
        self._devices = Devices()
        self._attempts = Attempts()

    def feed(self, caught: Datagram) -> None:
        """Take the next message."""
        self._begun = self._begun or caught.at
        self._now = max(self._now, caught.at)
        leg = None
        try:
            message = parse(caught.payload)
            cseq, method = message.cseq
            event = _event(caught, message, method)
            branch = message.via.branch
            leg = self._legs.get(message.call_id) or self._open(message, event)
            if leg is not None and not self._is_copy(leg, event):
                self._sort(leg, event, message, branch, cseq)
        except MalformedError:
            self.malformed += 1
        if leg is not None:
            self._touch(leg.call, caught)
        if self._now - self._looked >= _LOOK or self._size > _MOST_BYTES or len(self._legs) > _MOST_LEGS:
            self._looked = self._now
            self._let_go()

    def finish(self) -> None:
        """Judge what is left, at the end of the capture."""
        for calls in (self._up, self._ringing, self._live):
            while calls:
                self._close(calls.popitem(last=False)[1])

    # -- messages to legs ----------------------------------------------------------------------------

    def _open(self, message: Message, event: Event) -> Leg | None:
        """Begin a leg with its INVITE; other messages of unknown legs say nothing about calls."""
        judged = self._judged.get(message.call_id)
        if judged is not None:
            digest, invite = judged
            if invite.caught.point != event.caught.point and digest == hash(event.caught.payload):
                self.clocks.same(invite, event)
            return None
        if event.method != b"INVITE" or event.to_tag:
            return None
        if isinstance(message, Response):
            is_settled = event.at - self._begun > _SETTLED
            if event.status == 100 and is_settled and len(self.strays) < MOST_KEPT:
                self.strays.append(event)
            return None
        call = Call()
        leg = Leg(message.call_id, call)
        call.legs.append(leg)
        self.calls += 1
        self._legs[leg.call_id] = leg
        self._copies[leg.call_id] = {}
        return leg

    def _is_copy(self, leg: Leg, event: Event) -> bool:
        """Tell whether this message was caught before, and not sent again."""
        copies = self._copies[leg.call_id]
        key = hash((event.source, event.destination, event.caught.payload))
        known = copies.get(key)
        if known is None:
            if len(copies) < 16 * MOST_KEPT:
                copies[key] = _Copies(event)
            return False
        point = event.caught.point
        if point != known.event.caught.point:
            if point not in known.points:
                known.points.add(point)
                self.clocks.same(known.event, event)
            return True
        is_copy = event.at - known.last < _COPY
        known.last = event.at
        return is_copy

    def _sort(self, leg: Leg, event: Event, message: Message, branch: bytes, cseq: int) -> None:
        """Put a message where it belongs in its leg."""
        if event.method == b"INVITE" and isinstance(message, Request) and not event.to_tag:
            self._invite(leg, event, message, branch, cseq)
            return
        hop = next((hop for hop in leg.hops if hop.branch == branch and hop.cseq == cseq), None)
        if event.method == b"INVITE" and hop is not None:
            self._response(hop, event)
        elif event.method == b"ACK":
            _acknowledge(leg, event, hop, cseq)
        elif event.method == b"CANCEL" and not event.status and hop is not None:
            _keep(hop.cancels, event)
        else:
            _inside(leg, event, branch, cseq)

    def _invite(self, leg: Leg, event: Event, request: Request, branch: bytes, cseq: int) -> None:
        for hop in leg.hops:
            if hop.branch == branch and hop.cseq == cseq:
                if (hop.asker, hop.asked) == (event.source, event.destination):
                    _keep(hop.resent, event)
                return
        if leg.call.hop_count >= MOST_HOPS:
            return
        hop = Hop(
            leg, event, branch, cseq, _upper_branch(request),
            number_of(request.sender.uri), number_of(request.uri),
        )  # fmt: skip
        for other in leg.hops:
            if hop.above is None and other.branch == hop.upper_branch and other.cseq == cseq:
                put_below(other, hop, "Via")
            elif other.above is None and other.upper_branch == branch and other.cseq == cseq:
                put_below(hop, other, "Via")
        leg.hops.append(hop)
        leg.call.hop_count += 1
        if hop.above is None and len(leg.hops) == 1:
            self._joiner.join(hop, request, self._legs)
        if hop.above is None:
            hop.earlier = self._attempts.before(hop)
        self._joiner.remember(hop)

    def _response(self, hop: Hop, event: Event) -> None:
        if event.status < 200:
            _keep(hop.provisional, event)
            return
        if hop.final is not None:
            _keep(hop.finals_again, event)
            return
        hop.final = event
        hop.in_call = self._devices.call_of(hop)
        if event.status < 300:
            self._devices.answered(hop)
        elif hop.above is None:
            self._attempts.refused(hop)

    # -- calls come and go ---------------------------------------------------------------------------

    def _touch(self, call: Call, caught: Datagram) -> None:
        """Note that a call was heard of."""
        size = len(caught.payload) + _OVERHEAD
        call.size += size
        self._size += size
        call.last = max(call.last, caught.at)
        key = id(call)
        if key not in self._live or caught.at - call.queued_at > _LOOK:
            call.queued_at = caught.at
            self._up.pop(key, None)
            self._ringing.pop(key, None)
            self._live[key] = call
            self._live.move_to_end(key)

    def _let_go(self) -> None:
        """Judge the calls that are over, and more of them where there are too many."""
        while self._live:
            key, call = next(iter(self._live.items()))
            if call.legs and self._now - call.last <= LINGER:
                break
            del self._live[key]
            if call.is_up:
                self._up[key] = call
            elif _is_ringing(call):
                self._ringing[key] = call
            else:
                self._close(call)
        while self._ringing:
            key, call = next(iter(self._ringing.items()))
            if call.legs and self._now - call.last <= _RINGING:
                break
            del self._ringing[key]
            self._close(call)
        while self._size > _MOST_BYTES or len(self._legs) > _MOST_LEGS:
            calls = self._up or self._ringing or self._live
            if not calls:
                break
            self._close(calls.popitem(last=False)[1])

    def _close(self, call: Call) -> None:
        self._size -= call.size
        for leg in call.legs:
            self._legs.pop(leg.call_id, None)
            self._copies.pop(leg.call_id, None)
            self._joiner.forget(leg)
            if leg.hops:
                caught = leg.hops[0].invite.caught
                invite = Event(caught._replace(payload=b""), b"INVITE")
                self._judged[leg.call_id] = hash(caught.payload), invite
                if len(self._judged) > _JUDGED:
                    self._judged.popitem(last=False)
        if call.legs:
            call.capture_ends = self._now
            self._judge(call)
            call.take_apart()


def _event(caught: Datagram, message: Message, method: bytes) -> Event:
    if isinstance(message, Request):
        return Event(caught, message.method, 0, message.to_tag)
    return Event(caught, method, message.status, message.to_tag)


def _keep(events: list[Event], event: Event) -> None:
    if len(events) < MOST_KEPT:
        events.append(event)


def _upper_branch(request: Request) -> bytes:
    """Return the branch of the second Via, b"" where there is none. Raises MalformedError."""
    values = request.values(b"Via")
    first = split_list(values[0])
    second = first[1] if len(first) > 1 else values[1] if len(values) > 1 else b""
    return parse_via(second).branch if second else b""


def _acknowledge(leg: Leg, event: Event, hop: Hop | None, cseq: int) -> None:
    """Give an ACK to the final that it is for: by its branch (RFC 3261 17.1.1.3), that for a 2xx by CSeq
    number and To tag (13.2.2.4), on all hops that the 2xx came by.
    """
    if hop is not None:
        _keep(hop.acks, event)
        return
    acknowledged = [each for each in leg.hops if each.cseq == cseq and each.status < 300]
    for each in acknowledged:
        _keep(each.acks, event)
    if not acknowledged:
        _keep(leg.other, event)


def _inside(leg: Leg, event: Event, branch: bytes, cseq: int) -> None:
    """Take what belongs to requests inside the dialog."""
    known = next(
        (
            each
            for each in leg.inside
            if each.branch == branch and each.cseq == cseq and each.request.method == event.method
        ),
        None,
    )
    if event.status:
        if known is not None and known.final is None and event.status >= 200:
            known.final = event
    elif known is not None:
        _keep(known.resent, event)
    elif event.to_tag and len(leg.inside) < MOST_KEPT:
        leg.inside.append(Inside(event, branch, cseq))
        leg.is_ending = leg.is_ending or event.method == b"BYE"
    _keep(leg.other, event)


def _is_ringing(call: Call) -> bool:
    return any(hop.final is None and hop.provisional for leg in call.legs for hop in leg.hops)
