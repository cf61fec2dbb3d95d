"""The endpoint: what needs no user is answered by it, at the right address; and it protects itself."""

from __future__ import annotations

import pytest

from gateway.sip.dialog import Dialog
from gateway.sip.itself import ALLOW, SUPPORTED
from gateway.sip.transaction import ImpossibleInputError

from .served import PEER, PEER6, STRANGER, TCP4, UDP4, Served, message, reply


@pytest.fixture
def served() -> Served:
    return Served()


# -- where answers go: RFC 3261 18.2.1, 18.2.2, RFC 3581 ------------------------------------------------

VIA = b"SIP/2.0/UDP %b;branch=z9hG4bKa%b"
ANSWER_ROUTES = [
    # source, sent-by and parameters, port the answer goes to, top Via of the answer
    (("192.0.2.2", 5060), b"192.0.2.2:5060", b"", 5060, b"192.0.2.2:5060;branch=z9hG4bKa"),
    (("192.0.2.2", 5060), b"192.0.2.2", b"", 5060, b"192.0.2.2;branch=z9hG4bKa"),
    (("192.0.2.2", 40001), b"192.0.2.2:5062", b"", 5062, b"192.0.2.2:5062;branch=z9hG4bKa"),
    (("192.0.2.2", 40001), b"192.0.2.2", b"", 5060, b"192.0.2.2;branch=z9hG4bKa"),
    (("192.0.2.2", 40001), b"phone.example.com:5062", b"", 5062,
     b"phone.example.com:5062;branch=z9hG4bKa;received=192.0.2.2"),
    (("192.0.2.2", 40001), b"10.0.0.7:5062", b"", 5062, b"10.0.0.7:5062;branch=z9hG4bKa;received=192.0.2.2"),
    (("192.0.2.2", 40001), b"10.0.0.7:5062", b";rport", 40001,
     b"10.0.0.7:5062;branch=z9hG4bKa;received=192.0.2.2;rport=40001"),
    (("192.0.2.2", 40001), b"192.0.2.2:40001", b";rport", 40001,
     b"192.0.2.2:40001;branch=z9hG4bKa;received=192.0.2.2;rport=40001"),
    (("192.0.2.2", 40001), b"10.0.0.7", b";received=203.0.113.9;rport=9", 40001,
     b"10.0.0.7;branch=z9hG4bKa;received=192.0.2.2;rport=40001"),
    (("192.0.2.2", 40001), b"192.0.2.2", b";maddr=203.0.113.9", 5060,
     b"192.0.2.2;branch=z9hG4bKa;maddr=203.0.113.9"),
    (("2001:db8::2", 5060), b"[2001:db8::2]:5060", b"", 5060, b"[2001:db8::2]:5060;branch=z9hG4bKa"),
    (("2001:db8::2", 40001), b"[2001:db8::9]", b"", 5060,
     b"[2001:db8::9];branch=z9hG4bKa;received=2001:db8::2"),
    (("2001:db8::2", 40001), b"[2001:db8::2]:5060", b";rport", 40001,
     b"[2001:db8::2]:5060;branch=z9hG4bKa;received=2001:db8::2;rport=40001"),
]  # fmt: skip


@pytest.mark.parametrize("stateless", [False, True], ids=["by a transaction", "statelessly"])
@pytest.mark.parametrize(("source", "sent_by", "params", "port", "top"), ANSWER_ROUTES)
def test_answers_go_to_the_source_address_at_the_right_port(
    served: Served,
    source: tuple[str, int],
    sent_by: bytes,
    params: bytes,
    port: int,
    top: bytes,
    stateless: bool,
) -> None:
    """The address is always the source's; the port is sent-by's, or the source's where ``rport`` asks for it.
    ``maddr`` and a ``received`` of the sender's own are not followed: they would aim us at third parties.
    """
    to = b"<sip:b@192.0.2.1>" if stateless else b"<sip:b@192.0.2.1>;tag=gone"
    lines = b"Max-Forwards: 0\r\n" if stateless else b""
    answer = served.answer(message(b"INFO", via=VIA % (sent_by, params), to=to, lines=lines), source)
    assert answer.status == (483 if stateless else 481)
    assert served.went_to == (source[0], port)
    assert answer.lines(b"Via") == [b"Via: SIP/2.0/UDP " + top]


def test_on_a_connection_answers_go_back_on_it(served: Served) -> None:
    via = b"SIP/2.0/TCP 192.0.2.2:5062;branch=z9hG4bKa"
    served.answer(message(b"INFO", via=via, to=b"<sip:b@192.0.2.1>;tag=gone"), ("192.0.2.2", 40001), TCP4)
    [(_, flow)] = served.went
    assert flow is served.flows.get(TCP4, ("192.0.2.2", 40001))


