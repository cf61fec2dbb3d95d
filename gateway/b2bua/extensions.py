"""The extensions that the gateway speaks by itself on a leg, where the leg's trunk asks for it.

They are reliable provisional responses (``prack = "local"``), the session timer (``session_timer``) and
OPTIONS inside the dialog (``dialog_ping``).

A leg without any of them has no :class:`Own`, and pays nothing. Which ones a leg has is decided once, when
its INVITE comes or goes.
"""

from __future__ import annotations

from gateway.sip.dialog import Dialog
from gateway.sip.message import Request, Response
from gateway.sip.rows import Rows, key_set
from gateway.sip.transaction import InviteClient, ServerTransaction

from .leg import CalleeLeg, CallerLeg, Leg
from .liveness import DialogPing
from .option_tags import demands, offers, without_option
from .policy import Policy
from .reliable import OPTION as RELIABLE
from .reliable import Pracks, Provisional, Reliable
from .session_timer import LEAST, SessionTimer, takes_update

# What an UPDATE without a description may be for, other than a refresh: to say who is connected now, as a
# PBX does that has transferred or picked up the call (RFC 5876 3.2). Remote-Party-ID is the older way.
_CONNECTED = key_set(frozenset((b"P-Asserted-Identity", b"P-Preferred-Identity", b"Remote-Party-ID")))
_TOO_SMALL = b"Min-SE: %d\r\n" % LEAST


