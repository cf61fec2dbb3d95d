"""One transaction, alone: a wire that notes what is sent, a user that notes what it is told, and a clock.

`Lone` brings a transaction of any of the four kinds into any of its states, on an unreliable or a reliable
transport, with any base times, and watches it from there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from gateway.sip.dialog import Dialog
from gateway.sip.flow import Flow, Local
from gateway.sip.message import Request, Response, parse
from gateway.sip.timers import Timers
from gateway.sip.traffic import Tally, Traffic
from gateway.sip.transaction import (
    InviteClient,
    InviteServer,
    NonInviteClient,
    NonInviteServer,
    Timing,
    Transaction,
    invite_client,
    invite_server,
)
from gateway.sip.transaction import client as non_invite_client
from gateway.sip.transaction import server as non_invite_server

UDP = Local("udp", "192.0.2.1", 5060)
TCP = Local("tcp", "192.0.2.1", 5060)
SLOT = 0.01  # seconds by which a timer may be late

INVITE = (
    b"INVITE sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKa\r\n"
    b"From: <sip:a@192.0.2.2>;tag=a\r\nTo: <sip:b@192.0.2.1>\r\nCall-ID: one\r\nCSeq: 7 INVITE\r\n"
    b"Max-Forwards: 70\r\nContact: <sip:a@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
)


def request(method: bytes = b"INVITE", lines: bytes = b"", to_tag: bytes = b"") -> Request:
    """A request as it came from a peer."""
    data = INVITE.replace(b"INVITE", method).replace(b"Content-Length", lines + b"Content-Length")
    if to_tag:
        data = data.replace(b"<sip:b@192.0.2.1>\r", b"<sip:b@192.0.2.1>;tag=%b\r" % to_tag)
    message = parse(data)
    assert isinstance(message, Request)
    return message


def response(status: int, tag: bytes = b"b", method: bytes = b"INVITE", lines: bytes = b"") -> Response:
    """A response as it came from a peer."""
    message = parse(
        b"SIP/2.0 %d Whatever\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours\r\n"
        b"From: <sip:a@192.0.2.1>;tag=ours\r\nTo: <sip:b@192.0.2.3>;tag=%b\r\nCall-ID: two\r\n"
        b"CSeq: 1 %b\r\n%bContent-Length: 0\r\n\r\n" % (status, tag, method, lines)
    )
    assert isinstance(message, Response)
    return message


_STEPS = {kind: kind.STEPS for kind in (InviteClient, InviteServer, NonInviteClient, NonInviteServer)}


class _NotingRow(list[Any]):
    """What a state does with each input, telling a `Lone` what it is asked for."""

    def __init__(self, lone: Lone, row: Iterable[Any]) -> None:
        super().__init__(row)
        self.lone = weakref.ref(lone)

    def __getitem__(self, given: Any) -> Any:
        lone = self.lone()
        if lone is not None:
            lone.fed.append((lone.now, given.name))
        return super().__getitem__(given)


@dataclass
class Lone:
    """A transaction and its surroundings. It is its own wire, its own user and its own core."""

    local: Local = UDP
    timing: Timing = field(default_factory=Timing)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.timers = Timers()
        self.traffic = Traffic()
        self.flow = Flow(self.local, ("192.0.2.3", 5060))
        self.sent: list[bytes] = []
        self.told: list[str] = []
        self.fed: list[tuple[float, str]] = []  # every input, with its time
        self.gone = False
        self.transaction: Any = None

    # -- the wire ---------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        assert flow is self.flow
        self.sent.append(data)

    def tally(self, flow: Flow) -> Tally:
        return self.traffic.tally(flow, "")

    def unmerge(self, transaction: Transaction) -> None:
        assert transaction is self.transaction

    def forget(self, transaction: Transaction) -> None:
        assert transaction is self.transaction
        assert not self.gone, "forgotten twice"
        self.gone = True

    def send_cancel(self, invite: InviteClient, data: bytes, _now: float) -> None:
        assert invite is self.transaction
        self.sent.append(data)

    # -- the user ---------------------------------------------------------------------------------------

    def on_response(self, transaction: Transaction, response: Response, _now: float) -> None:
        assert transaction is self.transaction
        self.told.append(str(response.status))

    def on_no_response(self, transaction: Transaction, status: int, _now: float) -> None:
        assert transaction is self.transaction
        self.told.append(f"no response: {status}")

    def on_cancel(self, transaction: Transaction, _cancel: Request, _now: float) -> None:
        raise AssertionError("a CANCEL is a matter of the endpoint")

    def on_no_ack(self, transaction: Transaction, _now: float) -> None:
        assert transaction is self.transaction
        self.told.append("no ACK")

    # -- bringing it about ------------------------------------------------------------------------------

    def watch(self, kind: type[Transaction], *args: Any) -> None:
        """Make a transaction whose every step is noted, by rows put into the place of its kind's own."""
        kind.STEPS = [_NotingRow(self, row) for row in _STEPS[kind]]
        self.transaction = kind(self, b"z9hG4bKours", self.flow, *args)

    def invite_client(self) -> Lone:
        """An INVITE of ours that has just been sent."""
        dialog = Dialog(
            self,  # type: ignore[arg-type]
            b"two",
            b"<sip:a@192.0.2.1>;tag=ours",
            b"ours",
            b"<sip:b@192.0.2.3>",
            b"",
            b"sip:b@192.0.2.3",
            self.flow,
        )
        dialog.route = b"Route: <sip:192.0.2.9;lr>\r\n"
        self.watch(InviteClient, self, dialog, 1)
        self.transaction.start(b"INVITE of ours", self.now)
        return self

    def non_invite_client(self) -> Lone:
        """A request of ours that has just been sent."""
        self.watch(NonInviteClient, b"INFO", self)
        self.transaction.start(b"INFO of ours", self.now)
        return self

    def invite_server(self) -> Lone:
        """An INVITE that has just come."""
        self.watch(InviteServer, request(), self.flow, False)
        self.transaction.user = self
        return self

    def non_invite_server(self) -> Lone:
        """Another request that has just come."""
        self.watch(NonInviteServer, request(b"INFO"), self.flow, False)
        self.transaction.user = self
        self.transaction.start(self.now)
        return self

    def feed(self, name: str) -> None:
        """Feed an input by its name, with a message that fits it."""
        kind = _KINDS[type(self.transaction)]
        given = kind.inputs[name]
        self.transaction.feed(given, kind.message(given), self.now)

    def in_state(self, name: str) -> Lone:
        """Lead a fresh transaction into a state, by the shortest way; then forget what was seen on it."""
        kind = _KINDS[type(self.transaction)]
        for given in kind.ways[name]:
            self.feed(given)
        assert self.transaction.state.name == name
        self.sent.clear()
        self.told.clear()
        self.fed.clear()
        return self

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (due := self.timers.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.timers.fire(self.now)
        self.now = end


@dataclass(frozen=True)
class Kind:
    """What is needed to drive one of the four machines by names."""

    make: Callable[[Lone], Lone]
    states: type[IntEnum]
    inputs: type[IntEnum]
    ways: dict[str, list[str]]  # state: the inputs that lead there
    messages: dict[str, Any]

    def message(self, given: IntEnum) -> Any:
        """A message that comes with an input."""
        return self.messages.get(given.name)


INVITE_CLIENT = Kind(
    Lone.invite_client,
    invite_client.State,
    invite_client.Input,
    {
        "CALLING": [],
        "PROCEEDING": ["PROVISIONAL"],
        "COMPLETED": ["FAILURE"],
        "ACCEPTED": ["SUCCESS"],
        "TERMINATED": ["TIMER_B"],
    },
    {"PROVISIONAL": response(180), "SUCCESS": response(200), "FAILURE": response(486)},
)
NON_INVITE_CLIENT = Kind(
    Lone.non_invite_client,
    non_invite_client.State,
    non_invite_client.Input,
    {"TRYING": [], "PROCEEDING": ["PROVISIONAL"], "COMPLETED": ["FINAL"], "TERMINATED": ["TIMER_F"]},
    {"PROVISIONAL": response(183, method=b"INFO"), "FINAL": response(200, method=b"INFO")},
)
INVITE_SERVER = Kind(
    Lone.invite_server,
    invite_server.State,
    invite_server.Input,
    {
        "PROCEEDING": ["PROVISIONAL"],
        "COMPLETED": ["FAILURE"],
        "CONFIRMED": ["FAILURE", "ACK"],
        "ACCEPTED": ["SUCCESS"],
        "TERMINATED": ["SUCCESS", "TIMER_L"],
    },
    {
        "REQUEST": request(),
        "ACK": request(b"ACK"),
        "PROVISIONAL": b"180 of ours",
        "SUCCESS": b"200 of ours",
        "FAILURE": b"486 of ours",
    },
)
NON_INVITE_SERVER = Kind(
    Lone.non_invite_server,
    non_invite_server.State,
    non_invite_server.Input,
    {
        "TRYING": [],
        "PROCEEDING": ["LATE"],
        "COMPLETED": ["FINAL"],
        "SILENT": ["TIMEOUT"],
        "TERMINATED": ["FINAL", "TIMER_J"],
    },
    {"REQUEST": request(b"INFO"), "FINAL": b"200 of ours"},
)
_KINDS: dict[Any, Kind] = {
    InviteClient: INVITE_CLIENT,
    NonInviteClient: NON_INVITE_CLIENT,
    InviteServer: INVITE_SERVER,
    NonInviteServer: NON_INVITE_SERVER,
}
