"""Requests outside of dialogs go on to the next target when one cannot take them (RFC 3263 4.3, RFC 4320)."""

from __future__ import annotations

import pytest

from tests.helpers import CONFIG, HUNTING, Net, text

from .test_failover import NAMED, ONE, TWO, Names

METHODS = ["MESSAGE", "SUBSCRIBE", "OPTIONS", "PUBLISH", "REGISTER", "REFER", "FOO"]
UNREACHABLE = HUNTING.replace("sip:192.0.2.3:5060", "sip:[2001:db8::3]:5060")
RULES = """
version = 1
[[rule]]
name = "elsewhere"
when.method = "MESSAGE"
when.status = 480
then.hunt = "continue"
[[rule]]
name = "final"
when.method = "MESSAGE"
when.status = 503
then.hunt = "stop"
"""
NAMES = HUNTING.replace("sip:192.0.2.3:5060", "sip:carrier.example")
EVENT = "Event: presence\nExpires: 60"


@pytest.mark.parametrize("method", METHODS)
def test_a_503_is_left_for_the_next_target_3263_4_3(method: str) -> None:
    net = Net(HUNTING)
    net.pbx.request(method, headers=EVENT, body=b"hello")
    first = net.carrier.take_request(method)
    net.carrier.reply(first, 503, headers="Retry-After: 9")
    second = net.backup.take_request(method)
    assert (second.uri, second.body) == (b"sip:1001@192.0.2.4:5060", b"hello")
    assert (second.call_id != first.call_id, second.via.branch != first.via.branch) == (True, True)
    net.backup.reply(second, 200)
    net.pbx.take(200)
    net.carrier.nothing()
    net.assert_all_freed()


@pytest.mark.parametrize("method", METHODS)
def test_a_silent_target_is_left_before_the_time_of_the_transaction_is_over_3263_4_3(method: str) -> None:
    net = Net(HUNTING)
    net.pbx.request(method, headers=EVENT)
    first = net.carrier.take_request(method)
    net.run(15.9)
    net.pbx.take(100)
    net.backup.nothing()
    net.run(0.2)
    second = net.backup.take_request(method)
    net.carrier.reply(first, 500)  # too late
    net.pbx.nothing()
    net.backup.reply(second, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_target_that_is_at_work_is_not_left_4320_4_1() -> None:
    net = Net(HUNTING)
    net.pbx.request("MESSAGE")
    got = net.carrier.take_request("MESSAGE")
    net.carrier.reply(got, 100)
    net.run(25)
    net.pbx.take(100)
    net.backup.nothing()
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_when_all_are_silent_so_are_we_4320_4_2() -> None:
    net = Net(HUNTING)
    net.pbx.request("MESSAGE")
    net.run(50)
    assert {message.method for message in net.backup.inbox} == {b"MESSAGE"}
    net.pbx.take(100)
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_target_that_cannot_be_reached_is_left_at_once() -> None:
    net = Net(UNREACHABLE)
    net.pbx.request("MESSAGE")
    net.backup.reply(net.backup.take_request("MESSAGE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()
    net = Net(UNREACHABLE.replace(', "backup"]', "]"))
    net.pbx.request("MESSAGE")
    net.pbx.take(503)
    net.assert_all_freed()


def test_a_target_whose_transport_breaks_is_left_at_once_3263_4_3() -> None:
    net = Net(HUNTING)
    net.pbx.request("MESSAGE")
    net.carrier.take("MESSAGE")
    net.endpoint.flow_lost(net.flows.get(net.local, net.carrier.address), net.now)
    net.backup.reply(net.backup.take_request("MESSAGE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


@pytest.mark.parametrize("status", [404, 480, 500, 603])
def test_any_other_answer_is_the_answer(status: int) -> None:
    net = Net(HUNTING)
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), status)
    net.pbx.take(status)
    net.backup.nothing()
    net.assert_all_freed()


def test_the_last_503_is_told() -> None:
    net = Net(HUNTING)
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 503)
    net.backup.reply(net.backup.take_request("MESSAGE"), 503, headers="Retry-After: 7")
    assert text(net.pbx.take_response(503), b"Retry-After") == "7"
    net.assert_all_freed()


def test_a_rule_decides_whether_to_go_on() -> None:
    net = Net(HUNTING, RULES)
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 480)
    net.backup.reply(net.backup.take_request("MESSAGE"), 503)
    net.pbx.take(503)
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 503)
    net.pbx.take(503)
    net.backup.nothing()
    net.assert_all_freed()


