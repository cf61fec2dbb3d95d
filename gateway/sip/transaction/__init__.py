"""The four transactions of RFC 3261 17, with RFC 6026, each a literal table in a file of its own."""

from __future__ import annotations

from gateway.sip.errors import ImpossibleInputError

from .base import ClientUser, ServerUser, Timing, Transaction
from .client import ClientTransaction, NonInviteClient
from .invite_client import InviteClient
from .invite_server import InviteServer
from .server import NonInviteServer, ServerTransaction, ack_key, server_key

__all__ = [
    "ClientTransaction",
    "ClientUser",
    "ImpossibleInputError",
    "InviteClient",
    "InviteServer",
    "NonInviteClient",
    "NonInviteServer",
    "ServerTransaction",
    "ServerUser",
    "Timing",
    "Transaction",
    "ack_key",
    "server_key",
]
