"""SIP messages: bytes, indexed once.

A parsed message keeps its header lines as the bytes that came (``rows``: key and line, in order, folds
included) and finds by key the values in them, unfolded and stripped. Nothing else is read until somebody asks
for it, so a message that is relayed costs one pass over its lines, and what passes leaves as it came.

A *key* is the header's name in the spelling of its RFC (``b"Call-ID"``), whatever case or compact form was
sent; a header no table knows has its lower-case name for a key.

``parse`` finds the frame only: start line, header names, body. What a new transaction needs to be sound is
asked for by :meth:`Request.check`, so that retransmissions and ACKs do not pay for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Union

from gateway import speedups

from .errors import MalformedError
from .fields import Fields
from .headers import NameAddr, Via, is_token, parse_max_forwards, parse_name_addr, split_list
from .names import KEYS
from .remember import remembered
from .rows import NUMBERED_KEYS, Row, Rows, header_key, unfold
from .uri import Uri, parse_uri

if TYPE_CHECKING:
    from gateway._native import Rows as NativeRows

    # What the native reader says of a message; `Reader` in gateway/native/src/reader.rs has it in words.
    RequestParts = tuple[
        bytes, bytes, NativeRows, bytes, bytes, bool, int, bytes, int,
        bytes, bytes, bytes, int, bytes, bool, bytes,
        bytes, bytes, bytes, bytes, bytes, bytes,
        bytes, bytes, bytes, int, bytes,
    ]  # fmt: skip
    ResponseParts = tuple[int, bytes, NativeRows, bytes, bytes, bool, bytes, int, bytes, bytes, bytes, bytes]

MAX_DATAGRAM = 65_535
MAX_HEADERS: Final = 256
MAX_LINE: Final = 8_192
_TOO_LARGE: Final = {"start line too long": 414, "too many headers": 513, "header line too long": 513}

# Headers that may stand once only; a second one makes the message ambiguous (RFC 4475 3.3.8, 3.3.9).
_ONCE: Final = frozenset((b"From", b"To", b"Call-ID", b"CSeq", b"Max-Forwards"))

METHODS: Final = frozenset(
    b"INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE".split()
)
_STATUSES: Final = {b"%d" % status: status for status in range(100, 700)}
_BRANCH: Final = re.compile(rb"[^,;]*;branch=([\w.\-]+)(?=;|$)")  # where we put it, so where it comes back
_VERSION = re.compile(rb"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")


class Request(Fields):
    """A request. ``method`` keeps its case: methods are case-sensitive (RFC 3261 7.1)."""

    __slots__ = ("_hops", "_sound", "method", "uri")

    def __init__(
        self,
        method: bytes,
        uri: bytes,
        rows: Rows,
        index: dict[bytes, bytes] | None,
        more: dict[bytes, list[bytes]] | None = None,
        body: bytes = b"",
    ) -> None:
        """``more`` has the further values of headers; ``index`` is None where ``native`` is set at once."""
        self.method = method
        self.uri = uri
        self._hops = -1
        # The URI, parsed, of a request that `check` would find nothing wrong with.
        self._sound: Uri | None = None
        self.rows = rows
        self.native = None
        self._index = index
        self._more = more
        self.body = body
        self.call_id = b"" if index is None else index.get(b"Call-ID", b"")
        self._has_one_via = False
        self._seq = 0
        self._seq_method = b""
        self._via = None
        self._sender = self._receiver = None

    @property
    def max_forwards(self) -> int:
        """Hops left; 70 when the header is absent, as RFC 2543 peers leave it (RFC 3261 16.6).

        Raises MalformedError.
        """
        if self._hops < 0:
            value = self.get(b"Max-Forwards")
            self._hops = 70 if value is None else parse_max_forwards(value)
        return self._hops

    def altered(self, uri: bytes, rows: Rows, body: bytes) -> Request:
        """Return this request with another URI, other header rows and another body."""
        index: dict[bytes, bytes] = {}
        more: dict[bytes, list[bytes]] = {}
        for key, line in rows:
            value = unfold(line.partition(b":")[2])
            if key in index:
                more.setdefault(key, []).append(value)
            else:
                index[key] = value
        return Request(self.method, uri, rows, index, more or None, body)

    def check(self) -> Uri:
        """Make sure that a transaction and a dialog can be built on this request; return its URI, parsed.

        Raises MalformedError with the status owed (RFC 3261 8.1.1, 8.2; RFC 4475).
        """
        if self._sound is not None:
            return self._sound
        if self.index and self._more is not None:
            for key in self._more:
                if key in _ONCE:
                    raise MalformedError(f"{key.decode()} is repeated")
        if self.cseq[1] != self.method:
            raise MalformedError("CSeq names another method")
        if not self.call_id:
            raise MalformedError("Call-ID is missing")
        _ = self.via, self.max_forwards, self.sender, self.receiver
        if self.method != b"BYE":  # who hangs up is not asked for what the dialog needs no more (8.2)
            for value in self.values(b"Contact"):
                if value != b"*" or self.method != b"REGISTER":
                    check_contact(value)
            self._check_routes()
        uri = parse_uri(self.uri)
        if uri.headers:
            raise MalformedError("headers in the Request-URI")
        return uri


class Response(Fields):
    """A response. ``phrase`` is as it came, possibly empty or not ASCII."""

    __slots__ = ("_branch", "phrase", "status")

    def __init__(
        self,
        status: int,
        phrase: bytes,
        rows: Rows,
        index: dict[bytes, bytes] | None,
        more: dict[bytes, list[bytes]] | None = None,
        body: bytes = b"",
    ) -> None:
        """``more`` has the further values of headers; ``index`` is None where ``native`` is set at once."""
        self.status = status
        self.phrase = phrase
        self._branch = b""
        self.rows = rows
        self.native = None
        self._index = index
        self._more = more
        self.body = body
        self.call_id = b"" if index is None else index.get(b"Call-ID", b"")
        self._has_one_via = False
        self._seq = 0
        self._seq_method = b""
        self._via = None
        self._sender = self._receiver = None

    @property
    def branch(self) -> bytes:
        """The branch of the topmost Via, which is all that finds a response's transaction.

        Raises MalformedError.
        """
        if not self._branch:
            match = _BRANCH.match(self.get(b"Via") or b"")
            self._branch = self.via.branch if match is None else match[1]
        return self._branch

    @property
    def has_two_vias(self) -> bool:
        """Whether it has more than the one Via of ours (RFC 3261 8.1.3.3). Raises MalformedError."""
        if self.has_one_via:
            return False
        return self.repeated(b"Via") or len(split_list(self.need(b"Via"))) > 1

    def restated(self, status: int, phrase: bytes, rows: Rows) -> Response:
        """Return this response with another status, another phrase and other rows; its headers are still
        found by key as they came.
        """
        response = Response(status, phrase, rows, self._index, self._more, self.body)
        response.native = self.native
        response.call_id = self.call_id
        return response

    def check(self) -> None:
        """Make sure that a dialog can be made of this response (RFC 3261 12.1.2). Raises MalformedError."""
        _ = self.receiver
        self._check_routes()


@remembered
def check_contact(value: bytes) -> None:
    """Make sure that each address of a Contact value can be read. Raises MalformedError."""
    items = split_list(value)
    if not items:
        raise MalformedError("bad Contact")
    for item in items:
        parse_uri(parse_name_addr(item).uri)


Message = Union[Request, Response]  # noqa: UP007 - the name is used at run time


class MalformedMessageError(MalformedError):
    """A message whose frame is broken. ``request`` is what could be read of a request, to answer it by;
    None when there is nothing to answer (a response, an ACK, or noise).
    """

    def __init__(self, why: str, status: int = 400, request: Request | None = None) -> None:
        super().__init__(why, status)
        self.request = None if request is not None and request.method == b"ACK" else request


def parse_pure(data: bytes) -> Message:
    """Read one message from one datagram (RFC 3261 7, 18.3).

    Bytes behind the Content-Length are ignored; a body shorter than it is malformed. Bare LF line ends are
    read as line ends. Raises MalformedMessageError; nothing else, whatever the bytes are.
    """
    head, blank, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    ends = len(lines) - 1
    if not blank or not lines[0] or head.count(b"\n") != ends or head.count(b"\r") != ends:
        lines, body = _split_unusual(data)
        head = data
    rows: list[Row] = []
    index: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] | None = None
    start = lines[0]
    del lines[0]
    long = len(head) > MAX_LINE
    broken = "start line too long" if long and len(start) > MAX_LINE else ""
    if len(lines) > MAX_HEADERS:
        broken = "too many headers"
        del lines[MAX_HEADERS:]
    for line in lines:
        name, colon, value = line.partition(b":")
        key = KEYS.get(name)
        if key is None or not colon or (long and len(line) > MAX_LINE):
            if line[:1] in (b" ", b"\t") and rows:
                broken = _continue_line(rows, index, more, line) or broken
                continue
            key = header_key(name)
            if not colon or not is_token(name.rstrip()):
                broken = broken or "bad header line"
                continue
            if len(line) > MAX_LINE:
                broken = broken or "header line too long"
                line, value = line[:MAX_LINE], value[:MAX_LINE]
        if key in index:
            if more is None:
                more = {}
            more.setdefault(key, []).append(value.strip())
        else:
            index[key] = value.strip()
        rows.append((key, line))
    message = _start(start, rows, index, more)
    try:
        message.body = _body(body, index, more)
    except MalformedError as error:
        broken = broken or error.why
    if broken:
        request = message if type(message) is Request else None
        raise MalformedMessageError(broken, _TOO_LARGE.get(broken, 400), request)
    return message


def _split_unusual(data: bytes) -> tuple[list[bytes], bytes]:
    """Split a message that has line ends before its start line (RFC 3261 7.5), bare LF line ends or no
    blank line; bare CR is refused.
    """
    data = data.lstrip(b"\r\n")
    if not data:
        raise MalformedMessageError("empty")
    match = _BLANK_LINE.search(data)
    head, body = (data, b"") if match is None else (data[: match.start()], data[match.end() :])
    lines = _LINE_END.split(head)
    if any(b"\r" in line for line in lines):
        raise MalformedMessageError("bare CR in headers")
    if match is None and lines[-1]:
        raise MalformedMessageError("no end of headers", request=_salvage(lines))
    if not lines[-1]:
        lines.pop()
    return lines, body


def _salvage(lines: list[bytes]) -> Request | None:
    """Read what is there of a request that was cut off, so that it can be answered."""
    index: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    rows: list[Row] = []
    for line in lines[1:MAX_HEADERS]:
        name, colon, value = line.partition(b":")
        if colon and is_token(name.rstrip()):
            key = header_key(name)
            if key in index:
                more.setdefault(key, []).append(value.strip())
            else:
                index[key] = value.strip()
            rows.append((key, line))
    message = _start(lines[0], rows, index, more)
    return message if isinstance(message, Request) else None


def _continue_line(
    rows: list[Row], index: dict[bytes, bytes], more: dict[bytes, list[bytes]] | None, line: bytes
) -> str:
    """Append a folded line to the header before it (RFC 3261 7.3.1); return what is wrong with it, or ""."""
    key, first = rows[-1]
    whole = first + b"\r\n" + line
    if len(whole) > MAX_LINE:
        return "header line too long"
    rows[-1] = (key, whole)
    value = unfold(whole.partition(b":")[2])
    if more is not None and key in more:
        more[key][-1] = value
    else:
        index[key] = value
    return ""


def _start(
    line: bytes, rows: Rows, index: dict[bytes, bytes], more: dict[bytes, list[bytes]] | None
) -> Message:
    """Read the start line (RFC 3261 7.1, 7.2)."""
    if line[:4].upper() == b"SIP/":
        return _status_line(line, rows, index, more)
    parts = line.split(b" ")
    if len(parts) == 3 and parts[2] == b"SIP/2.0":
        method, uri, _ = parts
        if (method in METHODS or is_token(method)) and uri:
            return Request(method, uri, rows, index, more)
    words = line.split()
    if len(words) < 3 or not is_token(words[0]):
        raise MalformedMessageError("bad start line")
    request = Request(words[0], words[1], rows, index, more)
    version = words[-1]
    if _VERSION.fullmatch(version) is None:
        raise MalformedMessageError("bad start line", 400, request)
    if version.upper() != b"SIP/2.0":
        raise MalformedMessageError("version not supported", 505, request)
    if len(parts) != 3:
        raise MalformedMessageError("white space in the start line", 400, request)
    return request


def _status_line(
    line: bytes, rows: Rows, index: dict[bytes, bytes], more: dict[bytes, list[bytes]] | None
) -> Response:
    status = _STATUSES.get(line[8:11])
    if status is None or line[11:12] not in (b" ", b"") or line[:8].upper() != b"SIP/2.0 ":
        raise MalformedMessageError("bad status line")
    return Response(status, line[12:], rows, index, more)


def _body(body: bytes, index: dict[bytes, bytes], more: dict[bytes, list[bytes]] | None) -> bytes:
    """Cut the body to Content-Length (RFC 3261 18.3)."""
    value = index.get(b"Content-Length")
    if value is None:
        return body
    if not value.isdigit() or len(value) > 10:
        raise MalformedError("bad Content-Length")
    if more is not None and any(other != value for other in more.get(b"Content-Length", ())):
        raise MalformedError("Content-Length is repeated")
    length = int(value)
    size = len(body)
    if length == size:
        return body
    if length > size:
        raise MalformedError("body shorter than Content-Length")
    return body[:length]


def parse_native(data: bytes) -> Message:
    """Do what :func:`parse_pure` does: an ordinary message is read natively, any other is left to it, so that
    one piece of code says what is wrong with a message.
    """
    reader = _reader
    assert reader is not None, "the native core is in use"
    if data[:4] == b"SIP/":
        response = reader.read_response(data)
        if response is not None:
            return _response_of(response)
    else:
        request = reader.read_request(data)
        if request is not None:
            return _request_of(request)
    return parse_pure(data)


def _request_of(parts: RequestParts) -> Request:
    """Make a request of what was read natively; what is not of the usual form is read when asked for."""
    (
        method, uri, rows, body, call_id, has_one_via, seq, seq_method, hops,
        via, transport, via_host, via_port, branch, rport, via_params,
        sender_bare, sender, sender_tag, receiver_bare, receiver, receiver_tag,
        scheme, user, host, port, params,
    ) = parts  # fmt: skip
    to = NameAddr(b"", receiver, None, receiver_tag, receiver_bare) if receiver else None
    request = Request(method, uri, rows, None, None, body)
    request.take(rows, call_id, has_one_via, seq, seq_method, to)
    request._hops = hops
    if branch:
        request._via = Via(via, transport, via_host, via_port, branch, rport, via_params)
    if sender:
        request._sender = NameAddr(b"", sender, None, sender_tag, sender_bare)
    if scheme:
        request._sound = Uri(uri, scheme, user, host, port, params)
    return request


def _response_of(parts: ResponseParts) -> Response:
    """Make a response of what was read natively."""
    (
        status, phrase, rows, body, call_id, has_one_via, branch, seq, seq_method,
        receiver_bare, receiver, receiver_tag,
    ) = parts  # fmt: skip
    to = NameAddr(b"", receiver, None, receiver_tag, receiver_bare) if receiver else None
    response = Response(status, phrase, rows, None, None, body)
    response.take(rows, call_id, has_one_via, seq, seq_method, to)
    response._branch = branch
    return response


_reader: Final = speedups.native_reader(NUMBERED_KEYS)
parse: Final = parse_pure if _reader is None else parse_native
