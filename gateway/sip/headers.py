"""Typed header values, read on demand from the bytes of one header field value.

Each parser takes a value as :meth:`Message.get` or :meth:`Message.values` returns it (unfolded, without
surrounding white space) and either returns a typed value or raises MalformedError. The common form of the
frequent headers is read by one regular expression; what that does not match goes through the full grammar.

These expressions meet hostile bytes, so none may backtrack over a run twice: where white space, a token or a
quoted string is followed by something optional, the quantifier is possessive (``*+``, ``++``). Only single
classes are repeated so: Pythons before 3.11.5 get possessive groups wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .errors import MalformedError
from .parted import Parted

TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]+"
_QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_TOKEN_RE = re.compile(TOKEN)
_PARAM: Final = re.compile(
    rb"\s*+;\s*+(" + TOKEN + rb")(?:\s*+=\s*+(" + _QUOTED + rb"|[^\s;,\"<>]+|<[^<>]*>|(?=;|$)))?",
    re.DOTALL,
)
_LIST_PIECE = re.compile(rb'[^",<]++|' + _QUOTED + rb"|<[^>]*+>", re.DOTALL)
COMMA: Final = ord(",")  # a search for a number is the fast one: bytes in bytes raises and catches inside
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

Params = dict[bytes, bytes | None]


def is_token(text: bytes) -> bool:
    """Tell whether ``text`` is a token (RFC 3261 25.1)."""
    return _TOKEN_RE.fullmatch(text) is not None


def unquote(value: bytes) -> bytes:
    """Take the quotes and quoted-pair escapes off a quoted string; other values come back as they are."""
    if value[:1] != b'"':
        return value
    inner = value[1:-1]
    return _ESCAPED.sub(rb"\1", inner) if b"\\" in inner else inner


def quote(text: bytes) -> bytes:
    """Make a quoted string of ``text`` (RFC 3261 25.1)."""
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def split_list(value: bytes) -> list[bytes]:
    """Split a comma list, minding quoted strings and <URIs>. Empty members are dropped (RFC 3261 7.3.1)."""
    if COMMA not in value:
        return [value] if value else []
    items = []
    begin = at = 0
    while at < len(value):
        if value[at] == COMMA:
            items.append(value[begin:at].strip())
            begin = at = at + 1
            continue
        piece = _LIST_PIECE.match(value, at)
        if piece is None:
            raise MalformedError("unbalanced quotes or brackets in a list")
        at = piece.end()
    items.append(value[begin:].strip())
    return [item for item in items if item]


def parse_params(text: bytes) -> Params:
    """Read ``;name=value;flag`` with the values as written (quotes kept); names in lower case.

    A repeated name keeps its first value. Raises MalformedError when anything is left over.
    """
    params: Params = {}
    at = 0
    end = len(text)
    while at < end:
        match = _PARAM.match(text, at)
        if match is None:
            if text[at:].strip():
                raise MalformedError("bad parameters")
            break
        params.setdefault(match[1].lower(), match[2])
        at = match.end()
    return params


# -- Via (RFC 3261 20.42, RFC 3581) ----------------------------------------------------------------

_VIA_MARKS = rb"(?:;rport(?:=[0-9]+)?|;received=[0-9A-Fa-f.:\[\]]+)*"
_VIA_FAST: Final = re.compile(
    rb"SIP/2\.0/([A-Z]+) ([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?"
    rb"(" + _VIA_MARKS + rb";branch=([\w.\-]+)" + _VIA_MARKS + rb")"
)
_VIA: Final = re.compile(
    rb"\s*(SIP)\s*/\s*([0-9.]+)\s*/\s*(" + TOKEN + rb")\s+([A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])"
    rb"(?:\s*:\s*([0-9]{1,5}))?\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
COOKIE: Final = b"z9hG4bK"


class Via(Parted):
    """The topmost Via of a message. ``port`` is 0 when sent-by names none; ``rport`` is true when the
    sender asked for symmetric response routing (RFC 3581 3).
    """

    __slots__ = ("branch", "host", "params", "port", "raw", "rport", "transport")

    def __init__(
        self, raw: bytes, transport: bytes, host: bytes, port: int, branch: bytes, rport: bool, params: bytes
    ) -> None:
        self.raw = raw
        self.transport = transport
        self.host = host
        self.port = port
        self.branch = branch
        self.rport = rport
        self.params = params

    def parts(self) -> tuple[object, ...]:
        """Return all fields."""
        return self.raw, self.transport, self.host, self.port, self.branch, self.rport, self.params

    @property
    def sent_by(self) -> bytes:
        """Host and port as a transaction key needs them (RFC 3261 17.2.3)."""
        return b"%b:%d" % (self.host, self.port)

    @property
    def has_cookie(self) -> bool:
        """Whether the branch is unique by RFC 3261 8.1.1.7 (else RFC 2543 matching applies)."""
        branch = self.branch
        return len(branch) > 7 and (branch[:7] == COOKIE or branch[:7].lower() == COOKIE.lower())


def parse_via(value: bytes) -> Via:
    """Read one Via value (the first of a comma list when ``value`` is one)."""
    match = _VIA_FAST.fullmatch(value)
    if match is not None:
        transport, host, port, params, branch = match.groups()
        rport = b";rport" in params
    else:
        value = (split_list(value) or [b""])[0] if COMMA in value else value
        match = _VIA.fullmatch(value)
        if match is None:
            raise MalformedError("bad Via")
        _, version, transport, host, port, params = match.groups()
        if version != b"2.0":
            raise MalformedError("version in Via", 505)
        table = parse_params(params)
        branch = table.get(b"branch") or b""
        rport = b"rport" in table
    number = int(port) if port else 0
    if number > 65535:
        raise MalformedError("port out of range in Via")
    return Via(value, transport, host, number, branch, rport, params)


# -- From, To, Contact, Route and their like (RFC 3261 20.10) ---------------------------------------

_ADDR_FAST: Final = re.compile(rb'((?:"[^"\\<>]*" ?|[\w\-. ]*))<([^<>\s"]+)>(?:;tag=([\w.\-]+))?')
_NAME_ADDR: Final = re.compile(
    rb"\s*+(" + _QUOTED + rb"|[A-Za-z0-9\-.!%*_+`'~\s]*+)\s*+<([^<>\s\"]+)>\s*(.*)", re.DOTALL
)
_ADDR_SPEC: Final = re.compile(rb"\s*([A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\",;?]+)\s*(.*)", re.DOTALL)


class NameAddr(Parted):
    """A name-addr or addr-spec with header parameters. ``display`` is as written, quotes included; ``tag`` is
    the tag parameter, or b"" (RFC 3261 19.3). ``bare`` is the value as it came but for the tag, where it has
    been read natively, else b"".
    """

    __slots__ = ("_display", "_params", "bare", "tag", "uri")

    def __init__(
        self, display: bytes, uri: bytes, params: Params | None, tag: bytes = b"", bare: bytes = b""
    ) -> None:
        """``params`` of None stands for the tag alone; ``bare``, where it is given, has the display name."""
        self._display = display
        self.uri = uri
        self._params = params
        self.tag = tag if params is None else params.get(b"tag") or b""
        self.bare = bare

    @property
    def display(self) -> bytes:
        """The display name."""
        if self.bare:
            return self.bare[: -len(self.uri) - 2].rstrip()
        return self._display

    @property
    def params(self) -> Params:
        """The header parameters."""
        if self._params is None:
            self._params = {b"tag": self.tag} if self.tag else {}
        return self._params

    def parts(self) -> tuple[object, ...]:
        """Return display name, URI and parameters."""
        return self.display, self.uri, self.params


def parse_name_addr(value: bytes) -> NameAddr:
    """Read one From, To, Contact, Route, Record-Route, P-Asserted-Identity, Refer-To ... value.

    In the form without angle brackets, parameters belong to the header and the URI may hold no comma,
    question mark or semicolon (RFC 3261 20).
    """
    match = _ADDR_FAST.fullmatch(value)
    if match is not None:
        display, uri, tag = match.groups()
        return NameAddr(display.rstrip(), uri, None, tag or b"")
    match = _NAME_ADDR.fullmatch(value)
    if match is not None:
        display, uri, rest = match.groups()
    else:
        match = _ADDR_SPEC.fullmatch(value)
        if match is None:
            raise MalformedError("bad name-addr")
        display, (uri, rest) = b"", match.groups()
    if rest and rest[:1] != b";":
        raise MalformedError("bad name-addr")
    return NameAddr(display.rstrip(), uri, parse_params(rest))


def without_tag(value: bytes) -> bytes:
    """Return a From or To value as it came but for its tag parameter. Raises MalformedError."""
    if value[-1:] == b">":
        return value
    bare, tagged, tag = value.rpartition(b">;tag=")
    if tagged and tag.isalnum():
        return bare + b">"
    match = _NAME_ADDR.fullmatch(value) or _ADDR_SPEC.fullmatch(value)
    if match is None:
        raise MalformedError("bad name-addr")
    at = match.start(match.re.groups)
    kept = [value[:at]]
    while at < len(value):
        param = _PARAM.match(value, at)
        if param is None:
            break
        if param[1].lower() != b"tag":
            kept.append(param[0])
        at = param.end()
    return b"".join(kept).rstrip()


def parse_addresses(values: Iterable[bytes]) -> list[NameAddr]:
    """Read every address of the header's lines, comma lists included."""
    return [parse_name_addr(item) for value in values for item in split_list(value)]


