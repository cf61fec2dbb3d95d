"""Reliable provisional responses that the gateway speaks by itself: ``prack = "local"`` (RFC 3262)."""

from __future__ import annotations

import pytest

from gateway.b2bua.reliable import MAX_WAITING
from gateway.sip.message import Request, Response
from tests.b2bua.sessions import with_pbx
from tests.b2bua.test_parallel import TOGETHER
from tests.b2bua.test_timeouts import with_carrier
from tests.helpers import HUNTING, SDP, End, Net, establish, give_up, hang_up, text

ANSWER = b"v=0 answer"
INVITED_AS = 77
SUPPORTED = "Supported: replaces, 100rel\nAllow: INVITE, ACK, CANCEL, BYE, PRACK"


CALLER_LOCAL = with_pbx('prack = "local"')
CALLEE_LOCAL = with_carrier('prack = "local"')
BOTH_LOCAL = with_carrier('prack = "local"', CALLER_LOCAL)


def ring(net: Net, headers: str = SUPPORTED, body: bytes = SDP) -> tuple[Request, Request]:
    """Play a call up to the INVITE to the callee; return what the caller sent and what the callee got."""
    invite = net.pbx.invite(body, seq=INVITED_AS, headers=headers)
    net.pbx.take(100)
    return invite, net.carrier.take_request("INVITE")


def take_reliable(net: Net, status: int, after: int = 0) -> Response:
    """The next message to the caller is a reliable response, with the number that follows ``after``."""
    response = net.pbx.take_response(status)
    assert text(response, b"Require") == "100rel"
    assert not after or rseq(response) == after + 1
    return response


def rseq(response: Response) -> int:
    return int(text(response, b"RSeq"))


def prack(caller: End, number: int, body: bytes = b"", expect: int = 200) -> None:
    caller.request("PRACK", headers=f"RAck: {number} {INVITED_AS} INVITE", body=body, contact=False)
    caller.peer.take(expect)


def pick_up(net: Net, invite: Request, offer: Request, tag: str = "carrier") -> End:
    """Answer the call; return the caller's end."""
    net.carrier.reply(offer, 200, body=ANSWER, tag=tag)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    return End.of_caller(net.pbx, invite, answer)


# -- towards the caller ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["Supported", "Require"])
def test_a_plain_ringing_reaches_a_caller_with_100rel_reliably_3262_3(how: str) -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net, f"{how}: 100rel, replaces\nk: 100REL")
    assert [line for key, line in offer.rows if key in (b"Supported", b"Require")] == [
        b"%b: replaces" % how.encode()
    ]
    net.carrier.reply(offer, 180, headers="X-Own: 1")
    first = take_reliable(net, 180)
    assert (1 <= rseq(first) <= 2**31 - 1, text(first, b"x-own")) == (True, "1")
    caller = End.of_caller(net.pbx, invite, first)
    prack(caller, rseq(first))
    net.carrier.nothing()
    net.run(40)
    net.pbx.nothing()
    net.carrier.reply(offer, 183, body=ANSWER)
    second = take_reliable(net, 183, after=rseq(first))
    assert second.body == ANSWER
    prack(caller, rseq(second))
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_it_is_repeated_at_doubled_intervals_until_its_prack_3262_3() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    begun = net.now
    net.carrier.reply(offer, 180)
    first = take_reliable(net, 180)
    times = []
    while net.now < begun + 20:
        net.run(0.1)
        if net.pbx.inbox:
            assert take_reliable(net, 180).rows == first.rows
            times.append(round(net.now - begun))
    assert times == [1, 2, 4, 8, 16] or times == [0, 2, 4, 8, 16]  # T1, then twice the last wait each
    prack(End.of_caller(net.pbx, invite, first), rseq(first))
    net.run(40)
    net.pbx.nothing()
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_a_caller_that_never_acknowledges_is_rejected_after_64_t1_3262_3() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 180)
    net.run(31.9)
    assert {response.status for response in net.pbx.inbox} == {180}  # type: ignore[union-attr]
    net.pbx.forget()
    net.carrier.nothing()
    net.run(0.2)
    net.pbx.ack(invite, net.pbx.take_response(504))
    cancel = net.carrier.take_request("CANCEL")
    assert text(cancel, b"Reason") == 'SIP;cause=504;text="no PRACK"'
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    record = net.only_record
    assert (record.ended_by, record.end_reason, record.emitted_status) == ("gateway", "no PRACK", 504)
    net.assert_all_freed()


