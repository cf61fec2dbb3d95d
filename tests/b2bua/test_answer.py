"""The 2xx and its ACK: repeated until it comes, passed once, given up (RFC 3261 13, RFC 6026)."""

from __future__ import annotations

from gateway.sip.message import Request, Response
from tests.helpers import SDP, End, Net, establish, hang_up, text


def answered(net: Net) -> tuple[Request, Request, Response]:
    """Play a call up to its 2xx: the caller's INVITE, the callee's, and the 2xx that the caller got."""
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    return invite, offer, net.pbx.take_response(200)


def ends(net: Net, invite: Request, offer: Request, answer: Response) -> tuple[End, End]:
    return End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)


def test_the_2xx_is_repeated_until_its_ack_comes_3261_13_3_1_4() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    net.carrier.nothing()  # the ACK goes end to end: none before the caller's
    net.run(8)  # after 0.5, 1.5, 3.5 and 7.5 s
    for _ in range(4):
        assert net.pbx.take_response(200).rows == answer.rows
    net.pbx.nothing()
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.run(60)
    net.pbx.nothing()
    hang_up(*ends(net, invite, offer, answer))
    net.assert_all_freed()


def test_the_contact_of_the_2xx_takes_the_place_of_that_of_the_18x_3261_13_2_2_4() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.carrier.reply(offer, 200, contact=False, headers="Contact: <sip:desk@192.0.2.7:5066>", body=SDP)
    desk = net.peer(("192.0.2.7", 5066), "desk")
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    assert desk.take_request("ACK").uri == b"sip:desk@192.0.2.7:5066"
    End.of_caller(net.pbx, invite, answer).request("BYE", contact=False)
    desk.reply(desk.take_request("BYE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_an_answer_may_be_any_2xx() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 202, "Fine", body=SDP)
    answer = net.pbx.take_response(202)
    assert answer.phrase == b"Fine"
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(*ends(net, invite, offer, answer))
    assert (net.only_record.original_status, net.only_record.emitted_status) == (202, 202)
    net.assert_all_freed()


def test_a_2xx_that_comes_again_before_the_ack_is_absorbed_and_after_it_gets_the_ack_again() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.nothing()
    net.carrier.nothing()
    net.pbx.ack(invite, answer)
    ack = net.carrier.take_request("ACK")
    net.carrier.reply(offer, 200, body=SDP)
    assert net.carrier.take_request("ACK").rows == ack.rows
    net.pbx.nothing()
    hang_up(*ends(net, invite, offer, answer))
    net.assert_all_freed()


def test_a_repeated_ack_is_passed_once() -> None:
    """The callee repeats its 2xx when it needs the ACK again; copies of the caller's change nothing."""
    net = Net()
    invite, offer, answer = answered(net)
    ack = net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.pbx.again(ack)
    net.pbx.ack(invite, answer)
    net.carrier.nothing()
    hang_up(*ends(net, invite, offer, answer))
    net.assert_all_freed()


def test_the_ack_of_a_buggy_peer_that_reuses_the_branch_of_its_invite_counts() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    caller, callee = ends(net, invite, offer, answer)
    caller.request("ACK", invite.cseq[0], branch=invite.via.branch, contact=False)
    net.carrier.take("ACK")
    net.run(10)
    net.pbx.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_an_ack_with_another_cseq_number_is_not_the_ack_of_this_2xx() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    caller, callee = ends(net, invite, offer, answer)
    caller.request("ACK", 77, contact=False)
    net.carrier.nothing()
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_stray_ack_is_dropped_and_never_answered_3261_17() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    caller, callee = ends(net, invite, offer, answer)
    net.pbx.request("ACK", to="<sip:1001@192.0.2.1>;tag=nobody", contact=False)
    net.pbx.request("ACK", to="<sip:1001@192.0.2.1>", contact=False)
    net.pbx.nothing()
    net.carrier.nothing()
    assert net.endpoint.dropped["stray ACK"] == 2
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_the_ack_passes_with_its_headers_and_loses_one_hop() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    caller, callee = ends(net, invite, offer, answer)
    caller.request("ACK", invite.cseq[0], headers="X-Ack: yes", max_forwards=40, contact=False)
    ack = net.carrier.take_request("ACK")
    assert (text(ack, b"x-ack"), ack.max_forwards) == ("yes", 39)
    assert ack.cseq == (offer.cseq[0], b"ACK")
    assert (ack.call_id, ack.from_tag, ack.to_tag) == (offer.call_id, offer.from_tag, b"carrier")
    assert ack.via.branch != offer.via.branch  # RFC 3261 13.2.2.4: a transaction of its own
    hang_up(caller, callee)
    net.assert_all_freed()


def test_an_ack_without_hops_left_still_ends_the_2xx() -> None:
    """ACK has no answer, so 483 cannot be said; dropping it would end the call after 32 seconds."""
    net = Net()
    invite, offer, answer = answered(net)
    caller, callee = ends(net, invite, offer, answer)
    caller.request("ACK", invite.cseq[0], max_forwards=0, contact=False)
    assert net.carrier.take_request("ACK").max_forwards == 0
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_lost_ack_ends_the_call_on_both_legs_after_64_t1_3261_13_3_1_4() -> None:
    net = Net()
    answered(net)
    net.run(31.9)
    for _ in range(10):  # after 0.5, 1.5, 3.5, 7.5 and then every 4 s
        net.pbx.take(200)
    net.carrier.nothing()
    net.run(0.2)
    bye = net.pbx.take_request("BYE")
    assert text(bye, b"Reason").startswith("SIP;cause=408")
    net.pbx.reply(bye, 200)
    net.carrier.take("ACK")  # the callee cannot go on without (RFC 3261 15)
    bye = net.carrier.take_request("BYE")
    assert text(bye, b"Reason").startswith("SIP;cause=408")
    net.carrier.reply(bye, 200)
    record = net.only_record
    assert (record.ended_by, record.end_reason, record.emitted_status) == ("gateway", "no ACK", 200)
    net.assert_all_freed()


def test_an_ack_after_the_call_was_given_up_is_stray() -> None:
    net = Net()
    invite, _offer, answer = answered(net)
    net.run(33)
    net.pbx.ack(invite, answer)
    assert net.endpoint.dropped["stray ACK"] == 1
    net.assert_all_freed()


def test_a_retransmitted_invite_after_the_2xx_is_absorbed_6026_7_1() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    net.pbx.again(invite)
    net.pbx.nothing()
    net.carrier.nothing()
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.pbx.again(invite)
    net.pbx.nothing()
    hang_up(*ends(net, invite, offer, answer))
    net.assert_all_freed()


def test_after_the_2xx_the_callee_cannot_take_it_back() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    net.carrier.reply(offer, 180)
    net.carrier.reply(offer, 486)
    net.pbx.nothing()
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(*ends(net, invite, offer, answer))
    net.assert_all_freed()


def test_a_2xx_that_comes_again_after_the_call_ended_disturbs_nobody() -> None:
    net = Net()
    invite, offer, answer = answered(net)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(*ends(net, invite, offer, answer))
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.nothing()
    net.run(40)
    net.carrier.reply(offer, 200, body=SDP)
    assert net.endpoint.dropped["stray response"] == 1
    net.pbx.nothing()
    net.assert_all_freed()


def test_an_established_call_keeps_no_timer_and_no_transaction() -> None:
    net = Net()
    caller, callee = establish(net)
    net.run(40)
    assert (len(net.core.calls), len(net.endpoint.dialogs)) == (1, 2)
    left = (len(net.endpoint.timers), len(net.endpoint.servers), len(net.endpoint.clients))
    assert left == (0, 0, 0)
    hang_up(caller, callee)
    net.assert_all_freed()
