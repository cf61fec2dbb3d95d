"""CANCEL in each state of a call, and the answers that cross it (RFC 3261 9)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.helpers import HUNTING, SDP, End, Net, begin, give_up, hang_up, text


def terminate(net: Net, offer: Request) -> Request:
    """What a good callee does with a CANCEL."""
    cancel = net.carrier.take_request("CANCEL")
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    return cancel


def test_before_any_provisional_the_cancel_waits_for_one_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    give_up(net, invite)
    net.carrier.nothing()
    net.carrier.reply(offer, 100)
    terminate(net, offer)
    record = net.only_record
    assert (record.original_status, record.emitted_status) == (0, 487)
    assert (record.ended_by, record.end_reason) == ("caller", "cancelled")
    net.assert_all_freed()


def test_after_100_the_cancel_goes_at_once_and_is_that_of_its_invite_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 100)
    give_up(net, invite)
    cancel = terminate(net, offer)
    assert (cancel.uri, cancel.via.raw, cancel.call_id) == (offer.uri, offer.via.raw, offer.call_id)
    assert (cancel.cseq, cancel.to_tag) == ((offer.cseq[0], b"CANCEL"), b"")
    assert cancel.lines(b"From") == offer.lines(b"From")
    net.pbx.nothing()
    net.assert_all_freed()


def test_after_180() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    ringing = net.pbx.take_response(180)
    net.run(3)
    net.pbx.cancel(invite)
    net.pbx.take(200)
    final = net.pbx.take_response(487)
    assert final.to_tag == ringing.to_tag
    net.pbx.ack(invite, final)
    terminate(net, offer)
    net.pbx.nothing()
    assert net.only_record.ended_at - net.only_record.invited_at == 3
    net.assert_all_freed()


def test_the_reason_of_the_cancel_is_copied_3326() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite, headers='Reason: SIP;cause=200;text="Call completed elsewhere"\nX-Own: kept')
    cancel = terminate(net, offer)
    assert text(cancel, b"Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    assert text(cancel, b"x-own") == "kept"
    net.assert_all_freed()


def test_what_speaks_of_one_hop_or_of_a_body_stays_behind_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 100)
    give_up(net, invite, headers="Require: x\nContent-Type: text/plain")
    cancel = terminate(net, offer)
    assert not {b"Require", b"Content-Type"} & cancel.index.keys()
    assert cancel.body == b""
    net.assert_all_freed()


def test_607_in_the_reason_of_a_cancel_reaches_the_other_branches_8197_3() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 100)
    give_up(net, invite, headers='Reason: SIP;cause=607;text="Unwanted"')
    assert text(terminate(net, offer), b"Reason") == 'SIP;cause=607;text="Unwanted"'
    net.assert_all_freed()


def test_a_2xx_that_crosses_the_cancel_is_acknowledged_and_hung_up_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    cancel = net.carrier.take_request("CANCEL")
    net.carrier.reply(offer, 200, body=SDP)
    net.carrier.reply(cancel, 200)
    ack = net.carrier.take_request("ACK")
    bye = net.carrier.take_request("BYE")
    assert ack.to_tag == bye.to_tag == b"carrier"
    assert bye.cseq == (offer.cseq[0] + 1, b"BYE")
    net.carrier.reply(offer, 200, body=SDP)  # the ACK was lost
    assert net.carrier.take_request("ACK").rows == ack.rows
    net.carrier.reply(bye, 200)
    net.carrier.nothing()
    net.pbx.nothing()
    assert net.only_record.emitted_status == 487
    net.assert_all_freed()


def test_a_2xx_instead_of_any_provisional_after_the_caller_gave_up() -> None:
    """The CANCEL was still waiting for a provisional response; now there is nothing left to cancel."""
    net = Net()
    invite, offer = begin(net)
    give_up(net, invite)
    net.carrier.reply(offer, 200, body=SDP)
    net.carrier.take("ACK")
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_rejection_that_crosses_the_cancel_goes_no_further() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    cancel = net.carrier.take_request("CANCEL")
    net.carrier.reply(offer, 603)
    net.carrier.take("ACK")
    net.carrier.reply(cancel, 481)
    net.pbx.nothing()
    assert net.only_record.emitted_status == 487
    net.assert_all_freed()


def test_a_cancel_after_a_2xx_changes_nothing_3261_9_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.cancel(invite)
    assert net.pbx.take_response(200).cseq[1] == b"CANCEL"
    net.carrier.nothing()
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_a_cancel_after_a_rejection_changes_nothing_3261_9_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    final = net.pbx.take_response(486)
    net.pbx.cancel(invite)
    net.pbx.take(200)
    net.pbx.ack(invite, final)
    net.pbx.nothing()
    net.carrier.nothing()
    assert net.only_record.emitted_status == 486
    net.assert_all_freed()


def test_a_cancel_for_nothing_gets_481_3261_9_2() -> None:
    net = Net()
    net.pbx.request("CANCEL", contact=False)
    net.pbx.take(481)
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_cancel_that_comes_again_gets_its_200_again_and_is_passed_once() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    cancel = give_up(net, invite)
    net.pbx.again(cancel)
    net.pbx.take(200)
    net.pbx.nothing()
    terminate(net, offer)
    net.carrier.nothing()
    net.assert_all_freed()


def test_our_cancel_is_retransmitted_until_it_is_answered_3261_17_1_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    net.run(1.6)
    first = net.carrier.take_request("CANCEL")
    assert net.carrier.take_request("CANCEL").rows == first.rows
    terminate(net, offer)
    net.run(30)
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_callee_that_never_answers_the_cancel_is_given_64_t1_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    assert not net.core.calls  # the call itself is over at once
    net.run(33)
    assert not net.endpoint.clients
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_callee_that_answers_the_cancel_and_never_the_invite_is_given_64_t1_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    net.run(33)
    assert not net.endpoint.clients
    net.assert_all_freed()


def test_a_callee_that_is_dead_when_the_caller_gives_up() -> None:
    net = Net()
    invite, _offer = begin(net)
    give_up(net, invite)
    net.run(33)
    assert not net.endpoint.clients
    assert all(message.method == b"INVITE" for message in net.carrier.inbox)  # no CANCEL before a 1xx
    net.pbx.nothing()
    net.assert_all_freed()


def test_provisional_responses_after_the_cancel_go_no_further() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    net.carrier.reply(offer, 183, tag="another")
    net.pbx.nothing()
    terminate(net, offer)
    net.assert_all_freed()


def test_a_487_that_answers_our_cancel_is_no_reason_to_hunt_on() -> None:
    net = Net(HUNTING)
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    terminate(net, offer)
    net.backup.nothing()
    net.assert_all_freed()


def test_a_bye_in_an_early_dialog_gives_the_call_up_like_a_cancel_3261_15() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(180))
    caller.request("BYE", headers='Reason: SIP;cause=200;text="elsewhere"', contact=False)
    net.pbx.take(200)
    net.pbx.ack(invite, net.pbx.take_response(487))
    assert text(terminate(net, offer), b"Reason") == 'SIP;cause=200;text="elsewhere"'
    record = net.only_record
    assert (record.ended_by, record.end_reason, record.emitted_status) == ("caller", "cancelled", 487)
    net.assert_all_freed()


def test_a_callee_cannot_hang_up_an_early_dialog_3261_15() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    End.of_callee(net.carrier, offer).request("BYE", contact=False)
    net.carrier.take(481)
    net.pbx.nothing()
    net.carrier.reply(offer, 486)
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


@pytest.mark.parametrize("ringing", [(), ("one",), ("one", "two")])
def test_the_answer_to_a_cancel_has_the_tag_of_the_invites_answer_3261_9_2(ringing: tuple[str, ...]) -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for tag in ringing:
        net.carrier.reply(offer, 180, tag=tag)
    rang = [net.pbx.take_response(180).to_tag for _ in ringing]
    net.pbx.cancel(invite)
    tag = net.pbx.take_response(200).to_tag
    final = net.pbx.take_response(487)
    assert tag == final.to_tag
    assert not rang or tag == rang[0]
    net.pbx.ack(invite, final)
    net.carrier.forget()
    net.assert_all_freed()


def test_the_answer_to_a_cancel_that_came_too_late_has_the_tag_of_the_2xx_3261_9_2() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, tag="one")
    net.pbx.take(180)
    net.carrier.reply(offer, 200, tag="two")
    answer = net.pbx.take_response(200)
    net.pbx.cancel(invite)
    assert net.pbx.take_response(200).to_tag == answer.to_tag
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer, "two"))
    net.assert_all_freed()