def test_a_caller_that_never_acknowledges_is_rejected_after_the_target_that_rang_was_left() -> None:
    net = Net(with_pbx('prack = "local"', HUNTING))
    invite, offer = ring(net)
    net.carrier.reply(offer, 180)
    net.run(31)
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    net.backup.reply(net.backup.take_request("INVITE"), 100)
    net.pbx.forget()
    net.run(1.1)
    take_reliable(net, 180)
    net.pbx.ack(invite, net.pbx.take_response(504))
    cancel = net.backup.take_request("CANCEL")
    net.backup.reply(cancel, 200)
    net.assert_all_freed()


def test_one_is_out_at_a_time_and_the_others_wait_their_turn_3262_3() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    for number in range(MAX_WAITING + 3):  # 182 0, 1, 2 ...
        net.carrier.reply(offer, 182, f"Queued {number}")
    response = take_reliable(net, 182)
    caller = End.of_caller(net.pbx, invite, response)
    said = [response.phrase.decode()]
    net.pbx.nothing()
    for _ in range(MAX_WAITING):
        prack(caller, rseq(response))
        response = take_reliable(net, 182, after=rseq(response))
        said.append(response.phrase.decode())
    assert said == ["Queued 0", *(f"Queued {number}" for number in range(3, MAX_WAITING + 3))]
    prack(caller, rseq(response))
    net.pbx.nothing()
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_the_answer_waits_for_the_prack_of_a_description_3262_3() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 183, body=ANSWER)
    early = take_reliable(net, 183)
    net.carrier.reply(offer, 180)
    net.carrier.reply(offer, 200, body=ANSWER)
    net.pbx.nothing()
    net.carrier.reply(offer, 200, body=ANSWER)  # the callee repeats it for want of an ACK
    net.pbx.nothing()
    caller = End.of_caller(net.pbx, invite, early)
    prack(caller, rseq(early))
    answer = net.pbx.take_response(200)  # and no 180 any more
    assert answer.body == ANSWER
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_the_answer_does_not_wait_for_the_prack_of_mere_ringing_3262_3() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 180)
    early = take_reliable(net, 180)
    net.carrier.reply(offer, 200, body=ANSWER)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.run(3)
    net.pbx.nothing()  # it is repeated no more,
    caller = End.of_caller(net.pbx, invite, early)
    prack(caller, rseq(early))  # but its PRACK may still come
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_a_cancel_while_the_answer_waits_hangs_the_callee_up_3262_3() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 183, body=ANSWER)
    take_reliable(net, 183)
    net.carrier.reply(offer, 200, body=ANSWER)
    give_up(net, invite)
    net.carrier.nothing()
    net.carrier.reply(offer, 200, body=ANSWER)
    net.carrier.take("ACK")
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    assert net.only_record.end_reason == "cancelled"
    net.assert_all_freed()


def test_a_rejection_waits_for_nothing_3262_3() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 183, body=ANSWER)
    take_reliable(net, 183)
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.run(10)
    net.pbx.nothing()
    net.assert_all_freed()


@pytest.mark.parametrize("rack", ["{other} 77 INVITE", "{rseq} 78 INVITE", "{rseq} 77 UPDATE"])
def test_a_prack_for_nothing_that_is_out_gets_481_3262_3(rack: str) -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 180)
    early = take_reliable(net, 180)
    caller = End.of_caller(net.pbx, invite, early)
    said = rack.format(rseq=rseq(early), other=rseq(early) + 1)
    caller.request("PRACK", headers=f"RAck: {said}", contact=False)
    net.pbx.take(481)
    caller.request("PRACK", headers="RAck: nonsense", contact=False)
    net.pbx.take(400)
    prack(caller, rseq(early))
    prack(caller, rseq(early), expect=481)
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_an_offer_in_a_prack_is_refused_for_the_callee_sees_none_3262_5() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 183, body=ANSWER)
    early = take_reliable(net, 183)
    caller = End.of_caller(net.pbx, invite, early)
    prack(caller, rseq(early), body=SDP, expect=488)
    net.run(5)
    net.pbx.nothing()  # it acknowledged all the same
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_each_fork_has_its_own_series_and_the_answer_of_one_settles_all_3262_4() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 183, tag="kitchen", body=ANSWER)
    kitchen = take_reliable(net, 183)
    net.carrier.reply(offer, 180, tag="office")
    office = take_reliable(net, 180)
    assert kitchen.to_tag != office.to_tag
    prack(End.of_caller(net.pbx, invite, office), rseq(office))
    caller = pick_up(net, invite, offer, "office")  # another dialog's description holds nothing up
    net.run(5)
    net.pbx.nothing()
    hang_up(End.of_callee(net.carrier, offer, "office"), caller)
    net.assert_all_freed()


