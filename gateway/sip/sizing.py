"""Requests that are too large for UDP and go over TCP where the peer has it (RFC 3261 18.1.1)."""

from __future__ import annotations

from typing import Final

from .dialog import Dialog
from .flow import Flow, Flows
from .transaction import ClientTransaction

MAX_UDP_REQUEST: Final = 1300
"""Bytes: what a request may have on a path whose MTU is not known."""


class LargeRequests:
    """The requests that were moved, as they are over UDP, by branch, while their transactions live."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._moved: dict[bytes, tuple[bytes, Flow]] = {}

    def __len__(self) -> int:
        return len(self._moved)

    def move(self, data: bytes, branch: bytes, dialog: Dialog, now: float) -> tuple[bytes, Flow]:
        """Return a large request as it leaves, and its flow: TCP, unless the next hop asks for UDP by name or
        is known to have no TCP. The dialog's other requests stay on UDP.
        """
        udp = dialog.flow
        tcp = None if dialog.keeps_to_udp else self._flows.for_large(udp, now)
        if tcp is None:
            return data, udp
        self._moved[branch] = data, udp
        return data.replace(udp.local.via, tcp.local.via, 1), tcp

    def move_back(self, transaction: ClientTransaction, now: float) -> bool:
        """Start a request again over UDP, after nobody took our TCP connection; False for one that was not
        moved.
        """
        moved = self._moved.pop(transaction.key, None)
        if moved is None:
            return False
        data, transaction.flow = moved
        self._flows.without_tcp(transaction.flow, now)
        transaction.start(data, now)
        return True

    def forget(self, branch: bytes) -> None:
        """Drop what is kept of a request whose transaction is over."""
        self._moved.pop(branch, None)
