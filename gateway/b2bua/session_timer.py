"""The session timer that the gateway keeps by itself on one leg (RFC 4028).

Each side of a session agrees with us on an interval and on who refreshes. Where it is us, half the interval
after the last refresh an UPDATE goes out; or, where the peer does not take UPDATE, a re-INVITE with the
session description that this leg was sent last and has accepted: one that was refused is no part of the
session (RFC 3261 14.1). Where it is the peer, we wait. A session that was not refreshed ends on both sides a
little before the interval is over (RFC 4028 10).

A peer that refuses a refresh is alive, and keeps the call; one that says nothing, or that it knows no such
dialog, does not.
"""

from __future__ import annotations

import re
from enum import IntEnum
from zlib import crc32

from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Request, Response
from gateway.sip.transaction import ClientTransaction, InviteClient
from gateway.sip.transaction.base import OFF, compile_table

from .credentials import ask
from .elsewhere import is_gone
from .leg import CalleeLeg, Leg
from .liveness import DIALOG_IS_GONE, Keeper
from .option_tags import offers

OPTION = b"timer"
LEAST = 90  # seconds, RFC 4028 5
_MOST = 86_400 * 7
_SECONDS = re.compile(rb"\s*([0-9]{1,9})\s*(?:;(.*))?", re.DOTALL)
_REFRESHER = re.compile(rb"(?:^|;)\s*refresher\s*=\s*(uac|uas)\s*(?:;|$)", re.IGNORECASE)


class State(IntEnum):
    """Who is to refresh the session."""

    OURS = 0  # we, when the time comes
    ASKING = 1  # we, and our request is out
    THEIRS = 2  # the peer
    OVER = 3  # the peer is gone


class Input(IntEnum):
    """What can happen to a session timer."""

    WE_REFRESH = 0  # agreed: from now on we
    THEY_REFRESH = 1  # agreed: from now on the peer
    DUE = 2  # half the interval is over
    EXPIRED = 3  # nearly all of it is, without a refresh
    GLARE = 4  # 491 to our re-INVITE
    TOO_SMALL = 5  # 422 to our refresh, with a Min-SE
    REFUSED = 6  # any other answer to our refresh
    GONE = 7  # no answer, or 408, or 481