def test_a_callee_that_rings_reliably_unasked_cannot_confuse_the_callers_numbers_3262_4() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net)
    net.carrier.reply(offer, 180, headers="RSeq: 4711\nRequire: 100rel, x")
    response = net.pbx.take_response(180)
    assert response.values(b"Require") == [b"x", b"100rel"]
    assert len(response.values(b"RSeq")) == 1 and rseq(response) != 4711
    prack(End.of_caller(net.pbx, invite, response), rseq(response))
    net.carrier.nothing()
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_a_caller_without_100rel_gets_plain_responses() -> None:
    net = Net(CALLER_LOCAL)
    invite, offer = ring(net, "Supported: replaces")
    net.carrier.reply(offer, 180)
    assert b"RSeq" not in net.pbx.take_response(180).index
    net.run(5)
    net.pbx.nothing()
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


@pytest.mark.parametrize("config", [CALLER_LOCAL, CALLEE_LOCAL, BOTH_LOCAL])
def test_a_late_offer_passes_from_end_to_end_for_its_prack_is_the_answer_3262_5(config: str) -> None:
    net = Net(config)
    invite, offer = ring(net, body=b"")
    assert text(offer, b"Supported") == "replaces, 100rel"
    net.carrier.reply(offer, 183, headers="Require: 100rel\nRSeq: 5", body=SDP)
    early = take_reliable(net, 183)
    assert rseq(early) == 5
    caller = End.of_caller(net.pbx, invite, early)
    caller.request("PRACK", headers=f"RAck: 5 {INVITED_AS} INVITE", body=ANSWER, contact=False)
    got = net.carrier.take_request("PRACK")
    assert (got.body, text(got, b"RAck")) == (ANSWER, "5 1 INVITE")
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


# -- towards the callee ------------------------------------------------------------------------------------


def test_the_gateway_acknowledges_the_callee_for_a_caller_without_100rel_3262_4() -> None:
    net = Net(CALLEE_LOCAL)
    invite, offer = ring(net, "Supported: replaces")
    assert offer.values(b"Supported") == [b"replaces", b"100rel"]
    for number, status in ((12, 183), (13, 180)):
        net.carrier.reply(offer, status, headers=f"Require: 100rel\nRSeq: {number}", body=ANSWER)
        got = net.carrier.take_request("PRACK")
        assert (text(got, b"RAck"), got.body, got.to_tag) == (f"{number} 1 INVITE", b"", b"carrier")
        net.carrier.reply(got, 200)
        response = net.pbx.take_response(status)
        assert response.body == ANSWER
        assert b"RSeq" not in [key for key, _ in response.rows]
        assert b"Require" not in [key for key, _ in response.rows]
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_what_came_before_is_absorbed_and_what_came_too_early_waits_3262_4() -> None:
    net = Net(CALLEE_LOCAL)
    invite, offer = ring(net, "")
    for number, passes in ((12, True), (12, False), (14, False), (13, True), (14, True), (12, False)):
        net.carrier.reply(offer, 180, headers=f"Require: 100rel\nRSeq: {number}")
        if passes:
            net.carrier.reply(net.carrier.take_request("PRACK"), 200)
            net.pbx.take(180)
        net.carrier.nothing()
        net.pbx.nothing()
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_the_gateway_repeats_its_prack_until_it_is_answered_3262_4() -> None:
    net = Net(CALLEE_LOCAL)
    invite, offer = ring(net, "")
    net.carrier.reply(offer, 180, headers="Require: 100rel\nRSeq: 1")
    first = net.carrier.take_request("PRACK")
    net.run(0.6)
    assert net.carrier.take_request("PRACK").rows == first.rows
    net.carrier.reply(first, 200)
    net.pbx.take(180)
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


@pytest.mark.parametrize("headers", ["", "Require: 100rel", "RSeq: 4", "Require: 100rel\nRSeq: x"])
def test_a_response_that_is_not_reliable_gets_no_prack(headers: str) -> None:
    net = Net(CALLEE_LOCAL)
    invite, offer = ring(net, "")
    net.carrier.reply(offer, 180, headers=headers)
    assert {key for key, _ in net.pbx.take_response(180).rows}.isdisjoint({b"RSeq", b"Require"})
    net.carrier.nothing()
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


def test_a_caller_that_demands_100rel_gets_it_from_end_to_end_3262_3() -> None:
    net = Net(CALLEE_LOCAL)
    invite, offer = ring(net, "Require: 100rel")
    assert text(offer, b"Require") == "100rel"
    net.carrier.reply(offer, 180, headers="Require: 100rel\nRSeq: 4")
    net.carrier.nothing()
    early = take_reliable(net, 180)
    End.of_caller(net.pbx, invite, early).request(
        "PRACK", headers=f"RAck: 4 {INVITED_AS} INVITE", contact=False
    )
    net.carrier.reply(net.carrier.take_request("PRACK"), 200)
    net.pbx.take(200)
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


