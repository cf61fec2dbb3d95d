"""Messages: start line, header lines, body, the limits of each, and what a new transaction asks for."""

from __future__ import annotations

import pytest

from gateway.sip.errors import MalformedError
from gateway.sip.message import (
    MAX_DATAGRAM,
    MAX_HEADERS,
    MAX_LINE,
    MalformedMessageError,
    Request,
    Response,
    parse,
)
from gateway.sip.names import COMPACT, NAMES
from gateway.sip.rows import header_key, unfold

HEAD = (
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@example.com>;tag=1\r\n"
    b"To: <sip:b@example.com>\r\nCall-ID: 1@example.com\r\nCSeq: 1 INVITE\r\n"
)


def invite(
    lines: bytes = b"", body: bytes = b"", start: bytes = b"INVITE sip:b@example.com SIP/2.0"
) -> bytes:
    """An INVITE with further header ``lines``, each ended by CRLF."""
    return start + b"\r\n" + HEAD + lines + b"\r\n" + body


def request(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def response(data: bytes) -> Response:
    message = parse(data)
    assert isinstance(message, Response)
    return message


def refused(data: bytes) -> MalformedMessageError:
    with pytest.raises(MalformedMessageError) as caught:
        parse(data)
    return caught.value


# -- Start lines ----------------------------------------------------------------------------------------


def test_a_request_line() -> None:
    message = request(invite())
    assert (message.method, message.uri) == (b"INVITE", b"sip:b@example.com")


def test_methods_keep_their_case_because_they_are_case_sensitive() -> None:
    assert request(invite(start=b"invite sip:b@example.com SIP/2.0")).method == b"invite"


@pytest.mark.parametrize(
    ("line", "status", "phrase"),
    [
        (b"SIP/2.0 603 Decline", 603, b"Decline"),
        (b"SIP/2.0 603 ", 603, b""),
        (b"SIP/2.0 603", 603, b""),
        (b"sip/2.0 486 Busy Here", 486, b"Busy Here"),
        (b"SIP/2.0 486  Busy: \xc3\xa9 \xff", 486, b" Busy: \xc3\xa9 \xff"),
        (b"SIP/2.0 100 SIP/2.0", 100, b"SIP/2.0"),
        (b"SIP/2.0 699 x", 699, b"x"),
    ],
)
def test_a_status_line_keeps_its_phrase_as_it_came(line: bytes, status: int, phrase: bytes) -> None:
    answer = response(line + b"\r\n" + HEAD + b"\r\n")
    assert (answer.status, answer.phrase) == (status, phrase)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"INVITE",
        b"INVITE sip:b@example.com",
        b"INV(TE sip:b@example.com SIP/2.0",
        b"\xff\xfe\x00 sip:b SIP/2.0",
        b"GET / HTTP/1.1",
        b"SIP/2.0 99 Low",
        b"SIP/2.0 700 High",
        b"SIP/2.0 60 Short",
        b"SIP/2.0 -60 Negative",
        b"SIP/2.0 6033 Long",
        b"SIP/2.0 603Decline",
        b"SIP/2.0  603 Decline",
        b"SIP/2.0 \xd9\xa3\xd9\xa0 Digits of another script",
        b"SIP/3.0 603 Decline",
    ],
)
def test_what_is_no_start_line_is_refused(line: bytes) -> None:
    error = refused(line + b"\r\n" + HEAD + b"\r\n")
    assert error.status == 400


@pytest.mark.parametrize("version", [b"SIP/7.0", b"SIP/2.1", b"SIP/1.0", b"SIP/22.0", b"sip/3.0"])
def test_another_version_of_sip_is_owed_505(version: bytes) -> None:
    error = refused(invite(start=b"INVITE sip:b@example.com " + version))
    assert error.status == 505
    assert error.request is not None
    assert error.request.via.branch == b"z9hG4bK1"


def test_the_version_ignores_case() -> None:
    assert request(invite(start=b"INVITE sip:b@example.com sip/2.0")).method == b"INVITE"


