"""Typed header values: what each parser understands, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.sip.errors import MalformedError
from gateway.sip.headers import (
    Auth,
    NameAddr,
    RAck,
    WarningValue,
    is_token,
    parse_addresses,
    parse_auth,
    parse_cseq,
    parse_max_forwards,
    parse_name_addr,
    parse_rack,
    parse_reasons,
    parse_retry_after,
    parse_via,
    parse_warnings,
    quote,
    unquote,
    without_tag,
)

from .strategies import PROPERTY, addresses, hosts, ports, reasons, texts, uris, vias, words


def malformed(read: Callable[[bytes], object], value: bytes) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        read(value)
    return caught.value


# -- Via ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "transport", "host", "port", "branch", "rport"),
    [
        (b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", b"UDP", b"192.0.2.1", 5060, b"z9hG4bK1", False),
        (b"SIP/2.0/UDP h.example.com;branch=z9hG4bK1;rport", b"UDP", b"h.example.com", 0, b"z9hG4bK1", True),
        (b"SIP/2.0/TCP h;rport;branch=z9hG4bK1", b"TCP", b"h", 0, b"z9hG4bK1", True),
        (b"SIP/2.0/UDP h;rport=5070;received=192.0.2.9;branch=b", b"UDP", b"h", 0, b"b", True),
        (b"SIP/2.0/UDP h;branch=b;received=2001:db8::1;rport=1", b"UDP", b"h", 0, b"b", True),
        (b"SIP/2.0/UDP [2001:db8::1]:5061;branch=b", b"UDP", b"[2001:db8::1]", 5061, b"b", False),
        (b"SIP/2.0/UDP [2001:db8::1];branch=b", b"UDP", b"[2001:db8::1]", 0, b"b", False),
        (b"SIP / 2.0 / UDP   h : 5060 ; branch = b ; rport", b"UDP", b"h", 5060, b"b", True),
        (b" sip/2.0/udp h;BRANCH=b;RPORT", b"udp", b"h", 0, b"b", True),
        (b"SIP/2.0/UDP h;branch=b;ttl=1;maddr=224.0.1.75;x", b"UDP", b"h", 0, b"b", False),
        (b"SIP/2.0/TLS-SCTP h_1.example.com", b"TLS-SCTP", b"h_1.example.com", 0, b"", False),
        (b"SIP/2.0/UDP h;branch=", b"UDP", b"h", 0, b"", False),
        (b"SIP/2.0/UDP h;branch=first;branch=second", b"UDP", b"h", 0, b"first", False),
        (b"SIP/2.0/UDP h;branch=b;rportal=1", b"UDP", b"h", 0, b"b", False),
        (b'SIP/2.0/UDP h;x="a;rport;b";branch=b', b"UDP", b"h", 0, b"b", False),
        (b"SIP/2.0/UDP h;branch=b!%*_+`'~", b"UDP", b"h", 0, b"b!%*_+`'~", False),
        (b"SIP/2.0/UDP h;branch=b, SIP/2.0/TCP i;branch=c;rport", b"UDP", b"h", 0, b"b", False),
    ],
)
def test_via(value: bytes, transport: bytes, host: bytes, port: int, branch: bytes, rport: bool) -> None:
    via = parse_via(value)
    assert (via.transport, via.host, via.port) == (transport, host, port)
    assert (via.branch, via.rport) == (branch, rport)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b",",
        b"UDP h",
        b"SIP/2.0 h",
        b"SIP/2.0/UDP",
        b"SIP/2.0/UDP ",
        b"SIP/2.0/UDP h:65536",
        b"SIP/2.0/UDP h:-1",
        b"SIP/2.0/UDP h:123456",
        b"SIP/2.0/UDP h:5060x",
        b"SIP/2.0/UDP 2001:db8::1",
        b"SIP/2.0/UDP [2001:db8::1",
        b"SIP/2.0/UDP h;;branch=b",
        b"SIP/2.0/UDP h branch=b",
        b'SIP/2.0/UDP h;branch="b',
    ],
)
def test_a_bad_via(value: bytes) -> None:
    assert malformed(parse_via, value).status == 400


def test_a_via_of_another_version_is_owed_505() -> None:
    assert malformed(parse_via, b"SIP/3.0/UDP h;branch=b").status == 505


def test_sent_by_keys_a_transaction_and_the_cookie_says_how_to_match() -> None:
    via = parse_via(b"SIP/2.0/UDP h:5061;branch=Z9HG4BKx")
    assert via.sent_by == b"h:5061"
    assert via.has_cookie
    assert not parse_via(b"SIP/2.0/UDP h;branch=z9hG4bK").has_cookie
    assert not parse_via(b"SIP/2.0/UDP h;branch=1").has_cookie


@PROPERTY
@given(vias())
def test_white_space_changes_nothing_about_a_via(value: bytes) -> None:
    """The one-expression reading of the common form and the full grammar agree."""
    common, spaced = parse_via(value), parse_via(value.replace(b";", b" ; ").replace(b"=", b" = ") + b" ")
    assert (spaced.transport, spaced.host, spaced.port) == (common.transport, common.host, common.port)
    assert (spaced.branch, spaced.rport) == (common.branch, common.rport)


@PROPERTY
@given(hosts, ports, words)
def test_a_via_is_read_as_built(host: bytes, port: int, branch: bytes) -> None:
    via = parse_via(b"SIP/2.0/UDP %b:%d;branch=%b;rport" % (host, port, branch))
    assert (via.host, via.port, via.branch, via.rport) == (host, port, branch, True)


# -- name-addr and addr-spec ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "display", "uri", "params"),
    [
        (b"<sip:a@h>", b"", b"sip:a@h", {}),
        (b"<sip:a@h>;tag=1", b"", b"sip:a@h", {b"tag": b"1"}),
        (b"Alice <sip:a@h>;tag=1", b"Alice", b"sip:a@h", {b"tag": b"1"}),
        (b"A. B. <sip:a@h>", b"A. B.", b"sip:a@h", {}),
        (b'"Alice" <sip:a@h>;tag=1', b'"Alice"', b"sip:a@h", {b"tag": b"1"}),
        (b'"Alice"<sip:a@h>', b'"Alice"', b"sip:a@h", {}),
        (rb'"A \"<B>\" \\" <sip:a@h>', rb'"A \"<B>\" \\"', b"sip:a@h", {}),
        (b'"" <sip:a@h>', b'""', b"sip:a@h", {}),
        (b"caller<sip:a@h> ; TAG = x ; y", b"caller", b"sip:a@h", {b"tag": b"x", b"y": None}),
        (b"<sip:a,b;c=d?e=f@h;lr?X=y>;q=0.5", b"", b"sip:a,b;c=d?e=f@h;lr?X=y", {b"q": b"0.5"}),
        (b"sip:a@h;tag=1", b"", b"sip:a@h", {b"tag": b"1"}),
        (b"sip:a@h ;tag=1", b"", b"sip:a@h", {b"tag": b"1"}),
        (b"tel:+1-201-555-0123;tag=1", b"", b"tel:+1-201-555-0123", {b"tag": b"1"}),
        (b"<sip:[2001:db8::1]:5060>", b"", b"sip:[2001:db8::1]:5060", {}),
        (b"\t <sip:a@h>", b"", b"sip:a@h", {}),
        (b'"\xc3\xa9\x00" <sip:a@h>', b'"\xc3\xa9\x00"', b"sip:a@h", {}),
        (
            b"anonymous   <sip:anonymous@anonymous.invalid>",
            b"anonymous",
            b"sip:anonymous@anonymous.invalid",
            {},
        ),
    ],
)
def test_name_addr(value: bytes, display: bytes, uri: bytes, params: dict[bytes, bytes | None]) -> None:
    assert parse_name_addr(value) == NameAddr(display, uri, params)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"*",
        b"<>",
        b"Alice",
        b"<sip:a@h",
        b"sip:a@h>",
        b"< sip:a@h >",
        b"<sip:a@h>x",
        b"<sip:a@h>;;",
        b"<sip:a@h>;tag=1;",
        b'"Alice <sip:a@h>',
        b"Bell, Alice <sip:a@h>",
        b"sip:a@h?X=y",
        b"sip:a@h,b",
        b"1sip:a@h",
        b"<sip:a@h> <sip:b@h>",
    ],
)
def test_a_bad_name_addr(value: bytes) -> None:
    malformed(parse_name_addr, value)


def test_the_tag() -> None:
    assert parse_name_addr(b"<sip:a@h>;x=1;tag=abc").tag == b"abc"
    assert parse_name_addr(b"<sip:a@h;tag=no>").tag == b""
    assert parse_name_addr(b"<sip:a@h>;tag").tag == b""


@PROPERTY
@given(addresses())
def test_white_space_changes_nothing_about_an_address(value: bytes) -> None:
    head, bracket, params = value.rpartition(b">")
    spaced = head + bracket + params.replace(b";", b" ; ").replace(b"=", b" = ") + b" "
    assert parse_name_addr(spaced) == parse_name_addr(value)


@PROPERTY
@given(texts, uris(), words)
def test_an_address_is_read_as_built(name: bytes, uri: bytes, tag: bytes) -> None:
    address = parse_name_addr(b"%b <%b>;tag=%b" % (quote(name), uri, tag))
    assert (unquote(address.display), address.uri, address.tag) == (name, uri, tag)


def test_parse_addresses_reads_lines_and_lists_alike() -> None:
    values = [b'"A, B" <sip:a>;q=1, <sip:b>', b"sip:c"]
    assert [address.uri for address in parse_addresses(values)] == [b"sip:a", b"sip:b", b"sip:c"]
    assert parse_addresses([b""]) == []


@pytest.mark.parametrize(
    ("value", "bare"),
    [
        (b"<sip:a@h>;tag=1", b"<sip:a@h>"),
        (b'"A" <sip:a@h>;tag=1', b'"A" <sip:a@h>'),
        (b"<sip:a@h>", b"<sip:a@h>"),
        (b"<sip:a@h;tag=no>;x=1 ; TAG = 2 ;y", b"<sip:a@h;tag=no>;x=1 ;y"),
        (b"sip:a@h;tag=1;x", b"sip:a@h;x"),
        (b'"a;tag=1" <sip:a@h>;x=";tag=2";tag=3', b'"a;tag=1" <sip:a@h>;x=";tag=2"'),
    ],
)
def test_without_tag_leaves_the_rest_as_it_came(value: bytes, bare: bytes) -> None:
    assert without_tag(value) == bare


@PROPERTY
@given(addresses())
def test_without_tag_takes_the_tag_and_nothing_else(value: bytes) -> None:
    before, after = parse_name_addr(value), parse_name_addr(without_tag(value))
    assert after.tag == b""
    assert (after.display, after.uri) == (before.display, before.uri)


# -- CSeq, RAck, Max-Forwards -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number", "method"),
    [
        (b"1 INVITE", 1, b"INVITE"),
        (b"0 ACK", 0, b"ACK"),
        (b" 0009 \t INVITE ", 9, b"INVITE"),
        (b"2147483647 X-.!%*_+`'~", 2**31 - 1, b"X-.!%*_+`'~"),
        (b"00000000000000000000000000000007 BYE", 7, b"BYE"),
    ],
)
def test_cseq(value: bytes, number: int, method: bytes) -> None:
    assert parse_cseq(value) == (number, method)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"1",
        b"INVITE",
        b"INVITE 1",
        b"-1 INVITE",
        b"1 IN VITE",
        b"1.0 INVITE",
        b"1INVITE",
        b"1 (",
        b"+1 ACK",
    ],
)
def test_a_bad_cseq(value: bytes) -> None:
    assert malformed(parse_cseq, value).why == "bad CSeq"


@pytest.mark.parametrize("digits", [b"2147483648", b"4294967296", b"9" * 5000])
def test_a_cseq_of_two_to_the_31_or_more_is_out_of_range(digits: bytes) -> None:
    assert malformed(parse_cseq, digits + b" INVITE").why == "CSeq out of range"


def test_rack() -> None:
    assert parse_rack(b"776656 1 INVITE") == RAck(776656, 1, b"INVITE")
    assert parse_rack(b" 1\t 2  X ") == RAck(1, 2, b"X")
    for value in (
        b"",
        b"1 INVITE",
        b"1 2",
        b"1 2 3 4",
        b"a 1 INVITE",
        b"-1 1 INVITE",
        b"99999999999 1 INVITE",
    ):
        malformed(parse_rack, value)


def test_max_forwards() -> None:
    assert [parse_max_forwards(value) for value in (b"0", b"70", b"255", b"0068")] == [0, 70, 255, 68]
    for value in (b"", b"256", b"-1", b"7 0", b"x", b"0x10", b"9" * 5000, b"\xb2"):
        malformed(parse_max_forwards, value)


# -- Reason -------------------------------------------------------------------------------------------------


def test_reason_values_on_one_line_and_on_several_are_the_same_thing() -> None:
    one = parse_reasons([b'SIP;cause=603;text="Decline", Q.850 ; cause = 21;text="Call rejected"'])
    two = parse_reasons([b'SIP;cause=603;text="Decline"', b'Q.850 ; cause = 21;text="Call rejected"'])
    assert one == two
    assert [(r.kind, r.cause, r.text) for r in one] == [
        (b"SIP", 603, b"Decline"),
        (b"Q.850", 21, b"Call rejected"),
    ]


def test_a_reason_text_may_hold_every_separator() -> None:
    text = b'v=analytics1;url=https://example.com/a,b;tel=+12155551212;say="no"\\'
    [reason] = parse_reasons([b"SIP;cause=603;text=" + quote(text) + b";location=RLN"])
    assert (reason.cause, reason.text, reason.location) == (603, text, b"RLN")


@pytest.mark.parametrize("protocol", [b"SIP", b"Q.850"])
def test_location_is_read_on_either_protocol_in_any_case_and_quoted(protocol: bytes) -> None:
    for written in (b"rln", b"RLN", b'"RLN"'):
        assert parse_reasons([protocol + b";cause=21;location=" + written])[0].location == b"RLN"


def test_protocols_ignore_case_and_stay_as_written() -> None:
    [reason] = parse_reasons([b"q.850;cause=16"])
    assert (reason.protocol, reason.kind) == (b"q.850", b"Q.850")


def test_the_raw_value_is_kept_for_what_passes() -> None:
    raw = b'Q.850 ;cause=21 ; text="a, b"'
    assert [reason.raw for reason in parse_reasons([raw + b" , SIP;cause=1"])] == [raw, b"SIP;cause=1"]


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"SIP", None),
        (b"SIP;cause", None),
        (b"SIP;cause=", None),
        (b"SIP;cause=six", None),
        (b"SIP;cause=-1", None),
        (b"SIP;cause=99999", None),
        (b"SIP;cause=0", 0),
        (b'SIP;cause="603"', 603),
        (b"SIP;cause=603;cause=486", 603),
        (b"SIP;cause=603;", 603),
        (b"SIP;cause=603 ;", 603),
    ],
)
def test_a_cause_that_is_no_number_is_none(value: bytes, cause: int | None) -> None:
    assert [reason.cause for reason in parse_reasons([value])] == [cause]


@pytest.mark.parametrize(
    ("value", "cause", "text", "location"),
    [
        (b"Q.850;cause=16;text=Normal call clearing", 16, b"Normal call clearing", b""),
        (b"Q.850;text=Normal call clearing;cause=16;location=LN", 16, b"Normal call clearing", b"LN"),
        (b'Q.850;cause=16;text="Normal" clearing', 16, None, b""),
        (b'SIP;text=it is "a;cause=1" text;cause=603', 603, None, b""),
        (b"SIP;cause=603;;text=two words", 603, b"two words", b""),
        (b"SIP;no token=1;cause=603", 603, b"", b""),
    ],
)
def test_what_can_be_read_of_a_reason_is_read(
    value: bytes, cause: int, text: bytes | None, location: bytes
) -> None:
    """Field: texts of several words without quotes. The cause must survive them (RFC 3326 2)."""
    [reason] = parse_reasons([value])
    assert (reason.raw, reason.cause, reason.location) == (value, cause, location)
    assert text is None or reason.text == text


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"=",
        b";cause=1",
        b'SIP;text="open;cause=1',
        b'SIP;cause=1;text=two w"ords',
        b'SIP;text="open',
        b"SIP cause=1",
        b"SIP;;",
        b"<",
        b'"',
    ],
)
def test_a_bad_reason_spoils_no_good_one(bad: bytes) -> None:
    assert [reason.cause for reason in parse_reasons([bad, b"Q.850;cause=17"])] == [17]


@PROPERTY
@given(st.lists(reasons(), min_size=1, max_size=3))
def test_reasons_are_read_as_built(values: list[bytes]) -> None:
    assert [reason.raw for reason in parse_reasons([b", ".join(values)])] == values


@PROPERTY
@given(st.binary(max_size=60))
@example(b"SIP;cause=" + "٣".encode())
def test_no_bytes_make_reading_reasons_fail(value: bytes) -> None:
    for reason in parse_reasons([value]):
        assert is_token(reason.protocol)


# -- Retry-After, Warning, authentication -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0),
        (b"120", 120),
        (b" 18000 ;duration=3600", 18000),
        (b"120 (I'm in a meeting)", 120),
        (b"120(a (nested) one);duration=60", 120),
        (b"4294967295", 2**32 - 1),
    ],
)
def test_retry_after(value: bytes, seconds: int) -> None:
    assert parse_retry_after(value) == seconds


@pytest.mark.parametrize(
    "value", [b"", b"soon", b"-1", b"4294967296", b"1.5", b"5 (open", b"5;;", b"5 x", b"9" * 5000]
)
def test_a_bad_retry_after(value: bytes) -> None:
    malformed(parse_retry_after, value)


def test_warnings() -> None:
    values = [b'370 h.example.com "Too, \\"fat\\""  , 399 [2001:db8::1]:5060 "b"', b'307 isi.edu ""']
    assert parse_warnings(values) == [
        WarningValue(370, b"h.example.com", b'Too, "fat"'),
        WarningValue(399, b"[2001:db8::1]:5060", b"b"),
        WarningValue(307, b"isi.edu", b""),
    ]
    for value in (b"399", b"399 h", b"399 h text", b'1812 h "x"', b'39 h "x"', b'399 h "x', b'399 h "x" y'):
        malformed(lambda one: parse_warnings([one]), value)


def test_auth() -> None:
    assert parse_auth(b'Digest realm="a, \\"b\\"", NONCE=abc , qop="auth,auth-int", stale=FALSE') == Auth(
        b"digest", {b"realm": b'a, "b"', b"nonce": b"abc", b"qop": b"auth,auth-int", b"stale": b"FALSE"}
    )
    for value in (
        b"",
        b"Digest",
        b'Digest realm="a',
        b"Digest realm",
        b"Digest a=b c=d",
        b"Digest =x",
        b'"Digest" a=b',
    ):
        malformed(parse_auth, value)
