"""How a call is set up, up to its answer: 100, 18x, and several early dialogs (RFC 3261 12, 13)."""

from __future__ import annotations

import pytest

from gateway.b2bua.leg import MAX_EARLY_DIALOGS
from tests.helpers import SDP, End, Net, establish, hang_up, text


def test_an_answered_call_crosses_the_gateway_and_leaves_its_record() -> None:
    net = Net()
    invite = net.pbx.invite(uri="sip:1001@192.0.2.1")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.uri == b"sip:1001@192.0.2.3:5060"
    assert offer.body == SDP
    net.carrier.reply(offer, 100)
    net.run(1)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.run(2)
    net.carrier.reply(offer, 200, body=b"v=0 answer")
    answer = net.pbx.take_response(200)
    assert answer.body == b"v=0 answer"
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.run(60)
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    record = net.only_record
    assert (record.caller_trunk, record.callee_trunk) == ("pbx", "carrier")
    assert (record.caller, record.called) == ("pbx", "1001")
    assert (record.caller_call_id, record.callee_call_id) == (
        invite.call_id.decode(),
        offer.call_id.decode(),
    )
    begun = record.invited_at
    assert (record.ringing_at, record.answered_at, record.ended_at) == (begun + 1, begun + 3, begun + 63)
    assert (record.original_status, record.emitted_status, record.origin) == (200, 200, "peer")
    assert (record.ended_by, record.end_reason, record.attempts) == ("caller", "bye", 1)
    net.assert_all_freed()


def test_each_leg_has_a_call_id_tags_and_a_branch_of_its_own() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.call_id != invite.call_id
    assert offer.from_tag != invite.from_tag
    assert offer.via.branch != invite.via.branch
    assert len(offer.lines(b"Via")) == 1
    assert text(offer, b"Contact") == "<sip:192.0.2.1:5060>"
    net.carrier.reply(offer, 486)
    assert net.pbx.take_response(486).to_tag != b"carrier"
    net.assert_all_freed()


def test_a_call_the_other_way_round() -> None:
    net = Net()
    caller, callee = establish(net, net.carrier, net.pbx)
    hang_up(callee, caller)
    record = net.only_record
    assert (record.caller_trunk, record.callee_trunk, record.ended_by) == ("carrier", "pbx", "callee")
    net.assert_all_freed()


def test_a_late_offer_comes_in_the_200_and_its_answer_in_the_ack_3261_13_2_1() -> None:
    net = Net()
    invite = net.pbx.invite(body=b"")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.body == b""
    net.carrier.reply(offer, 200, body=b"v=0 offer")
    answer = net.pbx.take_response(200)
    assert answer.body == b"v=0 offer"
    net.pbx.ack(invite, answer, body=b"v=0 answer")
    ack = net.carrier.take_request("ACK")
    assert ack.body == b"v=0 answer"
    assert text(ack, b"Content-Type") == "application/sdp"
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_100_comes_at_once_and_again_for_a_retransmitted_invite_3261_17_2_1() -> None:
    net = Net()
    invite = net.pbx.invite()
    assert net.pbx.take_response(100).to_tag == b""
    offer = net.carrier.take_request("INVITE")
    net.pbx.again(invite)
    net.pbx.take(100)
    net.carrier.nothing()  # one INVITE is enough
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.pbx.again(invite)
    net.pbx.take(180)  # the last provisional response
    net.carrier.nothing()
    net.carrier.reply(offer, 486)
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


def test_the_100_of_the_callee_is_not_passed_3261_8_1_1_7() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 100)
    net.pbx.nothing()
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    assert net.only_record.ringing_at == 0.0
    net.assert_all_freed()


def test_an_invite_is_retransmitted_until_something_comes_back_3261_17_1_1_2() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.run(3.6)  # T1 = 0.5 s: again after 0.5, 1.5 and 3.5 s
    for _ in range(3):
        assert net.carrier.take_request("INVITE").rows == first.rows
    net.carrier.reply(first, 100)
    net.run(30)
    net.carrier.nothing()
    net.carrier.reply(first, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_18x_passes_with_its_phrase_headers_and_sdp() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 183, "Progress of a kind", headers="P-Early-Media: sendrecv", body=SDP)
    progress = net.pbx.take_response(183)
    assert progress.phrase == b"Progress of a kind"
    assert progress.body == SDP
    assert text(progress, b"P-Early-Media") == "sendrecv"
    assert text(progress, b"Contact") == "<sip:192.0.2.1:5060>"
    net.carrier.reply(offer, 180)
    assert net.pbx.take_response(180).body == b""
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_each_18x_passes_even_one_that_says_the_same_again() -> None:
    """A reliable provisional response is repeated by the callee (RFC 3262 3): none may be swallowed."""
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for _ in range(2):
        net.carrier.reply(offer, 183, headers="Require: 100rel\nRSeq: 7", body=SDP)
        assert text(net.pbx.take_response(183), b"RSeq") == "7"
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_18x_without_a_to_tag_opens_no_dialog_and_the_answer_comes_in_one() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, tag="")
    ringing = net.pbx.take_response(180)
    assert ringing.to_tag  # RFC 3261 8.2.6.2: what we answer has a tag
    assert not net.endpoint.dialogs
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    assert answer.to_tag == ringing.to_tag
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_the_tag_of_the_early_dialog_stays_in_the_answer() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    ringing = net.pbx.take_response(180)
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    assert answer.to_tag == ringing.to_tag
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_callee(net.carrier, offer), End.of_caller(net.pbx, invite, answer))
    net.assert_all_freed()


