"""User agents that look after themselves: they retransmit, acknowledge, retry and hang up on their own.

A :class:`Phone` is a small core on an :class:`Endpoint` of its own, so that a test can let the wire lose,
double and reorder datagrams and still ask that every call ends as it should. What a phone does with a call is
told by the number that is called: caller and callee read the same word in it ("answered", "rejected").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow, Flows, Local
from gateway.sip.message import Request, Response
from gateway.sip.transaction import ClientTransaction, InviteClient, InviteServer, ServerTransaction
from gateway.sip.uri import Uri
from tests.helpers import GATEWAY, SDP, Address, Net

TALK = 5.0  # seconds from the answer to the BYE
# What each side of a talkative call asks of the other while it stands.
TALKATIVE = {
    "caller": (b"INFO", b"UPDATE", b"REFER", b"OPTIONS"),
    "callee": (b"UPDATE", b"NOTIFY", b"INFO", b"MESSAGE"),
}
OFFER = b"Content-Type: application/sdp\r\n"


@dataclass
class Later:
    """A function to call when the timer fires."""

    do: Callable[[float], object]

    def on_timer(self, now: float) -> None:
        """Call it."""
        self.do(now)


class Phone:
    """A user agent at one address."""

    def __init__(self, net: Net, address: Address, name: str) -> None:
        self.net = net
        self.name = name
        self.local = Local("udp", *address)
        count = itertools.count(1)
        self.endpoint = Endpoint(Flows([self.local]), lambda: b"%b%d" % (name.encode(), next(count)))
        self.endpoint.core = self
        self.gateway = self.endpoint.flows.get(self.local, GATEWAY)
        self.calls: list[Talk] = []
        self.taken: list[Talk] = []
        net.stations[address] = self.endpoint

    def later(self, seconds: float, do: Callable[[float], object]) -> None:
        """Do something in a while."""
        self.endpoint.timers.at(self.net.now + seconds, Later(do))

    def half(self, user: Talk, kind: str) -> Dialog:
        """The half of a dialog that a first request to this number opens."""
        tag = self.endpoint.new_token()
        return Dialog(
            user,
            self.endpoint.new_token(),
            b"<sip:%b@phones>;tag=%b" % (self.name.encode(), tag),
            tag,
            b"<sip:%b@gateway>" % kind.encode(),
            b"",
            b"sip:%b@192.0.2.1:5060" % kind.encode(),
            self.gateway,
        )

    def call(self, kind: str) -> Talk:
        """Call a number."""
        talk = Talk(self, kind)
        self.calls.append(talk)
        talk.begin(self.net.now)
        return talk

    def knows(self, _flow: Flow) -> bool:
        """Everybody may call."""
        return True

    def name_of(self, _flow: Flow) -> str:
        return ""

    def is_behind_nat(self, _flow: Flow) -> bool:
        """None is."""
        return False

    def on_request(
        self, transaction: ServerTransaction, request: Request, uri: Uri, _source: Flow, now: float
    ) -> None:
        """Take a call, or anything else that is not in a dialog."""
        kind = uri.user.decode()
        if isinstance(transaction, InviteServer):
            talk = Talk(self, kind)
            self.taken.append(talk)
            talk.ring(transaction, request, now)
        else:
            transaction.reject(200, self.endpoint.new_token(), now)


class Talk:
    """One phone's side of a call."""

    tag = b""  # a rejection has one of its own

    def __init__(self, phone: Phone, kind: str) -> None:
        self.phone = phone
        self.endpoint = phone.endpoint
        self.kind = kind
        self.status = 0  # final status of our INVITE or MESSAGE; 408 and 503 may be our own
        self.ended = ""  # how the dialog ended for us: "hung up", "was hung up", "lost"
        self.changes = 0  # re-INVITEs of ours that were accepted
        self.passed: set[bytes] = set()  # methods inside the dialog that the other side accepted
        self.dialog: Dialog | None = None
        self._early: Dialog | None = None  # of the caller, while a reliable call rings
        self._pracked = False
        self._half: Dialog | None = None
        self._invites: dict[int, InviteServer] = {}  # that came and have no ACK, by CSeq number
        self._is_acked = False
        self._acks: dict[bytes, bytes] = {}  # by branch of the INVITE
        self._gave_up = False

    # -- as the caller ----------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Send the INVITE or the MESSAGE."""
        half = self._half = self.phone.half(self, self.kind)
        if self.kind == "message":
            self.endpoint.request(b"MESSAGE", half, b"", b"hello", self, now, 70)
            return
        client = self.endpoint.request(b"INVITE", half, self._offer(), SDP, self, now, 70)
        assert isinstance(client, InviteClient)
        if self.kind in ("cancelled", "crossing"):
            self.phone.later(1.0 if self.kind == "crossing" else 2.0, lambda then: self._cancel(client, then))

    def _offer(self) -> bytes:
        return OFFER + b"Contact: %b\r\n" % self.phone.local.contact

    def _cancel(self, client: InviteClient, now: float) -> None:
        self._gave_up = True
        client.cancel(b"", now)

    def on_response(self, client: ClientTransaction, response: Response, now: float) -> None:
        """Take a response to whatever we sent."""
        status = response.status
        method = client.method
        if status < 200:
            if method == b"INVITE" and self.kind == "reliable" and b"RSeq" in response.index:
                self._prack(client, response, now)
            return
        if isinstance(client, InviteClient) and status < 300:
            self._accepted(client, response, now)
        elif method in (b"INVITE", b"MESSAGE") and self.dialog is None:
            self.status = status
            self._close()
        elif method == b"INVITE" and status in (491, 500):
            self.phone.later(1.5 + len(self.phone.name) % 3, self.change)  # RFC 3261 14.1
        elif method == b"BYE":
            self._end("hung up" if status < 300 or status == 481 else "lost")
        elif status < 300:
            self.passed.add(method)
            if method == b"PRACK":
                self._ask(b"UPDATE", now)
        elif status in (491, 500):
            self.phone.later(1.0 + len(self.phone.name) % 3, lambda then: self._ask(method, then))

    def on_no_response(self, client: ClientTransaction, status: int, now: float) -> None:
        """Nobody answered what we sent."""
        if client.method in (b"INVITE", b"MESSAGE") and self.dialog is None:
            self.status = status
            self._close()
        elif client.method == b"BYE":
            self._end("lost")
        elif self.dialog is not None:
            self._hang_up(now)  # RFC 3261 12.2.1.2

    def _prack(self, client: ClientTransaction, response: Response, now: float) -> None:
        """Acknowledge a reliable provisional response, once (RFC 3262 4)."""
        if self._early is None:
            assert isinstance(client, InviteClient)
            assert self._half is not None
            self._early = self._half.fork(response, self, self.endpoint.flows)
            self.endpoint.open(self._early)
            rack = b"RAck: %b %d INVITE\r\n" % (response.need(b"RSeq"), client.seq)
            self.endpoint.request(b"PRACK", self._early, rack, b"", self, now, 70)

    def _ask(self, method: bytes, now: float) -> None:
        """Send a request inside the dialog."""
        dialog = self.dialog or self._early
        if dialog is not None and not self.ended:
            lines = b"Refer-To: <sip:x@y>\r\n" if method == b"REFER" else b""
            self.endpoint.request(method, dialog, lines, b"", self, now, 70)

    def _talk(self, side: str) -> None:
        for at, method in enumerate(TALKATIVE[side]):
            self.phone.later(0.5 + at, lambda now, method=method: self._ask(method, now))

    def _accepted(self, client: InviteClient, response: Response, now: float) -> None:
        ack = self._acks.get(client.key)
        if ack is not None:
            assert self.dialog is not None
            self.endpoint.send(ack, self.dialog.flow)
            return
        first = self.dialog is None
        if first:
            self.status = response.status
            assert self._half is not None
            if self._early is not None and self._early.remote_tag == response.to_tag:
                self.dialog = self._early
            else:
                self.dialog = self._half.fork(response, self, self.endpoint.flows)
                self.endpoint.open(self.dialog)
        else:
            self.changes += 1
        assert self.dialog is not None
        self._acks[client.key] = self.endpoint.acknowledge(self.dialog, client.seq, b"", b"", 70)
        if not first:
            return
        if self._gave_up:
            self._hang_up(now)
        elif self.kind == "reinvited":
            self.phone.later(1.0, self.change)
            self.phone.later(12 * TALK, self._hang_up)
        elif self.kind in ("reliable", "talkative"):
            if self.kind == "talkative":
                self._talk("caller")
            self.phone.later(16 * TALK, self._hang_up)
        elif self.kind != "hung-up":
            self.phone.later(TALK, self._hang_up)

    # -- as the callee ----------------------------------------------------------------------------------

    def ring(self, invite: InviteServer, request: Request, now: float) -> None:
        """Take a call and do with it what its number says."""
        endpoint = self.endpoint
        if self.kind == "hunted" and self.phone.name == "carrier":
            invite.reject(503, endpoint.new_token(), now)
            return
        if self.kind == "rung-declined" and self.phone.name == "carrier":
            self.phone.later(1.0, lambda then: invite.reject(603, endpoint.new_token(), then))
            return
        tag = endpoint.new_token()
        self._invites[request.cseq[0]] = invite
        invite.user = self
        invite.respond(180, b"Ringing", tag, self._offer()[len(OFFER) :], b"", now)
        self._half = Dialog.answering(self, request, tag, invite.flow, endpoint.flows)
        if self.kind == "rejected":
            reason = b"Reason: Q.850;cause=1\r\n"
            self.phone.later(1.0, lambda then: invite.reject(603, tag, then, reason))
        elif self.kind == "elsewhere":
            self.phone.later(1.0, lambda then: invite.reject(302, tag, then, b"Contact: <sip:x@y>\r\n"))
        elif self.kind == "reliable":
            self._ring_reliably(invite, 0.5, now)
        elif self.kind in ("cancelled", "rung-declined"):
            # Should no CANCEL come through, nobody rings for ever.
            self.phone.later(200.0, lambda then: invite.awaits_final and invite.reject(480, tag, then))
        else:
            self.phone.later(1.0, lambda then: self._answer(invite, then))

    def _ring_reliably(self, invite: InviteServer, every: float, now: float) -> None:
        """Repeat a reliable provisional response until it is acknowledged (RFC 3262 3)."""
        half = self._half
        assert half is not None
        if not invite.awaits_final or self._pracked:
            return
        self.endpoint.open(half)
        lines = b"Require: 100rel\r\nRSeq: 7\r\n" + self._offer()[len(OFFER) :]
        invite.respond(183, b"Session Progress", half.local_tag, lines, b"", now)
        self.phone.later(every, lambda then: self._ring_reliably(invite, 2 * every, then))

    def _answer(self, invite: InviteServer, now: float) -> None:
        half = self._half
        assert half is not None
        if not invite.awaits_final:
            return
        self.dialog = half
        self.endpoint.open(half)
        invite.respond(200, b"OK", half.local_tag, self._offer(), SDP, now)

    def on_cancel(self, transaction: ServerTransaction, _cancel: Request, now: float) -> None:
        """The caller gave up."""
        assert self._half is not None
        transaction.reject(487, self._half.local_tag, now)
        self._close()

    def on_no_ack(self, _transaction: ServerTransaction, now: float) -> None:
        """Our 2xx was never acknowledged."""
        if not self.ended:
            self._hang_up(now)

    # -- as either --------------------------------------------------------------------------------------

    def on_ack(self, _dialog: Dialog, request: Request, now: float) -> None:
        """The ACK for a 2xx of ours."""
        invite = self._invites.pop(request.cseq[0], None)
        if invite is not None:
            invite.acknowledged(now)
        if self._is_acked or self in self.phone.calls:
            return
        self._is_acked = True
        if self.kind == "hung-up":
            self.phone.later(TALK, self._hang_up)
        elif self.kind == "reinvited":
            self.phone.later(2 * TALK, self.change)
        elif self.kind == "talkative":
            self._talk("callee")

    def change(self, now: float) -> None:
        """Send a re-INVITE."""
        if self.dialog is not None and not self.ended:
            self.endpoint.request(b"INVITE", self.dialog, self._offer(), SDP, self, now, 70)

    def _hang_up(self, now: float) -> None:
        if self.dialog is not None and not self.ended:
            self.ended = "hanging up"
            self.endpoint.request(b"BYE", self.dialog, b"", b"", self, now, 70)

    def _end(self, how: str) -> None:
        self.ended = how
        self._close()

    def _close(self) -> None:
        for dialog in (self.dialog, self._half, self._early):
            if dialog is not None:
                self.endpoint.close(dialog)

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """A request in our dialog."""
        if request.method == b"BYE":
            transaction.reject(200, b"", now)
            self._end("was hung up")
        elif isinstance(transaction, InviteServer):
            self._invites[request.cseq[0]] = transaction
            transaction.user = self
            dialog.retarget(request, self.endpoint.flows)
            transaction.respond(200, b"OK", b"", self._offer(), SDP, now)
        else:
            transaction.reject(200, b"", now)
            if request.method == b"PRACK" and not self._pracked:
                self._pracked = True
                invite = next(iter(self._invites.values()))
                self.phone.later(2.0, lambda then: self._answer(invite, then))
