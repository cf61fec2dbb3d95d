"""OPTIONS inside the dialog, where there are no session timers: ``dialog_ping`` (RFC 5057)."""

from __future__ import annotations

import pytest

from tests.b2bua.sessions import torn_down, with_pbx
from tests.b2bua.test_timeouts import with_carrier
from tests.helpers import End, Net, Peer, establish, hang_up

PING = 'dialog_ping = "30s"'
CALLEE = with_carrier(PING)
CALLER = with_pbx(PING)


def pinged(net: Net, config: str) -> tuple[End, End, Peer]:
    """A call that is up, and the peer that the gateway pings."""
    caller, callee = establish(net)
    return caller, callee, net.pbx if config is CALLER else net.carrier


@pytest.mark.parametrize("config", [CALLER, CALLEE])
def test_whoever_answers_is_alive_5057_5_3(config: str) -> None:
    net = Net(config)
    caller, callee, peer = pinged(net, config)
    end, other = (caller, net.carrier) if peer is net.pbx else (callee, net.pbx)
    for status in (200, 400, 401, 404, 405, 420, 480, 482, 483, 486, 500, 501, 503, 603):
        net.run(29.9)
        peer.nothing()
        net.run(0.2)
        ping = peer.take_request("OPTIONS")
        assert (ping.call_id.decode(), ping.to_tag.decode()) == (end.call_id, end.local.partition("tag=")[2])
        peer.reply(ping, 100)
        peer.reply(ping, status)
    other.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


@pytest.mark.parametrize("config", [CALLER, CALLEE])
@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_knows_no_such_dialog_ends_the_call_on_both_sides_5057_5_1(
    config: str, status: int
) -> None:
    net = Net(config)
    _, _, peer = pinged(net, config)
    net.run(30.1)
    peer.reply(peer.take_request("OPTIONS"), status)
    torn_down(net, "dialog lost")


def test_silence_ends_the_call_on_both_sides_5057_5_1() -> None:
    net = Net(CALLEE)
    establish(net)
    net.run(30.1 + 31.9)
    net.pbx.nothing()
    net.carrier.forget()
    net.run(0.2)
    torn_down(net, "dialog lost")


def test_a_transport_that_is_broken_for_a_moment_ends_nothing() -> None:
    net = Net(CALLEE)
    caller, callee = establish(net)
    net.run(30.1)
    net.carrier.take("OPTIONS")
    net.endpoint.flow_lost(net.endpoint.flows.get(net.local, net.carrier.address), net.now)
    net.pbx.nothing()
    net.run(30.1)
    net.carrier.reply(net.carrier.take_request("OPTIONS"), 200)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_both_sides_are_pinged_where_both_trunks_ask_for_it() -> None:
    net = Net(with_carrier('dialog_ping = "20s"', CALLER))
    caller, callee = establish(net)
    net.run(20.1)
    net.carrier.reply(net.carrier.take_request("OPTIONS"), 200)
    net.run(10)
    net.pbx.reply(net.pbx.take_request("OPTIONS"), 200)
    net.carrier.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_session_timer_makes_the_ping_needless() -> None:
    net = Net(with_carrier(PING + '\nsession_timer = "1800s"'))
    caller, callee = establish(net)
    net.run(899)
    net.carrier.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_call_that_ended_is_not_pinged() -> None:
    net = Net(CALLEE)
    caller, callee = establish(net)
    net.run(30.1)
    ping = net.carrier.take_request("OPTIONS")
    hang_up(caller, callee)
    net.carrier.reply(ping, 481)
    net.run(60)
    net.carrier.nothing()
    assert net.only_record.end_reason == "bye"
    net.assert_all_freed()
