"""Which legs make one call, where a B2BUA gives each leg a Call-ID of its own.

What names the other leg is believed first: X-CID (the Call-ID of the leg before), then Session-ID (RFC 7989,
the same along the whole way). Else a leg belongs to a call that its sender had received and not answered yet,
with the same caller, and the same called number where there are several. Packets come late, so a leg may name
one that has not been seen: it waits for it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from gateway.analysis.model import MOST_HOPS, Call, Hop, Leg
from gateway.sip.message import Request

_K = TypeVar("_K")
_V = TypeVar("_V")

_WAITING = 10_000
_REMEMBERED = 50_000
_CANDIDATES = 16  # hops of one caller to one host
_LONGEST_SETUP = 300.0  # seconds
_TAIL = 7  # digits by which numbers of different forms are the same


class Joiner:
    """Finds the hop that a new leg comes from. All that it remembers is bounded; the oldest goes."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[bytes, list[Leg]] = OrderedDict()
        self._by_session: OrderedDict[bytes, Hop] = OrderedDict()
        self._by_caller: OrderedDict[tuple[str, str], list[Hop]] = OrderedDict()

    def join(self, hop: Hop, request: Request, legs: dict[bytes, Leg]) -> None:
        """Join the first hop of a leg to the call it belongs to, and to it the legs that waited for it."""
        named = hop.leg.names = request.get(b"X-CID") or b""
        session = (request.get(b"Session-ID") or b"").partition(b";")[0].strip()
        session = hop.leg.session = session if session.strip(b"0") else b""
        before = legs.get(named)
        if before is not None and before is not hop.leg and before.hops:
            put_below(_upper(before, hop), hop, "X-CID")
        elif named:
            waiting = self._waiting.setdefault(named, [])
            if len(waiting) < _CANDIDATES:
                waiting.append(hop.leg)
            _trim(self._waiting, _WAITING)
        elif session in self._by_session:
            put_below(_upper(self._by_session[session].leg, hop), hop, "Session-ID")
        else:
            candidate = self._by_numbers(hop)
            if candidate is not None:
                put_below(candidate, hop, "numbers")
        if session:
            self._by_session.setdefault(session, hop)
            _trim(self._by_session, _REMEMBERED)
        for leg in self._waiting.pop(hop.leg.call_id, ()):
            if leg.hops and leg.call is not hop.leg.call:
                put_below(_upper(hop.leg, leg.hops[0]), leg.hops[0], "X-CID")

    def remember(self, hop: Hop) -> None:
        """Take a hop for one that a later leg may come from."""
        if hop.caller:
            known = self._by_caller.setdefault((hop.asked[0], tail(hop.caller)), [])
            if len(known) >= _CANDIDATES:
                del known[0]
            known.append(hop)
            _trim(self._by_caller, _REMEMBERED)

    def forget(self, leg: Leg) -> None:
        """Let go of a leg that is judged."""
        if leg.names in self._waiting:
            self._waiting[leg.names] = [each for each in self._waiting[leg.names] if each is not leg]
            if not self._waiting[leg.names]:
                del self._waiting[leg.names]
        if leg.session in self._by_session and self._by_session[leg.session].leg is leg:
            del self._by_session[leg.session]
        for hop in leg.hops:
            key = hop.asked[0], tail(hop.caller)
            left = [each for each in self._by_caller.get(key, ()) if each is not hop]
            if left:
                self._by_caller[key] = left
            else:
                self._by_caller.pop(key, None)

    def _by_numbers(self, hop: Hop) -> Hop | None:
        """Return the one hop that its sender had at hand and that fits, or None."""
        at = hop.invite.at
        known = self._by_caller.get((hop.asker[0], tail(hop.caller)), ())
        open_ = [
            upper
            for upper in known
            if upper.pending_at(at)
            and upper.leg is not hop.leg
            and at - upper.invite.at < _LONGEST_SETUP
            and upper.asker != hop.asked
            and upper.asked[0] != hop.asked[0]
        ] or [
            # On one machine all hosts have one address, so the port must tell.
            upper
            for upper in known
            if upper.pending_at(at) and upper.leg is not hop.leg and upper.asked == hop.asker
        ]
        same = [upper for upper in open_ if tail(upper.called) == tail(hop.called)]
        fitting = same or open_
        return fitting[0] if len(fitting) == 1 else None


def put_below(upper: Hop, hop: Hop, by: str) -> None:
    """Note that `hop` comes from `upper`; their legs are one call from now on, unless it grows too large."""
    call, other = upper.leg.call, hop.leg.call
    if call is not other and call.hop_count + other.hop_count > MOST_HOPS:
        return
    walk: Hop | None = upper
    while walk is not None:  # captures of hostile making may name each other
        if walk is hop:
            return
        walk = walk.above
    hop.above, hop.joined_by = upper, by
    upper.below.append(hop)
    if call is not other:
        _merge(call, other)


def _merge(call: Call, other: Call) -> None:
    for leg in other.legs:
        leg.call = call
    call.legs += other.legs
    call.hop_count += other.hop_count
    call.size += other.size
    call.last = max(call.last, other.last)
    other.legs = []
    other.size = 0


def _upper(leg: Leg, hop: Hop) -> Hop:
    """Return the hop of `leg` that ends where `hop` begins, or its last one."""
    ending = [upper for upper in leg.hops if upper.asked[0] == hop.asker[0]]
    exact = [upper for upper in ending if upper.asked == hop.asker]
    return (exact or ending or leg.hops)[-1]


def tail(number: str) -> str:
    """Return what different forms of one number have in common.

    >>> tail("+12155551212") == tail("0012155551212") == tail("2155551212")
    True
    """
    return number[-_TAIL:] if number[-_TAIL:].isdigit() else number.lower()


def _trim(table: OrderedDict[_K, _V], most: int) -> None:
    if len(table) > most:
        table.popitem(last=False)