class Own:
    """What the gateway speaks by itself on one leg; each is None where it is off."""

    __slots__ = ("_invite", "_other_updates", "ping", "pracks", "reliable", "timer")

    def __init__(self, leg: Leg) -> None:
        trunk = leg.trunk
        self.reliable: Reliable | None = None  # on the caller's leg
        self.pracks: Pracks | None = None  # on the callee's leg
        self.timer: SessionTimer | None = None
        self.ping: DialogPing | None = None
        # Header lines, body and hops of our INVITE, until it is answered.
        self._invite: tuple[bytes, bytes, int] | None = None
        self._other_updates = False  # whether the peer of the other leg takes UPDATE
        if trunk.session_timer is not None:
            self.timer = SessionTimer(leg, trunk.session_timer)
        elif trunk.dialog_ping is not None:
            self.ping = DialogPing(leg, trunk.dialog_ping)

    # -- on the callee's leg ----------------------------------------------------------------------------

    def invite_lines(self) -> bytes:
        """Return what our INVITE says of the extensions."""
        lines = b"" if self.timer is None else self.timer.request_lines()
        return lines if self.pracks is None else lines + b"Supported: %b\r\n" % RELIABLE

    def keep(self, request: Request, lines: bytes, body: bytes) -> None:
        """Keep what a second INVITE would need."""
        if self.timer is not None:
            self._other_updates = takes_update(request)
            self._invite = (lines, body, request.max_forwards - 1)
            self.timer.sent(request, body)

    def second_invite(self, response: Response) -> tuple[bytes, bytes, int] | None:
        """Return header lines, body and hops of the INVITE that a 422 asks for, or None (RFC 4028 7.3)."""
        if self.timer is None or self._invite is None or not self.timer.raise_to(response):
            return None
        lines, body, hops = self._invite
        return lines + self.invite_lines(), body, hops

    def answered(self, response: Response, now: float) -> None:
        """The callee has answered."""
        self._invite = None
        if self.timer is not None:
            self.timer.confirmed()
            self.timer.agreed(response, now)
        if self.ping is not None:
            self.ping.start(now)

    # -- on the caller's leg ----------------------------------------------------------------------------

    def progress(self, tag: bytes, provisional: Provisional, response: Response, now: float) -> bool:
        """Take over a provisional response to the caller; False where it goes out plainly."""
        if self.timer is not None and provisional.body:
            self.timer.sent(response, provisional.body, self.timer.early(tag))
        if self.reliable is None:
            return False
        self.reliable.send(tag, provisional, now)
        return True

    def holds(
        self, callee: CalleeLeg, invite: InviteClient, response: Response, dialog: Dialog | None
    ) -> bool:
        """Tell whether a 2xx of the callee has to wait for a PRACK of the caller (RFC 3262 3)."""
        return self.reliable is not None and self.reliable.holds(callee, invite, response, dialog)

    def answer(self, request: Request, response: Response, body: bytes, now: float) -> bytes:
        """The callee has answered: return what our 2xx to the caller says by itself."""
        if self.reliable is not None:
            self.reliable.stop(now)
        if self.ping is not None:
            self.ping.start(now)
        if self.timer is None:
            return b""
        self._other_updates = takes_update(response)
        self.timer.confirmed()
        lines = self.timer.accept(request, now)
        self.timer.sent(response, body)
        return lines

    # -- on either --------------------------------------------------------------------------------------

    def takes(
        self, leg: Leg, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> bool:
        """Answer a request inside a dialog that concerns this leg alone: a PRACK, an interval that is too
        short, a refresh without a description. False leaves it to pass, as an UPDATE does that names who is
        connected, where the other side takes one.
        """
        if request.method == b"PRACK" and self.reliable is not None:
            self.reliable.on_prack(dialog, transaction, request, now)
            return True
        timer = self.timer
        if timer is None or request.method not in (b"INVITE", b"UPDATE"):
            return False
        if timer.refuses(request):
            transaction.reject(422, b"", now, _TOO_SMALL)
            return True
        if request.method == b"INVITE" or request.body or not dialog.confirmed:
            return False
        if self._other_updates and request.has_any(_CONNECTED):
            return False
        dialog.retarget(request, leg.endpoint.flows)
        lines = timer.accept(request, now)
        transaction.reject(200, b"", now, lines + b"Contact: %b\r\n" % dialog.contact)
        return True

    def stop(self, now: float) -> None:
        """The leg is closed."""
        if self.reliable is not None:
            self.reliable.stop(now)
        for keeper in (self.timer, self.ping):
            if keeper is not None:
                keeper.stop(now)


def admit(leg: CallerLeg, request: Request) -> bytes:
    """Decide what we speak by ourselves on the leg of a caller whose trunk asks for it. Return b"", or header
    lines for the 422 that the INVITE deserves.
    """
    own = leg.own = Own(leg)
    if leg.trunk.prack_local and request.body and offers(request, RELIABLE):
        own.reliable = Reliable(leg)
    return _TOO_SMALL if own.timer is not None and own.timer.refuses(request) else b""


def prepare(caller: CallerLeg, callee: CalleeLeg, request: Request, rows: Rows) -> Rows:
    """Decide what we speak by ourselves on the callee's leg, and return the rows of the caller's INVITE
    without what then ends at the gateway.

    Reliable responses pass from end to end where only that can serve: for a late offer, which a PRACK
    answers, and for a caller that demands them of a trunk that passes them (RFC 3262 3, 5).
    """
    here = speaks_reliably(caller)
    if callee.trunk.has_own:
        own = callee.own = Own(callee)
        if callee.trunk.prack_local and request.body and (here or not demands(request, RELIABLE)):
            own.pracks = Pracks()
            here = True
    return without_option(rows, RELIABLE) if here else rows


def speaks_reliably(leg: Leg) -> bool:
    """Tell whether reliable responses end at the gateway on this leg."""
    return leg.own is not None and (leg.own.reliable is not None or leg.own.pracks is not None)


def reinvites(leg: Leg) -> bool:
    """Tell whether a re-INVITE of our own is out on this leg."""
    return leg.own is not None and leg.own.timer is not None and leg.own.timer.reinvites


def note_sent(leg: Leg, message: Request | Response, policy: Policy) -> None:
    """Take note of a message that this leg, which is answered, was sent under a policy, for its body."""
    timer = _timer(leg)
    if timer is not None:
        timer.sent(message, policy.body(message))


def note_exchange(leg: Leg, other: Leg, request: Request, response: Response, back: Policy) -> None:
    """A request of ``leg`` got a 2xx from ``other``, so the descriptions in both count now: in the dialog of
    the request alone, and nowhere when another fork has been confirmed meanwhile.
    """
    if not has_own(leg, other):
        return
    key = (request.to_tag, request.from_tag)
    dialog = next((dialog for dialog in leg.dialogs if dialog.key == key), None)
    if dialog is None or dialog.twin is None:
        return
    other_timer, timer = _timer(other), _timer(leg)
    if other_timer is not None and other.call is not None:
        other_timer.accepted(request, other.call.policy(leg, other).body(request), dialog.twin)
    if timer is not None:
        timer.sent(response, back.body(response), dialog)


def refreshed(leg: Leg, other: Leg, request: Request, response: Response, now: float) -> bytes:
    """A re-INVITE or UPDATE of ``leg`` got a 2xx from ``other``: the timers of both begin anew. Return what
    the 2xx says of that to ``leg``.
    """
    if not has_own(leg, other):
        return b""
    other_timer, timer = _running(other), _running(leg)
    if other_timer is not None:
        other_timer.agreed(response, now)
    return b"" if timer is None else timer.accept(request, now)


def has_own(leg: Leg, other: Leg) -> bool:
    """Tell whether we speak any extension by ourselves on one of these legs."""
    return leg.own is not None or other.own is not None


def refresh_rows(leg: Leg, other: Leg, rows: Rows) -> tuple[Rows, bytes]:
    """Return the rows of a re-INVITE or UPDATE from ``leg`` that pass to ``other``, and what it says there of
    the extensions.
    """
    if speaks_reliably(leg) or speaks_reliably(other):
        rows = without_option(rows, RELIABLE)
    timer = _running(other)
    return rows, b"" if timer is None else timer.request_lines()


def _timer(leg: Leg) -> SessionTimer | None:
    """Return the leg's session timer, if it has one."""
    return None if leg.own is None else leg.own.timer


def _running(leg: Leg) -> SessionTimer | None:
    """Return the leg's session timer, if it has one and is answered: before, there is no session yet."""
    if leg.own is None or not (leg.dialogs and leg.dialogs[0].confirmed):
        return None
    return leg.own.timer
