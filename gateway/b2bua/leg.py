"""The two legs of a call: SIP on the outside, call words on the inside.

The *caller's leg* answers the INVITE that came to us; the *callee's leg* sends the INVITE that we made of it.
Each dialog of one leg has its twin on the other: a fork behind the callee, which answers with several To
tags, is as many early dialogs on the caller's side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gateway.routing.locate import Address
from gateway.routing.route import Hop
from gateway.routing.trunk import Target, Trunk
from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow
from gateway.sip.message import Request, Response
from gateway.sip.phrases import phrase_for
from gateway.sip.transaction import ClientTransaction, InviteClient, InviteServer, ServerTransaction
from gateway.sip.uri import Uri

from .credentials import ask
from .events import Answered, Event, Progress, Rejected
from .relay import Answer, ReinviteRelay, back_lines, record_route
from .reliable import LatePrack, Provisional, acknowledges, plain, rseq_of

if TYPE_CHECKING:
    from .call import Call
    from .extensions import Own
    from .policy import Policy

_HOP_PARAMS: Final = (b"transport", b"maddr", b"ttl", b"lr", b"method")
MAX_EARLY_DIALOGS: Final = 16
MAX_ANSWERS: Final = 4  # whose ACK may still be asked for: a 2xx is repeated for 32 s (RFC 3261 13.3.1.4)
_NONE_LATE: dict[bytes, tuple[bytes, Flow]] = {}  # shared by the many legs that see no late answer
_NONE_OUT: dict[bytes, int] = {}  # likewise by those that see no reliable response


class Leg:
    """What both legs share. ``call`` is None once the leg goes its own way to the end."""

    __slots__ = (
        "answers",
        "call",
        "dialogs",
        "endpoint",
        "invite_seqs",
        "load",
        "own",
        "reinvite",
        "trunk",
    )

    def __init__(self, call: Call, trunk: Trunk, endpoint: Endpoint) -> None:
        self.call: Call | None = call
        self.trunk = trunk
        self.load = trunk.load  # where this leg counts, for as long as it is part of a call
        self.endpoint = endpoint
        self.dialogs: list[Dialog] = []
        self.answers: dict[int, Answer] = {}  # by CSeq number of the INVITE that came on this leg
        self.invite_seqs = (-1, -1)  # CSeq of the last re-INVITE from this leg, here and on the other leg
        self.reinvite: ReinviteRelay | None = None  # came on this leg and has no final response yet
        self.own: Own | None = None  # extensions that we speak by ourselves on this leg

    def add(self, dialog: Dialog) -> None:
        """Take a dialog in and have its requests come here."""
        self.dialogs.append(dialog)
        self.endpoint.open(dialog)

    def confirm(self, dialog: Dialog, now: float) -> None:
        """Keep this dialog and drop the other early ones (RFC 3261 13.2.2.4)."""
        dialog.confirmed = True
        for other in self.dialogs:
            if other is not dialog:
                self._drop(other, now)
        self.dialogs = [dialog]

    def _drop(self, dialog: Dialog, _now: float) -> None:
        """Have no more requests of a dialog come here."""
        self.endpoint.close(dialog)

    def close(self, now: float) -> None:
        """Forget every dialog and the call, and end what is under way."""
        if self.reinvite is not None:
            self.reinvite.give_up(now)
            self.reinvite = None
        for dialog in self.dialogs:
            self._drop(dialog, now)
        self.dialogs = []
        self.answers = {}
        self._leave(now)

    def _leave(self, now: float) -> None:
        """Be no part of the call any more."""
        self.call = None
        if self.own is not None:
            self.own.stop(now)
            self.own = None
        if self.load is not None:
            self.load.leave()
            self.load = None

    def hang_up(self, lines: bytes, now: float) -> None:
        """Send BYE in the confirmed dialog, if there is one; nobody waits for its answer."""
        for dialog in self.dialogs:
            if dialog.confirmed:
                ask(self.endpoint, self.trunk, b"BYE", dialog, lines, b"", None, now, 70)

    def wait_for_ack(self, seq: int, answer: Answer) -> None:
        """Expect the ACK to the INVITE with this CSeq number. Only the last few can still matter."""
        while len(self.answers) >= MAX_ANSWERS:
            del self.answers[next(iter(self.answers))]
        self.answers[seq] = answer

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """Take a request inside one of this leg's dialogs."""
        if self.call is None:
            transaction.reject(481, b"", now)
        else:
            self.call.on_request(self, dialog, transaction, request, now)

    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None:
        """Take the ACK to a 2xx that went out on this leg."""
        answer = self.answers.get(request.cseq[0])
        if answer is not None and self.call is not None:
            self.call.on_ack(self, dialog, answer, request, now)


