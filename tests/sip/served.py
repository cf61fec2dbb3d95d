"""An endpoint on its own, with a core that notes what comes up to it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow, Flows, Local
from gateway.sip.message import Message, Request, Response, parse
from gateway.sip.timers import Timers
from gateway.sip.transaction import InviteClient, ServerTransaction
from gateway.sip.uri import Uri

UDP4 = Local("udp", "192.0.2.1", 5060)
UDP6 = Local("udp", "2001:db8::1", 5060)
TCP4 = Local("tcp", "192.0.2.1", 5060)
PEER = ("192.0.2.2", 5060)
PEER6 = ("2001:db8::2", 5060)
STRANGER = ("198.51.100.1", 5060)


@dataclass
class Arrival:
    """A request that came up."""

    transaction: ServerTransaction
    request: Request
    uri: Uri | None
    source: Flow | None


class Served:
    """An endpoint and its core, user and dialogs' owner in one; nothing is answered unless the test does."""

    tag = b"ours"

    def __init__(self, max_transactions: int = 1000, **options: Any) -> None:
        self.now = 1000.0
        tokens = itertools.count(1)
        self.flows = Flows([UDP4, UDP6, TCP4], source_of=lambda host: host if host in self.addresses else "")
        self.endpoint = Endpoint(
            self.flows, lambda: b"tok%d" % next(tokens), max_transactions=max_transactions, **options
        )
        self.endpoint.core = self
        self.strangers: set[str] = set()
        self.addresses: set[str] = set()  # of this machine, beside those that are listened at
        self.up: list[Arrival] = []  # requests outside dialogs
        self.inside: list[Arrival] = []  # requests inside a dialog
        self.acks: list[Request] = []
        self.cancelled: list[ServerTransaction] = []
        self.responses: list[Response] = []
        self.silences: list[int] = []
        self.went: list[tuple[Message, Flow]] = []  # what the last `give` or `run` put on the wire

    # -- the core, and every user -----------------------------------------------------------------------

    def knows(self, flow: Flow) -> bool:
        return flow.peer[0] not in self.strangers

    def name_of(self, _flow: Flow) -> str:
        return ""

    def is_behind_nat(self, _flow: Flow) -> bool:
        return False

    def on_request(self, *args: Any) -> None:
        first, *rest, _now = args
        if isinstance(first, Dialog):
            transaction, request = rest
            self.inside.append(Arrival(transaction, request, None, None))
        else:
            request, uri, source = rest
            first.user = self
            self.up.append(Arrival(first, request, uri, source))

    def on_ack(self, _dialog: Dialog, request: Request, _now: float) -> None:
        self.acks.append(request)

    def on_cancel(self, transaction: ServerTransaction, _cancel: Request, _now: float) -> None:
        self.cancelled.append(transaction)

    def on_no_ack(self, _transaction: ServerTransaction, _now: float) -> None:
        raise AssertionError("no test here waits that long")

    def on_response(self, _transaction: Any, response: Response, _now: float) -> None:
        self.responses.append(response)

    def on_no_response(self, _transaction: Any, status: int, _now: float) -> None:
        self.silences.append(status)

    # -- the outside ------------------------------------------------------------------------------------

    def give(self, data: bytes, peer: tuple[str, int] = PEER, local: Local | None = None) -> list[Message]:
        """Let a datagram come, and return what goes out because of it."""
        if local is None:
            local = UDP6 if ":" in peer[0] else UDP4
        self.endpoint.receive([(data, self.flows.get(local, peer))], self.now)
        return self.drain()

    def drain(self) -> list[Message]:
        self.went = [(parse(data), flow) for data, flow in self.endpoint.drain()]
        return [message for message, _ in self.went]

    def answer(self, data: bytes, peer: tuple[str, int] = PEER, local: Local | None = None) -> Response:
        """Let a request come that is answered at once, and return the answer."""
        [message] = self.give(data, peer, local)
        assert isinstance(message, Response)
        return message

    def run(self, seconds: float) -> list[Message]:
        """Let time pass."""
        end = self.now + seconds
        timers: Timers = self.endpoint.timers
        while (due := timers.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.endpoint.tick(self.now)
        self.now = end
        return self.drain()

    @property
    def went_to(self) -> tuple[str, int]:
        """Where the one message of the last round went."""
        [(_, flow)] = self.went
        return flow.peer[0], flow.peer[1]

    def open_dialog(self) -> Dialog:
        """A dialog between ``theirs`` and ``ours`` with Call-ID ``inside``; the peer's CSeq stands at 1."""
        dialog = Dialog(
            self,
            b"inside",
            b"<sip:b@192.0.2.1>;tag=ours",
            b"ours",
            b"<sip:a@192.0.2.2>;tag=theirs",
            b"theirs",
            b"sip:a@192.0.2.2",
            self.flows.get(UDP4, PEER),
        )
        dialog.remote_seq = 1
        self.endpoint.open(dialog)
        return dialog

    def send_invite(self) -> tuple[InviteClient, Request]:
        """An INVITE of ours in a dialog, and what went on the wire."""
        dialog = self.open_dialog()
        transaction = self.endpoint.request(b"INVITE", dialog, b"", b"", self, self.now, 70)
        [request] = self.drain()
        assert isinstance(transaction, InviteClient)
        assert isinstance(request, Request)
        return transaction, request


def message(
    method: bytes = b"INVITE",
    *,
    uri: bytes = b"sip:b@192.0.2.1",
    via: bytes = b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKa",
    from_: bytes = b"<sip:a@192.0.2.2>;tag=theirs",
    to: bytes = b"<sip:b@192.0.2.1>",
    call_id: bytes = b"outside",
    cseq: bytes = b"1",
    lines: bytes = b"",
) -> bytes:
    """A request as a peer sends it; b"-" for a value leaves its header out."""
    headers = [
        (b"Via", via),
        (b"From", from_),
        (b"To", to),
        (b"Call-ID", call_id),
        (b"CSeq", cseq if cseq == b"-" else b"%b %b" % (cseq, method)),
        (b"Contact", b"<sip:a@192.0.2.2>"),
    ]
    kept = b"".join(b"%b: %b\r\n" % header for header in headers if header[1] != b"-")
    return b"%b %b SIP/2.0\r\n%b%bContent-Length: 0\r\n\r\n" % (method, uri, kept, lines)


def reply(
    branch: bytes, method: bytes = b"INVITE", status: int = 200, to_tag: bytes = b"theirs", lines: bytes = b""
) -> bytes:
    """A response to a request of ours."""
    return (
        b"SIP/2.0 %d Any\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=%b\r\nFrom: <sip:b@192.0.2.1>;tag=ours\r\n"
        b"To: <sip:a@192.0.2.2>;tag=%b\r\nCall-ID: inside\r\nCSeq: 1 %b\r\n%bContent-Length: 0\r\n\r\n"
    ) % (status, branch, to_tag, method, lines)
