"""The INVITE client transaction (RFC 3261 17.1.1 with RFC 6026 7.2 and 8.4), and its CANCEL (RFC 3261 9.1).

The ACK for a 3xx-6xx is made here, with our credentials of its INVITE (22.1). The ACK for a 2xx is the
user's, which therefore is shown each retransmission of a 2xx. A CANCEL that is asked for before any response
waits for the first provisional one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar, Final

from gateway.sip.build import hop_request
from gateway.sip.dialog import Dialog
from gateway.sip.flow import Flow
from gateway.sip.message import Response

from .base import OFF, ClientUser, Transaction, Wire, compile_table
from .client import ClientTransaction

_LEAST_D: Final = 32.0  # seconds: the server's T1 may be longer than ours (RFC 3261 17.1.1.2)


class State(IntEnum):
    """States of RFC 6026 figure 5 (which replaces RFC 3261 figure 5)."""

    CALLING = 0
    PROCEEDING = 1
    COMPLETED = 2
    ACCEPTED = 3
    TERMINATED = 4


class Input(IntEnum):
    """What can happen to it."""

    PROVISIONAL = 0
    SUCCESS = 1
    FAILURE = 2
    TIMER_A = 3
    TIMER_B = 4
    TIMER_D = 5
    TIMER_M = 6
    TRANSPORT_ERROR = 7


class InviteClient(ClientTransaction):
    """RFC 6026 figure 5. ``dialog`` and ``uri`` are what its ACK and CANCEL repeat of the INVITE."""

    __slots__ = ("_cancel_lines", "cancelled", "dialog", "seq", "uri")
    FIRST = State.CALLING
    REPEAT = Input.TIMER_A
    DEADLINE: ClassVar[Mapping[IntEnum, IntEnum]] = {
        State.CALLING: Input.TIMER_B,
        State.PROCEEDING: Input.TIMER_B,
        State.COMPLETED: Input.TIMER_D,
        State.ACCEPTED: Input.TIMER_M,
    }
    _PROVISIONAL = Input.PROVISIONAL
    _SUCCESS = Input.SUCCESS
    _FAILURE = Input.FAILURE

    def __init__(
        self, wire: Wire, key: bytes, flow: Flow, user: ClientUser | None, dialog: Dialog, seq: int
    ) -> None:
        super().__init__(wire, key, flow, b"INVITE", user)
        self.dialog: Dialog | None = dialog
        self.uri = dialog.target
        self.seq = seq
        self.cancelled = False
        self._cancel_lines = b""

    def cancel(self, lines: bytes, now: float) -> None:
        """Give the INVITE up: send CANCEL now, or after the first provisional response (RFC 3261 9.1).

        ``lines`` are whole header lines for the CANCEL, such as its Reason. Too late or twice: nothing.
        """
        if self.cancelled or self.state not in (State.CALLING, State.PROCEEDING):
            return
        self.cancelled = True
        self._cancel_lines = lines
        if self.state == State.PROCEEDING:
            self._send_cancel(now)

    def _send_cancel(self, now: float) -> None:
        assert self.dialog is not None
        data = hop_request(b"CANCEL", self, self.dialog.remote, self._cancel_lines)
        self.wire.send_cancel(self, data, now)
        # A peer that never answers its cancelled INVITE is given 64*T1 (RFC 3261 9.1).
        self._again_at = OFF
        self._until = now + 64 * self.wire.timing.t1
        self.wire.timers.at(self._until, self)

    def _again(self, _message: object, now: float) -> None:
        self._send_again(now, OFF)

    def _proceed(self, response: Response, now: float) -> None:
        self._stop_clocks()
        if self.cancelled:
            self._send_cancel(now)
        self._report(response, now)

    def _accept(self, response: Response, now: float) -> None:
        self.last = b""
        self.dialog = None
        self._again_at = OFF
        self._until = now + 64 * self.wire.timing.t1  # timer M, on reliable transports too (RFC 6026 8.4)
        self.wire.timers.at(self._until, self)
        self._report(response, now)

    def _fail(self, response: Response, now: float) -> None:
        assert self.dialog is not None
        to = response.get(b"To") or self.dialog.remote
        ack = hop_request(b"ACK", self, to, self.dialog.credentials)
        self.wire.send(ack, self.flow)
        self._linger(max(_LEAST_D, 64 * self.wire.timing.t1), now)  # timer D
        self._report_last(response, now)
        self.dialog = None
        self.last = ack

    def _acknowledge_again(self, _response: Response, _now: float) -> None:
        self.wire.send(self.last, self.flow)

    def _forget_user(self, _message: object, now: float) -> None:
        self.user = None
        self._end(None, now)


InviteClient.TABLE = {
    (State.CALLING, Input.PROVISIONAL): (State.PROCEEDING, InviteClient._proceed),  # 17.1.1.2
    (State.CALLING, Input.SUCCESS): (State.ACCEPTED, InviteClient._accept),  # RFC 6026 8.4
    (State.CALLING, Input.FAILURE): (State.COMPLETED, InviteClient._fail),  # 17.1.1.2
    (State.CALLING, Input.TIMER_A): (State.CALLING, InviteClient._again),  # 17.1.1.2
    (State.CALLING, Input.TIMER_B): (State.TERMINATED, ClientTransaction._time_out),  # 17.1.1.2
    (State.CALLING, Input.TRANSPORT_ERROR): (State.TERMINATED, ClientTransaction._lose),  # 17.1.4
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ClientTransaction._report),  # 17.1.1.2
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, InviteClient._accept),  # RFC 6026 8.4
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, InviteClient._fail),  # 17.1.1.2
    (State.PROCEEDING, Input.TIMER_B): (State.TERMINATED, ClientTransaction._time_out),  # 9.1
    (State.PROCEEDING, Input.TRANSPORT_ERROR): (State.TERMINATED, ClientTransaction._lose),  # 17.1.4
    (State.COMPLETED, Input.PROVISIONAL): (State.COMPLETED, None),  # 17.1.1.2: late, absorbed
    (State.COMPLETED, Input.SUCCESS): (State.COMPLETED, None),  # 17.1.1.2: contradicts the first final
    (State.COMPLETED, Input.FAILURE): (State.COMPLETED, InviteClient._acknowledge_again),  # 17.1.1.2
    (State.COMPLETED, Input.TIMER_D): (State.TERMINATED, Transaction._end),  # 17.1.1.2
    (State.COMPLETED, Input.TRANSPORT_ERROR): (State.TERMINATED, Transaction._end),  # 17.1.1.2
    (State.ACCEPTED, Input.PROVISIONAL): (State.ACCEPTED, None),  # RFC 6026 7.2: late, absorbed
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, ClientTransaction._report),  # RFC 6026 7.2
    (State.ACCEPTED, Input.FAILURE): (State.ACCEPTED, None),  # RFC 6026 7.2: contradicts the first final
    (State.ACCEPTED, Input.TIMER_M): (State.TERMINATED, InviteClient._forget_user),  # RFC 6026 7.2
    (State.ACCEPTED, Input.TRANSPORT_ERROR): (State.ACCEPTED, None),  # RFC 6026 7.2: nothing to send
}
InviteClient.STEPS = compile_table(State, Input, InviteClient.TABLE)
