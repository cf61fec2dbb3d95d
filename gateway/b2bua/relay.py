"""A request that passes from one side to the other, and its answer that passes back.

:class:`Relay` serves requests inside dialogs (each leg numbers its own CSeq) and transactions outside of any.
:class:`Answer` carries a 2xx to INVITE and brings back its ACK, for the call's first INVITE and for every
re-INVITE alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Request, Response
from gateway.sip.transaction import (
    ClientTransaction,
    InviteClient,
    InviteServer,
    ServerTransaction,
)

from .credentials import ask
from .elsewhere import is_gone
from .liveness import DIALOG_IS_GONE
from .policy import Policy

_TIMER_STEP: Final = 2.0  # seconds

OnFinal = Callable[[Response | None, float], bytes | None]


class Relay:
    """One request on its way. ``forth`` is the policy for the request, ``back`` the one for its responses;
    ``on_final`` hears the final response (or None when none came) before it is passed, and may return header
    lines of our own for a 2xx. ``on_numbered`` is called each time the request has gone out: its CSeq number
    is the last one of its dialog then. ``on_gone`` hears, once all is said, that the other side knows no such
    dialog any more (RFC 3261 12.2.1.2).
    """

    __slots__ = (
        "added",
        "back",
        "dialog",
        "endpoint",
        "forth",
        "on_final",
        "on_gone",
        "on_numbered",
        "server",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        server: ServerTransaction,
        forth: Policy,
        back: Policy,
        on_final: OnFinal | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.server = server
        self.forth = forth
        self.back = back
        self.on_final = on_final
        self.on_numbered: Callable[[], None] | None = None
        self.on_gone: Callable[[float], None] | None = None
        self.dialog: Dialog | None = None  # that the request went out in
        self.added = b""

    def send(self, dialog: Dialog, request: Request, lines: bytes, now: float) -> ClientTransaction:
        """Send the request on in ``dialog``, with these header lines, and return its transaction."""
        method = request.method
        self.dialog = dialog
        if method == b"INVITE" or (request.has(b"Contact") and method != b"REGISTER"):
            lines += b"Contact: %b\r\n" % dialog.contact
        hops = request.max_forwards - 1
        body, trunk = self.forth.body(request), self.forth.target
        client = ask(self.endpoint, trunk, method, dialog, lines, body, self, now, hops, self.follow)
        self.follow(client)
        return client

    def follow(self, client: ClientTransaction) -> None:
        """The request went out, or again, with credentials or elsewhere: this is its transaction now."""
        if self.on_numbered is not None:
            self.on_numbered()

    def on_response(self, _client: ClientTransaction, response: Response, now: float) -> None:
        """Pass a response back (the 100 is each hop's own affair, RFC 3261 8.1.1.7; the transaction of other
        requests than INVITE keeps to itself what must not pass, RFC 4320 4).
        """
        status = response.status
        if status == 100:
            return
        if status >= 200 and self.on_final is not None:
            self.added = self.on_final(response, now) or b""
        self.pass_back(response, now)
        if self.on_gone is not None and status in DIALOG_IS_GONE:
            self.on_gone(now)

    def pass_back(self, response: Response, now: float) -> None:
        """Answer the side that asked with what the other side said."""
        lines = back_lines(self.back, response, self.server)
        if self.added and 200 <= response.status < 300:
            lines += self.added
        tag, body = self.endpoint.new_token(), self.back.body(response)
        self.server.respond(response.status, response.phrase, tag, lines, body, now)

    def on_no_response(self, client: ClientTransaction, status: int, now: float) -> None:
        """Nobody answered: say so."""
        if self.on_final is not None:
            self.on_final(None, now)
        self.server.reject(status, self.endpoint.new_token(), now)
        if self.on_gone is not None and self.dialog is not None and is_gone(self.dialog, client, status):
            self.on_gone(now)


def back_lines(policy: Policy, response: Response, server: ServerTransaction) -> bytes:
    """Return the header lines of a response that passes back, our Contact in place of the other side's."""
    status = response.status
    if 300 <= status < 400 or status == 485 or server.method == b"REGISTER":
        return policy.back_with_contact(response.rows)
    lines = policy.back(response.rows)
    if status < 300 and (response.has(b"Contact") or server.method == b"INVITE"):
        lines += b"Contact: %b\r\n" % server.contact
    return lines


def record_route(request: Request | None) -> bytes:
    """Return a request's Record-Route lines, to be copied into what makes a dialog (RFC 3261 12.1.1)."""
    if request is None or not request.has(b"Record-Route"):
        return b""
    return b"".join(line + b"\r\n" for line in request.lines(b"Record-Route"))


