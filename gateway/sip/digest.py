"""Digest authentication, the side that is asked (RFC 7616, RFC 8760, RFC 3261 22).

A :class:`Challenge` is what a peer wants; an :class:`Account` is who we are to that peer, and holds a
:class:`Session` for each realm whose nonce is in use: its nonce serves again, with a rising count, until the
peer wants another. Nothing here shows a password: it is hashed with the realm at once.

SHA-512/256 is not in every build of OpenSSL, and MD5 not in those for FIPS 140. A challenge whose algorithm
this machine lacks is passed over like one of an unknown scheme: the next one is answered, or none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from .errors import MalformedError
from .headers import parse_auth, quote
from .message import Response

MAX_VALUE = 1_024
"""Bytes of a realm, nonce or opaque; a challenge with a longer one is passed over."""
MAX_CHALLENGES = 16
"""Challenges of one response that are looked at."""
MAX_REALMS = 4
"""Realms of one account that are answered, and remembered."""
MAX_COUNT = 0xFFFF_FFFF
"""Uses of one nonce: its count has eight hexadecimal digits (RFC 7616 3.4)."""

_ASKED_BY = ((b"WWW-Authenticate", b"Authorization"), (b"Proxy-Authenticate", b"Proxy-Authorization"))

Hash = Callable[[bytes], bytes]
Key = tuple[bytes, bytes]


def _hash(name: str) -> Hash | None:
    """Return a function from bytes to the hexadecimal digest; None where this machine lacks it."""
    try:
        hashlib.new(name, usedforsecurity=False)
    except ValueError:
        return None
    return lambda data: hashlib.new(name, data, usedforsecurity=False).hexdigest().encode()


# RFC 8760 2.2, by lower-case name.
_NAMES = {b"md5": "md5", b"sha-256": "sha256", b"sha-512-256": "sha512_256"}
ALGORITHMS: dict[bytes, Hash] = {
    name: function for name, known in _NAMES.items() if (function := _hash(known)) is not None
}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge that we can answer. Values are without their quotes."""

    header: bytes
    """The name of the header that answers it: Authorization or Proxy-Authorization."""
    realm: bytes
    nonce: bytes
    opaque: bytes | None
    algorithm: bytes
    """As the peer wrote it; b"" when it named none, which means MD5."""
    qop: bytes
    """b"auth" or b"auth-int"; b"" when none was offered (RFC 2069)."""
    stale: bool
    """The credentials were right, only their nonce was too old (RFC 7616 3.3)."""
    userhash: bool
    """The user name is to be sent as a hash (RFC 7616 3.4.4)."""

    @property
    def key(self) -> Key:
        """What its answer is remembered by: who asks, and the realm."""
        return self.header, self.realm


def parse_challenges(response: Response) -> list[Challenge]:
    """Return the challenges to answer: of each realm the topmost one that we can (RFC 8760 2.4).

    The peer has put its preference on top. What cannot be read or answered is passed over; nothing is raised.
    """
    chosen: dict[Key, Challenge] = {}
    for asking, answering in _ASKED_BY:
        for value in response.values(asking)[:MAX_CHALLENGES]:
            challenge = _parse(value, answering)
            if challenge is not None and len(chosen) < MAX_REALMS:
                chosen.setdefault(challenge.key, challenge)
    return list(chosen.values())


def _parse(value: bytes, header: bytes) -> Challenge | None:
    try:
        auth = parse_auth(value)
    except MalformedError:
        return None
    params = auth.params
    realm, nonce, opaque = params.get(b"realm"), params.get(b"nonce"), params.get(b"opaque")
    if auth.scheme != b"digest" or realm is None or nonce is None:
        return None
    algorithm = params.get(b"algorithm", b"")
    base = (algorithm.lower() or b"md5").removesuffix(b"-sess")
    qop = _choose_qop(params.get(b"qop", b""))
    if base not in ALGORITHMS or qop is None or (not qop and _is_session_bound(algorithm)):
        return None
    if max(len(realm), len(nonce), len(opaque or b"")) > MAX_VALUE:
        return None
    stale = params.get(b"stale", b"").lower() == b"true"
    userhash = params.get(b"userhash", b"").lower() == b"true"
    return Challenge(header, realm, nonce, opaque, algorithm, qop, stale, userhash)


