"""SIP messages: bytes, indexed once.

A parsed message keeps its header lines as the bytes that came (``rows``: key and line, in order, folds
included) and an index from key to the first value, unfolded and stripped. Nothing else is read until somebody
asks for it, so a message that is relayed costs one pass over its lines, and what passes leaves as it came.

A *key* is the header's name in the spelling of its RFC (``b"Call-ID"``), whatever case or compact form was
sent; a header no table knows has its lower-case name for a key.

``parse`` finds the frame only: start line, header names, body. What a new transaction needs to be sound is
asked for by :meth:`Request.check`, so that retransmissions and ACKs do not pay for it.
"""

from __future__ import annotations

import re
from typing import Final, Union

from gateway import speedups

from .errors import MalformedError
from .headers import (
    COMMA,
    NameAddr,
    Via,
    is_token,
    parse_cseq,
    parse_max_forwards,
    parse_name_addr,
    parse_via,
    split_list,
)
from .names import KEYS
from .remember import remembered
from .rows import Row, Rows, header_key, unfold
from .uri import Uri, parse_uri

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


class _Message:
    """What requests and responses share: header rows, their index, and the body."""

    __slots__ = ("_cseq", "_more", "_receiver", "_sender", "_via", "body", "call_id", "index", "rows")

    # Set by the two kinds themselves: super().__init__ would cost every message a tenth of its parsing.
    rows: Rows
    index: dict[bytes, bytes]
    body: bytes
    call_id: bytes  # b"" when it is missing
    _more: dict[bytes, list[bytes]] | None
    _via: Via | None
    _cseq: tuple[int, bytes] | None
    _sender: NameAddr | None
    _receiver: NameAddr | None

    def get(self, key: bytes) -> bytes | None:
        """Return the first value of a header, unfolded and stripped, or None."""
        return self.index.get(key)

    def values(self, key: bytes) -> list[bytes]:
        """Return the value of each line of a header, in order, unfolded and stripped."""
        value = self.index.get(key)
        if value is None:
            return []
        if self._more is None or key not in self._more:
            return [value]
        return [value, *self._more[key]]

    def has_any(self, keys: tuple[bytes, ...]) -> bool:
        """Tell whether one of these headers is there."""
        for key in keys:  # noqa: SIM110 - a generator costs as much as all of them
            if key in self.index:
                return True
        return False

    def need(self, key: bytes) -> bytes:
        """Return the first value of a header that must be there. Raises MalformedError."""
        value = self.index.get(key)
        if not value:
            raise MalformedError(f"{key.decode()} is missing")
        return value

    def lines(self, key: bytes) -> list[bytes]:
        """Return the header's lines as they came, names included."""
        return [line for row_key, line in self.rows if row_key == key]

    @property
    def via(self) -> Via:
        """The topmost Via. Raises MalformedError."""
        if self._via is None:
            self._via = parse_via(self.need(b"Via"))
        return self._via

    @property
    def cseq(self) -> tuple[int, bytes]:
        """Sequence number and method of CSeq. Raises MalformedError."""
        if self._cseq is None:
            self._cseq = parse_cseq(self.need(b"CSeq"))
        return self._cseq

    @property
    def sender(self) -> NameAddr:
        """The From. Raises MalformedError."""
        if self._sender is None:
            self._sender = parse_name_addr(self.need(b"From"))
        return self._sender

    @property
    def receiver(self) -> NameAddr:
        """The To. Raises MalformedError."""
        if self._receiver is None:
            self._receiver = parse_name_addr(self.need(b"To"))
        return self._receiver

    @property
    def from_tag(self) -> bytes:
        """The tag of From, or b"". Raises MalformedError."""
        return self.sender.tag

    @property
    def to_tag(self) -> bytes:
        """The tag of To, or b"". Raises MalformedError."""
        return self.receiver.tag

    def repeated(self, key: bytes) -> bool:
        """Tell whether the header stands on more than one line."""
        return self._more is not None and key in self._more

    def _check_routes(self) -> None:
        """Make sure that a route set can be made of Record-Route (RFC 3261 12.1). Raises MalformedError."""
        for value in self.values(b"Record-Route"):
            for item in split_list(value):
                parse_uri(parse_name_addr(item).uri)


