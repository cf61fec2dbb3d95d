"""Requests inside a call's dialogs: passed both ways, numbered by each leg (RFC 3261 12.2, RFC 3262)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.helpers import SDP, End, Net, establish, hang_up, reinvite, text


@pytest.mark.parametrize("asking", ["caller", "callee"])
@pytest.mark.parametrize(
    "method", ["INFO", "OPTIONS", "MESSAGE", "NOTIFY", "REFER", "SUBSCRIBE", "PRACK", "FOO"]
)
def test_any_method_passes_with_its_headers_body_and_answer(method: str, asking: str) -> None:
    net = Net()
    caller, callee = establish(net)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    for number in range(2):
        sent = one.request(method, headers="X-Own: forth\nEvent: refer;id=93809824", body=b"\x00\xff body")
        got = other.peer.take_request(method)
        assert (got.body, text(got, b"x-own"), text(got, b"Event")) == (
            b"\x00\xff body",
            "forth",
            "refer;id=93809824",
        )
        assert text(got, b"Content-Type") == "application/sdp"
        assert (got.call_id.decode(), got.max_forwards) == (other.call_id, sent.max_forwards - 1)
        assert got.cseq == ((2 if one is caller else 1) + number, method.encode())
        other.peer.reply(got, 202, "Noted", headers="X-Own: back", body=b"<ok/>")
        response = one.peer.take_response(202)
        assert (response.phrase, text(response, b"x-own"), response.body) == (b"Noted", "back", b"<ok/>")
    hang_up(one, other)
    net.assert_all_freed()


@pytest.mark.parametrize("status", [404, 480, 486, 603, 607])
def test_an_answer_inside_a_dialog_is_never_rewritten(status: int) -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", contact=False)
    got = net.carrier.take_request("INFO")
    net.carrier.reply(got, status, "Their words", headers="Reason: Q.850;cause=1")
    response = net.pbx.take_response(status)
    assert (response.phrase, text(response, b"Reason")) == (b"Their words", "Q.850;cause=1")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_request_that_comes_again_is_passed_once() -> None:
    net = Net()
    caller, callee = establish(net)
    sent = caller.request("INFO", contact=False)
    got = net.carrier.take_request("INFO")
    net.pbx.again(sent)
    net.carrier.nothing()
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    net.pbx.again(sent)
    net.pbx.take(200)
    net.carrier.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_request_that_is_lost_behind_us_is_retransmitted_3261_17_1_2() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", contact=False)
    first = net.carrier.take_request("INFO")
    net.run(1.6)
    assert net.carrier.take_request("INFO").rows == first.rows
    assert net.carrier.take_request("INFO").rows == first.rows
    net.carrier.reply(first, 200)
    net.pbx.take(200)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_requests_that_nobody_answers_get_no_408_and_leave_nothing_4320() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", contact=False)
    net.run(33)
    net.pbx.take(100)
    net.pbx.nothing()
    net.carrier.forget()
    net.run(32)  # the server lingers for stragglers
    assert (len(net.endpoint.servers), len(net.endpoint.clients)) == (0, 0)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_cseq_that_does_not_rise_gets_500_3261_12_2_2() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", 10, contact=False)
    net.carrier.reply(net.carrier.take_request("INFO"), 200)
    net.pbx.take(200)
    for seq in (10, 9, 0):
        caller.request("INFO", seq, contact=False)
        net.pbx.take(500)
    net.carrier.nothing()
    caller.request("INFO", 4_000_000, contact=False)  # gaps are fine
    got = net.carrier.take_request("INFO")
    assert got.cseq[0] == 3  # and are not copied
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    caller.seq = 4_000_000
    hang_up(caller, callee)
    net.assert_all_freed()


def test_requests_of_dialogs_that_are_not_get_481_3261_12_2_2() -> None:
    net = Net()
    caller, callee = establish(net)
    for to, call_id in (
        ("<sip:1001@192.0.2.1>;tag=nobody", caller.call_id),
        (caller.remote, "another-call"),
    ):
        for method in ("INFO", "BYE", "INVITE", "UPDATE", "FOO"):
            net.pbx.request(method, call_id=call_id, seq=900, from_=caller.local, to=to)
            net.pbx.take(481)
    net.carrier.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_stranger_who_knows_nothing_of_the_dialog_cannot_hang_it_up() -> None:
    net = Net()
    caller, callee = establish(net)
    tag = caller.remote.partition("tag=")[2]
    net.backup.request("BYE", call_id=caller.call_id, to=f"<sip:1001@192.0.2.1>;tag={tag}", seq=2)
    net.backup.take(481)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_dialogs_of_two_calls_with_one_call_id_are_kept_apart() -> None:
    net = Net()
    one, one_callee = establish(net, call_id="same", from_="<sip:a@192.0.2.2>;tag=a")
    two, two_callee = establish(net, call_id="same", from_="<sip:b@192.0.2.2>;tag=b")
    hang_up(one, one_callee)
    two.request("INFO", contact=False)
    got = net.carrier.take_request("INFO")
    assert got.call_id.decode() == two_callee.call_id
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    hang_up(two_callee, two)
    net.assert_all_freed()


def test_a_request_without_hops_left_gets_483() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", max_forwards=0, contact=False)
    net.pbx.take(483)
    net.carrier.nothing()
    caller.request("INFO", max_forwards=1, contact=False)
    got = net.carrier.take_request("INFO")
    assert got.max_forwards == 0
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    hang_up(caller, callee)
    net.assert_all_freed()


# -- PRACK (RFC 3262) --------------------------------------------------------------------------------------


def reliable(net: Net, offer: Request, rseq: int, tag: str = "carrier", status: int = 183) -> None:
    net.carrier.reply(offer, status, tag=tag, headers=f"Require: 100rel\nRSeq: {rseq}", body=SDP)


def test_prack_names_the_invite_of_its_own_leg_3262_7_2() -> None:
    net = Net()
    invite = net.pbx.invite(seq=4711, headers="Supported: 100rel")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert (offer.cseq[0], text(offer, b"Supported")) == (1, "100rel")
    reliable(net, offer, 90)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    caller.request("PRACK", headers="RAck: 90 4711 INVITE", contact=False)
    prack = net.carrier.take_request("PRACK")
    assert text(prack, b"RAck") == "90 1 INVITE"
    assert prack.cseq == (2, b"PRACK")
    net.carrier.reply(prack, 200, body=b"v=0 more")
    assert net.pbx.take_response(200).body == b"v=0 more"
    reliable(net, offer, 91, status=180)
    net.pbx.take(180)
    caller.request("PRACK", headers="X-First: 1\nrack:  91\n 4711 INVITE", contact=False)
    prack = net.carrier.take_request("PRACK")
    assert text(prack, b"RAck") == "91 1 INVITE"
    assert [key for key, _ in prack.rows].index(b"x-first") < [key for key, _ in prack.rows].index(b"RAck")
    net.carrier.reply(prack, 200)
    net.pbx.take(200)
    net.carrier.reply(offer, 200)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_each_early_dialog_has_its_own_prack() -> None:
    net = Net()
    invite = net.pbx.invite(seq=20)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for tag in ("kitchen", "office"):
        reliable(net, offer, 7, tag)
        End.of_caller(net.pbx, invite, net.pbx.take_response(183)).request(
            "PRACK", headers="RAck: 7 20 INVITE", contact=False
        )
        prack = net.carrier.take_request("PRACK")
        assert (prack.to_tag.decode(), text(prack, b"RAck"), prack.cseq[0]) == (tag, "7 1 INVITE", 2)
        net.carrier.reply(prack, 200)
        net.pbx.take(200)
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_prack_of_a_reinvite_names_the_reinvite_of_its_leg(asking: str) -> None:
    net = Net()
    caller, callee = establish(net)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    one.seq += 100
    sent, got = reinvite(one, other)
    other.peer.reply(got, 183, headers="Require: 100rel\nRSeq: 3")
    one.peer.take(183)
    one.request("PRACK", headers=f"RAck: 3 {sent.cseq[0]} INVITE", contact=False)
    prack = other.peer.take_request("PRACK")
    assert text(prack, b"RAck") == f"3 {got.cseq[0]} INVITE"
    other.peer.reply(prack, 200)
    one.peer.take(200)
    other.peer.reply(got, 200)
    one.peer.take(200)
    one.ack(sent)
    other.peer.take("ACK")
    hang_up(one, other)
    net.assert_all_freed()


def test_a_rack_that_cannot_be_read_gets_400() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    reliable(net, offer, 90)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    caller.request("PRACK", headers="RAck: nonsense", contact=False)
    net.pbx.take(400)
    net.carrier.nothing()
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_rack_that_names_no_invite_of_this_leg_passes_for_the_callee_to_refuse() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    reliable(net, offer, 90)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    caller.request("PRACK", headers="RAck: 90 555 INVITE", contact=False)
    prack = net.carrier.take_request("PRACK")
    assert text(prack, b"RAck") == "90 555 INVITE"
    net.carrier.reply(prack, 481)
    net.pbx.take(481)
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()
