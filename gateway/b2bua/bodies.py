"""Bodies as the other side may see them: SDP, sipfrag, XML, and multiparts of these.

In SDP (RFC 8866) the origin, the session's name and the lines about people tell of the other side; ``c=``,
``m=`` and candidates are where media goes and stay, since media is not anchored here. In the origin the
version stays as it came, because RFC 3264 8 counts by it, and the session id is the same for the same origin.
A sipfrag keeps its status line (RFC 3515 2.4.5); XML (dialog, presence, conference information) and message
summaries (RFC 3842) have their SIP URIs at our host. Anything else is the users' own and passes.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_params, unquote
from gateway.sip.rows import header_key, unfold

from .topology import Hiding

_NESTED = 4  # levels of multipart that are looked into
_ORIGIN = re.compile(rb"^o=([^\r\n]*)", re.MULTILINE)
_SESSION = re.compile(rb"^s=[^\r\n]*", re.MULTILINE)
_PART_HEADERS = frozenset(
    (
        b"Content-Disposition",
        b"Content-Encoding",
        b"Content-Language",
        b"Content-Length",
        b"Content-Transfer-Encoding",
    )
)
_LINE_END = re.compile(rb"\r\n(?![ \t])")
_ABOUT = re.compile(rb"^(?:[iuep]=|a=tool:)[^\r\n]*\r?\n?", re.MULTILINE)


def hidden_body(body: bytes, content_type: bytes, hiding: Hiding, salt: bytes, depth: int = 0) -> bytes:
    """Return a body of this Content-Type as it may be seen. ``salt`` is a secret: without one, the origin
    could be found by trying which gives the session id that is shown.
    """
    kind, _, rest = content_type.partition(b";")
    kind = kind.strip().lower()
    if kind == b"application/sdp":
        return _hidden_sdp(body, hiding.host, salt)
    if kind == b"message/sipfrag":
        return body.partition(b"\n")[0].rstrip(b"\r") + b"\r\n" if body[:4] == b"SIP/" else b""
    if kind.endswith(b"+xml") or kind == b"application/simple-message-summary":
        return hiding.in_text(body)
    if kind.startswith(b"multipart/") and depth < _NESTED:
        boundary = _boundary(rest)
        return _hidden_parts(body, boundary, hiding, salt, depth) if boundary else body
    return body


def _hidden_sdp(body: bytes, host: bytes, salt: bytes) -> bytes:
    family = b"IP6" if b":" in host else b"IP4"

    def origin(found: re.Match[bytes]) -> bytes:
        fields = found[1].split()
        version = fields.pop(2) if len(fields) > 2 else b""
        digest = blake2b(b" ".join(fields), digest_size=7, key=salt[:64]).digest()
        session = int.from_bytes(digest, "big")
        return b"o=- %d %b IN %b %b" % (session, version if version.isdigit() else b"0", family, host)

    return _SESSION.sub(b"s=-", _ORIGIN.sub(origin, _ABOUT.sub(b"", body)))


def _boundary(params: bytes) -> bytes:
    try:
        return unquote(parse_params(b";" + params).get(b"boundary") or b"")
    except MalformedError:
        return b""


def _hidden_parts(body: bytes, boundary: bytes, hiding: Hiding, salt: bytes, depth: int) -> bytes:
    """Hide each part of a multipart body (RFC 2046 5.1.1)."""
    delimiter = b"--" + boundary
    before, *parts = body.split(delimiter)
    return delimiter.join([before, *(_hidden_part(part, hiding, salt, depth) for part in parts)])


def _hidden_part(part: bytes, hiding: Hiding, salt: bytes, depth: int) -> bytes:
    head, blank, content = part.partition(b"\r\n\r\n")
    if part[:2] == b"--" or not blank:
        return part  # behind the last delimiter, or no part
    content_type = b"text/plain"
    padding, *headers = _LINE_END.split(head)
    lines = [padding]
    for line in headers:
        key = header_key(line.partition(b":")[0])
        if key == b"Content-Type":
            content_type = unfold(line.partition(b":")[2])
            lines.append(hiding.content_type(line))
        elif key == b"Content-ID":
            lines.append(hiding.content_id(line))
        elif key in _PART_HEADERS:
            lines.append(line)
    body = content.removesuffix(b"\r\n")  # which belongs to the delimiter
    hidden = hidden_body(body, content_type, hiding, salt, depth + 1)
    return b"\r\n".join(lines) + blank + hidden + content[len(body) :]
