"""Client transactions: what both kinds share, and the non-INVITE one (RFC 3261 17.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar

from gateway.sip.flow import Flow
from gateway.sip.message import Response

from .base import OFF, ClientUser, Transaction, Wire, compile_table


class ClientTransaction(Transaction):
    """A request of ours that waits for its final response. ``user`` is dropped as soon as nothing more
    can come for it.
    """

    __slots__ = ("method", "user", "was_sent_anew")
    _PROVISIONAL: ClassVar[IntEnum]
    _SUCCESS: ClassVar[IntEnum]
    _FAILURE: ClassVar[IntEnum]

    FIRST: ClassVar[IntEnum]

    def __init__(self, wire: Wire, key: bytes, flow: Flow, method: bytes, user: ClientUser | None) -> None:
        self.wire = wire
        self.key = key
        self.flow = flow
        self.method = method
        self.user = user
        self.was_sent_anew = False
        self.state = self.FIRST
        self.last = b""
        self._again_at = self._until = OFF
        self._again_every = 0.0

    def start(self, data: bytes, now: float) -> None:
        """Send the request and start the clocks that repeat it and give it up: timers A and B of an INVITE
        (17.1.1.2), E and F of another (17.1.2.2). Done again, it begins anew on the present flow.
        """
        self.last = data
        self.wire.send(data, self.flow)
        t1 = self.wire.timing.t1
        self._repeat(t1, now, now + 64 * t1)

    def send_anew(self) -> bool:
        """Send the request again after its connection has ended; the transport opens another. False when that
        was done before, or when the peer has been heard and so had the request.

        Whoever has been switched off and on again, or a firewall on the way, knows nothing of a connection
        that still stands here, and says so when we use it. The branch tells the peer what it has had already.
        """
        if self.was_sent_anew or self.state != self.FIRST or not self.flow.local.reliable:
            return False
        self.was_sent_anew = True
        self.wire.send(self.last, self.flow)
        return True

    def receive(self, response: Response, now: float) -> None:
        """Take a response that the endpoint has matched to this transaction (RFC 3261 17.1.3)."""
        status = response.status
        if status >= 300:
            given = self._FAILURE
        elif status >= 200:
            given = self._SUCCESS
        else:
            given = self._PROVISIONAL
        self.feed(given, response, now)

    def _report(self, response: Response, now: float) -> None:
        if self.user is not None:
            self.user.on_response(self, response, now)

    def _report_last(self, response: Response, now: float) -> None:
        """Hand up the last response that this transaction will ever hand up."""
        user, self.user = self.user, None
        self.last = b""
        if user is not None:
            user.on_response(self, response, now)

    def _give_up(self, status: int, now: float) -> None:
        user, self.user = self.user, None
        self._end(None, now)
        if user is not None:
            user.on_no_response(self, status, now)

    def _time_out(self, _message: object, now: float) -> None:
        self._give_up(408, now)

    def _lose(self, _message: object, now: float) -> None:
        self._give_up(503, now)


class State(IntEnum):
    """States of figure 6."""

    TRYING = 0
    PROCEEDING = 1
    COMPLETED = 2
    TERMINATED = 3


class Input(IntEnum):
    """What can happen to it."""

    PROVISIONAL = 0
    FINAL = 1
    TIMER_E = 2
    TIMER_F = 3
    TIMER_K = 4
    TRANSPORT_ERROR = 5


class NonInviteClient(ClientTransaction):
    """RFC 3261 17.1.2, figure 6."""

    __slots__ = ()
    FIRST = State.TRYING
    REPEAT = Input.TIMER_E
    DEADLINE: ClassVar[Mapping[IntEnum, IntEnum]] = {
        State.TRYING: Input.TIMER_F,
        State.PROCEEDING: Input.TIMER_F,
        State.COMPLETED: Input.TIMER_K,
    }
    _PROVISIONAL = Input.PROVISIONAL
    _SUCCESS = Input.FINAL
    _FAILURE = Input.FINAL

    def _again(self, _message: object, now: float) -> None:
        self._send_again(now, self.wire.timing.t2)

    def _slow_down(self, response: Response, now: float) -> None:
        """From now on repeat every T2 (17.1.2.2): the clock that runs fires once more, then at T2."""
        self._again_every = self.wire.timing.t2
        self._report(response, now)

    def _complete(self, response: Response, now: float) -> None:
        self._linger(self.wire.timing.t4, now)
        self._report_last(response, now)


NonInviteClient.TABLE = {
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, NonInviteClient._slow_down),  # 17.1.2.2
    (State.TRYING, Input.FINAL): (State.COMPLETED, NonInviteClient._complete),  # 17.1.2.2
    (State.TRYING, Input.TIMER_E): (State.TRYING, NonInviteClient._again),  # 17.1.2.2
    (State.TRYING, Input.TIMER_F): (State.TERMINATED, ClientTransaction._time_out),  # 17.1.2.2
    (State.TRYING, Input.TRANSPORT_ERROR): (State.TERMINATED, ClientTransaction._lose),  # 17.1.4
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ClientTransaction._report),  # 17.1.2.2
    (State.PROCEEDING, Input.FINAL): (State.COMPLETED, NonInviteClient._complete),  # 17.1.2.2
    (State.PROCEEDING, Input.TIMER_E): (State.PROCEEDING, NonInviteClient._again),  # 17.1.2.2
    (State.PROCEEDING, Input.TIMER_F): (State.TERMINATED, ClientTransaction._time_out),  # 17.1.2.2
    (State.PROCEEDING, Input.TRANSPORT_ERROR): (State.TERMINATED, ClientTransaction._lose),  # 17.1.4
    (State.COMPLETED, Input.PROVISIONAL): (State.COMPLETED, None),  # 17.1.2.2: late, absorbed
    (State.COMPLETED, Input.FINAL): (State.COMPLETED, None),  # 17.1.2.2: retransmission, absorbed
    (State.COMPLETED, Input.TIMER_K): (State.TERMINATED, Transaction._end),  # 17.1.2.2
    (State.COMPLETED, Input.TRANSPORT_ERROR): (State.TERMINATED, Transaction._end),  # 17.1.4
}
NonInviteClient.STEPS = compile_table(State, Input, NonInviteClient.TABLE)