# -- Header names and values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compact", "name"),
    [
        (b"a", b"Accept-Contact"),
        (b"b", b"Referred-By"),
        (b"c", b"Content-Type"),
        (b"d", b"Request-Disposition"),
        (b"e", b"Content-Encoding"),
        (b"j", b"Reject-Contact"),
        (b"k", b"Supported"),
        (b"m", b"Contact"),
        (b"n", b"Identity-Info"),
        (b"o", b"Event"),
        (b"r", b"Refer-To"),
        (b"s", b"Subject"),
        (b"u", b"Allow-Events"),
        (b"x", b"Session-Expires"),
        (b"y", b"Identity"),
    ],
)
def test_a_compact_form_is_the_header(compact: bytes, name: bytes) -> None:
    for written in (compact, compact.upper(), compact + b" "):
        assert request(invite(written + b": <sip:x>\r\n")).get(name) == b"<sip:x>"


def test_the_compact_forms_of_what_every_message_has() -> None:
    message = request(
        b"OPTIONS sip:b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a>;tag=1\r\nt: <sip:b>\r\n"
        b"i: 1\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n"
    )
    message.check()
    assert [key for key, _ in message.rows] == [
        b"Via",
        b"From",
        b"To",
        b"Call-ID",
        b"CSeq",
        b"Content-Length",
    ]


@pytest.mark.parametrize(
    "name", [b"Max-Forwards", b"max-forwards", b"MAX-FORWARDS", b"mAx-FoRwArDs", b"Max-Forwards\t"]
)
def test_header_names_ignore_case(name: bytes) -> None:
    assert request(invite(name + b": 7\r\n")).max_forwards == 7


def test_an_unknown_header_is_indexed_in_lower_case_and_kept_as_it_came() -> None:
    message = request(invite(b"X-ODD-One :  Value \r\n"))
    assert message.get(b"x-odd-one") == b"Value"
    assert message.lines(b"x-odd-one") == [b"X-ODD-One :  Value "]


def test_the_name_tables_agree() -> None:
    """Each known name has one key in every spelling, and no compact form hides another header."""
    for name in NAMES:
        for written in (name, name.lower(), name.upper(), name.swapcase()):
            assert header_key(written) == name
    assert set(COMPACT.values()) <= set(NAMES)


def test_header_key_names_what_parse_indexes() -> None:
    assert [header_key(name) for name in (b"CALL-ID", b"i", b" Call-ID ", b"X-Foo")] == [
        b"Call-ID",
        b"Call-ID",
        b"Call-ID",
        b"x-foo",
    ]


def test_repeated_headers_keep_their_order() -> None:
    message = request(
        invite(b"Reason: SIP;cause=1\r\nX-A: 1\r\nreason: Q.850;cause=2\r\nREASON: X;cause=3\r\n")
    )
    assert message.values(b"Reason") == [b"SIP;cause=1", b"Q.850;cause=2", b"X;cause=3"]
    assert message.get(b"Reason") == b"SIP;cause=1"
    assert message.repeated(b"Reason")
    assert not message.repeated(b"x-a")


def test_an_absent_header() -> None:
    message = request(invite())
    assert message.get(b"Reason") is None
    assert message.values(b"Reason") == []
    assert message.lines(b"Reason") == []


def test_an_empty_value_is_there_and_is_not_enough_where_one_is_needed() -> None:
    message = request(invite(b"Subject:\r\nSupported: \t\r\n"))
    assert (message.get(b"Subject"), message.values(b"Supported")) == (b"", [b""])
    with pytest.raises(MalformedError, match="Subject is missing"):
        message.need(b"Subject")


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b" \r\n  ", b"\t\r\n \t", b"\n ", b"  \n\t"])
def test_a_folded_value_is_one_value(fold: bytes) -> None:
    message = request(invite(b"Subject: one" + fold + b"two" + fold + b"three\r\nX-A: 1\r\n"))
    assert message.get(b"Subject") == b"one two three"
    assert message.get(b"x-a") == b"1"


def test_a_fold_belongs_to_the_line_before_it_also_when_that_repeats_a_header() -> None:
    message = request(
        invite(b"Reason: SIP\r\n ;cause=1\r\nReason: Q.850\r\n ;cause=2\r\nReason: X\r\n ;cause=3\r\n")
    )
    assert message.values(b"Reason") == [b"SIP ;cause=1", b"Q.850 ;cause=2", b"X ;cause=3"]
    assert message.lines(b"Reason")[2] == b"Reason: X\r\n ;cause=3"


