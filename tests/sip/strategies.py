"""Hypothesis strategies for SIP: values, header lines and whole messages, well formed and spoilt.

A :class:`Draft` is a message as a peer might write it: any order, case, compact form, fold and white space
that RFC 3261 allows, with the meaning kept beside the bytes so that a test can compare the two. ``spoilt()``
gives such messages after a few random injuries, which is nearer to real trouble than random bytes are.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gateway.sip.headers import quote
from gateway.sip.rows import header_key

# Every property is checked on the same examples in every run: a failure can be repeated by running again.
PROPERTY = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

ALNUM = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
TOKEN_BYTES = ALNUM + b"-.!%*_+`'~"

COMPACT = {
    b"Via": b"v", b"From": b"f", b"To": b"t", b"Call-ID": b"i", b"Contact": b"m",
    b"Content-Length": b"l", b"Subject": b"s",
}  # fmt: skip


def chars(alphabet: bytes, low: int = 1, high: int = 12) -> st.SearchStrategy[bytes]:
    """Bytes made of ``alphabet``."""
    return st.lists(st.sampled_from(list(alphabet)), min_size=low, max_size=high).map(bytes)


tokens = chars(TOKEN_BYTES)
words = chars(ALNUM + b"-.")
methods = st.one_of(
    st.sampled_from([b"INVITE", b"ACK", b"BYE", b"CANCEL", b"OPTIONS", b"MESSAGE", b"UPDATE"]), tokens
)
statuses = st.integers(100, 699)
phrases = st.one_of(
    st.sampled_from([b"Decline", b"Busy Here", b"", b"Network Blocked"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=30).map(str.encode),
)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).map(str.encode)
quoted = texts.map(quote)
ports = st.integers(1, 65535)
ipv4_hosts = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)).encode())
ipv6_hosts = st.integers(0, 2**128 - 1).map(lambda n: b"[%b]" % str(ipaddress.IPv6Address(n)).encode())
names = st.lists(chars(ALNUM, 1, 8), min_size=1, max_size=4).map(b".".join)
hosts = st.one_of(names, ipv4_hosts, ipv6_hosts)
users = st.one_of(
    st.integers(10**6, 10**12).map(lambda n: b"+%d" % n),
    chars(ALNUM + b"-_.!~*'()&=+$,;?/"),
    chars(ALNUM).map(lambda text: text + b"%40x"),
)
branches = words.map(lambda text: b"z9hG4bK" + text)
bodies = st.one_of(st.just(b""), st.binary(max_size=200), st.just(b"v=0\r\n\r\no=- 1 1 IN IP4 192.0.2.1\r\n"))


@st.composite
def uris(draw: st.DrawFn) -> bytes:
    """A sip or sips URI."""
    scheme = draw(st.sampled_from([b"sip", b"sips"]))
    user = draw(st.one_of(st.just(b""), users.map(lambda text: text + b"@")))
    port = draw(st.one_of(st.just(b""), ports.map(lambda number: b":%d" % number)))
    params = draw(st.sampled_from([b"", b";lr", b";transport=udp", b";user=phone;x=%41"]))
    return scheme + b":" + user + draw(hosts) + port + params


@st.composite
def vias(draw: st.DrawFn) -> bytes:
    """A Via value."""
    port = draw(st.one_of(st.just(b""), ports.map(lambda number: b":%d" % number)))
    params = draw(
        st.permutations([b";branch=" + draw(branches), draw(st.sampled_from([b"", b";rport", b";ttl=1"]))])
    )
    return b"SIP/2.0/UDP " + draw(hosts) + port + b"".join(params)


@st.composite
def addresses(draw: st.DrawFn) -> bytes:
    """A From, To or Contact value in angle brackets, with a tag."""
    display = draw(
        st.one_of(st.just(b""), words.map(lambda text: text + b" "), quoted.map(lambda text: text + b" "))
    )
    return display + b"<" + draw(uris()) + b">;tag=" + draw(words)


@st.composite
def reasons(draw: st.DrawFn) -> bytes:
    """A Reason value whose text may hold anything that quoting lets through."""
    protocol = draw(st.sampled_from([b"SIP", b"Q.850", b"X-Own"]))
    return b"%b;cause=%d;text=%b" % (protocol, draw(st.integers(1, 999)), draw(quoted))


@dataclass
class Draft:
    """A well-formed message: its start line, its header lines as written with their meaning, its body."""

    start: bytes
    lines: list[tuple[bytes, bytes, bytes]]  # key, line as written, value as meant
    body: bytes

    @property
    def data(self) -> bytes:
        """The message as bytes."""
        return b"\r\n".join([self.start, *(line for _, line, _ in self.lines), b"", self.body])

    def values(self, key: bytes) -> list[bytes]:
        """What the lines of a header mean, in order."""
        return [value for row_key, _, value in self.lines if row_key == key]


@st.composite
def header_lines(draw: st.DrawFn, name: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    """One header line, in any spelling of its name, with white space and folds where they are allowed."""
    shown = draw(
        st.sampled_from([name, name.lower(), name.upper(), name.swapcase(), COMPACT.get(name, name)])
    )
    before = draw(st.sampled_from([b"", b"", b" ", b"\t "]))
    after = draw(st.sampled_from([b" ", b" ", b"", b"  ", b"\r\n "]))
    return header_key(name), shown + before + b":" + after + value, value


@st.composite
def extra_headers(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A header that no table knows, or a free-text one, whose value may go over several lines."""
    name = draw(
        st.one_of(st.sampled_from([b"Subject", b"X-Own", b"User-Agent"]), tokens.map(lambda t: b"X-" + t))
    )
    parts = draw(st.lists(chars(ALNUM + b';,<>"=:@\\\xc3\xa9'), max_size=4))
    gaps = draw(st.lists(st.sampled_from([b" ", b" \r\n ", b"\r\n\t", b"\r\n   "]), min_size=4, max_size=4))
    written = b"".join(part + gap for part, gap in zip(parts[:-1], gaps, strict=False)) + b"".join(parts[-1:])
    key, line, _ = draw(header_lines(name, written))
    return key, line, b" ".join(parts)


