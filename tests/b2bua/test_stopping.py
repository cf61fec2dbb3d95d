"""The gateway ends while calls are up: their peers hear of it, and the records tell."""

from __future__ import annotations

from gateway.sip.message import Response
from tests.helpers import SDP, Net, begin, establish


def stop(net: Net) -> None:
    """End the gateway's calls."""
    net.core.end_calls(net.now)
    net.run()


def ended(net: Net) -> tuple[int, str, str]:
    """What the caller of the only call got, who ended the call, and why."""
    record = net.only_record
    return record.emitted_status, record.ended_by, record.end_reason


def test_a_call_that_nobody_has_heard_of_yet_is_refused() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.carrier.take("INVITE")
    stop(net)
    net.pbx.ack(invite, net.pbx.take_response(503))
    assert ended(net) == (503, "gateway", "gateway stopped")


def test_a_call_that_rings_is_refused_and_cancelled() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    stop(net)
    refused = net.pbx.take_response(503)
    net.pbx.ack(invite, refused)
    cancel = net.carrier.take_request("CANCEL")
    assert cancel.get(b"Reason") == b'SIP;cause=503;text="gateway stopped"'
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    assert ended(net) == (503, "gateway", "gateway stopped")
    net.assert_all_freed()


def test_a_call_that_is_up_is_hung_up_on_both_sides() -> None:
    net = Net()
    establish(net)
    stop(net)
    for peer in (net.pbx, net.carrier):
        bye = peer.take_request("BYE")
        assert bye.get(b"Reason") == b'SIP;cause=503;text="gateway stopped"'
        peer.reply(bye, 200)
    assert ended(net) == (200, "gateway", "gateway stopped")
    net.assert_all_freed()


def test_an_answer_that_waits_for_its_ack_is_acknowledged_before_it_is_hung_up() -> None:
    net = Net()
    _invite, offer = begin(net)
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.take(200)
    stop(net)
    net.carrier.take("ACK")
    net.carrier.take("BYE")
    net.pbx.take("BYE")
    assert ended(net) == (200, "gateway", "gateway stopped")


def test_a_call_whose_bye_is_on_its_way_ends_by_the_bye() -> None:
    net = Net()
    caller, _callee = establish(net)
    caller.request("BYE", contact=False)
    net.carrier.take("BYE")
    stop(net)
    assert ended(net) == (200, "caller", "bye")
    assert not any(isinstance(message, Response) for message in net.carrier.inbox)