@pytest.mark.parametrize("lines", [b"", b"Via: SIP/2.0/UDP third;branch=z9hG4bKthird\r\n"])
def test_every_via_goes_back_in_order_and_only_the_topmost_is_marked(served: Served, lines: bytes) -> None:
    via = b"SIP/2.0/UDP proxy:5060;branch=z9hG4bKa;rport, SIP/2.0/UDP phone;branch=z9hG4bKb"
    answer = served.answer(message(b"INFO", via=via, to=b"<sip:b@h>;tag=gone", lines=lines))
    assert answer.lines(b"Via") == [
        b"Via: SIP/2.0/UDP proxy:5060;branch=z9hG4bKa;received=192.0.2.2;rport=5060,"
        b" SIP/2.0/UDP phone;branch=z9hG4bKb",
        *lines.splitlines(),
    ]


# -- what needs no user: RFC 3261 8.2 -------------------------------------------------------------------


@pytest.mark.parametrize("uri", [b"http://example.com", b"im:b@192.0.2.1"])
def test_a_scheme_that_is_not_served_gets_416(served: Served, uri: bytes) -> None:
    """RFC 3261 8.2.2.1."""
    assert served.answer(message(uri=uri)).status == 416
    assert served.up == []


def test_tel_uris_are_served(served: Served) -> None:
    served.give(message(uri=b"tel:+12015550123"))
    assert served.up[0].uri is not None
    assert served.up[0].uri.number == b"+12015550123"


def test_proxy_require_gets_420_and_hears_what_is_not_supported(served: Served) -> None:
    """RFC 3261 8.2.2.3, 16.3."""
    answer = served.answer(message(lines=b"Proxy-Require: foo, bar\r\nProxy-Require: baz\r\n"))
    assert answer.status == 420
    assert answer.get(b"Unsupported") == b"foo, bar, baz"


def test_require_is_the_far_ends_business(served: Served) -> None:
    served.give(message(lines=b"Require: 100rel\r\n"))
    assert len(served.up) == 1


def test_no_hops_left_gets_483(served: Served) -> None:
    """RFC 3261 16.3: a B2BUA counts hops as a proxy does."""
    assert served.answer(message(lines=b"Max-Forwards: 0\r\n")).status == 483
    assert served.give(message(lines=b"Max-Forwards: 1\r\n")) == []


@pytest.mark.parametrize(
    "uri",
    [
        b"sip:192.0.2.1",
        b"sip:192.0.2.1:5060",
        b"sip:192.0.2.1:506",
        b"sip:[2001:DB8::1]",
        b"sip:192.0.2.1;lr",
    ],
)
def test_options_to_the_gateway_itself_gets_200_and_says_what_it_does(served: Served, uri: bytes) -> None:
    """RFC 3261 11.2; with no hops left, too: that is how traceroutes find us."""
    answer = served.answer(message(b"OPTIONS", uri=uri, lines=b"Max-Forwards: 0\r\n"))
    assert answer.status == 200
    said = {key: answer.get(key) for key in (b"Accept", b"Accept-Encoding", b"Accept-Language")}
    assert said == {b"Accept": b"*/*", b"Accept-Encoding": b"*", b"Accept-Language": b"*"}
    assert (answer.get(b"Allow"), answer.get(b"Supported")) == (ALLOW, SUPPORTED)
    assert answer.to_tag
    assert served.up == []


