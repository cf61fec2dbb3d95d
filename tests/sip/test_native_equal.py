"""The native reader and the Python one understand every message alike, or refuse it alike.

``parse_pure`` is the specification. The native reader may leave a message to it, so the last tests insist
that ordinary messages are read natively: without them, all others would hold for a reader that reads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import speedups
from gateway.sip import message as messages
from gateway.sip.build import echo_of
from gateway.sip.errors import MalformedError
from gateway.sip.flow import Flows, Local
from gateway.sip.message import (
    MAX_HEADERS,
    MAX_LINE,
    MalformedMessageError,
    Request,
    Response,
    parse_native,
    parse_pure,
)
from gateway.sip.names import KEYS
from gateway.sip.rows import key_set, replaced, replaced_pure, text_except, text_except_pure

from .strategies import PROPERTY, Draft, drafts, spoilt

pytestmark = pytest.mark.skipif(bool(speedups.WHY_PURE), reason=speedups.WHY_PURE)

ASKED = (b"Via", b"To", b"to", b"t", b"Contact", b"x-new", b"X-New", b"Subject", b"subject", b"none", b"")
SETS = [key_set(frozenset(keys)) for keys in ((b"To", b"Via"), (b"x-new",), (b"X-New", b"v"), ())]
SOURCE = Flows([Local("udp", "192.0.2.1", 5060)]).get(Local("udp", "192.0.2.1", 5060), ("::1", 5070))
CORPUS = Path(__file__).parent.parent / "corpus"
MESSAGES = sorted(path for path in CORPUS.glob("*/*") if path.suffix in (".dat", ".sip"))
HEAD = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"


def seen(message: object) -> object:
    """What there is to see of a message, types and the order of the index included."""
    if isinstance(message, Request):
        first: tuple[object, ...] = ("request", message.method, message.uri)
    elif isinstance(message, Response):
        first = ("response", message.status, message.phrase)
    else:
        return message
    # By key first: once there is an index, that is asked.
    found = [*by_key(message), *values(message)]
    echo = echo_of(message, SOURCE) if isinstance(message, Request) and message.has(b"Via") else b""
    again = list(message.index.items()), message._more
    return (
        *first,
        message.rows,
        found,
        echo,
        again,
        [*by_key(message)],
        message.body,
        message.call_id,
    )


def values(message: Request | Response) -> Iterator[object]:
    """What its headers say, or what is wrong with them: whoever read them first, each says the same."""
    names = ["via", "cseq", "sender", "receiver", "from_tag", "to_tag", "bare_sender", "bare_receiver"]
    names.append("max_forwards" if isinstance(message, Request) else "branch")
    for name in names:
        try:
            yield name, getattr(message, name)
        except MalformedError as error:
            yield name, error.why, error.status
    try:
        yield message.check()
    except MalformedError as error:
        yield error.why, error.status


def outcome(read: object, data: bytes) -> object:
    """What comes of reading: the message, or what is wrong with it, which status it is owed, what is left."""
    assert callable(read)
    try:
        return seen(read(data))
    except MalformedMessageError as error:
        return error.why, error.status, seen(error.request)


def assert_alike(data: bytes) -> None:
    assert outcome(parse_native, data) == outcome(parse_pure, data)


def native(data: bytes) -> tuple[Any, ...] | None:
    """What the native reader alone makes of a message."""
    reader = messages._reader
    assert reader is not None
    return reader.read_request(data) or reader.read_response(data)


def by_key(message: Request | Response) -> Iterator[object]:
    """What it answers to whoever asks for one key at a time, for keys that it has and others."""
    for key in dict.fromkeys([*(key for key, _ in message.rows), *ASKED]):
        yield key, message.get(key), message.has(key), message.values(key), message.repeated(key)
    for keys in SETS:
        yield message.has_any(keys)


@PROPERTY
@given(drafts())
def test_well_formed_messages_in_any_spelling(draft: Draft) -> None:
    assert_alike(draft.data)


@PROPERTY
@given(spoilt(drafts().map(lambda draft: draft.data)))
def test_injured_messages(data: bytes) -> None:
    assert_alike(data)


@PROPERTY
@given(st.binary(max_size=300))
@example(b"")
@example(b"\r\n\r\n")
@example(b"SIP/2.0 200\r\n\r\n")
@example(b"SIP/2.0 200 \r\n\r\n")
@example(b"SIP/2.0 20")
@example(b"SIP/2.0 099 No\r\n\r\n")
def test_random_bytes(data: bytes) -> None:
    assert_alike(data)


# What messages are made of, put together without regard to what belongs where.
PIECES = (
    b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 603 Decline\r\n", b"SIP/2.0 99 x\r\n", b"sip/2.0 200 OK\r\n",
    b"A  b SIP/2.0\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"v: x\r\n", b"VIA:y\r\n", b"Via : z\r\n",
    b"l: 2\r\n", b"Content-Length: 2\r\n", b"CONTENT-LENGTH:  \t3 \r\n", b"Content-Length: 00000000001\r\n",
    b"Content-Length: +1\r\n", b"Content-Length:\r\n", b"X-New: \x0b1\x0c\r\n", b"x-NEW:\xff\r\n", b"body",
    b"\0", b"caLL-id: 1\r\n", b"i:2\r\n", b": none\r\n", b"none\r\n", b" folded\r\n",
)  # fmt: skip


@PROPERTY
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_pieces_of_messages_in_any_order(data: bytes) -> None:
    assert_alike(data)


# Values that both read at once, of the usual form and just beside it.
VALUES = {
    b"Via": (
        b"SIP/2.0/UDP a.b-c:5060;branch=z9hG4bK1", b"SIP/2.0/UDP a;rport;branch=z9hG4bK_.-;received=::1",
        b"SIP/2.0/UDP [::1]:1;branch=z;rport=5", b"SIP/2.0/udp a;branch=1", b"SIP/2.0/UDP a:65536;branch=1",
        b"SIP/2.0/UDP a:;branch=1", b"SIP/2.0/UDP a;branch=1;branch=2", b"SIP/2.0/UDP a;x=;rport;branch=1",
        b"SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;branch=2", b"SIP/2.0/UDP a;branch=z9hG4bK1;ttl=1",
        b"SIP/2.0/UDP  a;branch=1", b"SIP/2.0/UDP a_b;branch=1", b"SIP/2.0/UDP a;rport=x;branch=1",
        b"SIP/2.0/UDP a:00080;branch=1;", b"SIP/3.0/UDP a;branch=1", b"SIP/2.0/UDP a", b"a;branch=1", b"",
    ),
    b"From": (
        b"<sip:a@b>;tag=1", b'"A, <b>" <sip:a>;tag=1', b'"A b"<sip:a>', b'"A"  <sip:a>;tag=1', b"A b <sip:c>",
        b"A\tb <sip:c>;tag=2", b"sip:a@b;tag=1", b"<sip:a>;x=1;tag=2", b"<sip:a>;tag=", b'"\\"" <sip:a>', b"",
        b"<sip:a b>;tag=1", b"<>;tag=1", b"  <sip:a>;tag=a.b_c-", b"<sip:a>;TAG=1", b"\xff <sip:a>;tag=1",
    ),
    b"CSeq": (
        b"1 OPTIONS", b"0 OPTIONS", b"999999999 OPTIONS", b"1000000000 OPTIONS", b"4294967296 OPTIONS",
        b"1  OPTIONS", b"1\tOPTIONS", b"1 INVITE", b"1 options", b"1 ", b"-1 OPTIONS", b"1 X-Y", b"",
    ),
    b"Max-Forwards": (b"70", b"0", b"00", b"255", b"256", b"070", b"0255", b"-1", b"7x", b""),
    b"Contact": (
        b"<sip:a@b:5060;transport=udp>", b"sip:a@b:1", b"sip:a;x=1", b"<sip:a>;q=1", b"*",
        b"<sip:a>, <sip:b>", b'"A, b" <sip:c@d>', b"<tel:1>", b"<sip:a@b:65536>",
        b"<sip:@b>", b"<sip:[::1]>", b"<SIP:a>", b"b", b"",
    ),
    b"Call-ID": (b"1", b""),
    b"Record-Route": (b"<sip:a;lr>", b"a"),
}  # fmt: skip
VALUES[b"To"] = VALUES[b"From"]
URIS = (
    b"sip:a", b"sip:a@b:5060;x=1", b"sips:+1;p=2@b", b"SIP:a@b", b"tel:+1", b"sip:a@b@c", b"sip:;x=@b",
    b"sip:a:0", b"sip:a:65536", b"sip:a:", b"sip:a?b=c", b"sip:a?b@c", b"sip:a;b?c=d", b"sip:", b"sip:@a",
    b"sip:[::1]", b"a:b", b'sip:a"b@c', b"sip:a/b@c", b"sip:a_b", b"sip:a%20b@c",
)  # fmt: skip


@PROPERTY
@given(
    st.sampled_from(URIS),
    st.fixed_dictionaries({}, optional={name: st.sampled_from(VALUES[name]) for name in VALUES}),
    st.sampled_from([None, *VALUES]),
)
def test_values_of_the_usual_form_and_beside_it(
    uri: bytes, said: dict[bytes, bytes], twice: bytes | None
) -> None:
    lines = b"".join(b"%b: %b\r\n" % item for item in said.items())
    if twice is not None:
        lines += b"%b: %b\r\n" % (twice, VALUES[twice][0])
    assert_alike(b"OPTIONS %b SIP/2.0\r\n%b\r\n" % (uri, lines))
    for status in (b"100", b"200", b"603"):
        assert_alike(b"SIP/2.0 %b X\r\n%b\r\n" % (status, lines))


@pytest.mark.parametrize("name", VALUES)
def test_each_value_alone(name: bytes) -> None:
    usual = {each: VALUES[each][0] for each in VALUES if each != b"Record-Route"}
    for value in VALUES[name]:
        lines = b"".join(b"%b: %b\r\n" % item for item in {**usual, name: value}.items())
        assert_alike(b"OPTIONS sip:a SIP/2.0\r\n%b\r\n" % lines)
        assert_alike(b"SIP/2.0 200 X\r\n%b\r\n" % lines)


@pytest.mark.parametrize("uri", URIS)
def test_each_uri_alone(uri: bytes) -> None:
    lines = b"".join(b"%b: %b\r\n" % (each, VALUES[each][0]) for each in VALUES if each != b"Record-Route")
    assert_alike(b"OPTIONS %b SIP/2.0\r\n%b\r\n" % (uri, lines))


@PROPERTY
@given(drafts(), st.frozensets(st.sampled_from(sorted({*KEYS.values(), b"x-new", b"via", b"X-New"}))))
def test_the_lines_that_pass(draft: Draft, keys: frozenset[bytes]) -> None:
    expected = parse_pure(draft.data).rows
    left_out = key_set(keys)
    for rows in (expected, parse_native(draft.data).rows):
        assert text_except(rows, left_out, b"X: 1") == text_except_pure(expected, keys, b"X: 1")


ROWS = (
    (b"Reason", b"Reason: Q.850;cause=1"), (b"Reason", b"Reason: SIP;cause=603"), (b"Via", b"v: b"),
    (b"x-new", b"X-NEW:  \xff "), (b"x-odd", b"X-Odd: a\r\n b"), (b"x-odd", b"X-Odd:"),
)  # fmt: skip


@PROPERTY
@given(
    drafts(),
    st.sampled_from(sorted({*KEYS.values(), b"x-new", b"X-New"})),
    st.lists(st.sampled_from(ROWS), max_size=3).map(tuple),
)
def test_rows_in_the_place_of_others(
    draft: Draft, key: bytes, others: tuple[tuple[bytes, bytes], ...]
) -> None:
    expected = replaced_pure(parse_pure(draft.data).rows, key, others)
    for message in (parse_pure(draft.data), parse_native(draft.data)):
        rows = replaced(message.rows, key, others)
        assert list(rows) == list(expected)
        for left_out in (frozenset((key,)), frozenset((b"Reason", b"x-new"))):
            passed = text_except_pure(expected, left_out, b"")
            assert text_except(rows, key_set(left_out), b"") == passed


def test_lines_of_headers_that_we_do_not_know_are_left_out_by_their_lower_case_names() -> None:
    data = b"OPTIONS sip:a SIP/2.0\r\nX-New: 1\r\nTo: <sip:a>\r\nx-NEW: 2\r\nX-Old: 3\r\n\r\n"
    for message in (parse_pure(data), parse_native(data)):
        for keys, passed in (
            ((), b"X-New: 1\r\nTo: <sip:a>\r\nx-NEW: 2\r\nX-Old: 3\r\n"),
            ((b"x-new",), b"To: <sip:a>\r\nX-Old: 3\r\n"),
            ((b"X-New", b"to"), b"X-New: 1\r\nTo: <sip:a>\r\nx-NEW: 2\r\nX-Old: 3\r\n"),
            ((b"To", b"x-old"), b"X-New: 1\r\nx-NEW: 2\r\n"),
            ((b"To", b"x-old", b"x-new"), b""),
        ):
            assert text_except(message.rows, key_set(frozenset(keys)), b"") == passed


@pytest.mark.parametrize("via", [b"%b;rport", b"%b;rport=1;received=::2", b"%b;received=1.2.3.4", b"%b"])
@pytest.mark.parametrize("host", [b"192.0.2.9", b"198.51.100.7:5070", b"[2001:db8::9]:5070"])
@pytest.mark.parametrize("peer", ["192.0.2.9", "2001:db8::9"])
@pytest.mark.parametrize(
    "rest", [b"", b"Timestamp: 1.5\r\n", b"v:  SIP/2.0/UDP x;branch=2\r\n", b"t: <sip:c>\r\n"]
)
def test_what_a_response_repeats_is_taken_alike(via: bytes, host: bytes, peer: str, rest: bytes) -> None:
    top = via % b"SIP/2.0/UDP %b;branch=z9hG4bK1" % host if b"%b" in via else via
    data = HEAD.partition(b"Via")[
        0
    ] + b"Via: %b\r\nf: <sip:a>;tag=1\r\nTo: <sip:b>\r\n%bi: 1\r\nCSEQ: 1 OPTIONS\r\n\r\n" % (top, rest)
    local = Local("udp", "192.0.2.1", 5060)
    source = Flows([local]).get(local, (peer, 5070))
    native_request, request = parse_native(data), parse_pure(data)
    assert isinstance(native_request, Request) and isinstance(request, Request)
    assert native_request.native is not None and request.native is None
    assert native_request.native.echo(b"", -1) is not None
    assert echo_of(native_request, source) == echo_of(request, source)


def test_rows_are_a_sequence_of_pairs() -> None:
    data = b"OPTIONS sip:a SIP/2.0\r\nTo: <sip:a>\r\ni: 1\r\nX-New:  2\r\n\r\n"
    expected, rows = parse_pure(data).rows, parse_native(data).rows
    assert [*rows] == expected == [(b"To", b"To: <sip:a>"), (b"Call-ID", b"i: 1"), (b"x-new", b"X-New:  2")]
    assert (len(rows), rows[1], rows[-1], rows[1:]) == (3, expected[1], expected[2], expected[1:])
    assert rows == expected and expected == rows and rows == parse_native(data).rows and rows != expected[1:]
    assert expected[0] in rows and (b"To", b"to: <sip:a>") not in rows
    assert repr(rows) == repr(expected)
    with pytest.raises(IndexError):
        rows[3]


@PROPERTY
@given(st.sampled_from(MESSAGES), st.data())
def test_the_corpora_cut_anywhere(path: Path, draw: st.DataObject) -> None:
    data = path.read_bytes()
    assert_alike(data)
    assert_alike(data[: draw.draw(st.integers(0, len(data)))])


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_every_message_of_the_corpora(path: Path) -> None:
    assert_alike(path.read_bytes())


@pytest.mark.parametrize("spelling", sorted(KEYS))
def test_every_spelling_of_every_name(spelling: bytes) -> None:
    for name in (spelling, spelling.swapcase(), spelling + b"x"):
        for value in (b"0", b"3", b"9", b"x"):
            assert_alike(HEAD + name + b": " + value + b"\r\n\r\nbody")


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_limits(over: int) -> None:
    line = b"X: " + b"x" * (MAX_LINE - 3 + over) + b"\r\n"
    assert_alike(HEAD + line + b"\r\n")
    assert_alike(b"OPTIONS sip:%b SIP/2.0\r\n\r\n" % (b"x" * (MAX_LINE - 20 + over)))
    assert_alike(HEAD + b"X: 1\r\n" * (MAX_HEADERS - 1 + over) + b"\r\n")


@pytest.mark.parametrize(
    "length", [b"0", b"1", b"4", b"5", b"000000004", b"99999999999", b"-1", b"", b"4, 4"]
)
def test_bodies_and_content_length(length: bytes) -> None:
    assert_alike(HEAD + b"Content-Length: %b\r\n\r\nbody" % length)
    assert_alike(HEAD + b"l: 4\r\nContent-Length: %b\r\n\r\nbody" % length)


def test_ordinary_messages_are_read_natively() -> None:
    request = native(HEAD + b"l: 4\r\nX-New: 1\r\nRoute: a\r\nroute: b\r\n\r\nbody of a datagram")
    assert request is not None
    assert request[:4] == (
        b"OPTIONS",
        b"sip:a",
        [
            (b"Via", b"Via: SIP/2.0/UDP a;branch=z9hG4bK1"),
            (b"Content-Length", b"l: 4"),
            (b"x-new", b"X-New: 1"),
            (b"Route", b"Route: a"),
            (b"Route", b"route: b"),
        ],
        b"body",
    )
    assert request[2].by_key() == (
        {
            b"Via": b"SIP/2.0/UDP a;branch=z9hG4bK1",
            b"Content-Length": b"4",
            b"x-new": b"1",
            b"Route": b"a",
        },
        {b"Route": [b"b"]},
    )
    response = native(b"SIP/2.0 180 Ringing\r\nCall-ID: 1\r\n\r\n")
    assert response is not None
    rows = [(b"Call-ID", b"Call-ID: 1")]
    assert response[:5] == (180, b"Ringing", rows, b"", b"1")


def test_usual_values_are_read_natively() -> None:
    lines = b"".join(b"%b: %b\r\n" % (each, VALUES[each][0]) for each in VALUES if each != b"Record-Route")
    request = native(b"OPTIONS sip:a SIP/2.0\r\n%b\r\n" % lines)
    response = native(b"SIP/2.0 200 X\r\n%b\r\n" % lines)
    assert request is not None and response is not None
    assert request[4:10] == (b"1", True, 1, b"OPTIONS", 70, VALUES[b"Via"][0])
    assert request[10:16] == (b"UDP", b"a.b-c", 5060, b"z9hG4bK1", False, b";branch=z9hG4bK1")
    assert request[16:19] == request[19:22] == (b"<sip:a@b>", b"sip:a@b", b"1")
    assert request[22:] == (b"sip", b"", b"a", 0, b"")
    assert response[4:] == (b"1", True, b"z9hG4bK1", 1, b"OPTIONS", b"<sip:a@b>", b"sip:a@b", b"1")


def test_a_request_that_proxies_have_recorded_their_routes_in_is_sound() -> None:
    lines = b"".join(b"%b: %b\r\n" % (each, VALUES[each][0]) for each in VALUES)
    request = native(b"OPTIONS sip:a SIP/2.0\r\n%bRecord-Route: <sip:b;lr=on>\r\n\r\n" % lines)
    assert request is not None and request[22] == b"sip"


def test_real_finals_are_read_natively() -> None:
    # They are templates: lines that the test peer fills in stand in brackets.
    finals = [path.read_bytes() for path in MESSAGES if path.parent.name == "finals"]
    filled = [
        re.sub(rb"\[last_(\S+):\]", rb"\1: x", data.replace(b"[len]", b"0"))
        for data in finals
        if b"\r\n " not in data
    ]
    left = [data for data in filled if native(data) is None]
    assert len(left) * 5 < len(filled), left  # the rest is odd on purpose
