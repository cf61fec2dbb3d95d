"""Races with a transport that breaks, and with responses that come when nobody waits for them any more.

In each test the client transaction is in another state when it happens (RFC 3261 17.1.4, RFC 6026 7.2).
"""

from __future__ import annotations

import itertools

from tests.helpers import SDP, Net, Peer, begin, establish, hang_up


def break_towards(net: Net, peer: Peer) -> None:
    """The transport towards a peer is found broken."""
    net.endpoint.flow_lost(net.flows.get(net.local, peer.address), net.now)
    net.run()


def test_before_the_rejection_was_repeated_the_transport_breaks_3261_17_1_1_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    break_towards(net, net.carrier)
    net.carrier.reply(offer, 486)  # its transaction has ended with the transport
    net.carrier.nothing()
    assert net.endpoint.dropped == {"stray response": 1}
    net.assert_all_freed()


def test_after_the_answer_the_transport_breaks_and_the_call_stands_6026_7_2() -> None:
    net = Net()
    caller, callee = establish(net)
    break_towards(net, net.carrier)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_the_transport_breaks_before_a_bye_is_answered_and_the_call_is_over_3261_17_1_4() -> None:
    net = Net()
    caller, _callee = establish(net)
    caller.request("BYE", contact=False)
    net.carrier.take("BYE")
    break_towards(net, net.carrier)
    net.pbx.take(503)  # RFC 3261 8.1.3.1
    assert net.only_record.end_reason == "bye"
    net.assert_all_freed()


def test_the_transport_breaks_after_a_provisional_answer_to_an_info_3261_17_1_4() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", contact=False)
    net.carrier.reply(net.carrier.take_request("INFO"), 183)
    net.pbx.nothing()
    break_towards(net, net.carrier)
    net.pbx.take(503)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_the_transport_breaks_after_an_info_was_answered_and_nobody_is_told_twice_3261_17_1_4() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("INFO", contact=False)
    net.carrier.reply(net.carrier.take_request("INFO"), 200)
    net.pbx.take(200)
    break_towards(net, net.carrier)
    net.pbx.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_provisional_answers_to_a_message_stay_here_and_a_repeated_message_gets_the_100_4320_4_1() -> None:
    net = Net()
    message = net.pbx.request("MESSAGE", contact=False)
    got = net.carrier.take_request("MESSAGE")
    for status in (180, 183):
        net.carrier.reply(got, status)
        net.pbx.nothing()
    net.run(3.6)
    net.pbx.take(100)
    net.pbx.again(message)
    net.pbx.take(100)
    net.carrier.take("MESSAGE")  # its own timer E
    net.carrier.nothing()
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    net.carrier.reply(got, 183)  # late, absorbed (17.1.2.2)
    net.carrier.reply(got, 500)  # the first final stands
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_peer_that_falls_silent_after_a_provisional_is_asked_every_t2_until_timer_f_3261_17_1_2_2() -> None:
    net = Net()
    net.pbx.request("MESSAGE", contact=False)
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 100)
    asked_at = net.now
    times = []
    while net.now < asked_at + 40:
        net.run(0.1)
        if net.carrier.inbox:
            net.carrier.take("MESSAGE")
            times.append(net.now - asked_at)
    gaps = [later - sooner for sooner, later in itertools.pairwise(times[1:])]
    assert len(times) >= 7
    assert all(3.8 < gap < 4.2 for gap in gaps), times
    assert times[-1] < 32.1
    net.pbx.take(100)
    net.pbx.nothing()  # and no late 408 (RFC 4320 4.2)
    net.assert_all_freed()


def test_late_18x_after_each_final_goes_nowhere_6026_7_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.carrier.reply(offer, 180)
    net.carrier.reply(offer, 183, tag="another")
    net.pbx.nothing()
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.carrier.reply(offer, 180)
    net.pbx.nothing()
    net.carrier.nothing()

    second, offer = begin(net)
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    rejected = net.pbx.take_response(486)
    net.carrier.reply(offer, 180)
    net.pbx.nothing()
    net.pbx.ack(second, rejected)
    net.carrier.reply(offer, 183)
    net.pbx.nothing()
    net.carrier.nothing()
    net.run(3)
    assert len(net.core.calls) == 1


def test_a_2xx_for_an_invite_that_has_timed_out_is_stray_3261_17_1_1_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.run(32.2)  # 64*T1
    net.carrier.forget()
    net.pbx.ack(invite, net.pbx.take_response(408))
    net.carrier.reply(offer, 200, body=SDP)
    net.carrier.nothing()  # nobody is left who knows what to acknowledge
    net.pbx.nothing()
    assert net.endpoint.dropped == {"stray response": 1}
    net.assert_all_freed()


def test_a_2xx_that_comes_again_after_timer_m_is_stray_and_the_call_goes_on_6026_7_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.run(33)
    net.carrier.reply(offer, 200, body=SDP)
    net.carrier.nothing()
    net.pbx.nothing()
    assert len(net.core.calls) == 1
    assert net.endpoint.dropped == {"stray response": 1}
