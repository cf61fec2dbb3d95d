"""Requests inside a call's dialogs, passed to the twin dialog on the other leg.

Each leg numbers its own requests, so CSeq differs on both sides and the RAck of a PRACK is mapped. Re-INVITE
and UPDATE meet glare rules (RFC 3261 14.2, RFC 3311 5.2); all else simply passes, unknown methods too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sip.dialog import Dialog
from gateway.sip.headers import parse_rack
from gateway.sip.message import Request, Response, Row
from gateway.sip.transaction import InviteClient, InviteServer, ServerTransaction

from .events import State
from .leg import CalleeLeg, CallerLeg, Leg
from .naming import rename_dialogs
from .relay import Answer, ReinviteRelay, Relay

if TYPE_CHECKING:
    from .call import Call

_TARGET_REFRESH = (b"INVITE", b"UPDATE")


def pass_inside(
    call: Call, leg: Leg, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
) -> None:
    """Pass a request (not BYE) that came on ``leg`` to the other leg, or refuse it."""
    twin = dialog.twin
    if twin is None or call.state == State.ENDING or not isinstance(twin.user, Leg):
        transaction.reject(481, b"", now)
        return
    other = twin.user
    status = _glare(call, leg, other, request)
    if status:
        # RFC 3261 14.2: a random wait of 0 to 10 s; the tag is random already.
        wait = b"Retry-After: %d\r\n" % (dialog.local_tag[-1] % 10) if status == 500 else b""
        transaction.reject(status, b"", now, wait)
        return
    if request.method in _TARGET_REFRESH:
        dialog.retarget(request, call.endpoint.flows)
    rows = rename_dialogs(request, call.endpoint, other.trunk)
    if request.method == b"PRACK" and b"RAck" in request.index:
        rows = _map_rack(leg, other, request)
    forth, back = call.policy(leg, other), call.policy(other, leg)
    if isinstance(transaction, InviteServer):
        _pass_reinvite(call, leg, transaction, request, twin, now)
        return
    relay = Relay(call.endpoint, transaction, forth, back)
    if request.method == b"UPDATE":
        leg.updating = True

        def updated(response: Response | None, _now: float) -> None:
            leg.updating = False
            if response is not None and response.status < 300:
                twin.retarget(response, call.endpoint.flows)

        relay.on_final = updated
    relay.send(twin, request, forth.lines(rows), now)


def _glare(call: Call, leg: Leg, other: Leg, request: Request) -> int:
    """Return the status that an INVITE or UPDATE at a bad moment gets, or 0."""
    if request.method == b"INVITE":
        if other.reinvite is not None or other.updating:
            return 491
        if leg.reinvite is not None or call.state in (State.CALLING, State.RINGING, State.DECIDING):
            return 500
        return 491 if call.state == State.ANSWERED else 0
    if request.method == b"UPDATE":
        if other.updating or (other.reinvite is not None and request.body):
            return 491
        return 500 if leg.updating else 0
    return 0


def _pass_reinvite(
    call: Call, leg: Leg, transaction: InviteServer, request: Request, twin: Dialog, now: float
) -> None:
    other = twin.user
    assert isinstance(other, Leg)
    seq = request.cseq[0]

    def finished(_response: Response | None, _now: float) -> None:
        leg.reinvite = None

    def sent(client: InviteClient) -> None:
        leg.invite_seqs = (seq, client.seq)

    def wait_for_ack(answer: Answer) -> None:
        leg.wait_for_ack(seq, answer)

    forth = call.policy(leg, other)
    relay = ReinviteRelay(
        call.endpoint,
        transaction,
        forth,
        call.policy(other, leg),
        finished,
        sent,
        wait_for_ack,
        call.on_no_ack,
    )
    transaction.user = leg.reinvite = relay
    transaction.respond(100, b"Trying", b"", b"", b"", now)
    relay.send(twin, request, forth.lines(request.rows), now)
    call.endpoint.timers.at(now + other.trunk.ring_timeout, relay)


def _map_rack(leg: Leg, other: Leg, request: Request) -> list[Row]:
    """Say the RAck in the other leg's numbers: its CSeq part names an INVITE (RFC 3262 7.2)."""
    rack = parse_rack(request.need(b"RAck"))
    ours, theirs = leg.invite_seqs
    if isinstance(leg, CallerLeg) and rack.cseq == leg.invite_seq and isinstance(other, CalleeLeg):
        theirs = other.invite_seq
    elif rack.cseq != ours:
        return request.rows
    mapped = b"RAck: %d %d %b" % (rack.rseq, theirs, rack.method)
    return [(key, mapped if key == b"RAck" else line) for key, line in request.rows]