def test_options_for_somebody_behind_the_gateway_goes_up(served: Served) -> None:
    served.give(message(b"OPTIONS"))
    served.give(
        message(b"OPTIONS", uri=b"sip:192.0.2.77", call_id=b"x", via=b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx")
    )
    assert len(served.up) == 2


@pytest.mark.parametrize("host", ["192.0.2.77", "2001:db8::77"])
def test_options_to_another_address_of_this_machine_came_by_a_wildcard(served: Served, host: str) -> None:
    served.addresses.add(host)
    shown = f"[{host}]" if ":" in host else host
    assert served.answer(message(b"OPTIONS", uri=f"sip:{shown}:5060".encode())).status == 200
    assert served.up == []


def test_options_to_the_gateway_that_requires_something_gets_420(served: Served) -> None:
    answer = served.answer(message(b"OPTIONS", uri=b"sip:192.0.2.1", lines=b"Require: a\r\nRequire: b\r\n"))
    assert answer.status == 420
    assert answer.get(b"Unsupported") == b"a, b"


def test_options_to_the_gateway_hears_only_of_extensions_that_it_lacks_3261_8_2_2_3(served: Served) -> None:
    uri, lines = b"sip:192.0.2.1", b"Require: 100rel, teleport\r\nRequire: Timer\r\n"
    answer = served.answer(message(b"OPTIONS", uri=uri, lines=lines))
    assert (answer.status, answer.get(b"Unsupported")) == (420, b"teleport")
    via, lines = b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKb", b"Require: Replaces\r\n"
    assert served.answer(message(b"OPTIONS", uri=uri, via=via, lines=lines)).status == 200


@pytest.mark.parametrize(("method", "status"), [(b"MESSAGE", 405), (b"INVITE", 405), (b"NEW", 501)])
def test_other_requests_to_the_gateway_itself_get_405_or_501(
    served: Served, method: bytes, status: int
) -> None:
    """RFC 3261 8.2.1: nobody is behind this URI to be called; only OPTIONS makes sense to it."""
    answer = served.answer(message(method, uri=b"sip:192.0.2.1"))
    assert (answer.status, answer.get(b"Allow")) == (status, b"OPTIONS")


# -- malformed requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (message().replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia", 1), 505),
        (message(uri=b"<sip:b@192.0.2.1>"), 400),
        (message(uri=b"sip:b@192.0.2.1?Subject=x"), 400),
        (message(lines=b"Max-Forwards: 256\r\n"), 400),
        (message(lines=b"Subject\r\n"), 400),
        (message(lines=b"X-Long: " + b"x" * 9000 + b"\r\n"), 513),
        (message(lines=b"X-Many: x\r\n" * 300), 513),
        (message(cseq=b"9999999999"), 400),
        (message().replace(b"1 INVITE", b"1 BYE"), 400),
        (message().replace(b"Length: 0", b"Length: -1"), 400),
        (message().replace(b"Length: 0", b"Length: 10"), 400),
        (message(lines=b"To: <sip:c@192.0.2.1>\r\n"), 400),
        (message(lines=b"Record-Route: <sip:h\r\n"), 400),
        (message()[:-20], 400),
    ],
)
def test_a_malformed_request_is_refused_statelessly_and_counted(
    served: Served, data: bytes, status: int
) -> None:
    answer = served.answer(data)
    assert answer.status == status
    assert answer.via.branch == b"z9hG4bKa"
    assert answer.get(b"From") == b"<sip:a@192.0.2.2>;tag=theirs"
    assert answer.to_tag
    assert served.endpoint.servers == {}
    assert served.up == []
    assert sum(served.endpoint.malformed.values()) == 1