class Request(_Message):
    """A request. ``method`` keeps its case: methods are case-sensitive (RFC 3261 7.1)."""

    __slots__ = ("_hops", "_sound", "method", "uri")

    def __init__(
        self,
        method: bytes,
        uri: bytes,
        rows: Rows,
        index: dict[bytes, bytes],
        more: dict[bytes, list[bytes]] | None = None,
        body: bytes = b"",
        via: Via | None = None,
        cseq: tuple[int, bytes] | None = None,
        sender: NameAddr | None = None,
        receiver: NameAddr | None = None,
        hops: int = -1,
        sound: Uri | None = None,
    ) -> None:
        """What has been read already may be given: the values of headers, and the URI, parsed, of a request
        that :meth:`check` would find nothing wrong with.
        """
        self.method = method
        self.uri = uri
        self._hops = hops
        self._sound = sound
        self.rows = rows
        self.index = index
        self._more = more
        self.body = body
        self.call_id = index.get(b"Call-ID", b"")
        self._via = via
        self._cseq = cseq
        self._sender = sender
        self._receiver = receiver

    @property
    def max_forwards(self) -> int:
        """Hops left; 70 when the header is absent, as RFC 2543 peers leave it (RFC 3261 16.6).

        Raises MalformedError.
        """
        if self._hops < 0:
            value = self.index.get(b"Max-Forwards")
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
        if self._more is not None:
            for key in self._more:
                if key in _ONCE:
                    raise MalformedError(f"{key.decode()} is repeated")
        if self.cseq[1] != self.method:
            raise MalformedError("CSeq names another method")
        if not self.call_id:
            raise MalformedError("Call-ID is missing")
        _ = self.via, self.max_forwards, self.sender, self.receiver
        if b"Contact" in self.index:
            for value in self.values(b"Contact"):
                if value != b"*" or self.method != b"REGISTER":
                    check_contact(value)
        if b"Record-Route" in self.index:
            self._check_routes()
        uri = parse_uri(self.uri)
        if uri.headers:
            raise MalformedError("headers in the Request-URI")
        return uri


class Response(_Message):
    """A response. ``phrase`` is as it came, possibly empty or not ASCII."""

    __slots__ = ("_branch", "phrase", "status")

    def __init__(
        self,
        status: int,
        phrase: bytes,
        rows: Rows,
        index: dict[bytes, bytes],
        more: dict[bytes, list[bytes]] | None = None,
        body: bytes = b"",
        branch: bytes | None = None,
        cseq: tuple[int, bytes] | None = None,
        receiver: NameAddr | None = None,
    ) -> None:
        """What has been read already of Via, CSeq and To may be given."""
        self.status = status
        self.phrase = phrase
        self.rows = rows
        self.index = index
        self._more = more
        self.body = body
        self.call_id = index.get(b"Call-ID", b"")
        self._via = self._sender = None
        self._branch = branch
        self._cseq = cseq
        self._receiver = receiver

    @property
    def branch(self) -> bytes:
        """The branch of the topmost Via, which is all that finds a response's transaction.

        Raises MalformedError.
        """
        if self._branch is None:
            match = _BRANCH.match(self.index.get(b"Via", b""))
            self._branch = self.via.branch if match is None else match[1]
        return self._branch

    @property
    def has_two_vias(self) -> bool:
        """Whether it has more than the one Via of ours (RFC 3261 8.1.3.3). Raises MalformedError."""
        if self._more is not None and b"Via" in self._more:
            return True
        value = self.index[b"Via"]
        return COMMA in value and len(split_list(value)) > 1

    def check(self) -> None:
        """Make sure that a dialog can be made of this response (RFC 3261 12.1.2). Raises MalformedError."""
        _ = self.receiver
        if b"Record-Route" in self.index:
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
    assert _reader is not None, "the native core is in use"
    if data[:4] == b"SIP/":
        response = _reader.read_response(data)
        if response is not None:
            return Response(*response)
    else:
        request = _reader.read_request(data)
        if request is not None:
            return Request(*request)
    return parse_pure(data)


_READER = speedups.reader_type()
_reader: Final = None if _READER is None else _READER(KEYS, Via, NameAddr, Uri)
parse: Final = parse_pure if _reader is None else parse_native
