"""The torture messages of RFC 4475 and RFC 5118 against the message layer.

``tests/corpus/outcomes.tsv`` is the specification; what a row says as one word, the tests below say in full
for the messages whose point is how something is *understood*.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_addresses, parse_auth, parse_via, split_list, unquote
from gateway.sip.message import MalformedMessageError, Request, Response, parse
from gateway.sip.uri import parse_uri

CORPUS = Path(__file__).parent.parent / "corpus"
OUTCOMES = list(
    csv.DictReader((CORPUS / "outcomes.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t")
)
REFUSED = [row for row in OUTCOMES if row["outcome"] not in ("message", "drop")]


def raw(name: str) -> bytes:
    return (CORPUS / f"{name}.dat").read_bytes()


def request(name: str) -> Request:
    message = parse(raw(name))
    assert isinstance(message, Request)
    return message


def response(name: str) -> Response:
    message = parse(raw(name))
    assert isinstance(message, Response)
    return message


def outcome_of(data: bytes) -> str:
    """Read a message as far as a new transaction (request) or a waiting one (response) needs it."""
    try:
        message = parse(data)
    except MalformedMessageError as error:
        return str(error.status) if error.request is not None else "drop"
    try:
        if isinstance(message, Request):
            message.check()
        else:
            _ = message.via, message.cseq, message.call_id, message.from_tag, message.to_tag
    except MalformedError as error:
        return str(error.status) if isinstance(message, Request) else "drop"
    return "message"


def test_the_table_names_every_message_of_the_corpus_once() -> None:
    files = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.glob("*/*.dat"))
    assert sorted(row["file"] for row in OUTCOMES) == files


@pytest.mark.parametrize("row", OUTCOMES, ids=[row["file"] for row in OUTCOMES])
def test_each_message_is_understood_or_refused_as_the_rfc_asks(row: dict[str, str]) -> None:
    assert outcome_of((CORPUS / row["file"]).read_bytes()) == row["outcome"], row["note"]


@pytest.mark.parametrize("row", REFUSED, ids=[row["file"] for row in REFUSED])
def test_what_is_refused_can_be_answered(row: dict[str, str]) -> None:
    """A refused request still shows the Via by which the refusal finds its way back."""
    try:
        message = parse((CORPUS / row["file"]).read_bytes())
    except MalformedMessageError as error:
        assert error.request is not None
        message = error.request
    assert message.lines(b"Via")


# -- RFC 4475 3.1.1: valid, and meant to be understood --------------------------------------------------


def test_wsinv_values_are_read_through_folds_compact_forms_and_odd_white_space() -> None:
    invite = request("rfc4475/wsinv")
    assert invite.uri == b"sip:vivekg@chair-dnrc.example.com;unknownparam"
    assert invite.to_tag == b"1918181833n"
    assert (invite.sender.display, invite.from_tag) == (rb'"J Rosenberg \\\""', b"98asjd8")
    assert unquote(invite.sender.display) == b'J Rosenberg \\"'
    assert invite.max_forwards == 68
    assert invite.cseq == (9, b"INVITE")
    assert invite.get(b"Subject") == b""
    assert invite.get(b"newfangledheader") == b"newfangled value continued newfangled value"
    assert invite.get(b"unknownheaderwithunusualvalue") == b";;,,;;,;"
    [contact] = parse_addresses(invite.values(b"Contact"))
    assert unquote(contact.display) == b'Quoted string ""'
    assert contact.params == {b"newparam": b"newvalue", b"secondparam": None, b"q": b"0.33"}
    [route] = parse_addresses(invite.values(b"Route"))
    assert parse_uri(route.uri).param(b"lr") == b""
    assert len(invite.body) == 150


def test_wsinv_has_three_vias_on_two_lines() -> None:
    invite = request("rfc4475/wsinv")
    vias = [parse_via(item) for value in invite.values(b"Via") for item in split_list(value)]
    assert [(via.transport, via.host, via.branch) for via in vias] == [
        (b"UDP", b"192.0.2.2", b"390skdjuw"),
        (b"TCP", b"spindle.example.com", b"z9hG4bK9ikj8"),
        (b"UDP", b"192.168.255.111", b"z9hG4bK30239"),
    ]
    assert not vias[0].has_cookie
    assert vias[1].has_cookie


def test_intmeth_every_character_that_the_grammar_allows() -> None:
    message = request("rfc4475/intmeth")
    assert message.method == b"!interesting-Method0123456789_*+`.%indeed'~"
    assert message.cseq == (139122385, message.method)
    uri = message.check()
    assert uri.user.startswith(b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:")
    assert uri.host == b"example.com"
    assert unquote(message.receiver.display) == b"BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_tag == b"_token~1'+`*%!-."
    assert unquote(message.sender.params[b"fromparam''~+*_!.-%"] or b"").decode() == "работающий"
    assert (message.get(b"extensionheader-!.%*+_`'~") or b"").decode() == "\ufeff大停電"
    assert message.max_forwards == 255


def test_esc01_escapes_are_kept_in_what_is_relayed_and_undone_in_what_is_compared() -> None:
    invite = request("rfc4475/esc01")
    uri = invite.check()
    assert uri.user == b"sips%3Auser%40example.com"
    assert uri.number == b"sips:user@example.com"
    [contact] = parse_addresses(invite.values(b"Contact"))
    target = parse_uri(contact.uri)
    assert target.param(b"lr") == b""
    assert target.param(b"name") == b"v%61lue%25%34%31"


def test_escnull_an_escaped_nul_ends_no_string() -> None:
    register = request("rfc4475/escnull")
    assert parse_uri(register.receiver.uri).number == b"null-\x00-null"
    contacts = parse_addresses(register.values(b"Contact"))
    assert [parse_uri(contact.uri).user for contact in contacts] == [b"%00", b"%00%00"]


def test_esc02_an_escaped_register_is_no_register() -> None:
    message = request("rfc4475/esc02")
    assert message.method == b"RE%47IST%45R"
    assert message.sender.display == b'"%Z%45"'
    assert len(message.values(b"Contact")) == 2, "C%6Fntact is another header"


def test_lwsdisp_a_display_name_may_touch_the_bracket() -> None:
    assert request("rfc4475/lwsdisp").sender.display == b"caller"


def test_longreq_has_34_vias_and_keeps_every_line() -> None:
    invite = request("rfc4475/longreq")
    assert len(invite.values(b"Via")) == 34
    assert invite.via.host == b"sip33.example.com"
    assert parse_via(invite.values(b"Via")[-1]).branch.startswith(b"verylonglong")
    assert b"\r\n".join(line for _, line in invite.rows) in raw("rfc4475/longreq")


def test_dblreq_octets_behind_the_message_are_ignored() -> None:
    message = request("rfc4475/dblreq")
    assert (message.method, message.body) == (b"REGISTER", b"")
    assert message.get(b"Content-Type") is None


def test_semiuri_a_semicolon_before_the_at_sign_belongs_to_the_user() -> None:
    uri = request("rfc4475/semiuri").check()
    assert (uri.user, uri.host, uri.params) == (b"user;par=u%40example.net", b"example.com", b"")


def test_transports_unknown_ones_are_read() -> None:
    vias = [parse_via(value) for value in request("rfc4475/transports").values(b"Via")]
    assert [via.transport for via in vias] == [b"UDP", b"SCTP", b"TLS", b"UNKNOWN", b"TCP"]


def test_mpart01_the_binary_body_is_untouched() -> None:
    message = request("rfc4475/mpart01")
    assert message.body == raw("rfc4475/mpart01").partition(b"\r\n\r\n")[2]
    assert b"\x00" in message.body
    assert message.get(b"Content-Type") == b"multipart/mixed;boundary=7a9cbec02ceef655"


def test_unreason_a_phrase_in_utf8() -> None:
    answer = response("rfc4475/unreason")
    assert answer.status == 200
    assert answer.phrase.decode() == "= 2**3 * 5**2 но сто девяносто девять - простое"


def test_noreason_an_empty_phrase() -> None:
    answer = response("rfc4475/noreason")
    assert (answer.status, answer.phrase) == (100, b"")


# -- RFC 4475 3.1.2, 3.2, 3.3: refused, or left to whoever uses the message -----------------------------


def test_badvers_is_refused_with_505_and_read_far_enough_to_be_answered() -> None:
    with pytest.raises(MalformedMessageError) as caught:
        parse(raw("rfc4475/badvers"))
    assert caught.value.status == 505
    assert caught.value.request is not None
    assert caught.value.request.call_id == b"badvers.31417@c.example.com"


def test_bigcode_does_not_become_a_small_code() -> None:
    with pytest.raises(MalformedMessageError):
        parse(raw("rfc4475/bigcode"))


def test_badbranch_a_bare_cookie_is_no_cookie() -> None:
    via = request("rfc4475/badbranch").via
    assert via.branch == b"z9hG4bK"
    assert not via.has_cookie


@pytest.mark.parametrize(
    ("name", "scheme"), [("rfc4475/unkscm", b"nobodyknowsthisscheme"), ("rfc4475/novelsc", b"soap.beep")]
)
def test_an_unknown_scheme_is_told_apart_from_bad_syntax(name: str, scheme: bytes) -> None:
    assert request(name).check().scheme == scheme


def test_unksm2_unknown_schemes_in_addresses() -> None:
    message = request("rfc4475/unksm2")
    assert (message.receiver.uri, message.sender.uri) == (b"isbn:2983792873", b"http://www.example.com")
    assert [a.uri for a in parse_addresses(message.values(b"Contact"))] == [b"name:John_Smith"]


def test_bext01_names_the_extensions_asked_for() -> None:
    message = request("rfc4475/bext01")
    assert split_list(message.need(b"Require")) == [b"nothingSupportsThis", b"nothingSupportsThisEither"]
    assert split_list(message.need(b"Proxy-Require")) == [
        b"noProxiesSupportThis",
        b"norDoAnyProxiesSupportThis",
    ]


def test_regaut01_an_unknown_scheme_has_parameters_like_any_other() -> None:
    auth = parse_auth(request("rfc4475/regaut01").need(b"Authorization"))
    assert (auth.scheme, auth.params) == (b"nooneknowsthisscheme", {b"opaque-data": b"here"})


def test_zeromf_is_sound_and_has_no_hop_left() -> None:
    assert request("rfc4475/zeromf").max_forwards == 0


def test_cparam_brackets_decide_whose_parameter_it_is() -> None:
    [without] = parse_addresses(request("rfc4475/cparam01").values(b"Contact"))
    [within] = parse_addresses(request("rfc4475/cparam02").values(b"Contact"))
    assert (without.uri, without.params) == (b"sip:+19725552222@gw1.example.net", {b"unknownparam": None})
    assert (within.uri, within.params) == (b"sip:+19725552222@gw1.example.net;unknownparam", {})


def test_regescrt_headers_in_a_bracketed_contact_uri_are_kept() -> None:
    [contact] = parse_addresses(request("rfc4475/regescrt").values(b"Contact"))
    assert parse_uri(contact.uri).headers == b"?Route=%3Csip:sip.example.com%3E"


def test_inv2543_what_an_old_peer_leaves_out_is_not_missed() -> None:
    invite = request("rfc4475/inv2543")
    assert (invite.via.branch, invite.via.has_cookie, invite.from_tag) == (b"", False, b"")
    assert invite.max_forwards == 70
    assert len(invite.body) > 0, "without a Content-Length the body is the rest of the datagram"


# -- RFC 5118 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("ipv6-good", b"[2001:db8::10]", 0),
        ("port-ambiguous", b"[2001:db8::10:5070]", 0),
        ("port-unambiguous", b"[2001:db8::10]", 5070),
        ("ipv6-correct-abnf-2-colons", b"[2001:db8::192.0.2.1]", 0),
    ],
)
def test_an_ipv6_reference_is_a_host_and_what_follows_it_the_port(name: str, host: bytes, port: int) -> None:
    uri = request(f"rfc5118/{name}").check()
    assert (uri.host, uri.port) == (host, port)


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("via-received-param-with-delim", b"received=[2001:db8::9:255]"),
        ("via-received-param-no-delim", b"received=2001:db8::9:255"),
    ],
)
def test_received_is_read_with_and_without_brackets(name: str, received: bytes) -> None:
    via = request(f"rfc5118/{name}").via
    assert via.host == b"[2001:db8::9:1]"
    assert received in via.params.split(b";")
    assert via.has_cookie


def test_mult_ip_in_header_each_via_has_its_own_family() -> None:
    vias = [parse_via(value) for value in request("rfc5118/mult-ip-in-header").values(b"Via")]
    assert [(via.host, via.port) for via in vias] == [
        (b"[2001:db8::9:1]", 6050),
        (b"192.0.2.1", 0),
        (b"[2001:db8::9:255]", 0),
    ]


@pytest.mark.parametrize("name", ["ipv6-in-sdp", "mult-ip-in-sdp", "ipv4-mapped-ipv6"])
def test_addresses_in_a_body_are_none_of_the_message_layers_business(name: str) -> None:
    invite = request(f"rfc5118/{name}")
    assert invite.body == raw(f"rfc5118/{name}").partition(b"\r\n\r\n")[2][: len(invite.body)]
    assert len(invite.body) == int(invite.need(b"Content-Length"))


def test_ipv4_mapped_addresses_are_references_like_any_other() -> None:
    invite = request("rfc5118/ipv4-mapped-ipv6")
    assert (invite.via.host, invite.via.port) == (b"[::ffff:192.0.2.10]", 19823)
    assert parse_uri(parse_addresses(invite.values(b"Contact"))[0].uri).host == b"[::ffff:192.0.2.2]"