def test_a_fork_behind_the_callee_is_several_early_dialogs_for_the_caller_3261_12_1_2() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, tag="kitchen")
    kitchen = net.pbx.take_response(180)
    net.carrier.reply(offer, 183, tag="office")
    office = net.pbx.take_response(183)
    net.carrier.reply(offer, 180, tag="kitchen")
    assert net.pbx.take_response(180).to_tag == kitchen.to_tag
    assert kitchen.to_tag != office.to_tag
    # The second phone answers: its twin is what the caller sees confirmed, and talks in.
    net.carrier.reply(offer, 200, tag="office", body=SDP)
    answer = net.pbx.take_response(200)
    assert answer.to_tag == office.to_tag
    net.pbx.ack(invite, answer)
    assert net.carrier.take_request("ACK").to_tag == b"office"
    End.of_caller(net.pbx, invite, kitchen).request("INFO")
    net.pbx.take(481)  # the other early dialog is no more
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer, "office"))
    net.assert_all_freed()


def test_the_2xx_of_a_fork_that_never_rang_opens_a_dialog_of_its_own() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, tag="kitchen")
    kitchen = net.pbx.take_response(180)
    net.carrier.reply(offer, 200, tag="office", body=SDP)
    answer = net.pbx.take_response(200)
    assert answer.to_tag != kitchen.to_tag
    net.pbx.ack(invite, answer)
    assert net.carrier.take_request("ACK").to_tag == b"office"
    hang_up(End.of_callee(net.carrier, offer, "office"), End.of_caller(net.pbx, invite, answer))
    net.assert_all_freed()


def test_a_late_2xx_of_another_fork_is_acknowledged_and_hung_up_3261_13_2_2_4() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, tag="kitchen", body=SDP)
    answer = net.pbx.take_response(200)
    net.carrier.reply(offer, 200, tag="office", body=SDP)
    assert net.carrier.take_request("ACK").to_tag == b"office"
    bye = net.carrier.take_request("BYE")
    assert bye.to_tag == b"office"
    net.carrier.reply(bye, 200)
    net.pbx.nothing()
    net.pbx.ack(invite, answer)
    assert net.carrier.take_request("ACK").to_tag == b"kitchen"
    # Either 2xx may come again because its ACK was lost: each gets its own ACK, and no second BYE.
    net.carrier.reply(offer, 200, tag="office", body=SDP)
    assert net.carrier.take_request("ACK").to_tag == b"office"
    net.carrier.reply(offer, 200, tag="kitchen", body=SDP)
    assert net.carrier.take_request("ACK").to_tag == b"kitchen"
    net.carrier.nothing()
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer, "kitchen"))
    net.assert_all_freed()


def test_early_dialogs_of_one_call_are_bounded() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for number in range(MAX_EARLY_DIALOGS + 5):
        net.carrier.reply(offer, 180, tag=f"phone{number}")
    for _ in range(MAX_EARLY_DIALOGS):
        net.pbx.take(180)
    net.pbx.nothing()
    assert net.endpoint.dropped["too many early dialogs"] == 5
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_caller_without_a_from_tag_is_served_as_rfc_2543_wants() -> None:
    net = Net()
    invite = net.pbx.invite(from_="<sip:old@192.0.2.2>")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_callee(net.carrier, offer), End.of_caller(net.pbx, invite, answer))
    net.assert_all_freed()


def test_a_callee_without_a_to_tag_is_served_as_rfc_2543_wants() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, tag="", body=SDP)
    answer = net.pbx.take_response(200)
    assert answer.to_tag
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    End.of_caller(net.pbx, invite, answer).request("BYE")
    net.carrier.reply(net.carrier.take_request("BYE"), 200, tag="")
    net.pbx.take(200)
    net.assert_all_freed()


def test_an_invite_without_contact_is_answered_where_it_came_from() -> None:
    """RFC 3261 8.1.1.8 wants a Contact; some peers forget it, and their calls can still be ended."""
    net = Net()
    net.pbx.invite(contact=False)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.take(200)
    End.of_callee(net.carrier, offer).request("BYE")
    net.carrier.take("ACK")
    bye = net.pbx.take_request("BYE")
    assert bye.uri == b"sip:192.0.2.2:5060"
    net.pbx.reply(bye, 200)
    net.carrier.take(200)
    net.assert_all_freed()


def test_a_route_that_nobody_could_follow_is_refused_with_400() -> None:
    net = Net()
    for route in ("<sip:", "<sip:router.example.com;lr>, garbage", "<sip:@:>"):
        net.pbx.invite(headers=f"Record-Route: {route}")
        net.pbx.take(400)
    net.carrier.nothing()
    net.assert_all_freed()


@pytest.mark.parametrize("control", ["\0", "\x1b", "\x7f"])
def test_a_number_with_control_characters_is_called_nowhere_3261_25_1(control: str) -> None:
    """The routes would see another number than a callee who reads no further than a NUL."""
    net = Net()
    net.pbx.invite(uri=f"sip:900{control}123@192.0.2.1")
    net.pbx.take(400)
    net.carrier.nothing()
    net.assert_all_freed()


def test_an_answer_whose_route_cannot_be_read_never_connects_and_is_freed() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, headers="Record-Route: <sip:")
    net.pbx.nothing()
    net.run(200)
    net.pbx.take(408)
    net.assert_all_freed()


@pytest.mark.parametrize("contact", ["", "*", "<sip:"])
def test_an_answer_without_a_usable_contact_is_acknowledged_where_the_invite_went(contact: str) -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, contact=False, headers=contact and f"Contact: {contact}")
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    assert net.carrier.take_request("ACK").uri == offer.uri
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    net.assert_all_freed()
