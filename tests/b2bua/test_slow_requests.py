"""Requests other than INVITE whose answer is long in coming, or never comes (RFC 4320; 4321 says why)."""

from __future__ import annotations

import pytest

from gateway.sip.transaction import Timing
from tests.helpers import CONFIG, HUNTING, PBX, End, Net, Peer, hang_up, pair, text

from .subscribers import ACTIVE, EVENT, notify, subscribe
from .test_failover import NAMED, ONE, Names
from .test_outside import METHODS as OUTSIDE

INSIDE = ["INFO", "MESSAGE", "NOTIFY", "REFER", "UPDATE", "FOO", "BYE"]
BOTH_WAYS = pytest.mark.parametrize("asking", ["caller", "callee"])
ON_ANY_TRANSPORT = pytest.mark.parametrize("transport", ["udp", "tcp"])
RULE = """
version = 1
[[rule]]
name = "no-answer"
when.method = "MESSAGE"
when.status = {}
then.status = {}
"""


def on(transport: str, config: str = CONFIG) -> tuple[Net, Peer]:
    """The network, and the PBX on it, which asks over this transport."""
    net = Net(config, streams=("tcp",))
    return net, net.pbx if transport == "udp" else net.peer(PBX, "pbx", "tcp")


def be_done(net: Net, one: End, other: End, method: str) -> None:
    """End the call, unless the request in question was its BYE."""
    if method != "BYE":
        hang_up(one, other)
    net.assert_all_freed()


# -- the 100 (4.1) -----------------------------------------------------------------------------------------


@ON_ANY_TRANSPORT
@pytest.mark.parametrize("method", OUTSIDE)
def test_who_waits_for_the_time_in_which_timer_e_gets_to_t2_hears_100_4320_4_1(
    method: str, transport: str
) -> None:
    net, pbx = on(transport)
    sent = pbx.request(method, headers="Timestamp: 54")
    got = net.carrier.take_request(method)
    net.run(3.4)
    pbx.again(sent)
    pbx.nothing()  # over UDP a 100 would be too early
    net.run(0.2)
    trying = pbx.take_response(100)
    assert (trying.phrase, trying.to_tag, text(trying, b"Timestamp")) == (b"Trying", b"", "54")
    pbx.again(sent)
    assert pbx.take_response(100).rows == trying.rows
    net.run(20)
    pbx.nothing()  # it comes but once by itself
    net.carrier.reply(got, 200)
    pbx.take(200)
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("method", INSIDE)
def test_who_waits_inside_a_dialog_hears_100_4320_4_1(method: str, asking: str) -> None:
    """But for a BYE: many take the first answer to it for the last, and it is of no use to them."""
    net = Net()
    one, other = pair(net, asking)
    one.request(method, headers=f"{EVENT}\n{ACTIVE}", contact=method == "UPDATE")
    got = other.peer.take_request(method)
    net.run(3.4)
    one.peer.nothing()
    net.run(0.2)
    if method != "BYE":
        one.peer.take(100)
    other.peer.forget()
    other.peer.reply(got, 200)
    one.peer.take(200)
    be_done(net, one, other, method)


def test_who_is_answered_in_time_hears_no_100_4320_4_1() -> None:
    net = Net()
    net.pbx.request("MESSAGE")
    got = net.carrier.take_request("MESSAGE")
    net.run(3.4)
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    net.run(60)
    net.pbx.nothing()


@pytest.mark.parametrize(
    ("timing", "due"),
    [(Timing(0.1, 1.0, 2.0), 1.5), (Timing(1.0, 8.0, 10.0), 7.0), (Timing(0.5, 0.5), 0.5)],
    ids=lambda value: f"T2={value.t2}" if isinstance(value, Timing) else "",
)
def test_the_100_keeps_the_times_that_are_set_4320_4_1(timing: Timing, due: float) -> None:
    net = Net()
    net.endpoint.timing = timing
    net.pbx.request("MESSAGE")
    net.run(due - 0.05)
    net.pbx.nothing()
    net.run(0.1)
    net.pbx.take(100)


def test_no_100_where_timer_e_never_gets_to_t2_4320_4_1() -> None:
    net = Net()
    net.endpoint.timing = Timing(0.01, 4.0)
    net.pbx.request("MESSAGE")
    net.run(60)
    net.pbx.nothing()
    net.assert_all_freed()


def test_who_was_not_served_while_the_gateway_stood_still_hears_nothing_any_more() -> None:
    net = Net()
    net.pbx.request("MESSAGE")
    net.run()
    net.now += 40
    net.endpoint.tick(net.now)
    net.pbx.nothing()
    net.assert_all_freed()


