"""A PRACK that crosses the end of its early dialog has its 200 all the same (RFC 3262 3)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.b2bua.sessions import with_pbx
from tests.helpers import HUNTING, SDP, End, Net, Peer, give_up

LOCAL = with_pbx('prack = "local"', HUNTING)
BOTH = pytest.mark.parametrize("config", [HUNTING, LOCAL], ids=["end to end", "local"])


def ring(net: Net, tag: str = "carrier") -> tuple[Request, Request, End, int]:
    """The carrier rings, and the caller hears it reliably. Return its INVITE, the carrier's, the caller's end
    and the number of what it heard.
    """
    invite = net.pbx.invite(headers="Supported: 100rel")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, tag=tag, headers="Require: 100rel\nRSeq: 7")
    ringing = net.pbx.take_response(180)
    return invite, offer, End.of_caller(net.pbx, invite, ringing), int(ringing.need(b"RSeq"))


def refuse(callee: Peer, invite: Request, offer: Request, status: int) -> None:
    """The callee refuses the call, and the caller hears and acknowledges that."""
    callee.reply(offer, status)
    callee.take("ACK")
    caller = callee.net.pbx
    caller.ack(invite, caller.take_response(status))


def acknowledge(net: Net, caller: End, number: int, status: int = 200) -> None:
    """The caller's PRACK comes, and is answered at once."""
    caller.request("PRACK", headers=f"RAck: {number} 1 INVITE")
    net.pbx.take(status)
    net.carrier.nothing()


@BOTH
def test_it_may_cross_the_rejection(config: str) -> None:
    net = Net(config)
    invite, offer, caller, number = ring(net)
    refuse(net.carrier, invite, offer, 603)
    acknowledge(net, caller, number)
    acknowledge(net, caller, number, 481)  # there is nothing more to acknowledge
    net.assert_all_freed()


@BOTH
def test_it_may_cross_a_cancel(config: str) -> None:
    net = Net(config)
    invite, _, caller, number = ring(net)
    give_up(net, invite)
    net.carrier.take("CANCEL")
    acknowledge(net, caller, number)


@BOTH
def test_it_may_cross_the_answer_of_another_fork(config: str) -> None:
    net = Net(config)
    invite, offer, kitchen, number = ring(net, "kitchen")
    net.carrier.reply(offer, 200, tag="office", body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    acknowledge(net, kitchen, number)
    End.of_caller(net.pbx, invite, answer).request("BYE")
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


@BOTH
def test_it_may_cross_the_search_for_another_target(config: str) -> None:
    net = Net(config)
    invite, offer, caller, number = ring(net)
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    offer = net.backup.take_request("INVITE")
    acknowledge(net, caller, number)
    acknowledge(net, caller, number, 481)
    refuse(net.backup, invite, offer, 486)
    net.assert_all_freed()


@BOTH
def test_it_is_waited_for_as_long_as_it_is_repeated_and_nothing_else_is_served(config: str) -> None:
    net = Net(config)
    invite, offer, caller, number = ring(net)
    refuse(net.carrier, invite, offer, 603)
    for method, headers in (("INFO", ""), ("PRACK", "RAck: 4711 1 INVITE")):
        caller.request(method, headers=headers)
        net.pbx.take(481)
    net.run(31)
    acknowledge(net, caller, number)
    net.assert_all_freed()


@BOTH
def test_one_that_never_comes_leaves_nothing(config: str) -> None:
    net = Net(config)
    invite, offer, _, _ = ring(net)
    refuse(net.carrier, invite, offer, 603)
    net.assert_all_freed()


def test_one_that_came_in_time_is_not_waited_for() -> None:
    net = Net(HUNTING)
    invite, offer, caller, number = ring(net)
    caller.request("PRACK", headers=f"RAck: {number} 1 INVITE")
    net.carrier.reply(net.carrier.take_request("PRACK"), 200)
    net.pbx.take(200)
    refuse(net.carrier, invite, offer, 603)
    assert not net.endpoint.dialogs
    acknowledge(net, caller, number, 481)
