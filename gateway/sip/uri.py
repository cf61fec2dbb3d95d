"""SIP, SIPS and TEL URIs (RFC 3261 19.1, RFC 3966), read from bytes and kept as bytes."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from .errors import MalformedError
from .parted import Parted
from .remember import remembered

# What no URI holds (RFC 3261 25.1). A control character would end it for some readers and not for others.
_OUTSIDE: Final = rb"\x00-\x20\x7f<>\""
_SIP_URI: Final = re.compile(
    rb"([sS][iI][pP][sS]?):"
    # userinfo may hold ; ? / , and is never unescaped before it is compared
    rb"(?:([^@" + _OUTSIDE + rb"]+)@)?"
    rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)"
    rb"(?::([0-9]{1,5}))?"
    rb"((?:;[^?" + _OUTSIDE + rb"]*)?)"
    rb"((?:\?[^" + _OUTSIDE + rb"]*)?)"
)
_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*):[^" + _OUTSIDE + rb"]+")
_TEL = re.compile(rb"([0-9A-Fa-f*#+().\-]+)((?:;[^@?]*)?)")  # RFC 3966 3; an @ would become a sip URI's
_PERCENT: Final = ord("%")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_VISUAL_SEPARATORS: Final = re.compile(rb"[-.() ]")
_PHONE: Final = re.compile(rb"\+?\(?[0-9*#][0-9*#().\- ]*")


class Uri(Parted):
    """A URI in parts. ``host`` keeps the brackets of an IPv6 reference; ``params`` and ``headers`` keep
    their leading ``;`` and ``?``. For schemes other than sip, sips and tel only ``scheme`` and ``raw`` count.
    """

    __slots__ = ("headers", "host", "params", "port", "raw", "scheme", "user")

    def __init__(
        self,
        raw: bytes,
        scheme: bytes,
        user: bytes = b"",
        host: bytes = b"",
        port: int = 0,
        params: bytes = b"",
        headers: bytes = b"",
    ) -> None:
        self.raw = raw
        self.scheme = scheme
        self.user = user
        self.host = host
        self.port = port
        self.params = params
        self.headers = headers

    def parts(self) -> tuple[object, ...]:
        """Return all fields."""
        return self.raw, self.scheme, self.user, self.host, self.port, self.params, self.headers

    def param(self, name: bytes) -> bytes | None:
        """Return the value of a URI parameter as written (b"" when it has none), or None when it is absent.
        A name may come %-escaped (RFC 4475 3.1.1.3).
        """
        for part in self.params.split(b";"):
            key, _, value = part.partition(b"=")
            if _PERCENT in key:
                key = unescape(key)
            if key.lower() == name:
                return value
        return None

    @property
    def number(self) -> bytes:
        """The telephone number or user name this URI speaks of, unescaped, without password,
        user parameters or visual separators (RFC 3966 5.1.1); b"" when it names only a host.
        """
        user = self.user
        if (user[1:] if user[:1] == b"+" else user).isalnum():
            return user
        user = user.partition(b";")[0].partition(b":")[0]
        if _PERCENT in user:
            user = unescape(user)
        return dialled(user)


def dialled(user: bytes) -> bytes:
    """Return a user part as it is compared: a telephone number without visual separators (RFC 3966 5.1.1)."""
    return _VISUAL_SEPARATORS.sub(b"", user) if _PHONE.fullmatch(user) else user


def unescape(text: bytes) -> bytes:
    """Undo %-escapes (RFC 3261 19.1.2)."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text)


_LONGEST_REFERENCE = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]")


def _is_ipv6_reference(host: bytes) -> bool:
    return len(host) <= _LONGEST_REFERENCE and _is_ipv6_address(host)


@lru_cache(maxsize=4096)
def _is_ipv6_address(host: bytes) -> bool:
    try:
        ipaddress.IPv6Address(host[1:-1].decode("ascii"))
    except ValueError:
        return False
    return True


def parse_uri(raw: bytes) -> Uri:
    """Read a URI. Unknown schemes are syntactically fine and come back with only their scheme
    (who must route them answers 416, RFC 3261 8.2.2.1).

    Raises MalformedError when the bytes are no URI, or a sip/sips URI breaks RFC 3261 25.1.
    """
    match = _SIP_URI.fullmatch(raw)
    if match is not None:
        scheme, user, host, port, params, headers = match.groups()
        if host[:1] == b"[" and not _is_ipv6_reference(host):
            raise MalformedError("bad IPv6 reference in URI")
        number = int(port) if port else 0
        if number > 65535:
            raise MalformedError("port out of range in URI")
        return Uri(raw, scheme.lower(), user or b"", host, number, params, headers)
    other = _SCHEME.fullmatch(raw)
    if other is None:
        raise MalformedError("not a URI")
    scheme = other[1].lower()
    if scheme in (b"sip", b"sips"):
        raise MalformedError("bad SIP URI")
    if scheme == b"tel":
        tel = _TEL.fullmatch(raw, 4)
        if tel is None:
            raise MalformedError("bad tel URI")
        return Uri(raw, scheme, tel[1], params=tel[2])
    return Uri(raw, scheme)


@remembered
def number_of(uri: bytes) -> str:
    """Return the number or user of a URI, "" when it cannot be read."""
    try:
        return parse_uri(uri).number.decode("utf-8", "replace")
    except MalformedError:
        return ""