# -- CSeq and RAck -----------------------------------------------------------------------------------

_CSEQ: Final = re.compile(rb"\s*([0-9]+)\s+(" + TOKEN + rb")\s*")
_RACK = re.compile(rb"\s*([0-9]{1,10})\s+([0-9]{1,10})\s+(" + TOKEN + rb")\s*")


def parse_cseq(value: bytes) -> tuple[int, bytes]:
    """Read CSeq: sequence number below 2**31 and method (RFC 3261 8.1.1.5, 20.16)."""
    digits, _, method = value.partition(b" ")
    if digits.isdigit() and len(digits) < 10 and method.isalpha():
        return int(digits), method
    match = _CSEQ.fullmatch(value)
    if match is None:
        raise MalformedError("bad CSeq")
    digits, method = match.groups()
    if len(digits) > 32 or int(digits) >= 2**31:
        raise MalformedError("CSeq out of range")
    return int(digits), method


@dataclass(slots=True)
class RAck:
    """What a PRACK acknowledges (RFC 3262 7.2)."""

    rseq: int
    cseq: int
    method: bytes


def parse_rack(value: bytes) -> RAck:
    """Read RAck: response number, CSeq number and method of the response's request."""
    match = _RACK.fullmatch(value)
    if match is None:
        raise MalformedError("bad RAck")
    return RAck(int(match[1]), int(match[2]), match[3])


