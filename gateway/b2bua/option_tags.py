"""Option tags (RFC 3261 19.2): what a message offers and demands, and how one of them is taken out of it."""

from __future__ import annotations

from gateway.sip.errors import MalformedError
from gateway.sip.headers import split_list
from gateway.sip.message import Request, Response
from gateway.sip.rows import Rows, unfold

_NAMING = (b"Supported", b"Require")


def demands(message: Request | Response, option: bytes) -> bool:
    """Tell whether the message has this option tag in Require."""
    return option in _tags(message, b"Require")


def offers(message: Request | Response, option: bytes) -> bool:
    """Tell whether the sender of the message understands this option: it supports or requires it."""
    return option in _tags(message, b"Supported") or demands(message, option)


def without_option(rows: Rows, option: bytes) -> Rows:
    """Return the rows without this option tag in Supported and Require; rows that do not name it stay the
    bytes that came, and one that names nothing else goes.
    """
    kept = []
    for row in rows:
        if row[0] not in _NAMING or option not in row[1].lower():
            kept.append(row)
            continue
        name, _, value = row[1].partition(b":")
        tags = [tag for tag in _split(unfold(value)) if tag.lower() != option]
        if tags:
            kept.append((row[0], b"%b: %b" % (name, b", ".join(tags))))
    return kept


def _tags(message: Request | Response, key: bytes) -> list[bytes]:
    if not message.has(key):
        return []
    return [tag.lower() for value in message.values(key) for tag in _split(value)]


def _split(value: bytes) -> list[bytes]:
    """Split a list of option tags; what cannot be read names none that we know."""
    try:
        return split_list(value)
    except MalformedError:
        return [value]
