"""An INVITE comes again: its first copy, our 100, or what we answered was lost.

Whatever the callee's leg is doing, the caller gets again what it got last, and the callee sees one INVITE
(RFC 3261 17.2.1, RFC 6026 7.1).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.sip.message import Request
from tests.helpers import HUNTING, SDP, End, Net, begin, hang_up, reinvite

# Nobody hangs up in these tests: what is left of a call ends by its timers.
ENDING = HUNTING.replace('name = "carrier"', 'name = "carrier"\nmax_duration = "60s"')

Play = Callable[[Net, Request, Request], int]


def nothing_yet(_net: Net, _invite: Request, _offer: Request) -> int:
    return 100


def trying(net: Net, _invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 100)
    return 100


def ringing(net: Net, _invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    return 180


def forked(net: Net, _invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 180, tag="kitchen")
    net.pbx.take(180)
    net.carrier.reply(offer, 183, tag="office")
    net.pbx.take(183)
    return 183


def answered(net: Net, _invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.take(200)
    return 0  # the 2xx has its own clock


def talking(net: Net, invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    net.carrier.take("ACK")
    return 0


def over(net: Net, invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    return 0


def rejected(net: Net, _invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 603)
    net.carrier.take("ACK")
    net.pbx.take(603)
    return 603


def rejected_and_acknowledged(net: Net, invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 603)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(603))
    return 0


def cancelled(net: Net, invite: Request, _offer: Request) -> int:
    net.pbx.cancel(invite)
    net.pbx.take(200)
    net.pbx.take(487)
    return 487


def cancelled_while_ringing(net: Net, invite: Request, offer: Request) -> int:
    ringing(net, invite, offer)
    cancelled(net, invite, offer)
    net.carrier.take("CANCEL")
    return 487


def hunting(net: Net, _invite: Request, offer: Request) -> int:
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    net.backup.take("INVITE")
    return 100


PLAYS = [
    nothing_yet, trying, ringing, forked, answered, talking, over, rejected, rejected_and_acknowledged,
    cancelled, cancelled_while_ringing, hunting,
]  # fmt: skip


@pytest.mark.parametrize("play", PLAYS, ids=[play.__name__ for play in PLAYS])
def test_an_invite_that_comes_again_gets_the_last_answer_again_3261_17_2_1(play: Play) -> None:
    net = Net(ENDING)
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    last = play(net, invite, offer)
    for _ in range(3):
        net.pbx.again(invite)
        if last:
            net.pbx.take(last)
        net.pbx.nothing()
    net.carrier.nothing()
    net.backup.nothing()
    assert net.core.begun == 1
    net.run(200)  # should it ring for ever, it is hunted past
    net.assert_all_freed()


@pytest.mark.parametrize("status", [200, 486])
def test_after_the_final_a_lost_ack_is_asked_for_again_until_it_comes_3261_13_3_1_4(status: int) -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, status, body=SDP if status == 200 else b"")
    first = net.pbx.take_response(status)
    net.run(0.6)
    again = net.pbx.take_response(status)
    assert (again.rows, again.body) == (first.rows, first.body)
    net.pbx.again(invite)  # the caller lost the final, too: it comes by its clock, or at once
    net.run(1.1)
    assert all(message.status == status for message in net.pbx.inbox)  # type: ignore[union-attr]
    net.pbx.forget()
    net.pbx.ack(invite, again)
    net.run(10)
    net.pbx.nothing()
    net.carrier.take("ACK")
    if status == 200:
        hang_up(End.of_caller(net.pbx, invite, again), End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_a_lost_100_of_the_callee_costs_a_copy_of_the_invite_and_nothing_else_3261_17_1_1_2() -> None:
    net = Net()
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.run(0.6)  # its 100 was lost
    again = net.carrier.take_request("INVITE")
    assert again.rows == offer.rows
    net.carrier.reply(again, 100)
    net.run(8)
    net.carrier.nothing()
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_lost_100_of_ours_is_sent_again_with_each_copy_of_the_invite_3261_17_2_1() -> None:
    net = Net()
    net.weather.loss = 1.0
    invite = net.pbx.invite()
    net.weather.loss = 0.0
    net.pbx.nothing()
    net.pbx.again(invite)  # the first copy was lost
    net.pbx.take(100)
    net.carrier.take("INVITE")
    net.pbx.again(invite)  # our 100 was lost
    net.pbx.take(100)
    net.carrier.nothing()
    net.pbx.forget()
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_a_request_that_comes_again_after_it_was_refused_is_a_new_attempt_3261_8_2_2_2(method: str) -> None:
    """A proxy before us tries again in a new transaction: none is under way that it could be a copy of."""
    net = Net()
    same = {"call_id": "c1", "from_": "<sip:pbx@192.0.2.2>;tag=x"}
    for _ in range(2):
        request = net.pbx.request(method, body=SDP, **same)
        offer = net.carrier.take_request(method)
        net.carrier.reply(offer, 486)
        if method == "INVITE":
            net.pbx.take(100)
            net.carrier.take("ACK")
        refused = net.pbx.take_response(486)
        if method == "INVITE":
            net.pbx.ack(request, refused)
        net.run(1)


def test_a_copy_of_an_invite_that_was_answered_is_still_refused_3261_8_2_2_2() -> None:
    net = Net()
    same = {"call_id": "c1", "from_": "<sip:pbx@192.0.2.2>;tag=x"}
    invite = net.pbx.request("INVITE", body=SDP, **same)
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 200, body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    net.carrier.take("ACK")
    net.pbx.request("INVITE", body=SDP, **same)
    net.pbx.take(482)
    net.carrier.nothing()


def test_an_answer_gets_its_lost_ack_again_after_two_reinvites_3261_13_2_2_4() -> None:
    net = Net(ENDING)
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    lost = net.carrier.take_request("ACK")  # as far as the carrier knows, it never came
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    for _ in range(2):
        again, offered = reinvite(caller, callee)
        net.carrier.reply(offered, 200, body=SDP)
        net.pbx.take(200)
        caller.ack(again)
        net.carrier.take("ACK")
    net.carrier.reply(offer, 200, body=SDP)
    assert net.carrier.take_request("ACK").rows == lost.rows
    hang_up(caller, callee)