# -- Reason (RFC 3326, RFC 8606) ---------------------------------------------------------------------

_REASON = re.compile(rb"\s*(" + TOKEN + rb")\s*(.*)", re.DOTALL)
_PIECE = re.compile(rb";(?:[^;\"]++|" + _QUOTED + rb")*", re.DOTALL)


@dataclass(slots=True)
class Reason:
    """One Reason value. ``protocol`` is as written; ``cause`` is None when absent or no number;
    ``text`` is unquoted; ``location`` is upper case (RFC 8606; also accepted on protocol SIP).
    """

    raw: bytes
    protocol: bytes
    cause: int | None
    text: bytes
    location: bytes
    params: Params

    @property
    def kind(self) -> bytes:
        """The protocol in upper case, to compare by: protocols are tokens, which ignore case."""
        return self.protocol.upper()


def parse_reasons(values: Iterable[bytes]) -> list[Reason]:
    """Read every Reason value; header lines and comma lists are the same thing (RFC 3326 2).

    What cannot be read is passed over: a bad Reason never spoils a good response.
    """
    reasons = []
    for value in values:
        try:
            items = split_list(value)
        except MalformedError:
            continue
        for raw in items:
            reason = _parse_reason(raw)
            if reason is not None:
                reasons.append(reason)
    return reasons


