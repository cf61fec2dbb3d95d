"""Contacts that the gateway has registered: each has a user part of its own, and stands for somebody. It
follows from whose it is, so that a registrar takes what is registered again after a restart of ours for a
refresh: one that counts contacts would refuse a second one, and calls to the first would be lost.

One table holds them all, by user part: those of the gateway's own registrations (``registration.py``), and
those it put in place of the contacts that a PBX registers through it (``bindings.py``).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple, Protocol

from gateway.routing.route import Plan
from gateway.routing.trunk import TrunkTable
from gateway.sip.flow import Local
from gateway.sip.headers import parse_name_addr, split_list
from gateway.sip.message import Request, Response
from gateway.sip.uri import Uri

_SECONDS = 10  # digits


class Contact(Protocol):
    """Whom a Contact of ours stands for."""

    registrar: str
    """The trunk that was told of it: only from there does it mean anything."""

    def reach(self, request: Request, uri: Uri, trunks: TrunkTable, now: float) -> tuple[Uri, Plan | None]:
        """Return whom a request to this contact is for, and the way there; None: the routes know it."""


ContactTable = dict[bytes, Contact]


class ContactValue(NamedTuple):
    """One member of a Contact header, in three parts that make it up."""

    before: bytes
    uri: bytes
    after: bytes
    expires: int | None
    """Seconds of its ``expires`` parameter; None without one that can be read."""


def token_of(*whose: bytes) -> bytes:
    """Return the user part of a contact: 64 bits, which only those could make who know all of ``whose``."""
    return blake2b(b"\0".join(whose), digest_size=8).hexdigest().encode()


def read_contacts(value: bytes) -> list[ContactValue]:
    """Read one Contact line's value, not ``*``. Raises MalformedError."""
    found = []
    for item in split_list(value):
        address = parse_name_addr(item)
        bracketed = b"<%b>" % address.uri
        at = item.find(bracketed, len(address.display)) + 1  # a display name may quote the URI
        if at == 0:
            at = item.index(address.uri)
        end = at + len(address.uri)
        expires = read_seconds(address.params.get(b"expires"))
        found.append(ContactValue(item[:at], address.uri, item[end:], expires))
    return found


def our_contact(local: Local, token: bytes) -> bytes:
    """Return the URI of the contact with this user part at a listening point of ours."""
    scheme, _, rest = local.contact[1:-1].partition(b":")
    return b"%b:%b@%b" % (scheme, token, rest)


def read_seconds(value: bytes | None) -> int | None:
    """Return a number of seconds, or None for what is none (RFC 3261 20.19)."""
    if value is None or not value.isdigit() or len(value) > _SECONDS:
        return None
    return int(value)


def expires_of(message: Request | Response) -> int | None:
    """Return the seconds of the Expires header, or None."""
    return read_seconds(message.get(b"Expires"))
