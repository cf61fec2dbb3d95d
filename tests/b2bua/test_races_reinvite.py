"""Re-INVITEs that meet: before the ACK, glare on the wire and its back-off (RFC 3261 14).

Each way round on its own leg, where the gateway sees both, is in test_reinvite.py.
"""

from __future__ import annotations

import pytest

from tests.helpers import SDP, End, Net, hang_up, pair, reinvite

BOTH_WAYS = pytest.mark.parametrize("asking", ["caller", "callee"])


def change(one: End, other: End) -> None:
    """A re-INVITE that is accepted."""
    sent, got = reinvite(one, other)
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    one.ack(sent)
    other.peer.take("ACK")


@BOTH_WAYS
def test_glare_on_the_wire_gets_491_on_both_sides_and_each_comes_again_3261_14_1(asking: str) -> None:
    """Who owns the Call-ID of its dialog waits 2.1 to 4 s, the other at most 2 s. On each leg that is another
    side; the waits are the peers' own, and the gateway keeps nothing that could be in their way.
    """
    net = Net()
    one, other = pair(net, asking)
    sent = one.request("INVITE", body=SDP)
    crossing = other.request("INVITE", body=SDP)  # before `sent` has reached it
    one.peer.take(100)
    got = other.peer.take_request("INVITE")
    other.peer.take(491)  # from the gateway, which has one under way towards it
    other.ack_refusal(crossing)
    other.peer.reply(got, 491)  # its own was pending when `got` came
    other.peer.take("ACK")
    one.peer.take(491)  # passed as it came
    one.ack_refusal(sent)
    net.run(1.0)
    change(other, one)
    net.run(1.5)
    change(one, other)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_491_of_the_far_end_passes_and_leaves_the_call_as_it_was_3261_14_1(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    for _ in range(3):
        sent, got = reinvite(one, other)
        other.peer.reply(got, 491)
        other.peer.take("ACK")
        one.peer.take(491)
        one.ack_refusal(sent)
        net.run(2.5)
    change(one, other)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_reinvite_before_the_first_ack_passes_once_the_ack_has_come_3261_14_1(asking: str) -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    early = one.request("INVITE", body=SDP)
    one.peer.take(491)
    one.ack_refusal(early)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.run(2.1)
    change(one, other)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_reinvite_before_the_ack_of_another_passes_and_each_2xx_gets_its_own_ack_3261_13_2_2_4(
    asking: str,
) -> None:
    net = Net()
    one, other = pair(net, asking)
    first, got = reinvite(one, other)
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    second = one.request("INVITE", body=SDP)  # the transaction before is over, only its ACK is late
    one.peer.take(100)
    again = other.peer.take_request("INVITE")
    other.peer.reply(again, 200, body=SDP)
    one.peer.take(200)
    one.ack(second)
    assert other.peer.take_request("ACK").cseq[0] == again.cseq[0]
    one.ack(first)
    assert other.peer.take_request("ACK").cseq[0] == got.cseq[0]
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_reinvite_that_comes_again_after_its_rejection_gets_it_again_3261_17_2_1(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 488)
    other.peer.take("ACK")
    one.peer.take(488)
    one.peer.again(sent)
    one.peer.take(488)
    one.ack_refusal(sent)
    one.peer.again(sent)
    one.peer.nothing()
    other.peer.nothing()
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_late_18x_of_a_reinvite_goes_nowhere_after_its_answer_6026_7_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 183)
    one.peer.take(183)
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    other.peer.reply(got, 180)
    one.peer.nothing()
    one.ack(sent)
    other.peer.take("ACK")
    other.peer.reply(got, 200, body=SDP)
    other.peer.take("ACK")
    other.peer.nothing()
    hang_up(one, other)
    net.assert_all_freed()


@pytest.mark.parametrize("by", ["caller", "callee"])
def test_a_2xx_that_comes_when_the_call_is_over_gets_an_ack_each_time_3261_14_1(by: str) -> None:
    net = Net()
    caller, callee = pair(net, "caller")
    _request, offer = reinvite(caller, callee)
    if by == "callee":
        callee.request("BYE", contact=False)
        net.pbx.reply(net.pbx.take_request("BYE"), 200)
    else:
        caller.request("BYE", contact=False)
        net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.forget()
    net.carrier.forget()
    for _ in range(2):
        net.carrier.reply(offer, 200, body=SDP)
        assert net.carrier.take_request("ACK").cseq == (offer.cseq[0], b"ACK")
    net.pbx.nothing()


def test_a_2xx_that_crosses_the_bye_of_who_asked_is_not_repeated_to_it() -> None:
    """Nobody is there any more to acknowledge it; its sender has its ACK."""
    net = Net()
    caller, callee = pair(net, "caller")
    _request, offer = reinvite(caller, callee)
    caller.request("BYE", contact=False)
    bye = net.carrier.take_request("BYE")
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.take(200)
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    net.carrier.take("ACK")
    net.run(200)
    net.pbx.nothing()
    net.assert_all_freed()
