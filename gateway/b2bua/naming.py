"""Headers that name a dialog: what one leg calls it, the other must call by its own name.

Replaces (RFC 3891), Join (RFC 3911), Target-Dialog (RFC 4538) and a Replaces inside Refer-To (RFC 3515,
RFC 5589) name a dialog by Call-ID and tags, as it is known on the side they come from. Whoever gets them
knows the call by the twin dialog on its own leg. A dialog that is not ours, or that the receiver's side
knows by that very name, is left as it came.
"""

from __future__ import annotations

import re

from gateway.routing.trunk import Trunk
from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_params
from gateway.sip.message import Request, Row
from gateway.sip.uri import unescape

from .leg import Leg

_REPLACES = (b"to-tag", b"from-tag")
_TAGS = {b"Replaces": _REPLACES, b"Join": _REPLACES, b"Target-Dialog": (b"local-tag", b"remote-tag")}
_NAMING = frozenset((*_TAGS, b"Refer-To"))
_IN_URI = re.compile(rb"([?&]Replaces=)([^&>]*)", re.IGNORECASE)
_UNSAFE = re.compile(
    rb"[^A-Za-z0-9\-_.!~*'()]"
)  # in a URI's headers (RFC 3261 25.1, hnv-unreserved left out)


def rename_dialogs(request: Request, endpoint: Endpoint, target: Trunk) -> list[Row]:
    """Return the request's rows with every dialog called as the side of ``target`` knows it; the very list
    that came when it names none.
    """
    if _NAMING.isdisjoint(request.index):
        return request.rows
    return [(key, _rename(key, line, endpoint, target)) for key, line in request.rows]


def _rename(key: bytes, line: bytes, endpoint: Endpoint, target: Trunk) -> bytes:
    if key == b"Refer-To":
        return _IN_URI.sub(lambda found: found[1] + _rename_escaped(found[2], endpoint, target), line)
    tags = _TAGS.get(key)
    if tags is None:
        return line
    value = line.partition(b":")[2]
    renamed = _rename_value(value, tags, endpoint, target)
    return line if renamed is None else b"%b: %b" % (key, renamed)


def _rename_escaped(value: bytes, endpoint: Endpoint, target: Trunk) -> bytes:
    renamed = _rename_value(unescape(value), _REPLACES, endpoint, target)
    return value if renamed is None else _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], renamed)


def _rename_value(value: bytes, tags: tuple[bytes, bytes], endpoint: Endpoint, target: Trunk) -> bytes | None:
    """Return ``call-id;tag=..;tag=..`` as the receiver's side says it, other parameters kept, or None.

    The first tag is the receiver's own, the second its peer's, which towards the receiver is ours.
    """
    call_id, semicolon, rest = value.strip().partition(b";")
    try:
        params = parse_params(semicolon + rest)
    except MalformedError:
        return None
    twin = _twin(endpoint, call_id.strip(), params.get(tags[0]) or b"", params.get(tags[1]) or b"")
    if twin is None or not isinstance(twin.user, Leg) or twin.user.trunk.name != target.name:
        return None
    own = {tags[0]: twin.remote_tag, tags[1]: twin.local_tag}
    said = {**params, **own}
    pairs = [name if value is None else b"%b=%b" % (name, value) for name, value in said.items()]
    return b";".join([twin.call_id, *pairs])


def _twin(endpoint: Endpoint, call_id: bytes, first: bytes, second: bytes) -> Dialog | None:
    """Return the twin of the dialog with these tags, whichever of them is ours."""
    for local, remote in ((first, second), (second, first)):
        dialog = endpoint.dialogs.get((local, remote))
        if dialog is not None and dialog.call_id == call_id:
            return dialog.twin
    return None
