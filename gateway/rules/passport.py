"""The attestation that a call claims: `attest` of the SHAKEN PASSporT in its Identity header.

It is read and not verified: a rule that looks at it believes who signed the call, and whoever stands between.
The full form of a PASSporT has its claims in the header (RFC 8225 section 4); the compact form (section 7)
leaves them out, and with them the attestation. What cannot be read attests nothing; hostile input ends here.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable

import msgspec

from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_params, split_list, unquote

LEVELS = ("A", "B", "C")
"""Full, partial and gateway attestation (RFC 8588 section 4)."""

UNATTESTED = "none"
"""Where nothing that can be read attests anything."""

_HEADERS = 4  # Identity values that are looked at; a call has one for each extension of PASSporT in use
_LONGEST = 8192
_PART = re.compile(rb"[A-Za-z0-9_-]+=*")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class _Header(msgspec.Struct):
    ppt: str = ""


class _Claims(msgspec.Struct):
    attest: str = ""


_read_header = msgspec.json.Decoder(_Header).decode
_read_claims = msgspec.json.Decoder(_Claims).decode


def attestation(values: Iterable[bytes]) -> str:
    """Return "A", "B" or "C" as the first SHAKEN PASSporT of these Identity values has it, or UNATTESTED."""
    for value in _tokens(values):
        token, _, params = value.partition(b";")
        parts = token.strip().split(b".")
        if len(value) > _LONGEST or len(parts) != 3 or not _is_shaken(parts[0], params):
            continue
        try:
            level = _read_claims(_decoded(parts[1])).attest
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        if level in LEVELS:
            return level
    return UNATTESTED


def _tokens(values: Iterable[bytes]) -> list[bytes]:
    """Return the Identity values, one for each line or member of a comma list (RFC 8224 section 4)."""
    tokens: list[bytes] = []
    for value in values:
        try:
            tokens += split_list(value)
        except MalformedError:
            continue
        if len(tokens) >= _HEADERS:
            break
    return tokens[:_HEADERS]


def _is_shaken(header: bytes, params: bytes) -> bool:
    """Tell whether a PASSporT is of type shaken: its `ppt` parameter says so, or else its own header."""
    try:
        ppt = parse_params(b";" + params).get(b"ppt") if params else None
        if ppt is not None:
            return unquote(ppt).lower() == b"shaken"
        return _read_header(_decoded(header)).ppt == "shaken"
    except (MalformedError, msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _decoded(part: bytes) -> bytes:
    """Return the bytes of base64url text (RFC 7515 section 2). Raises ValueError when it is none."""
    if not _PART.fullmatch(part):
        raise ValueError("not base64url")
    bare = part.rstrip(b"=").translate(_FROM_URL)
    try:
        return a2b_base64(bare + b"=" * (-len(bare) % 4))
    except Base64Error as error:
        raise ValueError("not base64url") from error
