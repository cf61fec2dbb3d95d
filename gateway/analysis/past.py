"""What one call has to do with another: devices that are in a call, and callers that try again.

Both tables are bounded; the oldest entries go.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from gateway.analysis.model import Attempt, Hop, Leg, Mark
from gateway.rules.causes import PROTOCOL
from gateway.wire import Address

_DEVICES = 50_000
_PAIRS = 20_000
_MOST_ATTEMPTS = 16
AGAIN = 60.0
"""Seconds after a refusal within which a call to the same number is the next attempt."""

_Device = tuple[Address, str]
_Pair = tuple[Address, Address, str, str]


class Devices:
    """Which devices are in a call: a device is an address with a user."""

    def __init__(self) -> None:
        self._busy: OrderedDict[_Device, tuple[Leg, Mark]] = OrderedDict()

    def answered(self, hop: Hop) -> None:
        """Both ends of this hop are in a call from now on, until its leg ends."""
        mark = Mark.of(hop.ending, "in this call since then")
        for device in ((hop.asked, hop.called), (hop.asker, hop.caller)):
            self._busy[device] = hop.leg, mark
            if len(self._busy) > _DEVICES:
                self._busy.popitem(last=False)

    def call_of(self, hop: Hop) -> Mark | None:
        """Return the answer of the other call that the receiver of this hop is in, or None."""
        found = self._busy.get((hop.asked, hop.called))
        if found is None or found[0].is_ending or found[0].call is hop.leg.call:
            return None
        return found[1]


class Attempts:
    """Calls that were refused, by who called whom which way."""

    def __init__(self) -> None:
        self._refused: OrderedDict[_Pair, deque[Attempt]] = OrderedDict()

    def before(self, hop: Hop) -> tuple[Attempt, ...]:
        """Return the attempts that this one goes on with, the first one first."""
        known = self._refused.get(_pair(hop))
        if not known or not 0 <= hop.invite.at - known[-1].final.at <= AGAIN:
            return ()
        return tuple(attempt for attempt in known if attempt.call_id != hop.leg.call_id)

    def refused(self, hop: Hop) -> None:
        """Remember that this call was refused."""
        final = hop.ending
        if final.status < 400 or final.status in PROTOCOL or not hop.called:
            return
        pair = _pair(hop)
        known = self._refused.setdefault(pair, deque(maxlen=_MOST_ATTEMPTS))
        if known and not 0 <= hop.invite.at - known[-1].final.at <= AGAIN:
            known.clear()
        known.append(Attempt(hop.leg.call_id, final.status, Mark.of(hop.invite), Mark.of(final)))
        self._refused.move_to_end(pair)
        if len(self._refused) > _PAIRS:
            self._refused.popitem(last=False)


def _pair(hop: Hop) -> _Pair:
    # A caller's port may change with each connection; on one machine only ports tell hosts apart.
    port = hop.asker[1] if hop.asker[0] == hop.asked[0] else 0
    return (hop.asker[0], port), hop.asked, hop.caller, hop.called
