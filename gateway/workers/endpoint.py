"""The endpoint of one worker of many: what another owns goes to it, what is its own is handled here.

Where messages are sorted is the one difference to an :class:`Endpoint`; transports and the core know nothing
of it. A tap hears of a message where it is handled, so that all of a call is in one worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.sip.build import sent_branch
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow, Flows
from gateway.sip.message import Request
from gateway.sip.transaction import Timing

from .flows import FlowBook
from .mesh import Mesh
from .notes import FlowLost, FlowName, Undelivered
from .ownership import owner_of, owner_of_branch

if TYPE_CHECKING:
    from gateway.tap.tap import Tap

Asks = Callable[[Request, bytes, Flow], bool]


class WorkerEndpoint(Endpoint):
    """``asks`` tells whether a request has to wait for what other workers know, and has asked them then;
    ``take_notes`` handles what the others have sent; it is called where they are likely to have.
    """

    def __init__(
        self,
        flows: Flows,
        new_token: Callable[[], bytes],
        timing: Timing,
        on_bug: Callable[[Exception], None] | None,
        mesh: Mesh,
    ) -> None:
        super().__init__(flows, new_token, timing, on_bug)
        self.book = FlowBook(flows)
        self.tap: Tap | None = None
        self.asks: Asks = lambda _request, _data, _flow: False
        self.take_notes: Callable[[float], int] = lambda _now: 0
        self._mesh = mesh
        self._data = b""
        self._is_resuming = False

    def receive(self, batch: Iterable[tuple[bytes, Flow]], now: float) -> None:
        """Hand what others own to them, handle the rest, and what they have handed over meanwhile.

        Where the system tells owners apart, nothing is handed over, and nobody is asked for what has been.
        """
        mesh, name_of = self._mesh, self.book.name_of
        index, workers, hand = mesh.index, mesh.workers, mesh.hand
        own = []
        are_mixed = False
        for item in batch:
            owner = owner_of(item[0], workers)
            if owner == index or owner is None:
                own.append(item)
            else:
                are_mixed = True
                hand(owner, item[0], name_of(item[1]))
        mesh.kept += len(own)
        if are_mixed:
            mesh.settle()
        self.handle(own, now)
        if are_mixed:
            self.take_notes(now)

    def handle(self, own: list[tuple[bytes, Flow]], now: float) -> None:
        """Handle messages whose owner this is."""
        if self.tap is not None and own:
            self.tap.received(own, now)
        super().receive(own, now)

    def resume(self, data: bytes, flow: Flow, now: float) -> None:
        """Handle a request that had to wait; what it speaks of is known now, as far as anybody knows it."""
        self._is_resuming = True
        super().receive([(data, flow)], now)
        self._is_resuming = False

    def undelivered(self, data: bytes, now: float) -> None:
        """Take back the start of a datagram; the system tells any of the sockets of an address."""
        owner = owner_of_branch(sent_branch(data)[1], self._mesh.workers)
        if owner == self._mesh.index:
            super().undelivered(data, now)
        else:
            self._mesh.tell(owner, Undelivered(data))

    def flow_lost(self, flow: Flow, now: float, reached: bool = True) -> None:
        """Tell client transactions that a flow is broken: those of all workers, where it is a connection."""
        super().flow_lost(flow, now, reached)
        if flow.local.reliable:
            self._mesh.tell_others(FlowLost(self.book.name_of(flow), reached))

    def far_flow_lost(self, name: FlowName, now: float, reached: bool) -> None:
        """Take the news that a connection is gone which the first worker held."""
        name_of = self.book.name_of
        for flow in self._streams():
            if name_of(flow) == name:
                super().flow_lost(flow, now, reached)

    def streams_lost(self, now: float) -> None:
        """Take the news that all connections are gone, with the worker that held them."""
        for flow in self._streams():
            super().flow_lost(flow, now)

    def _streams(self) -> set[Flow]:
        """Return the connections that client transactions use."""
        return {client.flow for client in self.clients.values() if client.flow.local.reliable}

    def _receive_one(self, data: bytes, flow: Flow, now: float) -> None:
        self._data = data
        super()._receive_one(data, flow, now)

    def _request(self, request: Request, flow: Flow, now: float) -> None:
        if self._is_resuming or not self.asks(request, self._data, flow):
            super()._request(request, flow, now)
