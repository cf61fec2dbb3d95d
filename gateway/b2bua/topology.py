"""Hiding one side's network from the other (RFC 3323 5.1, RFC 5853 3.1), header by header.

What each leg owns (Via, Contact, Call-ID, Record-Route ...) names nobody but us already. Here is the rest:

- :data:`PASSES` says nothing of addresses, or is a secret shared end to end: byte for byte.
- :data:`ADDRESSES` names people: the user stays, the host becomes ours, so that it can be called through us.
- :data:`LINKS` point somewhere: what is inside the message stays, what would have to be fetched from the
  other side goes. The redress contact of a 608 is meant for the caller and stays (RFC 8688).
- `_REST` is treated each in its own way.
- Everything else describes the other side's equipment, or is unknown and could: it goes, unless the trunk's
  ``keep`` names it.

Bodies are the business of :mod:`gateway.b2bua.bodies`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from gateway.sip.errors import MalformedError
from gateway.sip.headers import Params, parse_name_addr, split_list
from gateway.sip.rows import Rows, header_key, unfold
from gateway.sip.uri import Uri, parse_uri, unescape

PASSES = frozenset(
    (
        b"Accept", b"Accept-Contact", b"Accept-Encoding", b"Accept-Language", b"Accept-Resource-Priority",
        b"Allow", b"Allow-Events", b"Answer-Mode", b"Authentication-Info", b"Authorization",
        b"Content-Disposition", b"Content-Encoding", b"Content-Language", b"Date", b"Expires",
        b"Flow-Timer", b"Geolocation-Error", b"Geolocation-Routing",
        b"Info-Package", b"Max-Breadth", b"MIME-Version", b"Min-Expires", b"Min-SE", b"P-Answer-State",
        b"P-Asserted-Service", b"P-Early-Media", b"P-Preferred-Service", b"Priority", b"Priority-Share",
        b"Priority-Verstat", b"Priv-Answer-Mode", b"Privacy", b"Proxy-Authenticate", b"Proxy-Authorization",
        b"Proxy-Require", b"RAck", b"Reason", b"Reason-Phrase", b"Recv-Info", b"Refer-Sub",
        b"Reject-Contact", b"Request-Disposition", b"Require", b"Resource-Priority", b"Resource-Share",
        b"Retry-After", b"RSeq", b"Session-Expires", b"Session-ID", b"SIP-ETag", b"SIP-If-Match", b"Subject",
        b"Subscription-State", b"Supported", b"Suppress-If-Match", b"Timestamp", b"Unsupported",
        b"User-to-User", b"WWW-Authenticate", header_key(b"X-Original-Response"),
    )
)  # fmt: skip
ADDRESSES = frozenset(
    (
        b"Additional-Identity", b"Contact", b"Diversion", b"From", b"History-Info", b"P-Asserted-Identity",
        b"P-Associated-URI", b"P-Called-Party-ID", b"P-Preferred-Identity", b"P-Profile-Key",
        b"P-Refused-URI-List", b"P-Served-User", b"Permission-Missing", b"Refer-To", b"Referred-By",
        b"Remote-Party-ID", b"Reply-To", b"To", b"Trigger-Consent",
    )
)  # fmt: skip
LINKS = frozenset((b"Alert-Info", b"Call-Info", b"Error-Info", b"Geolocation"))

# Parameters that say nothing of a host, in URIs and behind them; others could, and go.
_URI_PARAMS = frozenset(b"cause cic cpc ext isub method noa npdi oli rn user".split())
_PARAMS = frozenset(
    b"answer-after cause counter expires id-type index info limit mp np party privacy purpose q rc reason "
    b"regstate screen sescase tag text verstat".split()
)
_URI_HEADERS = frozenset((b"Privacy", b"Reason", b"Replaces", b"Require"))
_SIP = (b"sip", b"sips")
_WITHIN = (b"urn", b"data", b"cid")  # no host is asked for these

_NUMBER = re.compile(rb"\+?[0-9][0-9().\-]*")
_PHONE_CONTEXT = re.compile(rb"(;phone-context=)(?!\+)[^;@]*", re.IGNORECASE)
_AT_HOST = re.compile(rb"@[^>\s]*")
_START = re.compile(rb"(;\s*start\s*=\s*[^@;]*@)[^\">;\s]*", re.IGNORECASE)  # of a multipart: a Content-ID
_CALL_ID = re.compile(rb"(\bcall-?id\s*=\s*[\"'][^\"'@]*@)[^\"']*", re.IGNORECASE)  # an attribute in XML
_QUOTED_PARAM = re.compile(rb';\s*[^\s;=,"]+\s*=\s*("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)
_WARNING = re.compile(rb'([0-9]{3})\s+\S+\s+("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)
_TELLS = re.compile(
    rb"[@/]|[0-9][.:][0-9A-Fa-f]|::|[A-Za-z0-9\-]\.[A-Za-z]"
)  # an address, a URI, a host name
_TAGS = re.compile(rb";\s*(?:(?:to|from|local|remote)-tag)\s*=\s*([^;\s]+)", re.IGNORECASE)
_EVENT_PARAM = re.compile(rb';\s*(call-id|to-tag|from-tag)\s*=\s*("[^"]*"|[^;\s]*)', re.IGNORECASE)

MaySee = Callable[[bytes, bytes, bytes], bool]
"""Whether the side that is sent to may see a dialog's name, this Call-ID and these two tags: it has the
dialog itself, or the name has no Call-ID of a peer's."""


