"""The endpoint: bytes in, matched to transactions and dialogs, bytes out.

What needs no user is answered here: malformed messages (400, 505, 513), unsupported schemes (416) and
extensions (420), too many hops (483), merged requests (482), requests for dialogs that are not (481), CSeq
out of order (500), OPTIONS to the gateway itself (200) and other methods to it (405, 501). Retransmissions
are absorbed by their transactions. Everything else goes up to the :class:`Core` or to the dialog's owner.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from .build import refusal_bytes, request_bytes, sent_branch
from .core import Core
from .dialog import Dialog
from .errors import MalformedError, note_call
from .fields import NAMING_DIALOGS
from .flow import Flow, Flows
from .framing import FramingError
from .headers import Via
from .itself import Itself
from .message import METHODS, MalformedMessageError, Request, Response, parse
from .sizing import MAX_UDP_REQUEST, LargeRequests
from .timers import EVERYBODY, Timers
from .traffic import Tally, Traffic
from .transaction import (
    ClientTransaction,
    ClientUser,
    InviteClient,
    InviteServer,
    NonInviteClient,
    NonInviteServer,
    ServerTransaction,
    Timing,
    Transaction,
    ack_key,
    server_key,
)
from .transaction.invite_server import Input as InviteServerInput
from .uri import Uri

_SCHEMES: Final = (b"sip", b"tel", b"sips")
_DIALOG_FORMING: Final = frozenset((b"INVITE", b"SUBSCRIBE", b"REFER"))
_DIALOG_ONLY: Final = frozenset((b"BYE", b"PRACK", b"UPDATE"))  # RFC 3261 15.1.2, RFC 3262 3, RFC 3311 5.2
_NEVER_CANCELLED: Final = METHODS - {b"INVITE", b"ACK", b"CANCEL"}
_CANCEL_SUFFIX: Final = b" CANCEL"
_KEEPALIVE: Final = b"\r\n\0 "
_ALIAS = re.compile(rb";\s*alias\s*(?:;|$)", re.IGNORECASE)


class Endpoint:
    """Sans-IO SIP endpoint. ``new_token`` makes unguessable tokens for branches and tags; ``on_bug`` is told
    of exceptions that are ours (the default lets them out), so that one of them costs one message.
    """

    def __init__(
        self,
        flows: Flows,
        new_token: Callable[[], bytes],
        timing: Timing | None = None,
        on_bug: Callable[[Exception], None] | None = None,
        max_transactions: int = 1_000_000,
    ) -> None:
        self.flows = flows
        self.new_token = new_token
        self.timing = timing or Timing()
        self.timers = Timers()
        self.core: Core | None = None
        self.now = 0.0  # of the messages that are being handled
        self.servers: dict[bytes, ServerTransaction] = {}
        self.clients: dict[bytes, ClientTransaction] = {}
        self.dialogs: dict[tuple[bytes, bytes], Dialog] = {}
        self.traffic = Traffic()
        self.dropped: defaultdict[str, int] = defaultdict(int)
        self._merged: dict[tuple[bytes, ...], bytes] = {}
        self._large = LargeRequests(flows)
        self._out: list[tuple[bytes, Flow]] = []
        self._on_bug = on_bug
        self._max_transactions = max_transactions
        self.itself = Itself(flows.locals, flows.is_own)

    # -- what the outside calls -------------------------------------------------------------------------

    def receive(self, batch: Iterable[tuple[bytes, Flow]], now: float) -> None:
        """Take datagrams, each with the flow it came on, and do everything that follows from them."""
        self.now = now
        for data, flow in batch:
            try:
                self._receive_one(data, flow, now)
            except Exception as bug:
                note_call(bug, data)
                self._report(bug)

    def tick(self, now: float, most: int = EVERYBODY) -> None:
        """Fire the timers that are due, at most so many."""
        self.timers.fire(now, self._on_bug, most)

    def flow_lost(self, flow: Flow, now: float, reached: bool = True) -> None:
        """Tell the client transactions on a flow that it is broken (RFC 3261 17.1.4). Those that have heard
        nothing try a new connection, once.

        Where the peer was never ``reached``, what took this flow for its size alone goes over UDP (18.1.1).
        """
        for transaction in [tx for tx in self.clients.values() if tx.flow is flow]:
            try:
                goes_on = transaction.send_anew() if reached else self._large.move_back(transaction, now)
                if not goes_on:
                    transaction.transport_failed(now)
            except Exception as bug:
                self._report(bug)

    def undelivered(self, data: bytes, now: float) -> None:
        """Take back the start of a datagram of ours that found nobody, as ICMP quotes it (RFC 3261 18.4).

        Its branch, which only we and its receiver know, tells the transaction, so that nobody who did not
        see the datagram can break a call by inventing such news. A quote too short for that says nothing.
        """
        method, branch = sent_branch(data)
        transaction = self.clients.get(branch + _CANCEL_SUFFIX if method == b"CANCEL" else branch)
        if transaction is None or transaction.flow.local.reliable:
            return
        try:
            transaction.transport_failed(now)
        except Exception as bug:
            self._report(bug)

    def unframed(self, error: FramingError, flow: Flow) -> None:
        """Answer what there is of a message on a stream that cannot be read on (RFC 3261 18.3)."""
        self.tally(flow).malformed[error.why] += 1
        request: object
        try:
            request = parse(error.head)
        except MalformedMessageError as broken:
            request = broken.request
        try:
            if isinstance(request, Request):
                self._refuse(request, flow, error.status)
        except Exception as bug:
            self._report(bug)

    def drain(self) -> list[tuple[bytes, Flow]]:
        """Return what must go on the wire, in order, and forget it."""
        out = self._out
        self._out = []
        return out

    # -- what transactions and users call ---------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        """Put bytes on the wire."""
        self._out.append((data, flow))

    def unmerge(self, transaction: ServerTransaction) -> None:
        """Take the same request in another transaction for a new one from now on."""
        if transaction.merge_key is not None:
            self._merged.pop(transaction.merge_key, None)
            transaction.merge_key = None

    def forget(self, transaction: Transaction) -> None:
        """Take a terminated transaction out of the tables."""
        if isinstance(transaction, ServerTransaction):
            self.servers.pop(transaction.key, None)
            self.unmerge(transaction)
        else:
            self.clients.pop(transaction.key, None)
            if self._large:
                self._large.forget(transaction.key)

    def request(
        self,
        method: bytes,
        dialog: Dialog,
        lines: bytes,
        body: bytes,
        user: ClientUser | None,
        now: float,
        hops: int,
    ) -> ClientTransaction:
        """Send a request (not ACK) in a dialog, or the one that opens it, and return its transaction."""
        branch = b"z9hG4bK" + self.new_token()
        seq = dialog.next_seq()
        flow = dialog.flow
        ends = (dialog.local, dialog.remote, dialog.call_id)
        data = request_bytes(method, dialog.target, flow, branch, hops, dialog.route, ends, seq, lines, body)
        if len(data) > MAX_UDP_REQUEST and flow.local.transport == "udp":
            data, flow = self._large.move(data, branch, dialog, now)
        transaction: InviteClient | NonInviteClient
        if method == b"INVITE":
            transaction = InviteClient(self, branch, flow, user, dialog, seq)
        else:
            transaction = NonInviteClient(self, branch, flow, method, user)
        self.clients[branch] = transaction
        (flow.tally or self.tally(flow)).sent.add(method, 0)
        transaction.start(data, now)
        return transaction

    def acknowledge(self, dialog: Dialog, seq: int, lines: bytes, body: bytes, hops: int) -> bytes:
        """Send the ACK for a 2xx, with its INVITE's credentials (RFC 3261 13.2.2.4), and return its bytes, to
        be sent again when the 2xx comes again.
        """
        branch = b"z9hG4bK" + self.new_token()
        ends = (dialog.local, dialog.remote, dialog.call_id)
        ack = request_bytes(
            b"ACK",
            dialog.target,
            dialog.flow,
            branch,
            hops,
            dialog.route,
            ends,
            seq,
            dialog.credentials + lines,
            body,
        )
        self.send(ack, dialog.flow)
        self.tally(dialog.flow).sent.add(b"ACK", 0)
        return ack

    def send_cancel(self, invite: InviteClient, data: bytes, now: float) -> None:
        """Start the CANCEL's own transaction, which shares the INVITE's branch (RFC 3261 9.1)."""
        key = invite.key + _CANCEL_SUFFIX
        transaction = NonInviteClient(self, key, invite.flow, b"CANCEL", None)
        self.clients[key] = transaction
        self.tally(invite.flow).sent.add(b"CANCEL", 0)
        transaction.start(data, now)

    def tally(self, flow: Flow) -> Tally:
        """Return where the messages of a flow are counted."""
        return flow.tally or self.traffic.tally(flow, "" if self.core is None else self.core.name_of(flow))

    @property
    def malformed(self) -> dict[str, int]:
        """How many messages could not be read, by the reason."""
        return self.traffic.malformed()

    def open(self, dialog: Dialog) -> None:
        """Have requests inside this dialog go to its user."""
        self.dialogs[dialog.key] = dialog

    def close(self, dialog: Dialog) -> None:
        """Forget a dialog; later requests for it get 481."""
        self.dialogs.pop(dialog.key, None)
        dialog.user = None
        if dialog.twin is not None:
            dialog.twin.twin = None
            dialog.twin = None

    def _report(self, bug: Exception) -> None:
        if self._on_bug is None:
            raise bug
        self._on_bug(bug)

    # -- receiving --------------------------------------------------------------------------------------

    def _receive_one(self, data: bytes, flow: Flow, now: float) -> None:
        if not data or (data[0] in _KEEPALIVE and not data.strip(_KEEPALIVE)):
            return  # RFC 5626 3.5.1, and what NAT helpers send for it
        try:
            if data[:4] == b"ACK " and self._ends_transaction(data, flow, now):
                return
            message = parse(data)
            if isinstance(message, Response):
                self._response(message, now)
            else:
                self._request(message, flow, now)
        except MalformedMessageError as broken:
            self.tally(flow).malformed[broken.why] += 1
            if broken.request is not None:
                self._refuse(broken.request, flow, broken.status)
        except MalformedError as error:
            self.tally(flow).malformed[error.why] += 1
            if isinstance(message, Request):
                self._refuse(message, flow, error.status)

    def _ends_transaction(self, data: bytes, flow: Flow, now: float) -> bool:
        """Take an ACK that belongs to an INVITE we refused, found by its topmost Via alone: such an ACK says
        nothing more, and every rejected call has one (RFC 3261 17.2.3). False leaves it to be read in full.
        """
        key = ack_key(data)
        transaction = None if key is None else self.servers.get(b"%b %b" % (key, flow.host))
        if not isinstance(transaction, InviteServer) or transaction.is_accepted:
            return False
        transaction.feed(InviteServerInput.ACK, None, now)
        return True

    def _response(self, response: Response, now: float) -> None:
        """Match a response to its client transaction (RFC 3261 17.1.3)."""
        branch = response.branch
        transaction = self.clients.get(branch)
        method = response.cseq[1]
        if transaction is not None and transaction.method != method:
            transaction = self.clients.get(branch + _CANCEL_SUFFIX) if method == b"CANCEL" else None
        if transaction is None:
            self.dropped["stray response"] += 1
            return
        if response.has_two_vias:
            self.dropped["response with two Vias"] += 1  # misrouted, or made up (RFC 3261 8.1.3.3)
            return
        if method in _DIALOG_FORMING and 100 < response.status < 300:
            response.check()
        flow = transaction.flow
        (flow.tally or self.tally(flow)).received.add(method, response.status)
        transaction.receive(response, now)

    def _request(self, request: Request, flow: Flow, now: float) -> None:
        via = request.via
        method = request.method
        key = server_key(request, via, method, flow.host)
        transaction = self.servers.get(key)
        if method == b"ACK":
            if isinstance(transaction, InviteServer) and not transaction.is_accepted:
                transaction.feed(InviteServerInput.ACK, request, now)
            else:
                self._ack(request, flow, now)
            return
        if transaction is not None:
            transaction.feed(transaction.REQUEST, request, now)
            return
        (flow.tally or self.tally(flow)).received.add(method, 0)
        uri = request.check()
        to_tag = request.to_tag
        dialog = self.dialogs.get((to_tag, request.from_tag)) if to_tag else None
        if dialog is None and to_tag and method == b"NOTIFY":
            dialog = self.dialogs.get((to_tag, b""))  # an OpenHalf takes it
        if dialog is not None and dialog.call_id != request.call_id:
            dialog = None
        status = self._screen(request, uri, flow, to_tag, dialog)
        if status:
            self._refuse(request, flow, status)
            return
        assert self.core is not None, "the endpoint serves a core"
        transaction = self._new_server(request, key, flow, via, bool(to_tag), now)
        try:
            self._serve(transaction, dialog, request, uri, flow, now)
        except MalformedError as error:
            # In a header that only the user of this method reads, such as RAck.
            self.tally(flow).malformed[error.why] += 1
            transaction.reject(error.status, self.new_token(), now)

    def _serve(
        self,
        transaction: ServerTransaction,
        dialog: Dialog | None,
        request: Request,
        uri: Uri,
        flow: Flow,
        now: float,
    ) -> None:
        """Give a new request to whoever answers it. Raises MalformedError."""
        method = request.method
        to_tag = request.to_tag
        if method == b"CANCEL":
            self._cancel(transaction, request, flow, now)
        elif dialog is not None:
            self._in_dialog(transaction, dialog, request, flow, now)
        elif to_tag or method in _DIALOG_ONLY:
            transaction.reject(481, self.new_token(), now)
        elif self.itself.is_meant(uri, method) and not request.has_any(NAMING_DIALOGS):
            self.itself.answer(transaction, request, self.new_token(), now)
        else:
            self._outside_dialog(transaction, request, uri, flow, now)

    def _screen(self, request: Request, uri: Uri, flow: Flow, to_tag: bytes, dialog: Dialog | None) -> int:
        """Return the status that a new request must be refused with, statelessly, or 0."""
        assert self.core is not None, "the endpoint serves a core"
        if dialog is None and not self.core.knows(flow):
            self.dropped["unknown source"] += 1
            return 403
        if len(self.servers) >= self._max_transactions:
            self.dropped["too many transactions"] += 1
            return 503
        if request.method != b"CANCEL":
            if uri.scheme not in _SCHEMES:
                return 416
            if request.has(b"Proxy-Require"):
                return 420
            if request.max_forwards == 0 and not (
                request.method == b"OPTIONS" and self.itself.is_meant(uri, b"OPTIONS")
            ):
                return 483
        return 0

    def _reply_flow(self, via: Via, source: Flow) -> Flow:
        """Return where responses go (RFC 3261 18.2.2, RFC 3581 4). A peer behind a NAT gets them as if it
        had asked for rport.

        A ``maddr`` is not followed: it would let a source aim our answers at third parties. On a stream it is
        the connection that the request came on; the flow takes note of where the peer can be reached when
        that is gone, and whether it offers the connection for our requests (RFC 5923).
        """
        local = source.local
        if local.reliable:
            source.reply_port = via.port or (5061 if local.transport == "tls" else 5060)
            source.alias = source.alias or _ALIAS.search(via.params) is not None
            return source
        if via.rport:
            return source
        port = via.port or 5060
        if port == source.peer[1] or (self.core is not None and self.core.is_behind_nat(source)):
            return source
        return self.flows.get(source.local, (source.peer[0], port))

    def _new_server(
        self, request: Request, key: bytes, source: Flow, via: Via, tagged: bool, now: float
    ) -> ServerTransaction:
        flow = self._reply_flow(via, source)
        transaction: InviteServer | NonInviteServer
        if request.method == b"INVITE":
            transaction = InviteServer(self, key, flow, request, source, tagged)
        else:
            transaction = NonInviteServer(self, key, flow, request, source, tagged)
            transaction.start(now)
        self.servers[key] = transaction
        return transaction

    def _cancel(self, transaction: ServerTransaction, cancel: Request, source: Flow, now: float) -> None:
        """Answer a CANCEL and pass it to whoever answers its INVITE. One of another request has no effect but
        its 200 (RFC 3261 9.2).
        """
        invite = self.servers.get(server_key(cancel, cancel.via, b"INVITE", source.host))
        if not isinstance(invite, InviteServer):
            others = [server_key(cancel, cancel.via, method, source.host) for method in _NEVER_CANCELLED]
            is_known = any(key in self.servers for key in others)
            transaction.reject(200 if is_known else 481, self.new_token(), now)
            return
        transaction.reject(200, invite.own_tag or self.new_token(), now)
        if invite.awaits_final and invite.user is not None:
            invite.user.on_cancel(invite, cancel, now)

    def _ack(self, request: Request, source: Flow, now: float) -> None:
        """Pass the ACK for a 2xx to its dialog; an ACK is never answered (RFC 3261 17)."""
        try:
            dialog = self.dialogs.get((request.to_tag, request.from_tag))
        except MalformedError as error:
            self.tally(source).malformed[error.why] += 1
            return
        if dialog is None or dialog.user is None or dialog.call_id != request.call_id:
            self.dropped["stray ACK"] += 1
            return
        if dialog.observed:
            dialog.flow = source
        self.tally(source).received.add(b"ACK", 0)
        dialog.user.on_ack(dialog, request, now)

    def _in_dialog(
        self,
        transaction: ServerTransaction,
        dialog: Dialog,
        request: Request,
        source: Flow,
        now: float,
    ) -> None:
        if not dialog.accepts(request):
            transaction.reject(500, b"", now, b"Retry-After: 1\r\n")
            return
        if dialog.observed:
            dialog.flow = source
        assert dialog.user is not None, "an open dialog has a user"
        dialog.user.on_request(dialog, transaction, request, now)

    def _outside_dialog(
        self, transaction: ServerTransaction, request: Request, uri: Uri, source: Flow, now: float
    ) -> None:
        """Hand a new request up, unless it is another copy of one that is being served (RFC 3261 8.2.2.2).

        A copy is for the same user: a call that a proxy forks to two numbers behind us is two calls.
        """
        merge_key = (request.call_id, request.from_tag, request.need(b"CSeq"), uri.user)
        if self._merged.setdefault(merge_key, transaction.key) != transaction.key:
            transaction.reject(482, self.new_token(), now)
            return
        transaction.merge_key = merge_key
        assert self.core is not None, "the endpoint serves a core"
        self.core.on_request(transaction, request, uri, source, now)

    def _refuse(self, request: Request, flow: Flow, status: int) -> None:
        """Answer without keeping state (RFC 3261 8.2.7), wherever an answer is possible at all."""
        if request.method == b"ACK":
            return
        if not request.has(b"Via"):
            self.dropped["no Via to answer by"] += 1
            return
        try:
            target = self._reply_flow(request.via, flow)
        except MalformedError:
            target = flow
        self.tally(flow).sent.add(request.method, status)
        self.send(refusal_bytes(request, flow, status), target)