@st.composite
def drafts(draw: st.DrawFn, kind: str = "") -> Draft:
    """A well-formed message; ``kind`` is "request", "response" or "" for either."""
    method = draw(methods)
    if (kind or draw(st.sampled_from(["request", "response"]))) == "request":
        start = b"%b %b SIP/2.0" % (method, draw(uris()))
    else:
        start = b"SIP/2.0 %d %b" % (draw(statuses), draw(phrases))
    body = draw(bodies)
    headers = [
        *((b"Via", value) for value in draw(st.lists(vias(), min_size=1, max_size=3))),
        (b"From", draw(addresses())),
        (b"To", draw(addresses())),
        (b"Call-ID", draw(words) + b"@" + draw(names)),
        (b"CSeq", b"%d %b" % (draw(st.integers(0, 2**31 - 1)), method)),
        (b"Max-Forwards", b"%d" % draw(st.integers(0, 255))),
        *((b"Contact", value) for value in draw(st.lists(addresses(), max_size=2))),
        *((b"Reason", value) for value in draw(st.lists(reasons(), max_size=2))),
        (b"Content-Length", b"%d" % len(body)),
    ]
    lines = [draw(header_lines(name, value)) for name, value in headers]
    lines += draw(st.lists(extra_headers(), max_size=3))
    return Draft(start, draw(st.permutations(lines)), body)


def injure(data: bytes, injuries: list[tuple[str, int, int, bytes]]) -> bytes:
    """Apply injuries, each a kind with two positions (taken modulo the length) and some bytes."""
    for kind, first, second, stuff in injuries:
        low, high = sorted((first % (len(data) + 1), second % (len(data) + 1)))
        if kind == "flip":
            data = data[:low] + stuff[:1] + data[low + 1 :]
        elif kind == "delete":
            data = data[:low] + data[min(high, low + 40) :]
        elif kind == "duplicate":
            data = data[:high] + data[low:high] + data[high:]
        elif kind == "insert":
            data = data[:low] + stuff + data[low:]
        elif kind == "truncate":
            data = data[:low]
    return data


SCRAPS = [
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\n ", b"\x00", b'"', b"<", b">", b";", b",", b":", b"\\", b" ",
    b"Via: ", b"\r\nl: 5\r\n", b"\r\nTo: x\r\n", b"[::", b"=", b"%", b"\xff",
]  # fmt: skip
scraps = st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(SCRAPS))
injuries = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "duplicate", "insert", "insert", "truncate"]),
        st.integers(0, 4000),
        st.integers(0, 4000),
        scraps,
    ),
    min_size=1,
    max_size=5,
)


def spoilt(messages: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Messages after one to five injuries: octets changed, cut out, doubled, put in, or the end cut off."""
    return st.builds(injure, messages, injuries)
