"""Messages that we make: responses, requests, and what RFC 3261 derives from them.

Everything is put together by one bytes format a message; values are passed as they came.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from zlib import crc32

from .errors import MalformedError
from .flow import Flow
from .headers import split_list
from .message import Request
from .phrases import phrase_for

if TYPE_CHECKING:
    from gateway._native import Rows as NativeRows

    from .transaction import InviteClient

MAX_FORWARDS: Final = 70
TRY_LATER: Final = b"Retry-After: 5\r\n"
"""Header line of each 503 of the gateway's own (RFC 3261 21.5.4)."""
_REQUEST: Final = re.compile(rb"([A-Z]+) [^\s]+ SIP/2\.0\r\nVia: [^\r\n;]+;branch=([\w.\-]+);")
_DECIMALS: Final = [b"%d" % number for number in range(2048)]
_ECHOED: Final = (b"From", b"Call-ID", b"CSeq", b"To")


def echo_of(request: Request, source: Flow) -> bytes:
    """Return the header lines that every response copies from its request (RFC 3261 8.2.6.2), the To
    without its line end, so that a tag can follow.

    The topmost Via gets ``received`` (RFC 3261 18.2.1) and ``rport`` (RFC 3581 4) where they are due. A
    Timestamp stays too, which 8.2.6.1 asks for in the 100. There must be a Via.
    """
    native = request.native
    if native is not None:
        echo = _native_echo(native, request, source)
        if echo is not None:
            return echo
    index = request.index
    if request.repeated(b"Via"):
        lines = request.lines(b"Via")
        rest = b"".join(line + b"\r\n" for line in lines[1:])
    else:
        rest = b""
    top = index[b"Via"]
    try:
        via = request.via
        if via.rport or via.host != source.host:
            top = _mark_source(request, source)
    except MalformedError:
        pass  # the request is refused for it; it goes back as it came
    stamp = b"Timestamp: %b\r\n" % index[b"Timestamp"] if b"Timestamp" in index else b""
    try:
        return b"Via: %b\r\n%b%bFrom: %b\r\nCall-ID: %b\r\nCSeq: %b\r\nTo: %b" % (
            top,
            rest,
            stamp,
            index[b"From"],
            index[b"Call-ID"],
            index[b"CSeq"],
            index[b"To"],
        )
    except KeyError:
        # A request that lacks some of them is refused, with those that are there.
        there = [b"%b: %b" % (key, index[key]) for key in _ECHOED if key in index]
        return b"".join([b"Via: %b\r\n" % top, rest, stamp, b"\r\n".join(there)]).removesuffix(b"\r\n")


def _native_echo(rows: NativeRows, request: Request, source: Flow) -> bytes | None:
    """Return the echo where it is a usual one, else None."""
    try:
        via = request.via
    except MalformedError:
        return rows.echo(b"", -1)
    if not via.rport and via.host == source.host:
        return rows.echo(b"", -1)
    return rows.echo(source.host.strip(b"[]"), source.peer[1] if via.rport else -1)


def _mark_source(request: Request, source: Flow) -> bytes:
    """Write where the request really came from into its topmost Via."""
    via = request.via
    values = split_list(request.index[b"Via"])
    kept = [
        part
        for part in via.raw.split(b";")
        if part.partition(b"=")[0].strip().lower() not in (b"received", b"rport")
    ]
    host = source.host.strip(b"[]")  # RFC 5118 4.5: no brackets in received
    marked = b"%b;received=%b" % (b";".join(kept), host)
    if via.rport:
        marked += b";rport=%d" % source.peer[1]
    return b", ".join([marked, *values[1:]])


def decimal(number: int) -> bytes:
    """Return a number in decimal digits."""
    return _DECIMALS[number] if 0 <= number < len(_DECIMALS) else b"%d" % number


def response_bytes(status: int, phrase: bytes, echo: bytes, tag: bytes, lines: bytes, body: bytes) -> bytes:
    """Put a response together from an echo (:func:`echo_of`), a To tag or b"", and whole header lines."""
    return b"SIP/2.0 %b %b\r\n%b%b\r\n%bContent-Length: %b\r\n\r\n%b" % (
        decimal(status),
        phrase,
        echo,
        b";tag=" + tag if tag else b"",
        lines,
        decimal(len(body)),
        body,
    )


def request_bytes(
    method: bytes,
    uri: bytes,
    flow: Flow,
    branch: bytes,
    hops: int,
    route: bytes,
    ends: tuple[bytes, bytes, bytes],
    seq: int,
    lines: bytes,
    body: bytes,
) -> bytes:
    """Put a request together. ``hops`` is its Max-Forwards; ``route`` is b"" or whole Route lines; ``ends``
    are the values of From, To and Call-ID; ``lines`` are further header lines, each ended by CRLF.
    """
    sender, receiver, call_id = ends
    return (
        b"%b %b SIP/2.0\r\nVia: %b;branch=%b;rport\r\nMax-Forwards: %b\r\n%b"
        b"From: %b\r\nTo: %b\r\nCall-ID: %b\r\nCSeq: %b %b\r\n%bContent-Length: %b\r\n\r\n%b"
    ) % (
        method,
        uri,
        flow.local.via,
        branch,
        decimal(hops),
        route,
        sender,
        receiver,
        call_id,
        decimal(seq),
        method,
        lines,
        decimal(len(body)),
        body,
    )


def sent_branch(data: bytes) -> tuple[bytes, bytes]:
    """Return method and branch of the request of ours that begins so, b"" and b"" where that is none."""
    match = _REQUEST.match(data)
    return (b"", b"") if match is None else (match[1], match[2])


def hop_request(method: bytes, invite: InviteClient, to: bytes, lines: bytes) -> bytes:
    """Make the ACK for a failure (RFC 3261 17.1.1.3) or the CANCEL (9.1) of an INVITE of ours: the same
    Request-URI, top Via, Route, From, Call-ID and CSeq number.
    """
    dialog = invite.dialog
    assert dialog is not None, "an INVITE that is over has neither ACK nor CANCEL"
    ends = (dialog.local, to, dialog.call_id)
    return request_bytes(
        method, invite.uri, invite.flow, invite.key, MAX_FORWARDS, dialog.route, ends, invite.seq, lines, b""
    )


def refusal_bytes(request: Request, source: Flow, status: int) -> bytes:
    """Make a final response that no transaction sends (RFC 3261 8.2.7), to a request that has a Via."""
    echo = echo_of(request, source)
    try:
        tagged = bool(request.to_tag)
    except MalformedError:
        tagged = True  # nothing can be added to what cannot be read
    # The same request always gets the same tag, as 8.2.7 asks, without our keeping any.
    tag = b"" if tagged else b"%08x" % crc32(echo)
    lines = b""
    if status == 420:
        lines = b"Unsupported: %b\r\n" % b", ".join(request.values(b"Proxy-Require"))
    elif status == 503:
        lines = TRY_LATER
    return response_bytes(status, phrase_for(status), echo, tag, lines, b"")
