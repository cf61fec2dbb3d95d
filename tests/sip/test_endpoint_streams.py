"""The endpoint on streams, and what the transport layer tells it: lost flows, lost frames, lost datagrams."""

from __future__ import annotations

import pytest

from gateway.sip.framing import FramingError
from gateway.sip.message import Request, Response

from .served import PEER, TCP4, UDP4, Served

START = b"OPTIONS sip:192.0.2.1 SIP/2.0\r\n"
HEADERS = (
    b"Via: SIP/2.0/TCP 192.0.2.2:5070;branch=z9hG4bKa%b\r\nFrom: <sip:a@192.0.2.2>;tag=a\r\n"
    b"To: <sip:192.0.2.1>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
)


@pytest.fixture
def served() -> Served:
    return Served()


# -- on a stream -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "alias"), [(b"", False), (b";alias", True), (b";Alias;rport", True), (b";aliased=1", False)]
)
def test_a_stream_remembers_where_its_peer_listens_and_what_it_offers_rfc_5923(
    served: Served, marks: bytes, alias: bool
) -> None:
    flow = served.flows.get(TCP4, ("192.0.2.2", 40_000))
    served.endpoint.receive([(START + HEADERS % marks + b"\r\n", flow)], served.now)
    assert (flow.reply_port, flow.alias) == (5070, alias)
    [(_, went)] = served.endpoint.drain()
    assert went is flow


def test_an_offer_once_made_stands(served: Served) -> None:
    flow = served.flows.get(TCP4, ("192.0.2.2", 40_000))
    for marks in (b";alias", b"1"):
        served.endpoint.receive([(START + HEADERS % marks + b"\r\n", flow)], served.now)
    assert flow.alias


# -- lost frames (18.3) ----------------------------------------------------------------------------------


def unframed(served: Served, head: bytes, status: int = 400) -> list[tuple[int, bytes]]:
    """What a head gets that could not be framed."""
    flow = served.flows.get(TCP4, PEER)
    served.endpoint.unframed(FramingError("bad Content-Length", status, head), flow)
    answers = served.drain()
    assert all(isinstance(answer, Response) for answer in answers)
    return [(answer.status, answer.call_id) for answer in answers if isinstance(answer, Response)]


@pytest.mark.parametrize(
    "head",
    [
        START + HEADERS % b"" + b"\r\n",  # whole, without a length
        START + HEADERS % b"" + b"Content-Length: -1\r\n\r\n",
        START + HEADERS % b"" + b"X-Endless: and more\r\n",  # cut off
    ],
)
@pytest.mark.parametrize("status", [400, 513])
def test_a_request_that_cannot_be_framed_is_answered(served: Served, head: bytes, status: int) -> None:
    assert unframed(served, head, status) == [(status, b"one")]
    assert served.endpoint.malformed == {"bad Content-Length": 1}
    assert not served.endpoint.servers


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\0" * 99,
        START,
        b"SIP/2.0 200 OK\r\n" + HEADERS % b"" + b"\r\n",
        b"ACK" + (START + HEADERS % b"")[7:].replace(b"1 OPTIONS", b"1 ACK") + b"\r\n",
    ],
)
def test_what_has_no_sender_to_answer_is_only_counted(served: Served, head: bytes) -> None:
    assert unframed(served, head) == []


# -- lost datagrams (18.4) -------------------------------------------------------------------------------


def test_a_datagram_that_found_nobody_fails_its_transaction_at_once(served: Served) -> None:
    _, invite = served.send_invite()
    data = b"INVITE %b SIP/2.0\r\n%b\r\n" % (invite.uri, invite.lines(b"Via")[0])
    served.endpoint.undelivered(data, served.now)
    assert served.silences == [503]
    assert not served.endpoint.clients


@pytest.mark.parametrize("cut", [0, 8, 30])
def test_a_quote_too_short_for_the_branch_says_nothing(served: Served, cut: int) -> None:
    _, invite = served.send_invite()
    data = b"INVITE %b SIP/2.0\r\n%b\r\n" % (invite.uri, invite.lines(b"Via")[0])
    served.endpoint.undelivered(data[:cut], served.now)
    assert served.silences == []


def test_nobody_breaks_a_call_who_has_not_seen_its_branch(served: Served) -> None:
    _, invite = served.send_invite()
    via = invite.lines(b"Via")[0].replace(invite.via.branch, b"z9hG4bKguess")
    served.endpoint.undelivered(b"INVITE %b SIP/2.0\r\n%b\r\n" % (invite.uri, via), served.now)
    served.endpoint.undelivered(b"SIP/2.0 200 OK\r\n" + invite.lines(b"Via")[0], served.now)
    assert served.silences == []
    assert len(served.endpoint.clients) == 1


def test_a_cancel_that_found_nobody_leaves_its_invite_alone(served: Served) -> None:
    transaction, invite = served.send_invite()
    via = invite.lines(b"Via")[0]
    trying = b"SIP/2.0 180 R\r\n%b\r\n%b\r\n%b;tag=theirs\r\n%b\r\n%b\r\n\r\n" % (
        via,
        *(invite.lines(key)[0] for key in (b"From", b"To", b"Call-ID", b"CSeq")),
    )
    served.give(trying)
    transaction.cancel(b"", served.now)
    [cancel] = served.drain()
    assert isinstance(cancel, Request)
    served.endpoint.undelivered(b"CANCEL %b SIP/2.0\r\n%b" % (cancel.uri, via), served.now)
    assert list(served.endpoint.clients.values()) == [transaction]
    assert served.silences == []


def test_an_options_to_our_sips_address_is_ours(served: Served) -> None:
    data = (START + HEADERS % b"" + b"\r\n").replace(b"OPTIONS sip:", b"OPTIONS sips:", 1)
    answer = served.answer(data, PEER, UDP4)
    assert answer.status == 200