class Answer:
    """A 2xx to INVITE that was passed to the dialog ``asked``, and waits for the ACK to pass to ``answered``.

    The ACK goes end to end: it may carry the SDP answer of a late offer, so we cannot send it on our own.
    """

    __slots__ = ("_ack", "_answered", "_answered_seq", "_repeated", "_server")

    def __init__(self, server: InviteServer, answered: Dialog, answered_seq: int) -> None:
        self._server = server
        self._answered = answered
        self._answered_seq = answered_seq
        self._ack = b""
        self._repeated = 0

    @property
    def is_acked(self) -> bool:
        """Whether the ACK has been passed on."""
        return bool(self._ack)

    def acked(self, endpoint: Endpoint, lines: bytes, body: bytes, hops: int, now: float) -> None:
        """Take the ACK of the side that asked and pass it on; further copies of it change nothing."""
        if self._ack:
            return
        if self._server.is_accepted:  # else its 2xx was given up
            self._server.acknowledged(now)
        self._ack = endpoint.acknowledge(self._answered, self._answered_seq, lines, body, hops)

    def again(self, endpoint: Endpoint) -> None:
        """The 2xx came again: its ACK was lost, or has not been sent yet (RFC 3261 13.2.2.4). Where the side
        that answered has several addresses the ACK tries them in turn: no answer tells that one is dead.
        """
        if self._ack:
            flows = (self._answered.flow, *self._answered.others)
            endpoint.send(self._ack, flows[self._repeated % len(flows)])
            self._repeated += 1


class ReinviteRelay(Relay):
    """A re-INVITE on its way, with what only INVITE has: CANCEL, a 2xx that is acknowledged, and its loss.

    ``described`` and ``pracked`` are the last messages with a session description that each side was sent
    between the INVITE and its final response (RFC 3262 5): the side that asked, and the other one.
    """

    __slots__ = (
        "_deadline",
        "_is_over",
        "_on_no_ack",
        "_on_sent",
        "_wait_for_ack",
        "answer",
        "client",
        "described",
        "pracked",
    )
    tag: bytes = b""  # inside a dialog the To has its tag already

    def __init__(
        self,
        endpoint: Endpoint,
        server: InviteServer,
        forth: Policy,
        back: Policy,
        on_final: OnFinal,
        on_sent: Callable[[InviteClient], None],
        wait_for_ack: Callable[[Answer], None],
        on_no_ack: Callable[[float], None],
    ) -> None:
        super().__init__(endpoint, server, forth, back, on_final)
        self.answer: Answer | None = None
        self.client: InviteClient | None = None
        self.described: Response | None = None
        self.pracked: Request | None = None
        self._deadline = math.inf  # of the final response
        self._is_over = False  # the call has ended before the final response came
        self._on_sent = on_sent
        self._wait_for_ack = wait_for_ack
        self._on_no_ack = on_no_ack

    def follow(self, client: ClientTransaction) -> None:
        """The re-INVITE went out, or again with credentials: this is the transaction to cancel."""
        assert isinstance(client, InviteClient)
        self.client = client
        self._on_sent(client)

    def on_response(self, client: ClientTransaction, response: Response, now: float) -> None:
        """Pass a response back; a 2xx that comes again only gets its ACK again, and one that comes after the
        call has ended gets one of ours each time (RFC 3261 14.1).
        """
        if self._is_over:
            if 200 <= response.status < 300:
                assert isinstance(client, InviteClient)
                assert self.dialog is not None
                self.endpoint.acknowledge(self.dialog, client.seq, b"", b"", 70)
            return
        if response.status >= 200:
            self._deadline = math.inf
        elif response.body:
            self.described = response
        if 200 <= response.status < 300:
            if self.answer is not None:
                self.answer.again(self.endpoint)
                return
            assert isinstance(client, InviteClient)
            assert isinstance(self.server, InviteServer)
            assert self.dialog is not None
            self.dialog.retarget(response, self.endpoint.flows)
            self.answer = Answer(self.server, self.dialog, client.seq)
            self._wait_for_ack(self.answer)
        super().on_response(client, response, now)

    def on_cancel(self, _server: ServerTransaction, cancel: Request, now: float) -> None:
        """Pass the CANCEL on; whatever final response comes decides (RFC 3261 9.1)."""
        if self.client is not None:
            self.client.cancel(self.forth.cancel_lines(cancel.rows), now)

    def on_no_response(self, client: ClientTransaction, status: int, now: float) -> None:
        """Nobody answered: say so to the side that asked, unless the call is over."""
        self._deadline = math.inf
        if not self._is_over:
            super().on_no_response(client, status, now)

    def watch(self, deadline: float, now: float) -> None:
        """Cancel the re-INVITE when it has no final response at ``deadline`` (RFC 3261 16.8, timer C's twin).

        A timer keeps its target alive, so it is set in steps: what is answered is soon forgotten.
        """
        self._deadline = deadline
        self.endpoint.timers.at(min(deadline, now + _TIMER_STEP), self)

    def on_timer(self, now: float) -> None:
        """Look whether it has rung long enough."""
        if self._deadline > now:
            if self._deadline < math.inf:
                self.watch(self._deadline, now)
            return
        self._deadline = math.inf
        if self.client is not None:
            self.client.cancel(b"", now)

    def give_up(self, now: float) -> None:
        """The call is over: 487 to the side that asked (RFC 3261 15.1.2), CANCEL to the other."""
        self._is_over = True
        self._deadline = math.inf
        self.server.reject(487, b"", now)
        if self.client is not None:
            self.client.cancel(b"", now)

    def on_no_ack(self, _server: ServerTransaction, now: float) -> None:
        """The 2xx of a re-INVITE was never acknowledged: the session is to end (RFC 3261 14.2)."""
        self._on_no_ack(now)
