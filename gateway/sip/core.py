"""What the endpoint asks of its user: the back-to-back user agent, seen from below."""

from __future__ import annotations

from typing import Protocol

from .flow import Flow
from .message import Request
from .transaction import ServerTransaction
from .uri import Uri


class Core(Protocol):
    """The user of the endpoint: the back-to-back user agent."""

    def knows(self, flow: Flow) -> bool:
        """Tell whether this source may open a transaction with us."""

    def is_behind_nat(self, flow: Flow) -> bool:
        """Tell whether what this source says of its own address is not to be believed."""

    def name_of(self, flow: Flow) -> str:
        """Return the name of the trunk on this flow, "" for a stranger."""

    def on_request(
        self, transaction: ServerTransaction, request: Request, uri: Uri, source: Flow, now: float
    ) -> None:
        """Take a sound request outside any dialog (never ACK or CANCEL) that came on ``source``."""
