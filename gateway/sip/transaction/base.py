"""What the four transactions share: a state, a table, two clocks and the last bytes sent.

A transaction is driven by *inputs* (a message, a timer, a wish of its user) through a literal table
``(state, input): (next state, action)``. A cell that is not in the table cannot happen unless we have a bug,
and raises :class:`ImpossibleInputError`.

Two clocks suffice for timers A to M: one that repeats (A, E, G and the 2xx) and one that ends a state
(B, D, F, H, I, J, K, L, M). Which letter the second one is follows from the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from gateway.sip.errors import ImpossibleInputError
from gateway.sip.flow import Flow
from gateway.sip.message import Request, Response
from gateway.sip.timers import Timers
from gateway.sip.traffic import Tally

if TYPE_CHECKING:
    from .client import ClientTransaction
    from .invite_client import InviteClient
    from .server import ServerTransaction

OFF: Final = math.inf


@dataclass(frozen=True, slots=True)
class Timing:
    """The base times of RFC 3261 17.1.1.1, in seconds."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def until_t2(self) -> float:
        """Seconds that a client repeats a request until its timer E is set to T2 (RFC 3261 17.1.2.2)."""
        every = passed = self.t1
        while 2 * every < self.t2:
            every *= 2
            passed += every
        return passed


class Wire(Protocol):
    """What a transaction needs of the endpoint it lives in."""

    timing: Timing
    timers: Timers

    def send(self, data: bytes, flow: Flow) -> None:
        """Put bytes on the wire."""

    def tally(self, flow: Flow) -> Tally:
        """Return where the messages of a flow are counted."""

    def send_cancel(self, invite: InviteClient, data: bytes, now: float) -> None:
        """Start the transaction of a CANCEL for this INVITE (RFC 3261 9.1)."""

    def unmerge(self, transaction: ServerTransaction) -> None:
        """Take the same request, should it come again in another transaction, for a new attempt: this one is
        over (RFC 3261 8.2.2.2 speaks of ongoing ones).
        """

    def forget(self, transaction: Transaction) -> None:
        """Take a terminated transaction out of the tables."""


class ClientUser(Protocol):
    """Whoever sent a request and waits for what becomes of it."""

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Take a response; for a 2xx to INVITE also each of its retransmissions (RFC 6026 7.2)."""

    def on_no_response(self, transaction: ClientTransaction, status: int, now: float) -> None:
        """Take it that no final response will come: 408 for silence, 503 for a broken transport
        (RFC 3261 8.1.3.1).
        """


class ServerUser(Protocol):
    """Whoever answers a request. ``tag`` is the To tag that its rejection has, b"" inside a dialog."""

    tag: bytes

    def on_cancel(self, transaction: ServerTransaction, cancel: Request, now: float) -> None:
        """The peer cancels its INVITE, which has no final response yet (RFC 3261 9.2)."""

    def on_no_ack(self, transaction: ServerTransaction, now: float) -> None:
        """Our 2xx was never acknowledged (RFC 3261 13.3.1.4)."""


Action = Callable[[Any, Any, float], None] | None
Table = Mapping[tuple[IntEnum, IntEnum], tuple[IntEnum, Action]]
Compiled = Sequence[Sequence[tuple[IntEnum, Action] | None]]


def compile_table(states: type[IntEnum], inputs: type[IntEnum], table: Table) -> Compiled:
    """Turn a literal table into nested tuples, which are indexed faster than a dictionary of pairs."""
    return tuple(tuple(table.get((state, given)) for given in inputs) for state in states)


class Transaction:
    """Base of the four. ``key`` is where the endpoint's table has it; ``last`` the bytes to repeat."""

    __slots__ = ("_again_at", "_again_every", "_until", "flow", "key", "last", "state", "wire")
    TABLE: ClassVar[Table]
    STEPS: ClassVar[Compiled]  # of the TABLE
    REPEAT: ClassVar[IntEnum]  # the input that the repeating clock makes
    DEADLINE: ClassVar[Mapping[IntEnum, IntEnum]]  # the input that the ending clock makes, by state

    # Set by the client's and the server's __init__: two are made for every call, and a chain of
    # constructors would cost as much as the tables do.
    wire: Wire
    key: bytes
    flow: Flow
    state: IntEnum
    last: bytes
    _again_at: float
    _again_every: float
    _until: float

    def feed(self, given: IntEnum, message: Any, now: float) -> None:
        """Take one step of the table. Raises ImpossibleInputError on a cell that is not there."""
        step = self.STEPS[self.state][given]
        if step is None:
            raise ImpossibleInputError(f"{type(self).__name__}: {given.name} in state {self.state.name}")
        self.state, action = step
        if action is not None:
            action(self, message, now)

    def on_timer(self, now: float) -> None:
        """Feed whichever clock is due; a call for nothing does nothing."""
        if self._until <= now:
            self._until = OFF
            self.feed(self.DEADLINE[self.state], None, now)
        elif self._again_at <= now:
            self.feed(self.REPEAT, None, now)

    def transport_failed(self, now: float) -> None:
        """Take notice that the flow is broken."""
        self.feed(type(self.REPEAT)["TRANSPORT_ERROR"], None, now)

    def _repeat(self, every: float, now: float, until: float) -> None:
        """Start both clocks: repeat after ``every`` seconds (never over TCP or TLS), end at ``until``."""
        self._again_every = every
        self._again_at = OFF if self.flow.local.reliable else now + every
        self._until = until
        self.wire.timers.at(min(self._again_at, until), self)

    def _send_again(self, now: float, cap: float) -> None:
        """Repeat the last bytes and double the interval up to ``cap`` seconds."""
        self.wire.send(self.last, self.flow)
        self._repeat(min(2 * self._again_every, cap), now, self._until)

    def _stop_clocks(self) -> None:
        self._again_at = self._until = OFF

    def _linger(self, seconds: float, now: float) -> None:
        """Absorb stragglers for ``seconds``: not at all on a reliable transport (RFC 3261 17.1.1.2)."""
        self._again_at = OFF
        self._until = now if self.flow.local.reliable else now + seconds
        self.wire.timers.at(self._until, self)

    def _end(self, _message: object, _now: float) -> None:
        """Leave the endpoint's tables."""
        self._stop_clocks()
        self.wire.forget(self)
