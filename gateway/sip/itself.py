"""The gateway as somebody that requests are addressed to: what it is called, what it answers for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from .build import TRY_LATER
from .flow import Local
from .headers import split_list
from .message import METHODS, Request
from .transaction import ServerTransaction
from .uri import Uri

ALLOW = b"INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, SUBSCRIBE, NOTIFY, REFER, PUBLISH"
SUPPORTED = b"100rel, timer, replaces, join, tdialog, norefersub"
"""The extensions that calls through the gateway may use as far as it is concerned."""
_OPTION_TAGS: Final = frozenset(SUPPORTED.split(b", "))
# What a call may bring passes as it came, whatever it is.
_CAPABILITIES: Final = (
    b"Allow: %b\r\nAccept: */*\r\nAccept-Encoding: *\r\nAccept-Language: *\r\nSupported: %b\r\n"
    % (ALLOW, SUPPORTED)
)


class Itself:
    """The gateway under the names of its listening points, bound and advertised. While it ``is_closed``, it
    takes no calls. ``is_own`` tells whether an address is this machine's: a wildcard listens at all of them,
    and is named by one.
    """

    def __init__(self, points: Iterable[Local], is_own: Callable[[str], bool]) -> None:
        self._names = {local.sent_by.lower() for local in points} | {
            f"{local.host}:{local.port}".encode() for local in points
        }
        self.is_closed = False
        self._is_own = is_own
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
        if method == b"OPTIONS":
            host = uri.host.strip(b"[]").lower()
            return host in self._hosts or self._is_own(host.decode("ascii", "replace"))
        return self.is_named_by(uri)

    def answer(self, transaction: ServerTransaction, request: Request, tag: bytes, now: float) -> None:
        """Answer a request for the gateway itself with this To tag (RFC 3261 8.2.1, 8.2.2.3). OPTIONS hears
        whether calls may come (11.2).

        Raises MalformedError when its Require cannot be read.
        """
        if request.method == b"OPTIONS":
            required = [tag for value in request.values(b"Require") for tag in split_list(value)]
            unknown = [tag for tag in required if tag.lower() not in _OPTION_TAGS]
            if unknown:
                transaction.reject(420, tag, now, b"Unsupported: %b\r\n" % b", ".join(unknown))
            elif self.is_closed:
                transaction.reject(503, tag, now, TRY_LATER)
            else:
                transaction.reject(200, tag, now, _CAPABILITIES)
        else:
            # At this URI only OPTIONS makes sense: nobody stands behind it to be called (RFC 3261 8.2.1).
            status = 405 if request.method in METHODS else 501
            transaction.reject(status, tag, now, b"Allow: OPTIONS\r\n")
