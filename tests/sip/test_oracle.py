"""The message layer against another implementation, the ``sipmessage`` library.

Where both read a message they must read the same thing. Where one is stricter than the other, the difference
is written down here, so that no example passes by because somebody threw an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sipmessage
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.headers import (
    NameAddr,
    parse_addresses,
    parse_name_addr,
    parse_via,
    split_list,
    unquote,
)
from gateway.sip.message import Message, Request, Response, parse
from gateway.sip.uri import parse_uri, unescape

from .strategies import ALNUM, PROPERTY, bodies, chars, ipv4_hosts, ipv6_hosts, ports, statuses, words

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.glob("*/*.dat"))


# -- Both read the message: they read the same ----------------------------------------------------------


def assert_same_address(ours: NameAddr, theirs: sipmessage.Address) -> None:
    uri = parse_uri(ours.uri)
    user, _, password = uri.user.partition(b":")
    assert unquote(ours.display).decode() == theirs.name
    assert uri.scheme.decode() == theirs.uri.scheme
    assert unescape(user).decode() == (theirs.uri.user or "")
    assert unescape(password).decode() == (theirs.uri.password or "")
    assert uri.host.decode() == theirs.uri.host
    assert uri.port == (theirs.uri.port or 0)
    assert ours.tag.decode() == (theirs.parameters.get("tag") or "")


def assert_same_message(ours: Message, theirs: sipmessage.Request | sipmessage.Response) -> None:
    if isinstance(ours, Request):
        assert isinstance(theirs, sipmessage.Request)
        assert ours.method.decode() == theirs.method
        assert_same_address(NameAddr(b"", ours.uri, {}), sipmessage.Address(uri=theirs.uri))
    else:
        assert isinstance(theirs, sipmessage.Response)
        assert (ours.status, ours.phrase.decode()) == (theirs.code, theirs.phrase)
    assert {key.lower().decode() for key in ours.index} == {key.lower() for key in theirs.headers.keys()}  # noqa: SIM118
    for key in ours.index:
        assert [value.decode() for value in ours.values(key)] == theirs.headers.getlist(key.decode())
    vias = [parse_via(item) for value in ours.values(b"Via") for item in split_list(value)]
    assert [(via.transport, via.host, via.port, via.branch, via.rport) for via in vias] == [
        (
            via.transport.encode(),
            via.host.encode(),
            via.port or 0,
            (via.parameters.get("branch") or "").encode(),
            "rport" in via.parameters,
        )
        for via in theirs.via
    ]
    assert ours.cseq == (theirs.cseq.sequence, theirs.cseq.method.encode())
    assert ours.call_id.decode() == theirs.call_id
    assert_same_address(ours.sender, theirs.from_address)
    assert_same_address(ours.receiver, theirs.to_address)
    for our_contact, their_contact in zip(
        parse_addresses(ours.values(b"Contact")), theirs.contact, strict=True
    ):
        assert_same_address(our_contact, their_contact)


names = st.builds(lambda left, right: left + b"." + right, chars(ALNUM), st.just(b"net"))
plain_hosts = st.one_of(names, ipv4_hosts, ipv6_hosts)
plain_users = st.one_of(
    st.just(b"+12025550123"), chars(ALNUM + b"-_.!~*'()&=+$,;?/"), st.just(b"a%40b:se%63ret")
)
displays = st.one_of(
    st.just(b""),
    chars(ALNUM).map(lambda text: text + b" "),
    chars(ALNUM).map(lambda text: b'"%b, x" ' % text),
)


@st.composite
def plain_addresses(draw: st.DrawFn) -> bytes:
    host, port = draw(plain_hosts), draw(ports)
    params = draw(st.sampled_from([b"", b";lr", b";transport=udp"]))
    uri = b"sip:%b@%b:%d%b" % (draw(plain_users), host, port, params)
    return b"%b<%b>;tag=%b" % (draw(displays), uri, draw(words))


@st.composite
def plain_vias(draw: st.DrawFn) -> bytes:
    port = draw(st.one_of(st.just(b""), ports.map(lambda number: b":%d" % number)))
    mark = draw(st.sampled_from([b"", b";rport", b";ttl=16", b";received=192.0.2.1"]))
    return b"SIP/2.0/UDP %b%b%b;branch=z9hG4bK%b" % (draw(plain_hosts), port, mark, draw(words))


@st.composite
def plain_messages(draw: st.DrawFn) -> bytes:
    """Messages that both implementations read: one line a header, common spellings."""
    method = draw(st.sampled_from([b"INVITE", b"BYE", b"X-OWN"]))
    start = draw(
        st.one_of(
            plain_hosts.map(lambda host: b"%b sip:bob@%b SIP/2.0" % (method, host)),
            statuses.map(lambda status: b"SIP/2.0 %d " % status),
            statuses.map(lambda status: "SIP/2.0 %d Besetzt, später".encode() % status),
        )
    )
    body = draw(bodies)
    lines = [
        *(
            (draw(st.sampled_from([b"Via", b"v"])), value)
            for value in draw(st.lists(plain_vias(), max_size=3))
        ),
        (b"Via", b", ".join(draw(st.lists(plain_vias(), min_size=1, max_size=2)))),
        (draw(st.sampled_from([b"From", b"f", b"FROM"])), draw(plain_addresses())),
        (draw(st.sampled_from([b"To", b"t", b"to"])), draw(plain_addresses())),
        (draw(st.sampled_from([b"Call-ID", b"i"])), draw(words)),
        (b"CSeq", b"%d %b" % (draw(st.integers(0, 2**31 - 1)), method)),
        *((b"Contact", value) for value in draw(st.lists(plain_addresses(), max_size=2))),
        *((b"X-Own", value) for value in draw(st.lists(words, max_size=2))),
        (draw(st.sampled_from([b"Content-Length", b"l", b"L"])), b"%d" % len(body)),
    ]
    return b"\r\n".join([start, *(name + b": " + value for name, value in lines), b"", body])


@PROPERTY
@given(plain_messages())
def test_both_read_the_same(data: bytes) -> None:
    ours, theirs = parse(data), sipmessage.Message.parse(data)
    assert_same_message(ours, theirs)
    assert ours.body == theirs.body


# -- One reads it and the other does not ----------------------------------------------------------------

ONLY_WE_READ = {
    "rfc4475/novelsc.dat": "a Request-URI of another scheme",
    "rfc4475/unkscm.dat": "a Request-URI of another scheme",
    "rfc4475/unksm2.dat": "addresses of other schemes",
    "rfc4475/regescrt.dat": "a Contact URI with headers",
    "rfc4475/semiuri.dat": "a folded header",
    "rfc4475/wsinv.dat": "a folded header",
    "rfc5118/ipv6-correct-abnf-2-colons.dat": "an IPv6 reference that ends in an IPv4 address",
    "rfc5118/via-received-param-no-delim.dat": "an IPv6 address without brackets in received",
}
ONLY_THEY_READ = {
    "rfc4475/bigcode.dat": "any number is a status",
    "rfc4475/scalarlg.dat": "any number is a CSeq",
    "rfc4475/clerr.dat": "Content-Length is not compared with the body",
    "rfc4475/mcl01.dat": "Content-Length is not compared with the body",
    "rfc4475/ncl.dat": "a negative Content-Length",
    "rfc4475/mismatch01.dat": "CSeq is not compared with the method",
    "rfc4475/mismatch02.dat": "CSeq is not compared with the method",
    "rfc4475/multi01.dat": "the first of several From, To, Call-ID and CSeq is taken",
    "rfc5118/ipv6-bug-abnf-3-colons.dat": "the mistake in the ABNF of RFC 3261",
}

READ_DIFFERENTLY = {
    "rfc4475/esc01.dat": "a fold that holds a colon is a header to them",
    "rfc4475/intmeth.dat": "they undo %-escapes in header parameters",
    "rfc4475/longreq.dat": "white space before the colon belongs to the name to them",
}


def ours_of(data: bytes) -> Message | None:
    try:
        message = parse(data)
        if isinstance(message, Request):
            message.check()
        _ = message.via, message.cseq, message.call_id, message.sender, message.receiver
    except ValueError:
        return None
    return message


def theirs_of(data: bytes) -> sipmessage.Request | sipmessage.Response | None:
    try:
        message = sipmessage.Message.parse(data)
        _ = message.via, message.cseq, message.call_id, message.from_address, message.to_address
        _ = message.contact, message.content_length
    except (ValueError, KeyError):
        return None
    return message


@pytest.mark.parametrize("file", FILES)
def test_the_torture_messages_differ_only_where_it_is_written_down(file: str) -> None:
    data = (CORPUS / file).read_bytes()
    ours, theirs = ours_of(data), theirs_of(data)
    assert (ours is not None and theirs is None) == (file in ONLY_WE_READ)
    assert (theirs is not None and ours is None) == (file in ONLY_THEY_READ)
    if ours is not None and theirs is not None and file not in READ_DIFFERENTLY:
        assert_same_message(ours, theirs)


REFUSED = "refused"
Reading = Callable[[bytes], object]


def reading(read: Callable[[], object]) -> object:
    try:
        return read()
    except ValueError:
        return REFUSED


HEADERS: list[tuple[str, bytes, object, object]] = [
    ("a folded value", b"X-A: a\r\n b", [b"a b"], REFUSED),
    ("space before the colon", b"X-A : a", [b"a"], []),
    ("a bare LF line end", b"Y: 1\nX-A: a", [b"a"], []),
    ("a bare CR", b"X-A: a\rb", REFUSED, [b"a\rb"]),
    ("a name that is no token", b"A B: 1\r\nX-A: a", REFUSED, [b"a"]),
    ("an empty name", b": 1\r\nX-A: a", REFUSED, [b"a"]),
    ("octets that are no UTF-8", b"X-A: \xff", [b"\xff"], REFUSED),
    ("white space of Unicode around a value", b"X-A: \xc2\xa0a", [b"\xc2\xa0a"], [b"a"]),
    ("Content-Length beyond the body", b"X-A: a\r\nContent-Length: 99", REFUSED, [b"a"]),
    ("a negative Content-Length", b"X-A: a\r\nContent-Length: -1", REFUSED, [b"a"]),
]


@pytest.mark.parametrize(("what", "line", "ours", "theirs"), HEADERS, ids=[row[0] for row in HEADERS])
def test_differences_in_header_lines(what: str, line: bytes, ours: object, theirs: object) -> None:
    data = b"SIP/2.0 200 OK\r\n" + line + b"\r\n\r\nbody"

    def read_theirs() -> list[bytes]:
        return [value.encode() for value in sipmessage.Message.parse(data).headers.getlist("X-A")]

    assert reading(lambda: parse(data).values(b"x-a")) == ours, what
    assert reading(read_theirs) == theirs, what


START_LINES: list[tuple[bytes, bool, bool]] = [
    (b"SIP/2.0 486", True, False),
    (b"sip/2.0 486 Busy Here", True, False),
    (b"SIP/2.0 99 Low", False, True),
    (b"SIP/2.0 4294967301 High", False, True),
    (b"SIP/2.0 -1 Negative", False, True),
    (b"SIP/2.0 486 \xff", True, False),
    (b"INVITE sip:a@h.net sip/2.0", True, False),
    (b"INVITE urn:service:sos SIP/2.0", True, False),
    (b"INVITE sip:a@h_1.net SIP/2.0", True, False),
    (b"INVITE SIP:a@h.net SIP/2.0", True, False),
    (b"IN(VITE sip:a@h.net SIP/2.0", False, True),
]


@pytest.mark.parametrize(("line", "ours", "theirs"), START_LINES)
def test_differences_in_start_lines(line: bytes, ours: bool, theirs: bool) -> None:
    data = line + b"\r\nX: a\r\n\r\n"
    assert (reading(lambda: parse(data)) != REFUSED) == ours
    assert (reading(lambda: sipmessage.Message.parse(data)) != REFUSED) == theirs


VALUES: list[tuple[str, bytes, Reading, Callable[[str], object], object, object]] = [
    ("two spaces in a quoted name", b'"a  b" <sip:x@h.net>', lambda v: unquote(parse_name_addr(v).display),
     lambda v: sipmessage.Address.parse(v).name, b"a  b", "a b"),
    ("an escape that was not needed", rb'"a\b" <sip:x@h.net>', lambda v: unquote(parse_name_addr(v).display),
     lambda v: sipmessage.Address.parse(v).name, b"ab", "a\\b"),
    ("a port beyond 65535 in a URI", b"sip:a@h.net:99999", lambda v: parse_uri(v).port,
     lambda v: sipmessage.URI.parse(v).port, REFUSED, 99999),
    ("a URI with headers", b"sip:a@h.net?X=y", lambda v: parse_uri(v).headers, sipmessage.URI.parse,
     b"?X=y", REFUSED),
    ("a port beyond 65535 in Via", b"SIP/2.0/UDP h.net:99999", parse_via,
     lambda v: sipmessage.Via.parse(v).port, REFUSED, 99999),
    ("white space around the port in Via", b"SIP/2.0/UDP h.net : 5060", lambda v: parse_via(v).port,
     lambda v: sipmessage.Via.parse(v).port, 5060, REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "value", "read_ours", "read_theirs", "ours", "theirs"), VALUES, ids=[row[0] for row in VALUES]
)
def test_differences_in_values(
    what: str,
    value: bytes,
    read_ours: Reading,
    read_theirs: Callable[[str], object],
    ours: object,
    theirs: object,
) -> None:
    assert reading(lambda: read_ours(value)) == ours, what
    assert reading(lambda: read_theirs(value.decode())) == theirs, what


def test_octets_behind_content_length_are_a_body_to_one_and_nothing_to_the_other() -> None:
    data = b"SIP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nbody"
    ours = parse(data)
    assert isinstance(ours, Response)
    assert (ours.body, sipmessage.Message.parse(data).body) == (b"bo", b"body")