def _choose_qop(offered: bytes) -> bytes | None:
    """Return b"auth" where it is offered, else b"auth-int"; b"" for no offer, None for an unknown one."""
    if not offered.strip():
        return b""
    values = [value.strip().lower() for value in offered.split(b",")]
    for known in (b"auth", b"auth-int"):
        if known in values:
            return known
    return None


def _is_session_bound(algorithm: bytes) -> bool:
    return algorithm.lower().endswith(b"-sess")


class Session:
    """A challenge that is being answered: one nonce, one cnonce, and how often they have served."""

    __slots__ = ("_cnonce", "_count", "_hash", "_secret", "_username", "challenge")

    def __init__(self, challenge: Challenge, username: bytes, password: bytes, cnonce: bytes) -> None:
        self.challenge = challenge
        self._cnonce = cnonce
        self._count = 0
        algorithm = challenge.algorithm.lower() or b"md5"
        h = self._hash = ALGORITHMS[algorithm.removesuffix(b"-sess")]
        secret = h(b"%b:%b:%b" % (username, challenge.realm, password))
        if _is_session_bound(algorithm):
            secret = h(b"%b:%b:%b" % (secret, challenge.nonce, cnonce))  # RFC 7616 3.4.2
        self._secret = secret
        self._username = h(b"%b:%b" % (username, challenge.realm)) if challenge.userhash else username

    @property
    def is_spent(self) -> bool:
        """Whether the nonce count has no further value."""
        return self._count >= MAX_COUNT

    def line(self, method: bytes, uri: bytes, body: bytes) -> bytes:
        """Return the header line for one more request, ended by CRLF (RFC 7616 3.4, RFC 3261 22.4)."""
        challenge, h = self.challenge, self._hash
        self._count += 1
        count = b"%08x" % self._count
        qop = challenge.qop
        asked = b"%b:%b" % (method, uri)
        if qop == b"auth-int":
            asked = b"%b:%b" % (asked, h(body))
        middle = b"%b:%b:%b:%b" % (challenge.nonce, count, self._cnonce, qop) if qop else challenge.nonce
        response = h(b"%b:%b:%b" % (self._secret, middle, h(asked)))
        parts = [
            b"username=" + quote(self._username),
            b"realm=" + quote(challenge.realm),
            b"nonce=" + quote(challenge.nonce),
            b"uri=" + quote(uri),
            b'response="%b"' % response,
        ]
        if challenge.algorithm:
            parts.append(b"algorithm=" + challenge.algorithm)
        if challenge.opaque is not None:
            parts.append(b"opaque=" + quote(challenge.opaque))
        if qop:
            parts += [b"qop=" + qop, b"nc=" + count, b"cnonce=" + quote(self._cnonce)]
        if challenge.userhash:
            parts.append(b"userhash=true")
        return b"%b: Digest %b\r\n" % (challenge.header, b", ".join(parts))


class Account:
    """Who we are to a peer. ``sessions`` are the nonces in use, to be sent ahead of a challenge."""

    __slots__ = ("_password", "refused", "sessions", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self.refused = 0
        """How often our credentials were not accepted."""
        self.sessions: dict[Key, Session] = {}
        self._password = password.encode("utf-8", "surrogateescape")  # as the environment has it

    def answer(self, challenge: Challenge, cnonce: bytes) -> Session:
        """Return a session for a fresh challenge, and remember it. ``cnonce`` is an unguessable token."""
        session = Session(challenge, self.username.encode(), self._password, cnonce)
        self.forget(challenge.key)
        while len(self.sessions) >= MAX_REALMS:
            del self.sessions[next(iter(self.sessions))]
        self.sessions[challenge.key] = session
        return session

    def forget(self, key: Key) -> None:
        """Use a nonce no more."""
        self.sessions.pop(key, None)