def test_a_fold_that_looks_like_a_header_is_none() -> None:
    message = request(invite(b"Subject: one\r\n To: two\r\n"))
    assert message.get(b"Subject") == b"one To: two"
    assert not message.repeated(b"To")


def test_a_fold_behind_the_start_line_is_refused() -> None:
    refused(b"INVITE sip:b SIP/2.0\r\n  To: x\r\n" + HEAD + b"\r\n")


def test_unfold_takes_all_white_space_around_each_fold() -> None:
    assert unfold(b"  a \t\r\n \t b\r\n c ") == b"a b c"


@pytest.mark.parametrize(
    "line", [b"no colon", b": no name", b"two words: x", b"(x): y", b"\x00: y", b"\xc3\xa9: y"]
)
def test_a_line_that_is_no_header_is_refused_and_answered(line: bytes) -> None:
    error = refused(invite(line + b"\r\n"))
    assert (error.status, error.why) == (400, "bad header line")
    assert error.request is not None
    assert error.request.call_id == b"1@example.com"


def test_nul_octets_in_a_value_are_data() -> None:
    assert request(invite(b"Subject: a\x00b\r\n")).get(b"Subject") == b"a\x00b"


# -- Line ends and the end of the headers ---------------------------------------------------------------


def test_bare_lf_line_ends_are_read() -> None:
    body = b"v=0\r\n\r\nx"
    message = request(invite(b"Content-Length: %d\r\n" % len(body)).replace(b"\r\n", b"\n") + body)
    assert message.check().host == b"example.com"
    assert message.body == body
    assert all(b"\n" not in line for _, line in message.rows)


def test_one_bare_lf_among_crlf_is_a_line_end() -> None:
    assert request(invite(b"X-A: 1\nX-B: 2\r\n")).get(b"x-b") == b"2"


def test_the_first_blank_line_ends_the_headers_however_it_is_written() -> None:
    message = request(invite().rstrip(b"\r\n") + b"\n\nX-A: 1\r\n\r\nrest")
    assert message.body == b"X-A: 1\r\n\r\nrest"
    assert message.get(b"x-a") is None


def test_a_bare_cr_is_refused() -> None:
    assert refused(invite(b"Subject: a\rb\r\n")).why == "bare CR in headers"


@pytest.mark.parametrize("lead", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n\n"])
def test_line_ends_before_the_start_line_are_skipped(lead: bytes) -> None:
    assert request(lead + invite(body=b"x")).body == b"x"


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"\r\n\r\n", b"\n\n", b"\x00", b"\x00\x00\x00\x00", b"\r", b" "]
)
def test_keep_alives_and_noise_are_refused_and_not_answered(data: bytes) -> None:
    assert refused(data).request is None


def test_headers_without_an_end_are_refused_and_answered() -> None:
    error = refused(invite()[:-4])
    assert (error.why, error.status) == ("no end of headers", 400)
    assert error.request is not None
    assert error.request.cseq == (1, b"INVITE")


def test_a_message_that_ends_behind_its_last_header_line_is_whole() -> None:
    assert request(invite()[:-2]).body == b""


@pytest.mark.parametrize(
    "data",
    [
        invite(b"no colon\r\n", start=b"ACK sip:b SIP/2.0"),
        invite(start=b"ACK sip:b SIP/9.0"),
        invite(b"no colon\r\n", start=b"SIP/2.0 200 OK"),
        invite(start=b"ACK sip:b SIP/2.0")[:-4],
    ],
)
def test_an_ack_or_a_response_is_never_answered(data: bytes) -> None:
    assert refused(data).request is None


# -- Content-Length -------------------------------------------------------------------------------------


def test_without_content_length_the_body_is_the_rest() -> None:
    assert request(invite(body=b"v=0\r\n\r\nx")).body == b"v=0\r\n\r\nx"


