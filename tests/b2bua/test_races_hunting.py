"""Answers and gestures that cross while a call hunts on: nobody is lost, and nobody stays up alone."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.b2bua.test_redirects import FOLLOWING
from tests.b2bua.test_timeouts import with_carrier
from tests.helpers import HUNTING, SDP, End, Net, Peer, begin, give_up, hang_up


def hung_up_late(peer: Peer, offer: Request) -> None:
    """An answer that nobody waits for gets its ACK and a BYE, and its copy the ACK again (RFC 3261 9.1)."""
    peer.reply(offer, 200, body=SDP)
    peer.take("ACK")
    peer.reply(peer.take_request("BYE"), 200)
    peer.reply(offer, 200, body=SDP)
    peer.take("ACK")
    peer.nothing()


@pytest.mark.parametrize("status", [503, 302])
def test_a_cancel_that_crosses_the_answer_of_the_next_target_3261_9_1(status: int) -> None:
    net = Net(FOLLOWING if status == 302 else HUNTING)
    invite, offer = begin(net)
    net.carrier.reply(offer, status, headers="Contact: <sip:1001@192.0.2.4>")
    net.carrier.take("ACK")
    second = net.backup.take_request("INVITE")
    net.backup.reply(second, 180)
    net.pbx.take(180)
    give_up(net, invite)
    net.backup.reply(net.backup.take_request("CANCEL"), 200)
    hung_up_late(net.backup, second)
    net.pbx.nothing()
    net.carrier.nothing()
    assert (net.only_record.ended_by, net.only_record.end_reason) == ("caller", "cancelled")
    net.assert_all_freed()


@pytest.mark.parametrize("when", ["ringing", "answered"])
def test_an_answer_of_a_target_that_was_left_disturbs_nobody_3261_13_2_2_4(when: str) -> None:
    net = Net(with_carrier('ring_timeout = "10s"', HUNTING))
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.run(10.1)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    second = net.backup.take_request("INVITE")
    net.backup.reply(second, 180)
    net.pbx.take(180)
    if when == "ringing":
        hung_up_late(net.carrier, offer)
    net.backup.reply(second, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    if when == "answered":
        hung_up_late(net.carrier, offer)
    net.pbx.nothing()
    hang_up(End.of_callee(net.backup, second), End.of_caller(net.pbx, invite, answer))
    assert net.only_record.callee_trunk == "backup"
    net.assert_all_freed()


def test_requests_of_an_early_dialog_that_was_left_get_481_and_the_call_goes_on_3261_12_2_2() -> None:
    net = Net(HUNTING)
    invite, offer = begin(net)
    net.carrier.reply(offer, 183)
    left = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    second = net.backup.take_request("INVITE")
    for method in ("PRACK", "UPDATE", "INFO"):
        left.request(method, headers="RAck: 1 1 INVITE")
        net.pbx.take(481)
    End.of_callee(net.carrier, offer).request("UPDATE", body=SDP)
    net.carrier.take(481)
    net.backup.reply(second, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.backup, second))
    net.assert_all_freed()


def test_an_update_that_a_target_leaves_unanswered_costs_no_call_once_it_was_left() -> None:
    """Its silence speaks for a dialog that is over, not for the one that has taken its place."""
    net = Net(HUNTING)
    invite, offer = begin(net)
    net.carrier.reply(offer, 183)
    End.of_caller(net.pbx, invite, net.pbx.take_response(183)).request("UPDATE", body=SDP)
    net.carrier.take("UPDATE")
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    second = net.backup.take_request("INVITE")
    net.backup.reply(second, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    net.run(60)
    net.pbx.take(100)
    net.pbx.nothing()
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.backup, second))
    net.assert_all_freed()


def test_a_prack_that_comes_after_the_200_passes_3262_3() -> None:
    net = Net()
    invite = net.pbx.invite(headers="Supported: 100rel")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, headers="Require: 100rel\nRSeq: 5")
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(180))
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    caller.request("PRACK", headers="RAck: 5 1 INVITE", contact=False)
    net.carrier.reply(net.carrier.take_request("PRACK"), 200)
    net.pbx.take(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()