def test_with_both_trunks_local_each_leg_has_its_own_numbers() -> None:
    net = Net(BOTH_LOCAL)
    invite, offer = ring(net, "Require: 100rel")
    assert b"Require" not in offer.index
    assert text(offer, b"Supported") == "100rel"
    net.carrier.reply(offer, 183, headers="Require: 100rel\nRSeq: 4", body=ANSWER)
    net.carrier.reply(net.carrier.take_request("PRACK"), 200)
    early = take_reliable(net, 183)
    assert early.values(b"RSeq") != [b"4"] and len(early.lines(b"RSeq")) == 1
    caller = End.of_caller(net.pbx, invite, early)
    prack(caller, rseq(early))
    net.carrier.nothing()
    hang_up(End.of_callee(net.carrier, offer), pick_up(net, invite, offer))
    net.assert_all_freed()


@pytest.mark.parametrize("config", [CALLER_LOCAL, CALLEE_LOCAL])
def test_a_reinvite_passes_without_100rel(config: str) -> None:
    net = Net(config)
    caller, callee = establish(net, headers="Supported: 100rel")
    for one, other in ((caller, callee), (callee, caller)):
        sent = one.request("INVITE", headers="Supported: 100rel, replaces", body=SDP)
        one.peer.take(100)
        got = other.peer.take_request("INVITE")
        assert text(got, b"Supported") == "replaces"
        other.peer.reply(got, 200, body=SDP)
        one.peer.take(200)
        one.ack(sent)
        other.peer.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_of_targets_that_ring_together_each_has_its_own_series_and_its_own_wait_3262_3() -> None:
    net = Net(with_pbx('prack = "local"', TOGETHER))
    invite, offer = ring(net)
    other = net.backup.take_request("INVITE")
    net.carrier.reply(offer, 183, body=ANSWER)
    first = take_reliable(net, 183)
    net.backup.reply(other, 183, body=ANSWER)
    second = take_reliable(net, 183)
    assert first.to_tag != second.to_tag
    net.carrier.reply(offer, 200, body=ANSWER)
    net.pbx.nothing()  # it waits for the PRACK of the first,
    caller = End.of_caller(net.pbx, invite, second)
    prack(caller, rseq(second))
    net.pbx.nothing()
    net.backup.reply(other, 200, body=ANSWER)
    answer = net.pbx.take_response(200)  # and is overtaken
    assert answer.to_tag == second.to_tag
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    net.carrier.reply(offer, 200, body=ANSWER)
    net.carrier.take("ACK")
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    hang_up(End.of_callee(net.backup, other), caller)
    net.assert_all_freed()


def test_while_an_answer_waits_for_its_prack_the_others_ring_on_3262_3() -> None:
    net = Net(with_pbx('prack = "local"', TOGETHER))
    invite, offer = ring(net)
    other = net.backup.take_request("INVITE")
    net.carrier.reply(offer, 183, body=ANSWER)
    first = take_reliable(net, 183)
    net.backup.reply(other, 183, body=ANSWER)
    second = take_reliable(net, 183)
    net.backup.reply(other, 180)
    net.carrier.reply(offer, 200, body=ANSWER)
    prack(End.of_caller(net.pbx, invite, second), rseq(second))
    take_reliable(net, 180, after=rseq(second))  # it had waited for its turn
    net.backup.reply(other, 181)
    net.pbx.nothing()  # and so does this one
    caller = End.of_caller(net.pbx, invite, first)
    prack(caller, rseq(first))
    answer = net.pbx.take_response(200)
    assert answer.to_tag == first.to_tag
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.backup.reply(net.backup.take_request("CANCEL"), 200)
    net.backup.reply(other, 487)
    net.backup.take("ACK")
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_an_answer_that_waits_for_its_prack_is_not_rung_out_3262_3() -> None:
    net = Net(with_carrier('ring_timeout = "10s"', CALLER_LOCAL))
    invite, offer = ring(net)
    net.carrier.reply(offer, 183, body=ANSWER)
    early = take_reliable(net, 183)
    net.run(9.9)
    net.carrier.reply(offer, 200, body=ANSWER)
    net.run(2)
    net.carrier.nothing()
    net.pbx.forget()
    caller = End.of_caller(net.pbx, invite, early)
    prack(caller, rseq(early))
    net.pbx.ack(invite, net.pbx.take_response(200))
    net.carrier.take("ACK")
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()