class Hiding:
    """How rows are hidden from one trunk. ``own`` is the HOST or HOST:PORT that stands for every other."""

    __slots__ = ("_keep", "_may_see", "host", "own")

    def __init__(self, own: bytes, keep: Iterable[bytes], may_see: MaySee) -> None:
        self.own = own
        self.host = own.rpartition(b"]")[0].lstrip(b"[") or own.partition(b":")[0]  # without brackets
        self._keep = frozenset(header_key(name) for name in keep)
        self._may_see = may_see

    def line(self, key: bytes, line: bytes, rows: Rows) -> bytes | None:
        """Return the line of a header as it may be seen, or None when it may not. ``rows`` is the message."""
        if key in PASSES or key in self._keep:
            return line
        if key in ADDRESSES:
            return self._addresses(line, lambda uri, _params: self.uri(uri))
        if key in LINKS:
            keep_web = (
                key == b"Geolocation"
            )  # where help is sent to; without it an emergency call is worse off
            return self._addresses(line, lambda uri, params: self._link(uri, params, keep_web))
        rest = _REST.get(key)
        return None if rest is None else rest(self, line, rows)

    def end(self, line: bytes) -> bytes:
        """Return the line of a From or To, which must be there, as it may be seen."""
        hidden = self._addresses(line, lambda uri, _params: self.uri(uri))
        if hidden is not None:
            return hidden
        tag = parse_name_addr(unfold(line.partition(b":")[2])).tag
        nobody = b"<sip:anonymous@anonymous.invalid>"  # RFC 3323 4.1.1.3
        return b"%b: %b" % (line.partition(b":")[0], b"%b;tag=%b" % (nobody, tag) if tag else nobody)

    def uri(self, uri: Uri) -> bytes | None:
        """Return a URI as it may be seen: at our host when it is of SIP; None when it may not."""
        if uri.scheme == b"tel":
            context = rb"\g<1>" + self.host
            return b"tel:%b%b" % (uri.user, _PHONE_CONTEXT.sub(context, uri.params))
        if uri.scheme == b"cid":
            return _AT_HOST.sub(b"@" + self.own, uri.raw)
        if uri.scheme not in _SIP:
            return None
        if uri.host.lower().endswith(b".invalid"):
            return uri.raw  # RFC 3323 4.1.1.3: nobody's, and peers know an anonymous caller by it
        user = _PHONE_CONTEXT.sub(b"", uri.user) + b"@" if uri.user else b""
        params = [part for part in uri.params.split(b";")[1:] if _name(part).lower() in _URI_PARAMS]
        return b";".join([b"%b:%b%b" % (uri.scheme, user, self.own), *params]) + self._uri_headers(uri)

    def in_text(self, text: bytes) -> bytes:
        """Return text with every SIP URI in it at our host, and so the Call-IDs of its XML (RFC 4235 4.1)."""
        at_own = rb"\g<1>" + self.own
        return _CALL_ID.sub(at_own, _URI_IN_TEXT.sub(at_own, text))

    def content_id(self, line: bytes, _rows: Rows | None = None) -> bytes:
        """Return a Content-ID line whose host is ours, as that of the cid URIs that point to it is."""
        return _AT_HOST.sub(b"@" + self.own, line)

    def content_type(self, line: bytes, _rows: Rows | None = None) -> bytes:
        """``start`` names the Content-ID of a part (RFC 2387 3.2), which is at our host."""
        return _START.sub(rb"\g<1>" + self.own, line)

    # -- in private -------------------------------------------------------------------------------------

    def _addresses(self, line: bytes, see: Callable[[Uri, Params], bytes | None]) -> bytes | None:
        """Hide each address of a comma list; those that cannot be read or seen go."""
        name, _, value = line.partition(b":")
        try:
            items = split_list(unfold(value))
        except MalformedError:
            return None
        seen = [item for item in (self._address(item, see) for item in items) if item]
        return b"%b: %b" % (name, b", ".join(seen)) if seen else None

    def _address(self, item: bytes, see: Callable[[Uri, Params], bytes | None]) -> bytes:
        try:
            address = parse_name_addr(item)
            uri = see(parse_uri(address.uri), address.params)
        except MalformedError:
            return b""
        if uri is None:
            return b""
        display = b"" if _TELLS.search(address.display) else address.display
        params = [
            name if value is None else b"%b=%b" % (name, value)
            for name, value in address.params.items()
            if name in _PARAMS
        ]
        return b";".join([b"%b<%b>" % (display + b" " if display else b"", uri), *params])

    def _link(self, uri: Uri, params: Params, keep_web: bool) -> bytes | None:
        if keep_web and uri.scheme in (b"http", b"https"):
            return uri.raw
        if uri.scheme in (b"urn", b"data") or params.get(b"purpose") == b"jwscard":
            return uri.raw
        return self.uri(uri)

    def _uri_headers(self, uri: Uri) -> bytes:
        kept = []
        for part in uri.headers[1:].split(b"&"):
            key = header_key(_name(part))
            if key == b"Replaces" and not self._is_seen(unescape(part.partition(b"=")[2])):
                continue
            if key in _URI_HEADERS:
                kept.append(part)
        return b"?" + b"&".join(kept) if kept else b""

    def _is_seen(self, value: bytes) -> bool:
        """Whether the receiver may see ``call-id;..-tag=..;..-tag=..``."""
        tags = _TAGS.findall(value)
        call_id = value.partition(b";")[0].strip()
        return len(tags) == 2 and self._may_see(call_id, tags[0], tags[1])

    def _known_dialog(self, line: bytes, _rows: Rows) -> bytes | None:
        """Replaces, Join, Target-Dialog: a name that was not mapped is a Call-ID of the other side."""
        return line if self._is_seen(unfold(line.partition(b":")[2])) else None

    def _event(self, line: bytes, _rows: Rows) -> bytes:
        """The dialog that a subscription is to (RFC 4235 4.2) goes unless the receiver knows it by this very
        name; then the subscription is to all dialogs of that user.
        """
        named = {name.lower(): value for name, value in _EVENT_PARAM.findall(line)}
        one, other = named.get(b"to-tag"), named.get(b"from-tag")
        if one and other and self._may_see(named.get(b"call-id", b"").strip(b'"'), one, other):
            return line
        return _EVENT_PARAM.sub(b"", line)

    def _identity(self, line: bytes, rows: Rows) -> bytes | None:
        """A signature holds for telephone numbers whatever their host, but not for URIs whose host was
        replaced (RFC 8224 8.3, 8.5), nor without ``info``: then it is one of RFC 4474, over all that we
        change. A bad one would have the call rejected (438), none does not.
        """
        if _INFO.search(line) is None:
            return None
        for key, row in rows:
            if key in (b"From", b"To") and not _is_number(unfold(row.partition(b":")[2])):
                return None
        return line

    def _feature_caps(self, line: bytes, _rows: Rows) -> bytes:
        """Capabilities pass; values that are addresses of equipment, such as an ATCF, go (RFC 6809)."""
        return _QUOTED_PARAM.sub(lambda found: b"" if _TELLS.search(found[1]) else found[0], line)

    def _warning(self, line: bytes, _rows: Rows) -> bytes | None:
        """The code says what is wrong; the agent is a host; the text goes when it could name one."""
        name, _, value = line.partition(b":")
        try:
            found = [_WARNING.fullmatch(item) for item in split_list(unfold(value))]
        except MalformedError:
            return None
        seen = [
            b"%b %b %b" % (warning[1], self.own, b'""' if _TELLS.search(warning[2]) else warning[2])
            for warning in found
            if warning is not None
        ]
        return b"%b: %b" % (name, b", ".join(seen)) if seen else None


_Rest = Callable[[Hiding, bytes, Rows], bytes | None]
_REST: dict[bytes, _Rest] = {
    b"Content-ID": Hiding.content_id,
    b"Content-Type": Hiding.content_type,
    b"Event": Hiding._event,
    b"Feature-Caps": Hiding._feature_caps,
    b"Identity": Hiding._identity,
    b"Join": Hiding._known_dialog,
    b"Replaces": Hiding._known_dialog,
    b"Target-Dialog": Hiding._known_dialog,
    b"Warning": Hiding._warning,
}
_INFO = re.compile(rb";\s*info\s*=", re.IGNORECASE)
_URI_IN_TEXT = re.compile(rb"(\bsips?:(?:[^@\s<>\"',&?]{1,256}@)?)[^\s<>\"';&?]+", re.IGNORECASE)


def _name(part: bytes) -> bytes:
    return part.partition(b"=")[0]


def _is_number(value: bytes) -> bool:
    """Whether an address is a telephone number in the sense of RFC 8224 8.1."""
    try:
        uri = parse_uri(parse_name_addr(value).uri)
    except MalformedError:
        return False
    if uri.scheme == b"tel":
        return True
    return _NUMBER.fullmatch(uri.user.partition(b";")[0]) is not None
