"""SIP, SIPS and TEL URIs: their parts, the number they speak of, and what is no URI."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.errors import MalformedError
from gateway.sip.uri import Uri, parse_uri, unescape

from .strategies import PROPERTY, hosts, ipv6_hosts, ports, users


@pytest.mark.parametrize(
    ("raw", "user", "host", "port", "params", "headers"),
    [
        (b"sip:h", b"", b"h", 0, b"", b""),
        (b"sip:a@h", b"a", b"h", 0, b"", b""),
        (b"sip:a:secret@h:5061", b"a:secret", b"h", 5061, b"", b""),
        (b"sip:a@192.0.2.1;lr;x=y", b"a", b"192.0.2.1", 0, b";lr;x=y", b""),
        (b"sip:a@h?Subject=x&To=y", b"a", b"h", 0, b"", b"?Subject=x&To=y"),
        (b"sip:a@h:5060;lr?X=y", b"a", b"h", 5060, b";lr", b"?X=y"),
        (b"sip:a;b=c?d,e/f@h", b"a;b=c?d,e/f", b"h", 0, b"", b""),
        (b"sip:%61%40@h", b"%61%40", b"h", 0, b"", b""),
        (
            b"sip:+12025550123;phone-context=x@h;user=phone",
            b"+12025550123;phone-context=x",
            b"h",
            0,
            b";user=phone",
            b"",
        ),
        (b"sip:a@[2001:db8::1]:5060", b"a", b"[2001:db8::1]", 5060, b"", b""),
        (b"sip:[::ffff:192.0.2.1]", b"", b"[::ffff:192.0.2.1]", 0, b"", b""),
        (b"sip:a@host_name.example.com.", b"a", b"host_name.example.com.", 0, b"", b""),
    ],
)
def test_the_parts_of_a_sip_uri(
    raw: bytes, user: bytes, host: bytes, port: int, params: bytes, headers: bytes
) -> None:
    assert parse_uri(raw) == Uri(raw, b"sip", user, host, port, params, headers)


def test_schemes_ignore_case() -> None:
    assert [parse_uri(raw).scheme for raw in (b"SIP:h", b"Sips:h", b"TEL:1", b"URN:service:sos")] == [
        b"sip",
        b"sips",
        b"tel",
        b"urn",
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"sip",
        b"sip:",
        b":h",
        b"h",
        b"sip:@h",
        b"sip:a@",
        b"sip:a@b@h",
        b"sip:a@h:",
        b"sip:a@h:65536",
        b"sip:a@h:123456",
        b"sip:a@h:x",
        b"sip:a@h i",
        b"sip:a b@h",
        b"sip:<a@h>",
        b"<sip:a@h>",
        b'sip:"a"@h',
        b"sip:h\n",
        b"sip:2001:db8::1",
        b"sip:[2001:db8::1",
        b"sip:[2001:db8:::1]",
        b"sip:[2001:db8::1::2]",
        b"sip:[1:2:3:4:5:6:7:8:9]",
        b"sip:[192.0.2.1]",
        b"sip:[]",
        b"sip:[" + b":" * 60000 + b"]",
        b"1sip:h",
        b"tel:",
        b"tel: 1",
        b"tel:;x=1",
        b"tel:+1@example.com",
        b"tel:+1;x=@example.com",
        b"sip:900\x00123@h",  # RFC 3261 25.1 has no control characters: some read no further than a NUL
        b"sip:\x1b[2J@h",
        b"sip:a@h;x=\x7f",
        b"sip:a@h?Subject=\x01",
        b"urn:\x00",
        b"tel:+1;x=\x00",
    ],
)
def test_what_is_no_uri(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_uri(raw)


def test_another_scheme_is_a_uri_of_which_only_the_scheme_is_known() -> None:
    assert parse_uri(b"soap.beep://192.0.2.103:3002") == Uri(b"soap.beep://192.0.2.103:3002", b"soap.beep")


def test_uri_parameters() -> None:
    uri = parse_uri(b"sip:a@h;LR;transport=TCP;%6D%61ddr=x%41;n==")
    assert uri.param(b"lr") == b""
    assert uri.param(b"transport") == b"TCP"
    assert uri.param(b"maddr") == b"x%41"
    assert uri.param(b"n") == b"="
    assert uri.param(b"ttl") is None


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b"sip:+12025550123@h", b"+12025550123"),
        (b"sip:+1-202-555.0123@h", b"+12025550123"),
        (b"sip:(202)555-0123@h", b"2025550123"),
        (b"sip:202(555)0123@h", b"2025550123"),
        (b"sip:12025550123;phone-context=+1@h;user=phone", b"12025550123"),
        (b"sip:12025550123:secret@h", b"12025550123"),
        (b"sip:%2B12025550123@h", b"+12025550123"),
        (b"sip:*67#@h", b"*67#"),
        (b"sip:j.doe-1@h", b"j.doe-1"),
        (b"sip:a%40b@h", b"a@b"),
        (b"sip:h", b""),
        (b"tel:+1-202-555-0123;ext=9", b"+12025550123"),
        (b"tel:911;phone-context=+1", b"911"),
        (b"urn:service:sos", b""),
    ],
)
def test_the_number_that_a_uri_speaks_of(raw: bytes, number: bytes) -> None:
    assert parse_uri(raw).number == number


def test_unescape_touches_only_whole_escapes() -> None:
    assert unescape(b"%41%4a%00%zz%4%") == b"AJ\x00%zz%4%"


@PROPERTY
@given(users, hosts, ports)
def test_a_uri_is_read_as_built(user: bytes, host: bytes, port: int) -> None:
    uri = parse_uri(b"sips:%b@%b:%d;lr" % (user, host, port))
    assert (uri.scheme, uri.user, uri.host, uri.port, uri.param(b"lr")) == (b"sips", user, host, port, b"")


@PROPERTY
@given(
    st.one_of(
        ipv6_hosts, st.text("0123456789abcdefABCDEF:.", max_size=45).map(lambda t: b"[%b]" % t.encode())
    )
)
def test_a_reference_is_a_host_exactly_when_it_holds_an_ipv6_address(host: bytes) -> None:
    try:
        ipaddress.IPv6Address(host[1:-1].decode())
    except ValueError:
        with pytest.raises(MalformedError):
            parse_uri(b"sip:a@" + host)
    else:
        assert parse_uri(b"sip:a@" + host).host == host
