"""Dialogs (RFC 3261 12): what they take from the messages that open and refresh them, and where they send."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sip.dialog import Dialog, contact_uri
from gateway.sip.errors import MalformedError
from gateway.sip.flow import Flow, Flows, Local
from gateway.sip.message import Message, Request, Response, parse

UDP4 = Local("udp", "192.0.2.1", 5060)
UDP6 = Local("udp", "2001:db8::1", 5060)
FLOWS = Flows([UDP4, UDP6])
SOURCE = FLOWS.get(UDP4, ("192.0.2.2", 5060))
USER: Any = object()


def message(start: bytes, **headers: bytes) -> Message:
    """A message; a keyword names a header, ``_`` stands for ``-``, and b"" leaves it out."""
    values = {
        "Via": b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa",
        "From": b"<sip:a@192.0.2.2>;tag=theirs",
        "To": b"<sip:b@192.0.2.1>",
        "Call_ID": b"one",
        "CSeq": b"7 INVITE",
        "Contact": b"<sip:a@192.0.2.2:5062>",
    } | headers
    lines = [b"%b: %b" % (name.replace("_", "-").encode(), value) for name, value in values.items() if value]
    return parse(b"\r\n".join([start, *lines, b"", b""]))


def invite(**headers: bytes) -> Request:
    got = message(b"INVITE sip:b@192.0.2.1 SIP/2.0", **headers)
    assert isinstance(got, Request)
    return got


def answer(**headers: bytes) -> Response:
    got = message(b"SIP/2.0 200 OK", **({"To": b"<sip:b@192.0.2.3>;tag=theirs"} | headers))
    assert isinstance(got, Response)
    return got


def answering(**headers: bytes) -> Dialog:
    """The dialog that our answer to an INVITE opens."""
    return Dialog.answering(USER, invite(**headers), b"ours", SOURCE, FLOWS)


def half() -> Dialog:
    """What an INVITE of ours leaves: a dialog without a remote tag."""
    dialog = Dialog(
        None,
        b"two",
        b"<sip:us@192.0.2.1>;tag=ours",
        b"ours",
        b"<sip:b@192.0.2.3>",
        b"",
        b"sip:b@192.0.2.3",
        SOURCE,
    )
    dialog.next_seq()
    return dialog


def forked(**headers: bytes) -> Dialog:
    """The dialog that an answer to our INVITE opens."""
    return half().fork(answer(**({"Contact": b"<sip:b@192.0.2.3:5066>"} | headers)), USER, FLOWS)


def goes_to(dialog: Dialog) -> tuple[Local, str, int]:
    return dialog.flow.local, dialog.flow.peer[0], dialog.flow.peer[1]


# -- opened by a request (12.1.1) ------------------------------------------------------------------------


def test_the_answering_side_takes_everything_from_the_request() -> None:
    dialog = answering(Contact=b'"A" <sip:a@192.0.2.2:5062;x=y>;expires=5')
    assert dialog.key == (b"ours", b"theirs")
    assert dialog.call_id == b"one"
    assert dialog.local == b"<sip:b@192.0.2.1>;tag=ours"
    assert dialog.remote == b"<sip:a@192.0.2.2>;tag=theirs"
    assert dialog.target == b"sip:a@192.0.2.2:5062;x=y"
    assert (dialog.remote_seq, dialog.seq, dialog.route) == (7, 0, b"")
    assert goes_to(dialog) == (UDP4, "192.0.2.2", 5062)


def test_a_peer_of_rfc_2543_needs_no_tag() -> None:
    """12.1.1: the remote tag is then null."""
    assert answering(From=b"sip:a@192.0.2.2").key == (b"ours", b"")


@pytest.mark.parametrize("contact", [b"", b"*", b"<sip:", b"<sip:a@192.0.2.2:99999>"])
def test_without_a_contact_of_use_requests_go_where_the_invite_came_from(contact: bytes) -> None:
    dialog = answering(Contact=contact)
    assert dialog.target == b"sip:192.0.2.2:5060"
    assert goes_to(dialog) == (UDP4, "192.0.2.2", 5060)


def test_the_route_set_is_the_record_route_in_order() -> None:
    dialog = answering(Record_Route=b"<sip:192.0.2.8;lr>, <sip:192.0.2.9:5070;lr>")
    assert dialog.route == b"Route: <sip:192.0.2.8;lr>, <sip:192.0.2.9:5070;lr>\r\n"
    assert dialog.target == b"sip:a@192.0.2.2:5062"
    assert goes_to(dialog) == (UDP4, "192.0.2.8", 5060)


def test_a_strict_router_becomes_the_request_uri_and_the_target_ends_the_route() -> None:
    """12.2.1.1."""
    dialog = answering(Record_Route=b"<sip:192.0.2.8>, <sip:192.0.2.9;lr>")
    assert dialog.target == b"sip:192.0.2.8"
    assert dialog.route == b"Route: <sip:192.0.2.9;lr>, <sip:a@192.0.2.2:5062>\r\n"
    assert goes_to(dialog) == (UDP4, "192.0.2.8", 5060)


@pytest.mark.parametrize("route", [b"<sip:192.0.2.8?X=1;lr>", b"<sip:192.0.2.8?X=1>"])
def test_a_request_uri_never_has_headers(route: bytes) -> None:
    assert answering(Record_Route=route).target == b"sip:192.0.2.8"
    assert answering(Contact=b"<sip:a@192.0.2.2?Route=x>").target == b"sip:a@192.0.2.2"


# -- opened by a response (12.1.2) -----------------------------------------------------------------------


def test_the_asking_side_takes_tag_target_and_reversed_route_from_the_response() -> None:
    dialog = forked(Record_Route=b"<sip:192.0.2.8;lr>, <sip:192.0.2.9;lr>")
    assert dialog.key == (b"ours", b"theirs")
    assert dialog.call_id == b"two"
    assert dialog.local == b"<sip:us@192.0.2.1>;tag=ours"
    assert dialog.remote == b"<sip:b@192.0.2.3>;tag=theirs"
    assert dialog.target == b"sip:b@192.0.2.3:5066"
    assert dialog.route == b"Route: <sip:192.0.2.9;lr>, <sip:192.0.2.8;lr>\r\n"
    assert goes_to(dialog) == (UDP4, "192.0.2.9", 5060)
    assert (dialog.seq, dialog.remote_seq) == (1, -1)


def test_record_route_on_several_lines_is_one_list() -> None:
    response = answer(
        Record_Route=b"<sip:192.0.2.7;lr>\r\nRecord-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.9;lr>"
    )
    dialog = half().fork(response, USER, FLOWS)
    assert dialog.route == b"Route: <sip:192.0.2.9;lr>, <sip:192.0.2.8;lr>, <sip:192.0.2.7;lr>\r\n"


def test_each_to_tag_is_a_dialog_of_its_own_and_all_number_on_from_the_invite() -> None:
    """12.1, 13.2.2.4: forks share Call-ID and local tag."""
    opened = half()
    one, two = (opened.fork(answer(To=b"<sip:b@h>;tag=%b" % tag), USER, FLOWS) for tag in (b"1", b"2"))
    assert (one.key, two.key) == ((b"ours", b"1"), (b"ours", b"2"))
    assert one.next_seq() == two.next_seq() == 2


@pytest.mark.parametrize("contact", [b"", b"<sip:", b"sip:"])
def test_a_response_without_a_contact_of_use_leaves_the_target_of_the_invite(contact: bytes) -> None:
    assert forked(Contact=contact).target == b"sip:b@192.0.2.3"


def test_a_route_set_that_cannot_be_read_opens_nothing() -> None:
    with pytest.raises(MalformedError):
        forked(Record_Route=b"<sip:192.0.2.8;lr>, <")
    with pytest.raises(MalformedError):
        answering(Record_Route=b"<sip:>")


# -- refreshed (12.2.1.2, 12.2.2) ------------------------------------------------------------------------


def test_a_target_refresh_moves_the_target_and_the_next_hop() -> None:
    dialog = answering()
    dialog.retarget(invite(Contact=b"<sip:a@192.0.2.77:5090>"), FLOWS)
    assert dialog.target == b"sip:a@192.0.2.77:5090"
    assert goes_to(dialog) == (UDP4, "192.0.2.77", 5090)


def test_a_target_refresh_leaves_the_route_set_alone() -> None:
    """12.2: it is fixed when the dialog is made, whatever Record-Route later requests have."""
    dialog = answering(Record_Route=b"<sip:192.0.2.8;lr>")
    dialog.retarget(invite(Contact=b"<sip:a@192.0.2.77>", Record_Route=b"<sip:192.0.2.66;lr>"), FLOWS)
    assert dialog.route == b"Route: <sip:192.0.2.8;lr>\r\n"
    assert goes_to(dialog) == (UDP4, "192.0.2.8", 5060)


def test_behind_a_strict_router_a_target_refresh_moves_the_end_of_the_route() -> None:
    dialog = answering(Record_Route=b"<sip:192.0.2.8>, <sip:192.0.2.9>")
    dialog.retarget(invite(Contact=b"<sip:a@192.0.2.77>"), FLOWS)
    assert dialog.target == b"sip:192.0.2.8"
    assert dialog.route == b"Route: <sip:192.0.2.9>, <sip:a@192.0.2.77>\r\n"
    assert goes_to(dialog) == (UDP4, "192.0.2.8", 5060)


@pytest.mark.parametrize("contact", [b"", b"*", b"<sip:a@192.0.2.77:port>", b'"'])
def test_a_refresh_without_a_contact_of_use_keeps_the_target_that_works(contact: bytes) -> None:
    dialog = answering()
    dialog.retarget(invite(Contact=contact), FLOWS)
    assert dialog.target == b"sip:a@192.0.2.2:5062"
    assert goes_to(dialog) == (UDP4, "192.0.2.2", 5062)


# -- where requests go (8.1.2) ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contact", "hop"),
    [
        (b"<sip:a@192.0.2.9>", (UDP4, "192.0.2.9", 5060)),
        (b"<sip:a@[2001:db8::9]:5070>", (UDP6, "2001:db8::9", 5070)),
        (b"<sip:phone.example.com>", (UDP4, "192.0.2.2", 5060)),  # a name: where the last message came from
        (b"<sips:a@192.0.2.9>", (UDP4, "192.0.2.2", 5060)),  # no way to keep the promise of sips
        (b"<tel:+12015550123>", (UDP4, "192.0.2.2", 5060)),
    ],
)
def test_the_next_hop_is_the_address_in_the_target(contact: bytes, hop: tuple[Local, str, int]) -> None:
    assert goes_to(answering(Contact=contact)) == hop


TCP4 = Local("tcp", "192.0.2.1", 5060)
TLS4 = Local("tls", "192.0.2.1", 5061)
STREAMS = Flows([UDP4, TCP4, TLS4])


@pytest.mark.parametrize(
    ("contact", "source", "hop"),
    [
        (b"<sip:a@192.0.2.9;transport=tcp>", UDP4, (TCP4, "192.0.2.9", 5060)),
        (b"<sip:a@192.0.2.9;transport=UDP>", TCP4, (UDP4, "192.0.2.9", 5060)),
        (b"<sip:a@192.0.2.9>", TCP4, (TCP4, "192.0.2.9", 5060)),  # as the dialog began
        (b"<sip:a@192.0.2.9;transport=sctp>", TCP4, (TCP4, "192.0.2.9", 5060)),
        (b"<sips:a@192.0.2.9>", UDP4, (TLS4, "192.0.2.9", 5061)),
        (b"<sips:a@192.0.2.9:5060;transport=tcp>", TCP4, (TLS4, "192.0.2.9", 5060)),
        (b"<sip:a@192.0.2.9;transport=tls>", TLS4, (TLS4, "192.0.2.9", 5061)),
        (b"<sip:a@192.0.2.9:5061;transport=tcp>", TLS4, (TLS4, "192.0.2.9", 5061)),  # TLS runs over TCP
        (b"<sip:a@192.0.2.9;transport=udp>", TLS4, (TLS4, "192.0.2.2", 5060)),  # what began in secret stays
    ],
)
def test_the_next_hop_is_met_over_the_transport_that_its_uri_names(
    contact: bytes, source: Local, hop: tuple[Local, str, int]
) -> None:
    flow = Flow(source, ("192.0.2.2", 5060), "carrier" if source is TLS4 else "")
    dialog = Dialog.answering(USER, invite(Contact=contact), b"ours", flow, STREAMS)
    assert goes_to(dialog) == hop
    if hop[0] is TLS4 is source:
        assert dialog.flow.trunk == "carrier"  # whose certificate is asked for there, too


@pytest.mark.parametrize(
    ("contact", "ours"),
    [
        (b"<sips:a@192.0.2.9>", b"<sips:192.0.2.1:5061>"),
        (b"<sip:a@192.0.2.9;transport=tls>", b"<sip:192.0.2.1:5061;transport=tls>"),
    ],
)
def test_our_contact_is_sips_where_the_peers_is_rfc_3261_12_1_1(contact: bytes, ours: bytes) -> None:
    flow = Flow(TLS4, ("192.0.2.2", 5060))
    assert Dialog.answering(USER, invite(Contact=contact), b"ours", flow, STREAMS).contact == ours


def test_without_a_listening_point_of_that_family_the_flow_stays() -> None:
    flows = Flows([UDP4])
    dialog = Dialog.answering(USER, invite(Contact=b"<sip:a@[2001:db8::9]>"), b"ours", SOURCE, flows)
    assert dialog.flow is SOURCE
    assert dialog.target == b"sip:a@[2001:db8::9]"


# -- sequence numbers (12.2.1.1, 12.2.2) -----------------------------------------------------------------


def test_our_numbers_rise_by_one() -> None:
    dialog = answering()
    assert [dialog.next_seq() for _ in range(3)] == [1, 2, 3]


def test_their_numbers_must_rise() -> None:
    dialog = answering()
    for number, accepted in ((7, False), (8, True), (8, False), (3, False), (4000, True), (2**31 - 1, True)):
        assert dialog.accepts(invite(CSeq=b"%d INVITE" % number)) is accepted


def test_a_peer_that_never_asked_may_begin_anywhere() -> None:
    """12.2.2: the remote sequence number is empty at first; 0 is a number too."""
    dialog = forked()
    assert dialog.accepts(invite(CSeq=b"0 BYE"))


# -- contact_uri -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        (b"<sip:a@h>", b"sip:a@h"),
        (b"sip:a@h;expires=5", b"sip:a@h"),
        (b'"a, b" <sip:a@h;x>;q=0.5, <sip:b@h>', b"sip:a@h;x"),
        (b"<sip:a@h;x?Subject=y>", b"sip:a@h;x"),
        (b"<name:John>", b"name:John"),
    ],
)
def test_the_first_contact_counts(value: bytes, uri: bytes) -> None:
    assert contact_uri(value) == uri


@pytest.mark.parametrize("value", [b"", b",", b"*", b"<>", b"<sip:>", b"<a b>", b"a@h"])
def test_what_is_no_contact_raises(value: bytes) -> None:
    with pytest.raises(MalformedError):
        contact_uri(value)


def test_a_flow_says_whom_it_reaches() -> None:
    assert repr(Flow(UDP6, ("2001:db8::2", 5060))) == "Flow(udp [2001:db8::2]:5060)"
    assert str(Flow(UDP6, ("2001:db8::2", 5060))) == "udp [2001:db8::2]:5060"