class SessionTimer(Keeper):
    """The session timer of one leg. ``interval`` is in seconds, as agreed on or as we ask for it."""

    __slots__ = (
        "_acknowledged",
        "_asked_again",
        "_body",
        "_early",
        "_expires_at",
        "_least",
        "_offer_seq",
        "_reinvited",
        "_request",
        "interval",
        "updates",
    )

    def __init__(self, leg: Leg, interval: float) -> None:
        super().__init__(leg, State.OURS)
        self.interval = int(interval)
        self.updates = False  # whether the peer takes UPDATE
        self._least = LEAST  # Min-SE that the peer has asked for
        self._asked_again = False  # after a 422
        # Content-Type and description that this leg was sent last, and did not refuse.
        self._body: tuple[bytes, bytes] | None = None
        # Likewise what an early dialog alone was sent, until one is confirmed. None while there is nothing.
        self._early: dict[Dialog, tuple[bytes, bytes]] | None = None
        self._offer_seq = -1  # CSeq number, on the other leg, of the last offer inside the dialog that counts
        self._expires_at = OFF
        self._request: ClientTransaction | None = None
        self._reinvited: tuple[Endpoint, Dialog] | None = None  # where our last re-INVITE went out
        self._acknowledged: tuple[ClientTransaction, bytes] | None = None

    # -- what is agreed on ------------------------------------------------------------------------------

    @property
    def reinvites(self) -> bool:
        """Whether a re-INVITE of ours is out, so that another one would collide with it."""
        return self.state == State.ASKING and isinstance(self._request, InviteClient)

    def request_lines(self) -> bytes:
        """Return what a request says that refreshes the session or opens it (RFC 4028 7.1, 7.4)."""
        refresher = b"uas" if self.state == State.THEIRS else b"uac"
        least = b"Min-SE: %d\r\n" % self._least if self._least > LEAST else b""
        lines = b"Supported: timer\r\nSession-Expires: %d;refresher=%b\r\n" % (self.interval, refresher)
        return lines + least

    def agreed(self, response: Response, now: float) -> None:
        """Take the 2xx to a request that carried :meth:`request_lines`. Without a Session-Expires in it the
        peer has no timer, and we refresh all the same (RFC 4028 7.2).
        """
        self._note_allow(response)
        given = session_expires(response)
        theirs = False
        if given is not None:
            # A shorter one than RFC 4028 allows could have us send without pause.
            self.interval = min(max(given[0], LEAST), self.interval)
            theirs = given[1] == b"uas"
        self._begin(theirs, now)

    def refuses(self, request: Request) -> bool:
        """Tell whether the request asks for a shorter interval than we take: it gets a 422 (RFC 4028 9)."""
        given = session_expires(request)
        return given is not None and given[0] < LEAST and offers(request, OPTION)

    def accept(self, request: Request, now: float) -> bytes:
        """Take a request that opens or refreshes the session, and return what our 2xx says (RFC 4028 9)."""
        self._note_allow(request)
        given = session_expires(request)
        supports = offers(request, OPTION)
        if given is not None:
            self.interval = min(max(given[0], LEAST), self.interval)
        self.interval = max(self.interval, min(_min_se(request), _MOST))
        theirs = self.state == State.THEIRS if given is None or not given[1] else given[1] == b"uac"
        theirs = theirs and supports  # RFC 4028 9, table 2: who has no timer cannot be the one to refresh
        self._begin(theirs, now)
        refresher = b"uac" if theirs else b"uas"
        lines = b"Session-Expires: %d;refresher=%b\r\n" % (self.interval, refresher)
        return lines + b"Require: timer\r\n" if supports else lines

    def raise_to(self, response: Response) -> bool:
        """Take a 422 and tell whether to ask again, with its Min-SE (RFC 4028 7.3): once only."""
        least = _min_se(response)
        if response.status != 422 or self._asked_again or not self.interval < least <= _MOST:
            return False
        self._asked_again = True
        self.interval = self._least = least
        return True

    def sent(self, message: Request | Response, body: bytes, dialog: Dialog | None = None) -> None:
        """Take note of a session description that this leg was sent: a re-INVITE of ours would repeat it.
        What an early ``dialog`` was sent counts only there: each fork has a session of its own (RFC 3261
        13.2.2.4).
        """
        kind = message.get(b"Content-Type") or b""
        if self.updates or not body or not kind.lower().startswith(b"application/sdp"):
            return
        if dialog is None or dialog.confirmed:
            self._body = (kind, body)
        elif self._early is None:
            self._early = {dialog: (kind, body)}
        else:
            self._early[dialog] = (kind, body)

    def early(self, tag: bytes) -> Dialog | None:
        """Return the caller's dialog in which we have this tag."""
        assert self.leg is not None, "a leg that is closed is sent no 18x"
        return next((dialog for dialog in self.leg.dialogs if dialog.local_tag == tag), None)

    def confirmed(self) -> None:
        """The leg is answered: of what its early dialogs were sent, that of the confirmed one counts, should
        its 2xx say nothing more (RFC 3261 13.2.1).
        """
        if self._early is not None:
            self._body = self._early.get(self._dialog(), self._body)
            self._early = None

    def accepted(self, request: Request, body: bytes, dialog: Dialog) -> None:
        """Take note of a re-INVITE or UPDATE that this leg has accepted in ``dialog``, for its offer; one
        that is refused leaves the session as it was (RFC 3261 14.1, RFC 3311 5.2).
        """
        if not body:
            return
        if dialog.confirmed:
            # A re-INVITE that was answered by a reliable response lets an UPDATE pass before its 2xx comes:
            # the offer that counts is the later one (RFC 3311 5.1).
            seq = request.cseq[0]
            if seq < self._offer_seq:
                return
            self._offer_seq = seq
        self.sent(request, body, dialog)

    # -- what becomes of our refresh --------------------------------------------------------------------

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Take an answer to our refresh."""
        status = response.status
        if 200 <= status < 300 and isinstance(transaction, InviteClient):
            self._acknowledge(transaction)
        if self.leg is None or status < 200 or transaction is not self._request:
            return
        if status < 300:
            self._dialog().retarget(response, self.leg.endpoint.flows)
            self.agreed(response, now)
        elif status in DIALOG_IS_GONE:
            self.feed(Input.GONE, None, now)
        elif status == 491:
            self.feed(Input.GLARE, None, now)
        else:
            self.feed(Input.TOO_SMALL if self.raise_to(response) else Input.REFUSED, None, now)

    def on_no_response(self, transaction: ClientTransaction, status: int, now: float) -> None:
        """Silence means gone; a transport that is broken now, or the next address, may work the next time."""
        if self.leg is not None and transaction is self._request:
            gone = is_gone(self._dialog(), transaction, status)
            self.feed(Input.GONE if gone else Input.GLARE, None, now)

    def stop(self, now: float) -> None:
        """The leg is closed: nobody waits for an answer to the refresh any more."""
        super().stop(now)
        if isinstance(self._request, InviteClient):
            self._request.cancel(b"", now)
        self._request = self._body = self._early = self._acknowledged = None

    # -- in private -------------------------------------------------------------------------------------

    def _note_allow(self, message: Request | Response) -> None:
        """Take note whether the peer takes UPDATE; a message without Allow says nothing about it."""
        if message.has(b"Allow"):
            self.updates = takes_update(message)
            if self.updates:
                self._body = None

    def _begin(self, theirs: bool, now: float) -> None:
        if self.state != State.OVER:
            self.feed(Input.THEY_REFRESH if theirs else Input.WE_REFRESH, None, now)

    def _due(self, now: float) -> None:
        self.feed(Input.EXPIRED if self._expires_at <= now else Input.DUE, None, now)

    def _start(self, _detail: object, now: float) -> None:
        """The session is fresh (RFC 4028 10)."""
        interval = self.interval
        self._request = None
        self._asked_again = False
        self._expires_at = now + interval - min(32.0, interval / 3)
        self._watch(self._expires_at if self.state == State.THEIRS else now + interval / 2, now)

    def _ask(self, _detail: object, now: float) -> None:
        """Refresh the session, unless a request that does it, or would collide with it, is on its way."""
        leg = self.leg
        assert leg is not None
        dialog = self._dialog()
        for side in (dialog, dialog.twin):
            if side is not None and (
                side.updating or (isinstance(side.user, Leg) and side.user.reinvite is not None)
            ):
                self.feed(Input.GLARE, None, now)
                return
        lines = self.request_lines() + b"Contact: %b\r\n" % dialog.contact
        method, body = b"UPDATE", b""
        if not self.updates and self._body is not None:
            method, body = b"INVITE", self._body[1]
            self._reinvited = (leg.endpoint, dialog)
            lines += b"Content-Type: %b\r\n" % self._body[0]
        follow = self._follow
        self._follow(ask(leg.endpoint, leg.trunk, method, dialog, lines, body, self, now, 70, follow))
        self._watch(self._expires_at, now)

    def _follow(self, request: ClientTransaction) -> None:
        """The refresh went out, or went out again with credentials."""
        self._request = request

    def _acknowledge(self, invite: InviteClient) -> None:
        """Send the ACK to the 2xx of our re-INVITE, and again each time that the 2xx comes again, though the
        call be over by then (RFC 3261 14.1).
        """
        assert self._reinvited is not None
        endpoint, dialog = self._reinvited
        if self._acknowledged is not None and self._acknowledged[0] is invite:
            endpoint.send(self._acknowledged[1], invite.flow)
        else:
            ack = endpoint.acknowledge(dialog, invite.seq, b"", b"", 70)
            self._acknowledged = (invite, ack)

    def _back_off(self, _detail: object, now: float) -> None:
        """Try again after the wait of RFC 3261 14.1: who made the Call-ID waits longer."""
        leg = self.leg
        assert leg is not None
        self._request = None
        token = crc32(leg.endpoint.new_token())
        wait = 2.1 + token % 191 / 100 if isinstance(leg, CalleeLeg) else token % 201 / 100
        self._watch(min(now + max(wait, 0.01), self._expires_at), now)

    def _refused(self, _detail: object, now: float) -> None:
        """Whoever refuses is alive; ask again after a while, should it have been a bad moment."""
        self._start(None, now)
        self._watch(now + self.interval / 6, now)

    def _expire(self, _detail: object, now: float) -> None:
        self._lose("session expired", now)


SessionTimer.TABLE = {
    (State.OURS, Input.WE_REFRESH): (State.OURS, SessionTimer._start),  # RFC 4028 10
    (State.OURS, Input.THEY_REFRESH): (State.THEIRS, SessionTimer._start),  # RFC 4028 10
    (State.OURS, Input.DUE): (State.ASKING, SessionTimer._ask),  # RFC 4028 7.4
    (State.OURS, Input.EXPIRED): (State.OVER, SessionTimer._expire),  # RFC 4028 10
    (State.ASKING, Input.WE_REFRESH): (State.OURS, SessionTimer._start),  # RFC 4028 7.2
    (State.ASKING, Input.THEY_REFRESH): (State.THEIRS, SessionTimer._start),  # RFC 4028 7.2
    (State.ASKING, Input.EXPIRED): (State.OVER, SessionTimer._expire),  # RFC 4028 10
    (State.ASKING, Input.GLARE): (State.OURS, SessionTimer._back_off),  # RFC 3261 14.1
    (State.ASKING, Input.TOO_SMALL): (State.ASKING, SessionTimer._ask),  # RFC 4028 7.3
    (State.ASKING, Input.REFUSED): (
        State.OURS,
        SessionTimer._refused,
    ),  # RFC 5057 5.3: it stays
    (State.ASKING, Input.GONE): (State.OVER, SessionTimer._expire),  # RFC 4028 10
    (State.THEIRS, Input.WE_REFRESH): (State.OURS, SessionTimer._start),  # RFC 4028 10
    (State.THEIRS, Input.THEY_REFRESH): (State.THEIRS, SessionTimer._start),  # RFC 4028 10
    (State.THEIRS, Input.EXPIRED): (State.OVER, SessionTimer._expire),  # RFC 4028 10
}
SessionTimer.STEPS = compile_table(State, Input, SessionTimer.TABLE)


def session_expires(message: Request | Response) -> tuple[int, bytes] | None:
    """Return the seconds and the refresher (b"" when not said) of Session-Expires; None when it is not there
    or cannot be read (RFC 4028 4).
    """
    found = _SECONDS.fullmatch(message.get(b"Session-Expires") or b"")
    if found is None:
        return None
    refresher = _REFRESHER.search(found[2] or b"")
    return int(found[1]), b"" if refresher is None else refresher[1].lower()


def takes_update(message: Request | Response) -> bool:
    """Tell whether who sent this says that it takes UPDATE (RFC 3311 4)."""
    methods = b",".join(message.values(b"Allow")).split(b",")
    return b"UPDATE" in [method.strip() for method in methods]


def _min_se(message: Request | Response) -> int:
    """Return Min-SE in seconds, its default where it is missing or cannot be read (RFC 4028 5)."""
    found = _SECONDS.fullmatch(message.get(b"Min-SE") or b"")
    return LEAST if found is None else max(int(found[1]), LEAST)