@pytest.mark.parametrize("status", [100, 180, 182, 183, 199])
@pytest.mark.parametrize("method", OUTSIDE)
def test_no_provisional_response_passes_4320_4_1(method: str, status: int) -> None:
    net = Net()
    net.pbx.request(method)
    got = net.carrier.take_request(method)
    net.carrier.reply(got, status)
    net.pbx.nothing()
    net.run(3.6)
    net.pbx.take(100)
    net.carrier.reply(got, status)
    net.pbx.nothing()
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("method", INSIDE)
def test_no_provisional_response_passes_inside_a_dialog_4320_4_1(method: str, asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request(method, headers=f"{EVENT}\n{ACTIVE}", contact=method == "UPDATE")
    got = other.peer.take_request(method)
    other.peer.reply(got, 182)
    one.peer.nothing()
    other.peer.reply(got, 200)
    one.peer.take(200)
    be_done(net, one, other, method)


# -- no 408 (4.2) ------------------------------------------------------------------------------------------


@ON_ANY_TRANSPORT
@pytest.mark.parametrize("method", OUTSIDE)
def test_a_408_of_the_other_side_is_passed_on_as_silence_4320_4_2(method: str, transport: str) -> None:
    net, pbx = on(transport)
    sent = pbx.request(method)
    net.carrier.reply(net.carrier.take_request(method), 408)
    pbx.nothing()
    pbx.again(sent)
    net.run(3.6)
    pbx.take(100)  # which is due all the same (4.1)
    net.run(60)
    pbx.nothing()
    net.carrier.nothing()
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("method", [method for method in INSIDE if method != "UPDATE"])  # it ends the call
def test_a_408_inside_a_dialog_is_passed_on_as_silence_4320_4_2(method: str, asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request(method, headers=f"{EVENT}\n{ACTIVE}", contact=False)
    other.peer.reply(other.peer.take_request(method), 408)
    net.run(60)
    if method != "BYE":
        one.peer.take(100)
    one.peer.nothing()
    other.peer.nothing()
    be_done(net, one, other, method)


def test_a_408_to_a_notify_ends_the_subscription_as_silence_does_6665_4_2_2() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    net.pbx.reply(net.pbx.take_request("NOTIFY"), 408)
    assert not net.core.subscriptions.pairs
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_target_that_says_408_is_left_as_one_that_is_silent_4320_4_2() -> None:
    net = Net(HUNTING)
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 408)
    net.backup.reply(net.backup.take_request("MESSAGE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_rule_may_turn_a_408_into_what_can_be_said_4320_4_2() -> None:
    net = Net(rules=RULE.format(408, 504))
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 408)
    net.pbx.take(504)
    net.assert_all_freed()


def test_a_rule_that_wants_a_408_said_says_nothing_4320_4_2() -> None:
    net = Net(rules=RULE.format(480, 408))
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 480)
    net.run(60)
    net.pbx.take(100)
    net.pbx.nothing()
    net.assert_all_freed()


# -- silence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timing", [Timing(), Timing(0.1, 1.0)], ids=["default", "quick"])
def test_a_request_that_comes_again_after_all_is_not_relayed_anew(timing: Timing) -> None:
    """Who asks with a longer T1 of its own still asks when nobody else waits any more."""
    net = Net()
    net.endpoint.timing = timing
    sent = net.pbx.request("MESSAGE")
    net.run(64 * timing.t1 + 1)
    net.pbx.take(100)
    net.carrier.forget()
    for _ in range(7):
        net.pbx.again(sent)
        net.run(4)
    net.pbx.nothing()
    net.carrier.nothing()
    net.assert_all_freed()


@ON_ANY_TRANSPORT
def test_an_answer_that_comes_after_all_is_dropped_4320_4_2(transport: str) -> None:
    """The target's time began only when its name had been looked up."""
    net, pbx = on(transport, NAMED)
    net.core.locator = names = Names(ONE, is_slow=True)
    pbx.request("MESSAGE")
    net.run(5)
    pbx.take(100)
    names.answer(net)
    got = net.carrier.take_request("MESSAGE")
    net.run(28)
    net.carrier.reply(got, 200)
    pbx.nothing()
    net.assert_all_freed()


def test_the_same_request_on_another_way_is_a_new_attempt_once_the_first_is_over_3261_8_2_2_2() -> None:
    """A proxy in front of us that heard nothing tries again, with a branch of its own for it."""
    net = Net()
    first = net.pbx.request("MESSAGE")
    net.run(33)
    net.pbx.take(100)
    net.carrier.forget()
    again = {"call_id": text(first, b"Call-ID"), "from_": text(first, b"From"), "seq": first.cseq[0]}
    net.pbx.request("MESSAGE", **again)  # type: ignore[arg-type]
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()