class CallerLeg(Leg):
    """The side that called: we answer its INVITE."""

    __slots__ = ("_passed", "invite", "invite_seq", "tag")

    def __init__(
        self, call: Call, trunk: Trunk, endpoint: Endpoint, invite: InviteServer, request: Request, now: float
    ) -> None:
        super().__init__(call, trunk, endpoint)
        self.invite = invite
        self.invite_seq = request.cseq[0]
        self.tag = endpoint.new_token()  # of the first early dialog, and of a rejection
        self._passed: dict[bytes, int] = _NONE_OUT  # RSeq of what passed here and has no PRACK, by our tag
        invite.user = self
        invite.respond(100, b"Trying", b"", b"", b"", now)

    def progress(self, progress: Progress, policy: Policy, now: float) -> None:
        """Pass a provisional response on, in the early dialog that is the twin of the callee's."""
        response = progress.response
        tag = self._twin(progress.dialog).local_tag if progress.dialog is not None else self.tag
        own = self.own if progress.dialog is not None else None
        if own is not None and own.reliable is not None:
            response = plain(response)
        elif response.has(b"RSeq"):
            self._passed = {**self._passed, tag: rseq_of(response)}
        lines = record_route(self.invite.request) + back_lines(policy, response, self.invite)
        body = policy.body(response)
        if own is not None:
            provisional = Provisional(response.status, response.phrase, lines, body)
            if own.progress(tag, provisional, response, now):
                return
        self.invite.respond(response.status, response.phrase, tag, lines, body, now)

    def settles(self, dialog: Dialog, prack: Request) -> bool:
        """Tell whether a PRACK is for the reliable response that passed here last in an early dialog; if so,
        it waits for none any more. Raises MalformedError when its RAck cannot be read.
        """
        if not acknowledges(prack, self._passed.get(dialog.local_tag, 0), self.invite_seq):
            return False
        self._passed = {tag: number for tag, number in self._passed.items() if tag != dialog.local_tag}
        return True

    def _drop(self, dialog: Dialog, now: float) -> None:
        """A PRACK may still come for it."""
        super()._drop(dialog, now)
        if self.own is not None and self.own.reliable is not None:
            number = self.own.reliable.number_out(dialog.local_tag)
        else:
            number = self._passed.get(dialog.local_tag, 0)
        if number and not dialog.confirmed:
            LatePrack(self, dialog, number, now)

    def answer(self, answered: Answered, policy: Policy, now: float) -> None:
        """Pass a 2xx on and wait for its ACK."""
        response = answered.response
        dialog = self._twin(answered.dialog)
        self.confirm(dialog, now)
        lines = record_route(self.invite.request) + back_lines(policy, response, self.invite)
        body = policy.body(response)
        if self.own is not None and self.invite.request is not None:
            lines += self.own.answer(self.invite.request, response, body, now)
        self.wait_for_ack(self.invite_seq, Answer(self.invite, answered.dialog, answered.seq))
        self.invite.respond(response.status, response.phrase, dialog.local_tag, lines, body, now)

    def reject(self, status: int, phrase: bytes, lines: bytes, body: bytes, now: float) -> None:
        """Send the final rejection."""
        self.invite.respond(status, phrase, self.tag, lines, body, now)

    def on_cancel(self, _transaction: ServerTransaction, cancel: Request, now: float) -> None:
        """The caller has given up (RFC 3261 9.2)."""
        if self.call is not None:
            self.call.feed(Event.CANCELLED, cancel, now)

    def on_no_ack(self, _transaction: ServerTransaction, now: float) -> None:
        """The caller never acknowledged our 2xx (RFC 3261 13.3.1.4)."""
        if self.call is not None:
            self.call.feed(Event.NO_ACK, None, now)

    def _twin(self, theirs: Dialog) -> Dialog:
        """Return the dialog on this leg that stands for one of the callee's, made on first need."""
        if theirs.twin is not None:
            return theirs.twin
        request = self.invite.request
        assert request is not None, "an INVITE without a final response is kept"
        tag = self.tag if not self.dialogs else self.endpoint.new_token()
        ours = Dialog.answering(self, request, tag, self.invite.flow, self.endpoint.flows, self.trunk.nat)
        ours.twin = theirs
        theirs.twin = ours
        self.add(ours)
        return ours


