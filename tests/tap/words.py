"""Messages and batches for the tests of the tap."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.b2bua.record import CallRecord
from gateway.sip.flow import Flow, Local
from gateway.tap.tap import Batch, Listener

LOCAL = Local("udp", "127.0.0.1", 5060)
PBX = Flow(LOCAL, ("127.0.0.1", 5070))
CARRIER = Flow(LOCAL, ("127.0.0.1", 5080))


def sip(start: str, call_id: str, *lines: str, caller: str = "sip:1001@pbx") -> bytes:
    """A message with what the tap looks at."""
    method = "INVITE" if start.startswith("SIP/2.0") else start.partition(" ")[0]
    head = [start, "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", f"From: <{caller}>;tag=1", "To: <sip:2@gw>"]
    return "\r\n".join([*head, f"Call-ID: {call_id}", f"CSeq: 1 {method}", *lines, "", ""]).encode()


INVITE = "INVITE sip:+12025550123@gw SIP/2.0"


def received(at: float, *messages: bytes, flow: Flow = PBX) -> Batch:
    """What came at one time."""
    return (at, False, [(message, flow) for message in messages])


def sent(at: float, *messages: bytes, flow: Flow = CARRIER) -> Batch:
    """What went at one time."""
    return (at, True, [(message, flow) for message in messages])


def give(listener: Listener, batches: Iterable[Batch]) -> None:
    """Have somebody take these."""
    for batch in batches:
        listener.take(batch)


def rejected(at: float = 10.0, id_: str = "id1", status: int = 404) -> CallRecord:
    """The record of a call that the callee refused with 603."""
    return CallRecord(
        id_, "a@pbx", "b@gw", "pbx", "carrier", "1001", "+12025550123", at, ended_at=at + 0.5,
        original_status=603, original_phrase="Decline", emitted_status=status, emitted_phrase="Not Found",
        rule="dead-number", ended_by="callee", end_reason="rejected",
    )  # fmt: skip


def call(local: Local = LOCAL, at: float = 10.0) -> list[Batch]:
    """A call that the callee refuses and a rule rewrites, as a gateway at ``local`` hears and says it."""
    pbx, carrier = Flow(local, PBX.peer), Flow(local, CARRIER.peer)
    return [
        received(at, sip(INVITE, "a@pbx"), flow=pbx),
        sent(at + 0.001, sip(INVITE, "b@gw", "X-CID: a@pbx"), flow=carrier),
        received(at + 0.5, sip("SIP/2.0 603 Decline", "b@gw"), flow=carrier),
        sent(at + 0.501, sip("ACK sip:2@carrier SIP/2.0", "b@gw"), flow=carrier),
        sent(at + 0.501, sip("SIP/2.0 404 Not Found", "a@pbx"), flow=pbx),
    ]


CALL = call()
