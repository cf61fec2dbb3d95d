"""A copy of one message as it was on the wire, and what must be blanked in it before others may see it."""

from __future__ import annotations

import re
from typing import NamedTuple

Address = tuple[str, int]

_SECRET = re.compile(
    rb"^(?:Authorization|Proxy-Authorization|Authentication-Info)[ \t]*:[ \t]*"
    rb"([^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_SHOWN = re.compile(rb"[^\r\n \t]")


class WireMessage(NamedTuple):
    """When (seconds since the epoch), over what ("udp", "tcp", "tls"), from where, to where, which bytes."""

    at: float
    transport: str
    source: Address
    destination: Address
    payload: bytes


def without_secrets(payload: bytes) -> bytes:
    """Return a message with an x for each character of its credentials; every length stays as it was.

    A digest answer is no password, but passwords that people choose can be found from it by trying.

    >>> without_secrets(b"Authorization: Digest username=a\\r\\nTo: <sip:b@c>\\r\\n")
    b'Authorization: xxxxxx xxxxxxxxxx\\r\\nTo: <sip:b@c>\\r\\n'
    """
    if b"uth" not in payload and b"UTH" not in payload:
        return payload  # nearly all messages
    head, blank, body = payload.partition(b"\r\n\r\n")
    return _SECRET.sub(_blanked, head) + blank + body


def _blanked(match: re.Match[bytes]) -> bytes:
    line = match[0]
    value = match.start(1) - match.start()
    return line[:value] + _SHOWN.sub(b"x", line[value:])
