"""Requests inside a call's dialogs, passed to the twin dialog on the other leg.

Each leg numbers its own requests, so CSeq differs on both sides and the RAck of a PRACK is mapped. Re-INVITE
and UPDATE meet glare rules (RFC 3261 14.2, RFC 3311 5.2), and move the remote target once they are accepted
(RFC 3261 8.2, RFC 6141 3); all else simply passes, unknown methods too.

A re-INVITE or UPDATE that finds no dialog any more, or nobody, ends the call on both sides (RFC 3261 14.1):
who asked would have to, and where it does not, its leg would stay up alone. Any other request leaves the call
as it is: phones say 481 to what they do not know, and to a PRACK it says no more than that none was due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.dialog import Dialog
from gateway.sip.headers import parse_rack
from gateway.sip.message import Request, Response
from gateway.sip.rows import Rows
from gateway.sip.transaction import InviteClient, InviteServer, ServerTransaction

from .contacts import expires_of
from .events import State
from .extensions import has_own, note_exchange, refresh_rows, refreshed, reinvites
from .leg import CalleeLeg, CallerLeg, Leg
from .relay import Answer, ReinviteRelay, Relay
from .subscription import SUBSCRIBING

if TYPE_CHECKING:
    from .call import Call


def pass_inside(
    call: Call, leg: Leg, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
) -> None:
    """Pass a request (not BYE) that came on ``leg`` to the other leg, or refuse it."""
    if leg.own is not None and leg.own.takes(leg, dialog, transaction, request, now):
        return
    twin = dialog.twin
    subscriptions, method = call.core.subscriptions, request.method
    if twin is None or not isinstance(twin.user, Leg):
        # Who rang reliably has been left, and its PRACK comes too late to pass (RFC 3262 3).
        is_late = method == b"PRACK" and isinstance(leg, CallerLeg) and leg.settles(dialog, request)
        transaction.reject(200 if is_late else 481, b"", now)
        return
    if method in SUBSCRIBING and (call.state != State.ENDING or dialog in subscriptions.pairs):
        subscriptions.pass_inside(dialog, transaction, request, now)  # RFC 5057: not the call's affair
        return
    if call.state == State.ENDING:
        transaction.reject(481, b"", now)
        return
    other = twin.user
    status = _glare(call, leg, other, dialog, twin, request)
    if status:
        # RFC 3261 14.2: a random wait of 0 to 10 s; the tag is random already.
        wait = b"Retry-After: %d\r\n" % (dialog.local_tag[-1] % 10) if status == 500 else b""
        transaction.reject(status, b"", now, wait)
        return
    rows = call.core.names.rename(request, other.trunk)
    if isinstance(transaction, InviteServer):
        _pass_reinvite(call, leg, dialog, transaction, request, twin, now)
    elif method == b"UPDATE":
        _pass_update(call, leg, dialog, transaction, request, twin, rows, now)
    elif method == b"PRACK":
        if isinstance(leg, CallerLeg) and request.has(b"RAck"):
            leg.settles(dialog, request)
        _pass_prack(call, leg, transaction, request, twin, now)
    else:
        forth, back = call.policy(leg, other), call.policy(other, leg)
        Relay(call.endpoint, transaction, forth, back).send(twin, request, forth.lines(rows), now)


def _glare(call: Call, leg: Leg, other: Leg, dialog: Dialog, twin: Dialog, request: Request) -> int:
    """Return the status that an INVITE or UPDATE at a bad moment gets, or 0. Each early dialog has its own
    UPDATE (RFC 3311 5.2).
    """
    if request.method == b"INVITE":
        if reinvites(leg) or reinvites(other):
            return 491
        if other.reinvite is not None or twin.updating:
            return 491
        if leg.reinvite is not None:
            return 500
        if call.state < State.ANSWERED:
            return 500 if leg is call.caller else 491  # the callee's crosses ours
        return 491 if call.state == State.ANSWERED else 0
    if request.method == b"UPDATE":
        reinviting = other.reinvite is not None or reinvites(leg) or reinvites(other)
        if twin.updating or (reinviting and request.body):
            return 491
        return 500 if dialog.updating else 0
    return 0


def _pass_update(
    call: Call,
    leg: Leg,
    dialog: Dialog,
    transaction: ServerTransaction,
    request: Request,
    twin: Dialog,
    rows: Rows,
    now: float,
) -> None:
    other = twin.user
    assert isinstance(other, Leg)
    forth, back = call.policy(leg, other), call.policy(other, leg)
    dialog.updating = True
    added = b""
    if has_own(leg, other):
        rows, added = refresh_rows(leg, other, rows)

    def updated(response: Response | None, then: float) -> bytes:
        dialog.updating = False
        if response is None or response.status >= 300:
            return b""
        dialog.retarget(request, call.endpoint.flows)
        twin.retarget(response, call.endpoint.flows)
        note_exchange(leg, other, request, response, back)
        return refreshed(leg, other, request, response, then)

    relay = Relay(call.endpoint, transaction, forth, back, updated)
    if dialog.confirmed:  # an early one that is gone is no more than a fork, or a target, that was left
        relay.on_gone = call.on_gone
    relay.send(twin, request, forth.lines(rows) + added, now)


def _pass_reinvite(
    call: Call,
    leg: Leg,
    dialog: Dialog,
    transaction: InviteServer,
    request: Request,
    twin: Dialog,
    now: float,
) -> None:
    other = twin.user
    assert isinstance(other, Leg)
    seq = request.cseq[0]

    def finished(response: Response | None, then: float) -> bytes:
        # Asked of the leg, for a relay that its own function refers to would have to be collected as garbage.
        reinvite, leg.reinvite = leg.reinvite, None
        if response is None or response.status >= 300:
            return b""
        assert reinvite is not None, "it is under way until it is finished"
        dialog.retarget(request, call.endpoint.flows)
        described = response if response.body or reinvite.described is None else reinvite.described
        note_exchange(leg, other, reinvite.pracked or request, described, back)
        return refreshed(leg, other, request, response, then)

    def sent(client: InviteClient) -> None:
        leg.invite_seqs = (seq, client.seq)

    def wait_for_ack(answer: Answer) -> None:
        leg.wait_for_ack(seq, answer)

    forth, back = call.policy(leg, other), call.policy(other, leg)
    relay = ReinviteRelay(
        call.endpoint, transaction, forth, back, finished, sent, wait_for_ack, call.on_no_ack
    )
    relay.on_gone = call.on_gone
    transaction.user = leg.reinvite = relay
    transaction.respond(100, b"Trying", b"", b"", b"", now)
    rows, added = request.rows, b""
    if has_own(leg, other):
        rows, added = refresh_rows(leg, other, rows)
    relay.send(twin, request, forth.lines(rows) + added, now)
    longest, expires = other.trunk.ring_timeout, expires_of(request)
    relay.watch(now + (longest if expires is None else min(longest, expires)), now)  # RFC 3261 13.3.1


def _pass_prack(
    call: Call, leg: Leg, transaction: ServerTransaction, request: Request, twin: Dialog, now: float
) -> None:
    """Pass a PRACK. It may carry an answer or an offer, and its 2xx an answer (RFC 3262 5); within a
    re-INVITE these count once that is accepted (RFC 6141 3).
    """
    other = twin.user
    assert isinstance(other, Leg)
    forth, back = call.policy(leg, other), call.policy(other, leg)

    def acknowledged(response: Response | None, _then: float) -> None:
        if response is None or response.status >= 300:
            return
        reinvite = leg.reinvite
        if reinvite is None:
            note_exchange(leg, other, request, response, back)
            return
        if request.body:
            reinvite.pracked = request
        if response.body:
            reinvite.described = response

    rows = _map_rack(leg, other, request) if request.has(b"RAck") else request.rows
    Relay(call.endpoint, transaction, forth, back, acknowledged).send(twin, request, forth.lines(rows), now)


def _map_rack(leg: Leg, other: Leg, request: Request) -> Rows:
    """Say the RAck in the other leg's numbers: its CSeq part names an INVITE (RFC 3262 7.2)."""
    rack = parse_rack(request.need(b"RAck"))
    ours, theirs = leg.invite_seqs
    if isinstance(leg, CallerLeg) and rack.cseq == leg.invite_seq and isinstance(other, CalleeLeg):
        theirs = other.invite_seq
    elif rack.cseq != ours:
        return request.rows
    mapped = b"RAck: %d %d %b" % (rack.rseq, theirs, rack.method)
    return [(key, mapped if key == b"RAck" else line) for key, line in request.rows]
