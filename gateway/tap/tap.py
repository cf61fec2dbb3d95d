"""Where the transports leave what they received and sent, for whoever listens.

Each batch that came or went is handed to the listeners at once, while it is in the processor's cache; they
copy what they want to keep, or queue it. While nobody listens the transports have no tap at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.sip.flow import Flow
from gateway.wire import Address, WireMessage

Messages = Sequence[tuple[bytes, Flow]]
Batch = tuple[float, bool, Messages]
"""When (seconds since the epoch), whether sent or received, and what. A plain tuple, for speed."""


class Listener(Protocol):
    """Somebody who wants to know. Must return at once and never raise."""

    def take(self, batch: Batch) -> None:
        """Take what has come or gone, in order."""


class Ear(Protocol):
    """What transports tell of messages. Must return at once and never raise."""

    def received(self, messages: Messages, now: float) -> None:
        """Take a batch that was received."""

    def sent(self, messages: Messages) -> None:
        """Take a batch that is to be sent."""


class Tap:
    """``attach`` puts the tap into the transports while somebody listens, and takes it out after that."""

    def __init__(self, clock: Callable[[], float], attach: Callable[[Tap | None], None]) -> None:
        self._clock = clock
        self._attach = attach
        self._listeners: list[Listener] = []

    def received(self, messages: Messages, now: float) -> None:
        """Take a batch that was received."""
        for listener in self._listeners:
            listener.take((now, False, messages))

    def sent(self, messages: Messages) -> None:
        """Take a batch that was sent just now."""
        now = self._clock()
        for listener in self._listeners:
            listener.take((now, True, messages))

    def add(self, listener: Listener) -> None:
        """Have somebody told of everything from now on."""
        self._listeners.append(listener)
        self._attach(self)

    def remove(self, listener: Listener) -> None:
        """Tell somebody nothing more."""
        self._listeners.remove(listener)
        if not self._listeners:
            self._attach(None)


def copy_of(at: float, sent: bool, data: bytes, flow: Flow) -> WireMessage:
    """Return a message with the addresses between which it went. On a connection that the gateway opened,
    its own end is shown as the listening point that the flow belongs to.
    """
    local: Address = (flow.local.host, flow.local.port)
    peer: Address = (flow.peer[0], flow.peer[1])
    source, destination = (local, peer) if sent else (peer, local)
    return WireMessage(at, flow.local.transport, source, destination, data)
