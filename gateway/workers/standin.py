"""What the supervisor does for a worker that is away: it reads that worker's UDP sockets, and gives what
comes to the owners, so that nobody else's calls wait.
"""

from __future__ import annotations

import contextlib
import selectors
import socket

from gateway.sip.message import MAX_DATAGRAM
from gateway.transport.udp import read_errors

from .mesh import Outboxes
from .notes import FlowName
from .ownership import owner_of
from .seat import Listening

_AT_A_TIME = 64  # datagrams


class StandIn:
    """Reads, by this selector, and hands over. The data of its keys is (what handles it, the socket)."""

    def __init__(
        self, selector: selectors.BaseSelector, listening: list[Listening], outboxes: Outboxes
    ) -> None:
        self._selector = selector
        self._numbers = {sock: number for number, each in enumerate(listening) for sock in each.socks}
        self._outboxes = outboxes

    def begin(self, sockets: list[socket.socket]) -> None:
        """Read these sockets from now on; nothing changes where that is so already."""
        for sock in sockets:
            with contextlib.suppress(KeyError):
                self._selector.register(sock, selectors.EVENT_READ, (self._pass_on, sock))

    def end(self, sockets: list[socket.socket]) -> None:
        """Leave them to their worker."""
        for sock in sockets:
            with contextlib.suppress(KeyError):
                self._selector.unregister(sock)

    def _pass_on(self, sock: socket.socket) -> None:
        """Give datagrams to their owners. News of those that found nobody is dropped: their transactions are
        the worker's that is away, and a socket that keeps its errors would wake us again at once.
        """
        for _ in range(_AT_A_TIME):
            try:
                data, peer = sock.recvfrom(MAX_DATAGRAM)
            except OSError:
                break  # there is none; or an error that an earlier datagram met
            owner = owner_of(data, self._outboxes.workers)
            if owner is not None:
                self._outboxes.hand(owner, data, FlowName(self._numbers[sock], peer))
        for _ in read_errors(sock):
            pass
        self._outboxes.settle()