@pytest.mark.parametrize("left_out", ["from_", "to", "call_id", "cseq"])
def test_a_request_that_lacks_something_gets_a_400_with_the_rest(served: Served, left_out: str) -> None:
    """RFC 4475 3.3.1: only what was there goes back; no header is made up or left empty."""
    answer = served.answer(message(**{left_out: b"-"}))
    assert answer.status == 400
    key = {"from_": b"From", "to": b"To", "call_id": b"Call-ID", "cseq": b"CSeq"}[left_out]
    kept = {b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Content-Length"} - {key}
    assert set(answer.index) == kept
    assert all(answer.index.values())


@pytest.mark.parametrize(
    ("key", "value"),
    [("to", b'"unbalanced <sip:b@h>'), ("from_", b"<sip:a@h"), ("cseq", b"x"), ("via", b"SIP/2.0/UDP ?")],
)
def test_what_cannot_be_read_goes_back_as_it_came(served: Served, key: str, value: bytes) -> None:
    answer = served.answer(message(**{key: value}), ("192.0.2.2", 40001))
    assert answer.status == 400
    name = {"to": b"To", "from_": b"From", "cseq": b"CSeq", "via": b"Via"}[key]
    assert answer.lines(name)[0].startswith(b"%b: %b" % (name, value))
    assert served.went_to == ("192.0.2.2", 40001 if key == "via" else 5060)


def test_without_a_via_there_is_no_way_back(served: Served) -> None:
    assert served.give(message(via=b"-")) == []
    assert served.endpoint.dropped["no Via to answer by"] == 1


def test_the_same_stateless_request_gets_the_same_to_tag_and_another_another(served: Served) -> None:
    """RFC 3261 8.2.7: so that a retransmission does not look like a second answer."""
    refused = message(lines=b"Max-Forwards: 0\r\n")
    first, second = served.answer(refused), served.answer(refused)
    assert first.to_tag == second.to_tag != b""
    other = served.answer(message(lines=b"Max-Forwards: 0\r\n", call_id=b"another"))
    assert other.to_tag != first.to_tag


def test_an_ack_is_never_answered(served: Served) -> None:
    for ack in (
        message(b"ACK"),
        message(b"ACK", uri=b"http://x"),
        message(b"ACK", to=b"<"),
        message(b"ACK", cseq=b"x"),
        message(b"ACK", lines=b"Max-Forwards: 0\r\nbroken\r\n"),
        message(b"ACK").replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia", 1),
    ):
        assert served.give(ack) == []


def test_a_response_is_never_answered(served: Served) -> None:
    good = reply(b"z9hG4bKx")
    for bad in (
        good,
        good.replace(b"200", b"999"),
        good.replace(b"2.0 2", b"7.0 2"),
        good[:40],
        good.replace(b"Via", b"X"),
    ):
        assert served.give(bad) == []
    assert served.responses == []


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0", b"\0\0\0\0", b" \r\n"])
def test_keepalives_are_ignored(served: Served, data: bytes) -> None:
    """RFC 5626 3.5.1, and what else is sent to keep a NAT's door open."""
    assert served.give(data) == []
    assert served.endpoint.malformed == {}


@pytest.mark.parametrize("data", [b"hello", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"INVITE\r\n\r\n"])
def test_noise_is_counted_and_not_answered(served: Served, data: bytes) -> None:
    assert served.give(data) == []
    assert sum(served.endpoint.malformed.values()) == 1


# -- protection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"INVITE", b"MESSAGE", b"CANCEL", b"OPTIONS"])
def test_an_unknown_source_gets_403_without_any_state_and_is_counted(served: Served, method: bytes) -> None:
    served.strangers.add(STRANGER[0])
    for _ in range(2):
        assert served.answer(message(method), STRANGER).status == 403
    assert served.endpoint.dropped["unknown source"] == 2
    assert served.endpoint.servers == {}
    assert served.up == []


def test_a_full_table_gets_503_and_when_to_try_again() -> None:
    served = Served(max_transactions=2)
    for number in range(2):
        served.give(message(call_id=b"%d" % number, via=b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK%d" % number))
    answer = served.answer(message(call_id=b"3", via=b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK3"))
    assert answer.status == 503
    assert answer.get(b"Retry-After") == b"5"
    assert len(served.endpoint.servers) == 2
    assert served.endpoint.dropped["too many transactions"] == 1
    assert served.give(message(call_id=b"0", via=b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK0")) == [], (
        "no new one"
    )


class Faulty(Served):
    """A core with a bug that one message meets."""

    def on_request(self, *args: object) -> None:
        super().on_request(*args)
        if self.up[-1].request.call_id == b"trap":
            raise ZeroDivisionError


TRAP = message(call_id=b"trap", via=b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKtrap")


def test_a_bug_comes_out_where_nobody_wants_to_hear_of_it() -> None:
    with pytest.raises(ZeroDivisionError):
        Faulty().give(TRAP)


def test_a_bug_costs_the_message_that_met_it_and_no_other() -> None:
    bugs: list[Exception] = []
    faulty = Faulty(on_bug=bugs.append)
    flow = faulty.flows.get(UDP4, PEER)
    faulty.endpoint.receive([(TRAP, flow), (message(), flow)], faulty.now)
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    assert bugs[0].__notes__ == ["Call-ID of the message: trap"]
    assert [arrival.request.call_id for arrival in faulty.up] == [b"trap", b"outside"]


def test_a_bug_in_a_timer_is_told_and_time_goes_on() -> None:
    bugs: list[Exception] = []
    served = Served(on_bug=bugs.append)

    class Broken:
        def on_timer(self, _now: float) -> None:
            raise ImpossibleInputError

    served.endpoint.timers.at(served.now + 0.1, Broken())
    served.send_invite()
    assert len(served.run(0.6)) == 1
    assert [type(bug) for bug in bugs] == [ImpossibleInputError]


def test_a_bug_while_a_flow_breaks_is_told_and_the_other_requests_end() -> None:
    bugs: list[Exception] = []

    class FaultyUser(Served):
        def on_no_response(self, transaction: object, status: int, now: float) -> None:
            super().on_no_response(transaction, status, now)
            raise ZeroDivisionError

    served = FaultyUser(on_bug=bugs.append)
    dialog: Dialog = served.open_dialog()
    for _ in range(2):
        served.endpoint.request(b"INFO", dialog, b"", b"", served, served.now, 70)
    served.endpoint.flow_lost(dialog.flow, served.now)
    assert (served.silences, len(bugs)) == ([503, 503], 2)


def test_ipv6_peers_are_served_like_others(served: Served) -> None:
    via = b"SIP/2.0/UDP [2001:db8::2]:5060;branch=z9hG4bKa"
    served.give(message(via=via, uri=b"sip:b@[2001:db8::1]"), PEER6)
    served.up[0].transaction.reject(486, b"ours", served.now)
    served.drain()
    assert served.went_to == PEER6
    served.give(message(b"ACK", via=via, to=b"<sip:b@[2001:db8::1]>;tag=ours"), PEER6)
    assert served.run(60) == []