def _parse_reason(raw: bytes) -> Reason | None:
    raw = raw.removesuffix(b";").rstrip()  # there are peers that write one behind each parameter
    match = _REASON.fullmatch(raw)
    if match is None:
        return None
    try:
        params = parse_params(match[2])
    except MalformedError:
        params = _readable_params(match[2])
        if not params:
            return None
    cause = unquote(params.get(b"cause") or b"")
    return Reason(
        raw,
        match[1],
        int(cause) if cause.isdigit() and len(cause) <= 4 else None,
        unquote(params.get(b"text") or b""),
        unquote(params.get(b"location") or b"").upper(),
        params,
    )


def _readable_params(text: bytes) -> Params:
    """Read the parameters that can be read where others cannot: ``;cause=16;text=Normal call clearing``.

    Each ends at the next semicolon outside of quotes; where quotes leave that open there are none.
    """
    pieces = _PIECE.findall(text)
    if b"".join(pieces) != text:
        return {}
    params: Params = {}
    for piece in pieces:
        name, equals, value = piece[1:].partition(b"=")
        if is_token(name.strip()):
            params.setdefault(name.strip().lower(), value.strip() if equals else None)
    return params


# -- Retry-After, Warning, Max-Forwards, auth --------------------------------------------------------

_RETRY_AFTER = re.compile(rb"\s*([0-9]{1,10})\s*(?:\(.*\)\s*)?((?:;.*)?)", re.DOTALL)
_WARNING = re.compile(rb"\s*([0-9]{3})\s+(\S+)\s+(" + _QUOTED + rb")\s*", re.DOTALL)
_AUTH = re.compile(rb"\s*(" + TOKEN + rb")\s+(.*)", re.DOTALL)
_AUTH_PARAM = re.compile(rb"\s*(" + TOKEN + rb")\s*=\s*(" + _QUOTED + rb"|[^\s,\"]+)\s*(?:,|$)", re.DOTALL)


def parse_retry_after(value: bytes) -> int:
    """Read Retry-After: seconds, below 2**32 (RFC 3261 20.33)."""
    match = _RETRY_AFTER.fullmatch(value)
    if match is None or int(match[1]) >= 2**32:
        raise MalformedError("bad Retry-After")
    parse_params(match[2])
    return int(match[1])


@dataclass(slots=True)
class WarningValue:
    """One Warning value (RFC 3261 20.43)."""

    code: int
    agent: bytes
    text: bytes


def parse_warnings(values: Iterable[bytes]) -> list[WarningValue]:
    """Read Warning values: three-digit code, agent, quoted text."""
    warnings = []
    for value in values:
        for item in split_list(value):
            match = _WARNING.fullmatch(item)
            if match is None:
                raise MalformedError("bad Warning")
            warnings.append(WarningValue(int(match[1]), match[2], unquote(match[3])))
    return warnings


_HOPS = {b"%d" % hops: hops for hops in range(256)}


def parse_max_forwards(value: bytes) -> int:
    """Read Max-Forwards: 0 to 255 (RFC 3261 20.22)."""
    hops = _HOPS.get(value)
    if hops is None:
        hops = _HOPS.get(value.lstrip(b"0") or b"0") if len(value) <= 8 else None
    if hops is None or not value.isdigit():
        raise MalformedError("bad Max-Forwards")
    return hops


@dataclass(slots=True)
class Auth:
    """A challenge or credentials: scheme in lower case, parameters unquoted (RFC 3261 20.7, 20.44)."""

    scheme: bytes
    params: dict[bytes, bytes]


def parse_auth(value: bytes) -> Auth:
    """Read Authorization, Proxy-Authorization, WWW-Authenticate or Proxy-Authenticate."""
    match = _AUTH.fullmatch(value)
    if match is None:
        raise MalformedError("bad authentication header")
    return Auth(match[1].lower(), dict(_auth_params(match[2])))


def _auth_params(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(text):
        match = _AUTH_PARAM.match(text, at)
        if match is None:
            raise MalformedError("bad authentication parameters")
        yield match[1].lower(), unquote(match[2])
        at = match.end()
