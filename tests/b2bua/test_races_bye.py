"""BYE that meets something else on its way (RFC 3261 15).

A BYE before the ACK, BYEs that cross and BYE in early dialogs are in test_bye.py and test_cancel.py.
"""

from __future__ import annotations

import pytest

from tests.helpers import SDP, End, Net, hang_up, pair, reinvite

BOTH_WAYS = pytest.mark.parametrize("hangs_up", ["caller", "callee"])


@BOTH_WAYS
def test_a_reinvite_that_crosses_a_bye_gets_481_and_the_bye_its_answer_3261_15_1_2(hangs_up: str) -> None:
    net = Net()
    one, other = pair(net, hangs_up)
    one.request("BYE", contact=False)
    bye = other.peer.take_request("BYE")
    reinvite = other.request("INVITE", body=SDP)  # was on its way when the BYE came
    other.peer.take(481)
    other.ack_refusal(reinvite)
    one.peer.nothing()
    other.peer.reply(bye, 200)
    one.peer.take(200)
    other.peer.nothing()
    net.assert_all_freed()


@BOTH_WAYS
def test_a_bye_before_the_ack_of_a_reinvite_ends_the_call_and_its_2xx_3261_15(hangs_up: str) -> None:
    net = Net()
    one, other = pair(net, hangs_up)
    _sent, got = reinvite(one, other)
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    one.request("BYE", contact=False)  # no ACK first
    other.peer.take("ACK")  # the 2xx is owed one all the same
    other.peer.reply(other.peer.take_request("BYE"), 200)
    one.peer.take(200)
    net.run(60)
    one.peer.nothing()  # the 2xx is not repeated to who has hung up
    other.peer.nothing()
    net.assert_all_freed()


@BOTH_WAYS
def test_byes_that_cross_and_are_both_lost_once_end_the_call_once_3261_15(hangs_up: str) -> None:
    net = Net()
    one, other = pair(net, hangs_up)
    first = one.request("BYE", contact=False)
    got = other.peer.take_request("BYE")
    second = other.request("BYE", contact=False)
    other.peer.take(200)
    one.peer.nothing()
    one.peer.again(first)  # its answer has not come yet: ours is still under way
    other.peer.again(second)
    other.peer.take(200)
    other.peer.reply(got, 200)
    one.peer.take(200)
    one.peer.again(first)
    one.peer.take(200)
    other.peer.nothing()
    assert len(net.records) == 1
    net.assert_all_freed()


@BOTH_WAYS
def test_an_info_under_way_when_the_bye_comes_is_answered_or_forgotten_3261_15_1_2(hangs_up: str) -> None:
    net = Net()
    one, other = pair(net, hangs_up)
    other.request("INFO", contact=False)
    info = one.peer.take_request("INFO")
    one.request("BYE", contact=False)
    other.peer.reply(other.peer.take_request("BYE"), 200)
    one.peer.take(200)
    one.peer.reply(info, 200)  # late, and of a call that is over
    other.peer.take(200)
    net.assert_all_freed()


def test_a_bye_in_the_early_dialog_of_a_fork_that_lost_gets_481_3261_12_2_2() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, tag="kitchen")
    kitchen = End.of_caller(net.pbx, invite, net.pbx.take_response(180))
    net.carrier.reply(offer, 200, tag="office", body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    kitchen.request("BYE", contact=False)
    net.pbx.take(481)
    net.carrier.nothing()
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer, "office"))
    net.assert_all_freed()


def test_a_bye_in_an_early_dialog_and_an_answer_that_crosses_it_3261_15() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    early = End.of_caller(net.pbx, invite, net.pbx.take_response(180))
    early.request("BYE", contact=False)
    net.pbx.take(200)
    net.pbx.ack(invite, net.pbx.take_response(487))
    cancel = net.carrier.take_request("CANCEL")
    net.carrier.reply(offer, 200, body=SDP)
    net.carrier.reply(cancel, 200)
    net.carrier.take("ACK")
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.nothing()
    assert net.only_record.end_reason == "cancelled"
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("header", ["Contact:", "Contact: <sip:", "Contact: *", "Record-Route: <sip:"])
def test_a_bye_hangs_up_whatever_its_contact_is_3261_8_2(hangs_up: str, header: str) -> None:
    """It needs neither that nor a Record-Route. Refused for one, it would leave the other side up alone."""
    net = Net()
    one, other = pair(net, hangs_up)
    one.request("BYE", contact=False, headers=header)
    other.peer.reply(other.peer.take_request("BYE"), 200)
    one.peer.take(200)
    assert (net.only_record.ended_by, net.only_record.end_reason) == (hangs_up, "bye")
    net.assert_all_freed()
