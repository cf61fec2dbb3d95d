"""Which call a message belongs to, read without parsing the rest of it."""

from __future__ import annotations

import re

_USUAL = b"\r\nCall-ID: "
_CALL_ID = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_X_CID = re.compile(rb"^x-cid[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def call_id_of(payload: bytes) -> bytes:
    """Return the Call-ID of a message, b"" when it has none."""
    at = payload.find(_USUAL)
    if at > 0 and payload.find(b"\r\n\r\n", 0, at + 2) < 0:  # not in the body
        at += len(_USUAL)
        return payload[at : payload.find(b"\r", at)].strip(b" \t")
    match = _CALL_ID.search(payload)
    return match[1].rstrip() if match else b""


def x_cid_of(payload: bytes) -> bytes:
    """Return the Call-ID of the caller's leg, as the gateway puts it on an INVITE to a callee, or b""."""
    if b"X-CID:" not in payload:  # as we write it; nobody else's is to be believed
        return b""
    match = _X_CID.search(payload)
    return match[1].rstrip() if match else b""