@pytest.mark.parametrize(
    "written", [b"Content-Length: 3", b"l:3", b"L :  3  ", b"Content-Length:\r\n 3", b"l: 003"]
)
def test_the_body_ends_at_content_length(written: bytes) -> None:
    assert request(invite(written + b"\r\n", b"v=0INVITE sip:x SIP/2.0\r\n\r\n")).body == b"v=0"


@pytest.mark.parametrize(
    "written",
    [b"-1", b"+3", b"", b"3.0", b"0x3", b"3 3", b"three", b"1e1", b"\xd9\xa3", b"99999999999", b"9" * 5000],
)
def test_a_content_length_that_is_no_number_is_refused_and_answered(written: bytes) -> None:
    error = refused(invite(b"Content-Length: " + written + b"\r\n", b"v=0"))
    assert (error.why, error.status) == ("bad Content-Length", 400)
    assert error.request is not None


def test_a_body_shorter_than_content_length_is_refused_and_answered() -> None:
    error = refused(invite(b"Content-Length: 4\r\n", b"v=0"))
    assert (error.why, error.status) == ("body shorter than Content-Length", 400)
    assert error.request is not None


def test_two_content_lengths_must_agree() -> None:
    assert refused(invite(b"l: 3\r\nContent-Length: 2\r\n", b"v=0")).why == "Content-Length is repeated"
    assert request(invite(b"l: 3\r\nContent-Length:  3\r\n", b"v=0")).body == b"v=0"


# -- Limits ---------------------------------------------------------------------------------------------


def test_the_largest_datagram_is_read() -> None:
    head = invite(b"Content-Length: 00000\r\n")
    size = MAX_DATAGRAM - len(head)
    data = head.replace(b"00000", b"%05d" % size) + b"\x00" * size
    assert len(data) == 65_535
    assert len(request(data).body) == size


def test_a_header_line_as_long_as_the_limit_is_read_and_one_octet_more_is_owed_513() -> None:
    line = b"X-Long: " + b"x" * (MAX_LINE - 8)
    assert request(invite(line + b"\r\n")).lines(b"x-long") == [line]
    error = refused(invite(line + b"x\r\n"))
    assert (error.why, error.status) == ("header line too long", 513)
    assert error.request is not None
    assert error.request.via.host == b"192.0.2.1"


def test_a_start_line_longer_than_the_limit_is_owed_414_3261_21_4_14() -> None:
    uri = b"sip:" + b"x" * (MAX_LINE - len(b"INVITE sip: SIP/2.0"))
    assert request(invite().replace(b"sip:b@example.com", uri, 1)).uri == uri
    error = refused(invite().replace(b"sip:b@example.com", uri + b"x", 1))
    assert (error.why, error.status) == ("start line too long", 414)
    assert error.request is not None
    with pytest.raises(MalformedMessageError, match="start line too long") as caught:
        parse(b"SIP/2.0 486 " + b"x" * MAX_LINE + b"\r\n\r\n")
    assert caught.value.request is None


def test_the_limit_counts_for_well_known_headers_and_over_folds() -> None:
    assert refused(invite(b"Subject: " + b"x" * MAX_LINE + b"\r\n")).status == 513
    error = refused(
        invite(b"Subject: x" + b"\r\n xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" * 200 + b"\r\n")
    )
    assert (error.why, error.status) == ("header line too long", 513)
    assert error.request is not None


def test_as_many_headers_as_the_limit_are_read_and_one_more_is_owed_513() -> None:
    room = MAX_HEADERS - HEAD.count(b"\r\n")
    assert len(request(invite(b"X-A: 1\r\n" * room)).rows) == MAX_HEADERS
    error = refused(invite(b"X-A: 1\r\n" * (room + 1)))
    assert (error.why, error.status) == ("too many headers", 513)
    assert error.request is not None
    assert len(error.request.rows) == MAX_HEADERS


# -- What a new transaction needs (Request.check) --------------------------------------------------------


def test_check_returns_the_request_uri_in_parts() -> None:
    uri = request(invite()).check()
    assert (uri.scheme, uri.user, uri.host, uri.port) == (b"sip", b"b", b"example.com", 0)


