"""Messages that belong to nothing: stray responses, ACKs and requests, and numbers out of order.

None of them gets an answer that it must not get, none disturbs a call, none leaves anything behind.
"""

from __future__ import annotations

import pytest

from gateway.sip.message import Request, parse
from tests.helpers import SDP, End, Net, establish, hang_up
from tests.peer import rebuild


def replaced(request: Request, *pairs: tuple[bytes, bytes]) -> Request:
    """The request with bytes of it replaced."""
    data = rebuild(request)
    for old, new in pairs:
        assert old in data
        data = data.replace(old, new)
    message = parse(data)
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize("status", [100, 180, 183, 199, 200, 202, 302, 401, 486, 487, 503, 603, 699])
def test_a_response_to_nothing_is_dropped_and_counted_3261_17_1_3(status: int) -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    stray = replaced(offer, (offer.via.branch, b"z9hG4bKnobody"))  # all else is right
    net.carrier.reply(stray, status)
    net.pbx.reply(stray, status)
    net.carrier.nothing()
    net.pbx.nothing()
    assert net.endpoint.dropped == {"stray response": 2}
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


@pytest.mark.parametrize("method", [b"BYE", b"CANCEL", b"ACK", b"OPTIONS", b"invite"])
def test_a_response_that_names_another_method_is_stray_3261_17_1_3(method: bytes) -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(replaced(offer, (b"1 INVITE", b"1 " + method)), 200)
    net.pbx.nothing()
    net.carrier.nothing()
    assert net.endpoint.dropped == {"stray response": 1}
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_any_peer_may_send_a_response_if_it_knows_the_branch_3261_17_1_3() -> None:
    """Behind NAT and load balancers answers come from elsewhere; the branch is our secret."""
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.backup.reply(offer, 486)
    net.carrier.take("ACK")  # to where the INVITE went (17.1.1.3)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_stray_ack_in_a_call_and_one_outside_are_dropped_3261_17() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("ACK", 4711, contact=False)  # for no INVITE of this dialog
    callee.request("ACK", 1, contact=False)
    net.pbx.request("ACK", call_id="nobody", to="<sip:1001@192.0.2.1>;tag=nobody", contact=False)
    net.pbx.request("ACK", contact=False)
    net.pbx.nothing()
    net.carrier.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_an_ack_before_any_final_response_is_absorbed_3261_17_2_1() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.pbx.request(
        "ACK",
        uri=invite.uri.decode(),
        call_id=invite.call_id.decode(),
        from_=invite.need(b"From").decode(),
        branch=invite.via.branch,
        contact=False,
    )
    net.pbx.nothing()
    net.carrier.nothing()
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    rejected = net.pbx.take_response(486)
    net.run(0.6)
    net.pbx.take(486)  # the early ACK was not the one for this
    net.pbx.ack(invite, rejected)
    net.run(5)
    net.pbx.nothing()
    net.assert_all_freed()


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_reinvite_with_a_tag_we_do_not_know_gets_481_and_takes_its_ack_3261_12_2_2(side: str) -> None:
    net = Net()
    caller, callee = establish(net)
    end = caller if side == "caller" else callee
    stranger = End(end.peer, end.call_id, end.local, "<sip:1001@192.0.2.1>;tag=unknown", end.target, end.seq)
    sent = stranger.request("INVITE", body=SDP)
    stranger.peer.take(481)
    stranger.ack_refusal(sent)
    net.run(5)
    stranger.peer.nothing()
    stranger = End(end.peer, end.call_id, end.local + "x", end.remote, end.target, end.seq)
    stranger.request("BYE", contact=False)
    stranger.peer.take(481)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_reinvite_with_a_number_of_the_past_gets_500_and_disturbs_nothing_3261_12_2_2() -> None:
    net = Net()
    caller, callee = establish(net)
    for seq in (caller.seq, 0):
        sent = caller.request("INVITE", seq, body=SDP)
        net.pbx.take(500)
        caller.ack_refusal(sent)
    net.carrier.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_requests_that_overtake_each_other_get_500_when_they_come_late_3261_12_2_2() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", 12, contact=False)
    net.carrier.reply(net.carrier.take_request("INFO"), 200)
    net.pbx.take(200)
    caller.request("INFO", 11, contact=False)  # sent before, arrived after
    refused = net.pbx.take_response(500)
    assert b"Retry-After" in refused.index
    net.carrier.nothing()
    caller.seq = 12
    hang_up(caller, callee)
    net.assert_all_freed()


def test_three_forks_answer_at_once_and_one_is_kept_3261_13_2_2_4() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for tag in ("kitchen", "office", "mobile"):
        net.carrier.reply(offer, 180, tag=tag)
        net.pbx.take(180)
    for tag in ("office", "mobile", "kitchen"):
        net.carrier.reply(offer, 200, tag=tag, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.nothing()
    hung_up = set()
    for _ in range(2):
        ack, bye = net.carrier.take_request("ACK"), net.carrier.take_request("BYE")
        assert ack.to_tag == bye.to_tag
        hung_up.add(bye.to_tag)
        net.carrier.reply(bye, 200)
    assert hung_up == {b"mobile", b"kitchen"}
    net.pbx.ack(invite, answer)
    assert net.carrier.take_request("ACK").to_tag == b"office"
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer, "office"))
    assert len(net.records) == 1
    net.assert_all_freed()