def test_a_notifier_that_was_left_is_not_heard() -> None:
    """The first target was slow, the second took the subscription: the first one's NOTIFY is refused."""
    net = Net(HUNTING)
    net.pbx.request("SUBSCRIBE", headers=EVENT)
    first = net.carrier.take_request("SUBSCRIBE")
    net.run(16.1)
    net.pbx.take(100)
    net.carrier.forget()
    net.backup.reply(net.backup.take_request("SUBSCRIBE"), 200)
    net.pbx.take(200)
    net.carrier.reply(first, 200)
    net.carrier.request(
        "NOTIFY",
        call_id=first.call_id.decode(),
        from_=f"{text(first, b'To')};tag=slow",
        to=text(first, b"From"),
        headers="Event: presence\nSubscription-State: active",
    )
    net.carrier.take(481)
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_subscription_that_a_notify_has_opened_is_not_opened_elsewhere() -> None:
    net = Net(HUNTING)
    net.pbx.request("SUBSCRIBE", headers=EVENT)
    got = net.carrier.take_request("SUBSCRIBE")
    net.carrier.request(
        "NOTIFY",
        call_id=got.call_id.decode(),
        from_=f"{text(got, b'To')};tag=quick",
        to=text(got, b"From"),
        headers="Event: presence\nSubscription-State: active;expires=60",
    )
    net.pbx.reply(net.pbx.take_request("NOTIFY"), 200)
    net.carrier.take(200)
    net.run(33)
    net.backup.nothing()
    net.assert_all_freed()


def test_one_target_has_the_whole_time() -> None:
    net = Net(CONFIG)
    net.pbx.request("MESSAGE")
    got = net.carrier.take_request("MESSAGE")
    net.run(31)
    net.pbx.take(100)
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_an_event_that_cannot_be_read_is_refused_and_nobody_is_asked() -> None:
    net = Net(HUNTING)
    net.pbx.request("SUBSCRIBE", headers="Event: x;;id=")
    net.pbx.take(400)
    net.run(40)
    net.carrier.nothing()
    net.backup.nothing()
    net.assert_all_freed()


# -- targets that are names --------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["says 503", "is silent"])
def test_the_second_address_of_a_name_is_tried_when_the_first_one_fails_3263_4_3(fails: str) -> None:
    net = Net(NAMED)
    net.core.locator = Names(ONE, TWO)
    net.pbx.request("MESSAGE")
    first = net.carrier.take_request("MESSAGE")
    if fails == "says 503":
        net.carrier.reply(first, 503)
    else:
        net.run(16.1)
        net.pbx.take(100)
    second = net.backup.take_request("MESSAGE")
    assert second.uri == first.uri == b"sip:1001@carrier.example"
    net.backup.reply(second, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_the_second_address_of_a_name_is_the_same_target_which_has_answered() -> None:
    net = Net(NAMED, RULES)
    net.core.locator = Names(ONE, TWO)
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 480)
    net.pbx.take(480)
    net.backup.nothing()
    net.assert_all_freed()


def test_a_name_that_leads_nowhere_is_left_at_once() -> None:
    net = Net(NAMES)
    net.core.locator = Names()
    net.pbx.request("SUBSCRIBE", headers=EVENT)
    net.backup.reply(net.backup.take_request("SUBSCRIBE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()
    net = Net(NAMED)
    net.core.locator = Names()
    net.pbx.request("MESSAGE")
    net.pbx.take(503)
    net.assert_all_freed()


def test_a_look_up_that_takes_too_long_is_left_and_its_answer_not_used() -> None:
    net = Net(NAMES)
    net.core.locator = names = Names(ONE, is_slow=True)
    net.pbx.request("MESSAGE")
    net.run(16.1)
    net.pbx.take(100)
    got = net.backup.take_request("MESSAGE")
    names.answer(net)
    net.carrier.nothing()
    net.backup.reply(got, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_look_up_in_time_is_used() -> None:
    net = Net(NAMES)
    net.core.locator = names = Names(ONE, is_slow=True)
    net.pbx.request("MESSAGE")
    net.run(5)
    net.pbx.take(100)
    names.answer(net)
    got = net.carrier.take_request("MESSAGE")
    net.run(20)
    net.backup.take("MESSAGE")
    net.backup.forget()
    net.carrier.reply(got, 200)  # too late
    net.pbx.nothing()
    net.run(30)
    net.assert_all_freed()
