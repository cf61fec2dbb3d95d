"""The gateway as somebody that requests are addressed to: what it is called, what it answers for itself."""

from __future__ import annotations

from collections.abc import Iterable

from .flow import Local
from .message import METHODS, Request
from .transaction import ServerTransaction
from .uri import Uri

ALLOW = b"INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, SUBSCRIBE, NOTIFY, REFER, PUBLISH"


class Itself:
    """The gateway under the names of its listening points, bound and advertised."""

    def __init__(self, points: Iterable[Local]) -> None:
        self._names = {local.sent_by.lower() for local in points} | {
            f"{local.host}:{local.port}".encode() for local in points
        }
        self._hosts = {name.rpartition(b":")[0].strip(b"[]") for name in self._names}

    def is_named_by(self, uri: Uri) -> bool:
        """Tell whether a URI's host and port are one of our listening points."""
        return b"%b:%d" % (uri.host.strip(b"[]").lower(), uri.port or 5060) in self._names

    def is_meant(self, uri: Uri, method: bytes) -> bool:
        """Tell whether a Request-URI names the gateway itself, and nobody behind it.

        For OPTIONS the host is enough: who asks a host without a user wants to know whether we live, and
        there are tools that lose the port.
        """
        if uri.user or method == b"REGISTER":  # whose Request-URI has no user by design (RFC 3261 10.2)
            return False
        if method == b"OPTIONS" and uri.host.strip(b"[]").lower() in self._hosts:
            return True
        return self.is_named_by(uri)

    def answer(self, transaction: ServerTransaction, request: Request, tag: bytes, now: float) -> None:
        """Answer a request for the gateway itself with this To tag (RFC 3261 8.2.1, 11.2)."""
        if request.method == b"OPTIONS":
            if request.has(b"Require"):
                wanted = b", ".join(request.values(b"Require"))
                transaction.reject(420, tag, now, b"Unsupported: %b\r\n" % wanted)
            else:
                transaction.reject(200, tag, now, b"Allow: %b\r\nAccept: */*\r\n" % ALLOW)
        else:
            # At this URI only OPTIONS makes sense: nobody stands behind it to be called (RFC 3261 8.2.1).
            status = 405 if request.method in METHODS else 501
            transaction.reject(status, tag, now, b"Allow: OPTIONS\r\n")