@pytest.mark.parametrize("key", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_check_misses_each_header_that_a_request_must_have(key: bytes) -> None:
    lines = b"".join(line + b"\r\n" for line in HEAD.split(b"\r\n")[:-1] if not line.startswith(key))
    message = request(b"INVITE sip:b@example.com SIP/2.0\r\n" + lines + b"\r\n")
    with pytest.raises(MalformedError, match=f"{key.decode()} is missing"):
        message.check()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"From: <sip:z@example.com>", "From is repeated"),
        (b"t: <sip:z@example.com>", "To is repeated"),
        (b"CALL-ID: 2", "Call-ID is repeated"),
        (b"cseq: 1 INVITE", "CSeq is repeated"),
        (b"Max-Forwards: 1\r\nMax-Forwards: 1", "Max-Forwards is repeated"),
        (b"Max-Forwards: 256", "bad Max-Forwards"),
        (b"Max-Forwards: -1", "bad Max-Forwards"),
        (b"Max-Forwards:", "bad Max-Forwards"),
        (b"Contact: <sip:a", "bad name-addr"),
        (b"Contact: <sip:a>, nobody", "bad name-addr"),
        (b'Contact: "a <sip:a>, <sip:b>', "unbalanced quotes or brackets in a list"),
    ],
)
def test_check_refuses_what_makes_a_request_ambiguous_or_unreadable(line: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why) as caught:
        request(invite(line + b"\r\n")).check()
    assert caught.value.status == 400


def test_check_passes_headers_that_may_be_repeated() -> None:
    request(invite(b"Via: SIP/2.0/TCP x\r\nContact: <sip:a>, sip:b\r\nRoute: <sip:r>\r\n")).check()


def test_check_passes_a_contact_star_in_register_alone() -> None:
    """RFC 3261 10.2.2: it means every registration, which nothing else can mean."""
    star = invite(b"Contact: *\r\n", start=b"REGISTER sip:b@example.com SIP/2.0")
    request(star.replace(b"1 INVITE", b"1 REGISTER")).check()
    with pytest.raises(MalformedError):
        request(invite(b"Contact: *\r\n")).check()


@pytest.mark.parametrize("contact", [b"", b",", b"<sip:>", b"<sip:a@b:99999>", b"<sip:a>, <sip:b@>"])
def test_check_refuses_a_contact_that_no_request_could_be_sent_to(contact: bytes) -> None:
    with pytest.raises(MalformedError):
        request(invite(b"Contact: %b\r\n" % contact)).check()


@pytest.mark.parametrize("route", [b"<", b"<sip:a@b:99999>", b"<sip:a;lr>, sip:"])
def test_check_refuses_a_record_route_that_makes_no_route_set(route: bytes) -> None:
    with pytest.raises(MalformedError):
        request(invite(b"Record-Route: <sip:ok;lr>\r\nRecord-Route: %b\r\n" % route)).check()


def test_check_refuses_a_cseq_of_another_method() -> None:
    with pytest.raises(MalformedError, match="CSeq names another method"):
        request(invite(start=b"OPTIONS sip:b@example.com SIP/2.0")).check()


@pytest.mark.parametrize(
    "uri", [b"sip:", b"sip:b@", b"<sip:b@example.com>", b"b@example.com", b"sip:b?Subject=x"]
)
def test_check_refuses_a_bad_request_uri(uri: bytes) -> None:
    with pytest.raises(MalformedError):
        request(invite(start=b"INVITE " + uri + b" SIP/2.0")).check()


def test_a_via_of_another_version_is_owed_505() -> None:
    message = request(b"INVITE sip:b SIP/2.0\r\n" + HEAD.replace(b"SIP/2.0/UDP", b"SIP/3.0/UDP") + b"\r\n")
    with pytest.raises(MalformedError) as caught:
        message.check()
    assert caught.value.status == 505


def test_typed_values_of_the_message() -> None:
    message = request(invite(b"Max-Forwards: 0\r\n"))
    assert message.via.sent_by == b"192.0.2.1:0"
    assert message.cseq == (1, b"INVITE")
    assert message.call_id == b"1@example.com"
    assert (message.from_tag, message.to_tag) == (b"1", b"")
    assert message.max_forwards == 0
