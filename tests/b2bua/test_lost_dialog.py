"""A re-INVITE or UPDATE that finds no dialog on the other side ends the call (RFC 3261 12.2.1.2, 14.1)."""

from __future__ import annotations

import pytest

from tests.b2bua.sessions import torn_down
from tests.helpers import SDP, End, Net, begin, hang_up, pair, reinvite

BOTH_WAYS = pytest.mark.parametrize("asking", ["caller", "callee"])
GONE = pytest.mark.parametrize("status", [408, 481])
LOST = "dialog lost"


@BOTH_WAYS
@GONE
def test_a_reinvite_to_a_dialog_that_is_gone_ends_the_call_on_both_sides_3261_14_1(
    asking: str, status: int
) -> None:
    """Who asked is told first, and hung up: it need not end the call itself, nor wait for a BYE that a dead
    peer will not answer.
    """
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, status)
    other.peer.take("ACK")
    one.peer.take(status)
    one.ack_refusal(sent)
    torn_down(net, LOST)


@BOTH_WAYS
def test_a_reinvite_that_nobody_answers_gets_408_and_ends_the_call_3261_14_1(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent = one.request("INVITE", body=SDP)
    one.peer.take(100)
    net.run(31.9)
    one.peer.nothing()
    net.run(0.2)
    one.peer.take(408)
    one.ack_refusal(sent)
    other.peer.take_repeated("INVITE")
    torn_down(net, LOST)


@BOTH_WAYS
def test_an_update_to_a_dialog_that_is_gone_ends_the_call_on_both_sides_3261_12_2_1_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request("UPDATE", body=SDP)
    other.peer.reply(other.peer.take_request("UPDATE"), 481)
    one.peer.take(481)
    torn_down(net, LOST)


@BOTH_WAYS
def test_a_408_to_an_update_ends_the_call_and_is_not_passed_3261_12_2_1_2_4320_4_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request("UPDATE", body=SDP)
    other.peer.reply(other.peer.take_request("UPDATE"), 408)
    torn_down(net, LOST)


@BOTH_WAYS
def test_an_update_that_nobody_answers_ends_the_call_without_a_408_3261_12_2_1_2_4320(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request("UPDATE", body=SDP)
    net.run(32.1)
    other.peer.take_repeated("UPDATE")
    one.peer.take(100)
    torn_down(net, LOST)


@BOTH_WAYS
def test_the_bye_of_who_asked_may_cross_ours_3261_15_1_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 481)
    one.peer.take(481)
    one.ack_refusal(sent)
    one.request("BYE", contact=False)  # as RFC 3261 12.2.1.2 asks of it
    one.peer.reply(one.peer.take_request("BYE"), 200)
    one.peer.take(481)
    other.peer.take("ACK")
    other.peer.reply(other.peer.take_request("BYE"), 481)
    assert net.only_record.end_reason == LOST
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("status", [404, 410, 480, 482, 483, 484, 485, 488, 500, 501, 502, 503, 504, 604])
def test_any_other_refusal_of_a_reinvite_comes_from_somebody_alive_3261_14_1(
    asking: str, status: int
) -> None:
    """Who asked knows what it makes of them; the session is as it was."""
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, status)
    other.peer.take("ACK")
    one.peer.take(status)
    one.ack_refusal(sent)
    net.run(60)
    one.peer.nothing()
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("method", ["INFO", "OPTIONS", "MESSAGE", "PRACK", "X-UNKNOWN"])
def test_what_a_phone_does_not_know_costs_no_call(asking: str, method: str) -> None:
    """Phones say 481 to an INFO whose package they do not know, and to a PRACK it means that it is for
    nothing that is out (RFC 3262 3).
    """
    net = Net()
    one, other = pair(net, asking)
    one.request(method, contact=False, headers="RAck: 1 1 INVITE")
    other.peer.reply(other.peer.take_request(method), 481)
    one.peer.take(481)
    net.run(60)
    one.peer.nothing()
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_transport_that_is_broken_for_a_moment_ends_nothing_3261_8_1_3_1(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, _got = reinvite(one, other)
    net.endpoint.flow_lost(net.endpoint.flows.get(net.local, other.peer.address), net.now)
    one.peer.take(503)
    one.ack_refusal(sent)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_cancelled_reinvite_without_its_487_leaves_the_call_to_who_asked_3261_9_1(asking: str) -> None:
    """Whoever cancels waits for no answer: that there is none says little."""
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 180)
    one.peer.take(180)
    one.peer.cancel(sent)
    one.peer.take(200)
    other.peer.reply(other.peer.take_request("CANCEL"), 200)
    net.run(32.1)
    one.peer.take(408)
    one.ack_refusal(sent)
    hang_up(other, one)
    net.assert_all_freed()


def test_an_update_to_one_fork_that_is_gone_leaves_the_others_ringing_3261_13_2_2_4() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 183, tag="one", body=SDP)
    End.of_caller(net.pbx, invite, net.pbx.take_response(183)).request("UPDATE", body=SDP)
    net.carrier.reply(net.carrier.take_request("UPDATE"), 481)
    net.pbx.take(481)
    net.carrier.reply(offer, 200, tag="two", body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer, "two"))
    net.assert_all_freed()


@BOTH_WAYS
def test_a_bye_that_is_under_way_ends_the_call_before_the_481_does_3261_15_1_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    _sent, got = reinvite(one, other)
    one.request("BYE", contact=False)
    bye = other.peer.take_request("BYE")
    other.peer.reply(got, 481)
    other.peer.take("ACK")
    one.peer.take(481)
    other.peer.reply(bye, 481)
    one.peer.take(481)
    assert (net.only_record.ended_by, net.only_record.end_reason) == (asking, "bye")
    net.pbx.nothing()
    net.carrier.nothing()