class CalleeLeg(Leg):
    """The side that is called: we send it an INVITE, watch what comes back, and clean up behind ourselves.

    ``hop`` is the target, ``fallbacks`` are what to try after it, ``deadline`` is when it has rung long
    enough.
    """

    __slots__ = (
        "_answered_tag",
        "_half",
        "_invite",
        "_late_acks",
        "deadline",
        "fallbacks",
        "gave_early_media",
        "hop",
        "invited_at",
        "rang_at",
        "was_heard",
    )

    def __init__(
        self, call: Call, endpoint: Endpoint, hop: Hop, fallbacks: tuple[Hop, ...], deadline: float
    ) -> None:
        super().__init__(call, hop.trunk, endpoint)
        self.hop = hop
        self.fallbacks = fallbacks
        self.deadline = deadline
        self.was_heard = False  # something came back
        self.gave_early_media = False  # the caller may have heard an announcement
        self._half: Dialog | None = None
        self._invite: InviteClient | None = None
        self._answered_tag: bytes | None = None
        self._late_acks: dict[bytes, tuple[bytes, Flow]] = _NONE_LATE  # by To tag
        self.invited_at = 0.0
        self.rang_at = 0.0

    @property
    def call_id(self) -> bytes:
        """The Call-ID of this leg."""
        return b"" if self._half is None else self._half.call_id

    @property
    def invite_seq(self) -> int:
        """The CSeq number of the INVITE that opened this leg."""
        return 0 if self._invite is None else self._invite.seq

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Take the addresses of the target, whose name has been looked up."""
        if self.call is not None:
            self.call.on_located(self, addresses, now)

    def call_out(self, request: Request, uri: Uri, flow: Flow, lines: bytes, body: bytes, now: float) -> None:
        """Send the INVITE: the caller's, as this leg says it."""
        call_id = self.endpoint.new_token() + b"@" + flow.local.host.encode()
        sender, tag, receiver = outgoing_ends(request, self.endpoint.new_token())
        half = Dialog(
            None,  # no request comes to a half; each dialog forked from it gets this leg
            call_id,
            sender,
            tag,
            receiver,
            b"",
            self.hop.uri or target_uri(uri, self.hop.target),
            flow,
            self.trunk.nat,
        )
        half.route = self.hop.route
        self._half = half
        self.invited_at = now
        lines += b"Contact: %b\r\n" % half.contact
        if self.trunk.trace_context and self.call is not None:
            lines += self.call.core.tracing.lines(self.call.record, half.call_id)
        if self.own is not None:
            self.own.keep(request, lines, body)
            lines += self.own.invite_lines()
        self._send_invite(half, lines, body, request.max_forwards - 1, now)

    def _send_invite(self, half: Dialog, lines: bytes, body: bytes, hops: int, now: float) -> None:
        self._follow(
            ask(self.endpoint, self.trunk, b"INVITE", half, lines, body, self, now, hops, self._follow)
        )

    def _follow(self, invite: ClientTransaction) -> None:
        """The INVITE went out, or went out again with credentials: this transaction is the one to cancel."""
        assert isinstance(invite, InviteClient)
        self._invite = invite

    def abandon(self, lines: bytes, now: float) -> None:
        """Give up: cancel the INVITE, and hang up should an answer cross the CANCEL (RFC 3261 9.1, 15)."""
        for dialog in self.dialogs:
            self._drop(dialog, now)
        self.dialogs = []
        self._leave(now)
        if self._invite is not None:
            self._invite.cancel(lines, now)

    def _drop(self, dialog: Dialog, now: float) -> None:
        """An answer may still come for it: what we send it then has to go on counting where the dialog was
        (RFC 3261 12.2.1.1, 13.2.2.4).
        """
        super()._drop(dialog, now)
        half = self._half
        if half is not None and half.seq < dialog.seq:
            half.seq = dialog.seq

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Take a response to the INVITE."""
        status = response.status
        if status < 200:
            self._on_provisional(response, now)
        elif status < 300:
            assert isinstance(transaction, InviteClient)
            self._on_success(transaction, response, now)
        elif self.call is not None and (self.own is None or not self._invites_again(response, now)):
            self.call.feed(Event.REJECTED, Rejected(self, response, False), now)

    def _invites_again(self, response: Response, now: float) -> bool:
        """Send the INVITE again where the rejection asks for a longer session (RFC 4028 7.3)."""
        assert self.own is not None, "asked only where there is one"
        again = self.own.second_invite(response)
        if again is None:
            return False
        lines, body, hops = again
        assert self._half is not None, "a response follows an INVITE"
        self._send_invite(self._half, lines, body, hops, now)
        return True

    def on_no_response(self, _transaction: ClientTransaction | None, status: int, now: float) -> None:
        """Silence (408) or a broken transport (503): as if the callee had said so (RFC 3261 8.1.3.1)."""
        if self.call is not None:
            response = Response(status, phrase_for(status), [], {})
            self.call.feed(Event.REJECTED, Rejected(self, response, True), now)

    def _on_provisional(self, response: Response, now: float) -> None:
        call = self.call
        self.was_heard = True
        if call is None or response.status == 100:
            return
        if not self.rang_at:
            self.rang_at = now
        dialog = None
        tag = response.to_tag
        if tag:
            dialog = self._find(tag)
            if dialog is None:
                if len(self.dialogs) >= MAX_EARLY_DIALOGS:
                    self.endpoint.dropped["too many early dialogs"] += 1
                    return
                dialog = self._fork(response, self)
                self.add(dialog)
            if self.own is not None and self.own.pracks is not None:
                taken = self.own.pracks.take(self, dialog, response, now)
                if taken is None:
                    return
                response = taken
        if response.body:
            self.gave_early_media = True
        call.feed(Event.PROGRESS, Progress(self, response, dialog), now)

    def _on_success(self, invite: InviteClient, response: Response, now: float) -> None:
        """Take a 2xx: the first one answers the call; the same again wants its ACK again; one of another
        fork, or one after we gave up, is acknowledged and hung up (RFC 3261 13.2.2.4).
        """
        tag = response.to_tag
        if tag in self._late_acks:
            self.endpoint.send(*self._late_acks[tag])
            return
        dialog = self._find(tag)
        if tag == self._answered_tag:
            self._acknowledge_again(dialog)
            return
        if self._answered_tag is not None or self.call is None:
            self._hang_up_late(dialog or self._fork(response, None), invite.seq, now)
            return
        waits = self.call.caller.own
        if waits is not None and waits.holds(self, invite, response, dialog):
            self.deadline = math.inf  # it has answered in time; the PRACK has a time of its own
            return
        self._answered_tag = tag
        if dialog is None:
            dialog = self._fork(response, self)
            self.add(dialog)
        else:
            dialog.settle(response, self.endpoint.flows)
        self.confirm(dialog, now)
        if self.own is not None:
            self.own.answered(response, now)
        self.call.feed(Event.ANSWERED, Answered(self, response, dialog, invite.seq), now)

    def _hang_up_late(self, dialog: Dialog, seq: int, now: float) -> None:
        """Acknowledge an answer that nobody waits for, and hang up; its retransmissions get the ACK again."""
        if len(self._late_acks) >= MAX_EARLY_DIALOGS:
            self.endpoint.dropped["too many late answers"] += 1
            return
        ack = self.endpoint.acknowledge(dialog, seq, b"", b"", 70)
        self._late_acks = {**self._late_acks, dialog.remote_tag: (ack, dialog.flow)}
        ask(self.endpoint, self.trunk, b"BYE", dialog, b"", b"", None, now, 70)

    def _acknowledge_again(self, answered: Dialog | None) -> None:
        if answered is not None and answered.twin is not None and isinstance(answered.twin.user, CallerLeg):
            caller = answered.twin.user
            answer = caller.answers.get(caller.invite_seq)
            if answer is not None:
                answer.again(self.endpoint)

    def _find(self, tag: bytes) -> Dialog | None:
        for dialog in self.dialogs:
            if dialog.remote_tag == tag:
                return dialog
        return None

    def _fork(self, response: Response, user: CalleeLeg | None) -> Dialog:
        assert self._half is not None, "a response follows an INVITE"
        return self._half.fork(response, user, self.endpoint.flows)


def outgoing_ends(request: Request, tag: bytes) -> tuple[bytes, bytes, bytes]:
    """Return our From value, our tag, and the To value for a request that we send on."""
    return b"%b;tag=%b" % (request.bare_sender, tag), tag, request.bare_receiver


def target_uri(uri: Uri, target: Target) -> bytes:
    """Return the Request-URI towards a target: the caller's user part, byte for byte, at the target's host.

    It is sips where the caller's or the target's is (26.2.2).
    A tel URI becomes a sip URI with user=phone (RFC 3261 19.1.6). Parameters that speak of a hop are dropped.
    """
    scheme, _, rest = target.uri.partition(b":")
    host_port = rest.partition(b";")[0]
    scheme = b"sips" if uri.scheme == b"sips" or len(scheme) == 4 else b"sip"
    if uri.scheme == b"tel":
        return b"%b:%b%b@%b;user=phone%b" % (scheme, uri.user, uri.params, host_port, target.params)
    user = uri.user + b"@" if uri.user else b""
    if not uri.params:
        return b"%b:%b%b%b" % (scheme, user, host_port, target.params)
    params = [
        part for part in uri.params.split(b";")[1:] if part.partition(b"=")[0].lower() not in _HOP_PARAMS
    ]
    return b";".join([b"%b:%b%b" % (scheme, user, host_port), *params]) + target.params
