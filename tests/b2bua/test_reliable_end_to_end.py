"""Reliable provisional responses, UPDATE and preconditions from end to end (RFC 3262, RFC 3311, RFC 3312)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request, Response
from tests.helpers import HUNTING, SDP, End, Net, hang_up, text

ANSWER = b"v=0 answer"
OFFER2 = b"v=0 second offer"
ANSWER2 = b"v=0 second answer"
INVITED_AS = 77  # CSeq of the caller's INVITE


def ring(net: Net, headers: str = "Supported: 100rel", body: bytes = SDP) -> tuple[Request, Request]:
    """Play a call up to the INVITE to the callee; return what the caller sent and what the callee got."""
    invite = net.pbx.invite(body, seq=INVITED_AS, headers=headers)
    net.pbx.take(100)
    return invite, net.carrier.take_request("INVITE")


def reliable(
    net: Net,
    offer: Request,
    rseq: int,
    status: int = 183,
    tag: str = "carrier",
    body: bytes = b"",
    more: str = "",
) -> Response:
    """Send a reliable response, and return it as the caller gets it."""
    net.carrier.reply(offer, status, tag=tag, headers=f"Require: 100rel\nRSeq: {rseq}\n{more}", body=body)
    response = net.pbx.take_response(status)
    assert (text(response, b"RSeq"), text(response, b"Require")) == (str(rseq), "100rel")
    assert response.body == body
    return response


def prack(caller: End, net: Net, rseq: int, body: bytes = b"", answer: bytes = b"", seq: int = 1) -> None:
    """Acknowledge from end to end; ``seq`` is the CSeq that the callee knows the INVITE by."""
    caller.request("PRACK", headers=f"RAck: {rseq} {INVITED_AS} INVITE", body=body, contact=False)
    got = net.carrier.take_request("PRACK")
    assert (text(got, b"RAck"), got.body) == (f"{rseq} {seq} INVITE", body)
    net.carrier.reply(got, 200, body=answer)
    assert net.pbx.take_response(200).body == answer


def pick_up(net: Net, invite: Request, offer: Request, body: bytes = b"", tag: str = "carrier") -> None:
    """Answer the call and acknowledge the answer."""
    net.carrier.reply(offer, 200, body=body, tag=tag)
    answer = net.pbx.take_response(200)
    assert answer.body == body
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")


def test_several_reliable_responses_are_acknowledged_in_order_3262_3() -> None:
    net = Net()
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 100, body=ANSWER))
    prack(caller, net, 100)
    for rseq, status in ((101, 180), (102, 181), (103, 183)):
        reliable(net, offer, rseq, status)
        prack(caller, net, rseq)
    pick_up(net, invite, offer)
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_prack_carries_the_answer_to_a_late_offer_3262_5() -> None:
    net = Net()
    invite, offer = ring(net, body=b"")
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=SDP))
    prack(caller, net, 1, body=ANSWER)
    pick_up(net, invite, offer)
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_prack_carries_a_new_offer_and_its_2xx_the_answer_3262_5() -> None:
    net = Net()
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=ANSWER))
    prack(caller, net, 1, body=OFFER2, answer=ANSWER2)
    pick_up(net, invite, offer)
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_each_fork_numbers_its_responses_by_itself_3262_4() -> None:
    net = Net()
    invite, offer = ring(net)
    ends = {}
    for tag, first in (("kitchen", 5), ("office", 5000)):
        ends[tag] = End.of_caller(net.pbx, invite, reliable(net, offer, first, tag=tag))
    prack(ends["office"], net, 5000)
    prack(ends["kitchen"], net, 5)
    reliable(net, offer, 6, 180, tag="kitchen")
    prack(ends["kitchen"], net, 6)
    pick_up(net, invite, offer, tag="office")
    ends["kitchen"].request("PRACK", headers=f"RAck: 6 {INVITED_AS} INVITE", contact=False)
    net.pbx.take(481)  # that dialog ended with the answer of the other fork
    net.carrier.nothing()
    hang_up(ends["office"], End.of_callee(net.carrier, offer, "office"))
    net.assert_all_freed()


def test_a_response_that_the_callee_repeats_for_want_of_a_prack_is_passed_each_time_3262_3() -> None:
    """Nobody but the callee repeats it: the gateway keeps no clock for it."""
    net = Net()
    invite, offer = ring(net)
    first = reliable(net, offer, 9, body=ANSWER)
    net.run(5)
    net.pbx.nothing()
    again = reliable(net, offer, 9, body=ANSWER)
    assert again.rows == first.rows
    caller = End.of_caller(net.pbx, invite, again)
    prack(caller, net, 9)
    reliable(net, offer, 9, body=ANSWER)  # it crossed the PRACK; the caller knows it by its number
    net.pbx.nothing()
    pick_up(net, invite, offer)
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_a_prack_that_was_lost_behind_us_is_retransmitted_3262_4() -> None:
    net = Net()
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 9))
    sent = caller.request("PRACK", headers=f"RAck: 9 {INVITED_AS} INVITE", contact=False)
    first = net.carrier.take_request("PRACK")
    net.pbx.again(sent)
    net.carrier.nothing()  # a copy of the caller's ends at the gateway,
    net.run(0.6)
    again = net.carrier.take_request("PRACK")  # which repeats its own
    assert again.rows == first.rows
    net.carrier.reply(again, 200)
    net.pbx.take(200)
    pick_up(net, invite, offer)
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_a_prack_that_crosses_the_answer_is_passed_3262_3() -> None:
    net = Net()
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 9))
    net.carrier.reply(offer, 200, body=ANSWER)
    answer = net.pbx.take_response(200)
    prack(caller, net, 9)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_a_callee_without_100rel_refuses_the_demand_for_it_3262_4() -> None:
    net = Net()
    invite, offer = ring(net, "Require: 100rel")
    assert text(offer, b"Require") == "100rel"
    net.carrier.reply(offer, 420, headers="Unsupported: 100rel")
    net.carrier.take("ACK")
    response = net.pbx.take_response(420)
    assert text(response, b"Unsupported") == "100rel"
    net.pbx.ack(invite, response)
    net.assert_all_freed()


def test_a_callee_that_demands_100rel_of_a_caller_without_it_says_so_3262_3() -> None:
    net = Net()
    invite, offer = ring(net, "")
    net.carrier.reply(offer, 421, headers="Require: 100rel")
    net.carrier.take("ACK")
    response = net.pbx.take_response(421)
    assert text(response, b"Require") == "100rel"
    net.pbx.ack(invite, response)
    net.assert_all_freed()


def test_the_next_target_of_a_hunt_numbers_anew_in_a_dialog_of_its_own_3262_3() -> None:
    net = Net(HUNTING)
    invite, offer = ring(net)
    first = reliable(net, offer, 40, 180)
    prack(End.of_caller(net.pbx, invite, first), net, 40)
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    offer = net.backup.take_request("INVITE")
    net.backup.reply(offer, 180, headers="Require: 100rel\nRSeq: 3")
    second = net.pbx.take_response(180)
    assert second.to_tag != first.to_tag
    caller = End.of_caller(net.pbx, invite, second)
    caller.request("PRACK", headers=f"RAck: 3 {INVITED_AS} INVITE", contact=False)
    got = net.backup.take_request("PRACK")
    assert text(got, b"RAck") == "3 1 INVITE"
    net.backup.reply(got, 200)
    net.pbx.take(200)
    net.backup.reply(offer, 486)
    net.backup.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_update_in_an_early_dialog_passes_both_ways_3311_5(asking: str) -> None:
    net = Net()
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=ANSWER))
    callee = End.of_callee(net.carrier, offer)
    prack(caller, net, 1)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    for answered in (OFFER2, b"v=0 third offer"):
        one.request("UPDATE", body=answered)
        got = other.peer.take_request("UPDATE")
        assert (got.body, got.call_id.decode()) == (answered, other.call_id)
        other.peer.reply(got, 200, body=ANSWER2)
        assert one.peer.take_response(200).body == ANSWER2
    pick_up(net, invite, offer)
    hang_up(one, other)
    net.assert_all_freed()


def test_updates_that_meet_in_an_early_dialog_get_491_3311_5_2() -> None:
    net = Net()
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=ANSWER))
    callee = End.of_callee(net.carrier, offer)
    prack(caller, net, 1)
    caller.request("UPDATE", body=OFFER2)
    got = net.carrier.take_request("UPDATE")
    callee.request("UPDATE", body=OFFER2)
    net.carrier.take(491)
    net.carrier.reply(got, 491)
    net.pbx.take(491)
    pick_up(net, invite, offer)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_preconditions_pass_3312_13_1() -> None:
    """The call flow of RFC 3312 13.1: resources are reserved before it rings."""
    net = Net()
    wants = "Supported: 100rel\nRequire: precondition"
    invite, offer = ring(net, wants)
    assert (text(offer, b"Require"), text(offer, b"Supported")) == ("precondition", "100rel")
    assert offer.body == SDP
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=b"v=0 a=conf:qos e2e recv"))
    callee = End.of_callee(net.carrier, offer)
    prack(caller, net, 1)
    caller.request("UPDATE", headers="Require: precondition", body=b"v=0 a=curr:qos e2e send")
    update = net.carrier.take_request("UPDATE")
    assert (update.body, text(update, b"Require")) == (b"v=0 a=curr:qos e2e send", "precondition")
    net.carrier.reply(update, 200, body=b"v=0 a=curr:qos e2e sendrecv")
    assert net.pbx.take_response(200).body == b"v=0 a=curr:qos e2e sendrecv"
    reliable(net, offer, 2, 180)
    prack(caller, net, 2)
    pick_up(net, invite, offer)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_precondition_that_cannot_be_met_is_refused_with_580_3312_8() -> None:
    net = Net()
    invite, offer = ring(net, "Require: precondition, 100rel")
    net.carrier.reply(offer, 580, "Precondition Failure", body=b"v=0 a=des:qos failure e2e send")
    net.carrier.take("ACK")
    response = net.pbx.take_response(580)
    assert (response.phrase, response.body) == (b"Precondition Failure", b"v=0 a=des:qos failure e2e send")
    net.pbx.ack(invite, response)
    net.assert_all_freed()
