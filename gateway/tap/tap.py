"""Where the transports leave what they received and sent, for whoever listens.

On a message's way there is one append a batch; the bytes are not copied. Ten times a second, and less often
while nothing comes, all that has come since is handed to the listeners. While nobody listens the transports
have no tap at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from gateway.sip.flow import Flow
from gateway.wire import Address, WireMessage

_PAUSE = 0.1  # seconds between two times that what has come is handed out,
_IDLE = 0.5  # and after one at which nothing had

Messages = Sequence[tuple[bytes, Flow]]
Batch = tuple[float, bool, Messages]
"""When (seconds since the epoch), whether sent or received, and what. A plain tuple, for speed."""


class Listener(Protocol):
    """Somebody who wants to know. Must return at once and never raise."""

    def take(self, batches: Sequence[Batch]) -> None:
        """Take what has come since the last time, in order."""


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
        self._fresh: list[Batch] = []

    def received(self, messages: Messages, now: float) -> None:
        """Take a batch that was received."""
        self._fresh.append((now, False, messages))

    def sent(self, messages: Messages) -> None:
        """Take a batch that was sent just now."""
        self._fresh.append((self._clock(), True, messages))

    def add(self, listener: Listener) -> None:
        """Have somebody told of everything from now on."""
        self.settle()
        self._listeners.append(listener)
        self._attach(self)

    def remove(self, listener: Listener) -> None:
        """Tell somebody what there is, and nothing more."""
        self.settle()
        self._listeners.remove(listener)
        if not self._listeners:
            self._attach(None)

    def settle(self) -> bool:
        """Hand out what there is; tell whether there was something."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            for listener in self._listeners:
                listener.take(fresh)
        return bool(fresh)

    async def run(self) -> None:
        """Hand out what comes, until cancelled."""
        pause = _IDLE
        while True:
            await trio.sleep(pause)
            pause = _PAUSE if self.settle() else _IDLE


def copy_of(at: float, sent: bool, data: bytes, flow: Flow) -> WireMessage:
    """Return a message with the addresses between which it went. On a connection that the gateway opened,
    its own end is shown as the listening point that the flow belongs to.
    """
    local: Address = (flow.local.host, flow.local.port)
    peer: Address = (flow.peer[0], flow.peer[1])
    source, destination = (local, peer) if sent else (peer, local)
    return WireMessage(at, flow.local.transport, source, destination, data)
