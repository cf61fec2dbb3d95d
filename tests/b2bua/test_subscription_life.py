"""What begins, keeps and ends a subscription, up to each cell of its table (RFC 6665)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from gateway.b2bua.subscription import Input, State, Subscription
from gateway.sip.transaction import ImpossibleInputError
from tests.b2bua.subscribers import ACTIVE, EVENT, TERMINATED, end, notify, subscribe
from tests.helpers import End, Net, text


def test_a_notify_may_come_before_the_answer_6665_4_1_2_4() -> None:
    net = Net()
    sent = net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600", seq=40)
    got = net.carrier.take_request("SUBSCRIBE")
    notifier = End.of_callee(net.carrier, got)
    notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    early = net.pbx.take_request("NOTIFY")
    net.pbx.reply(early, 200)
    net.carrier.take(200)
    net.carrier.reply(got, 200, headers="Expires: 600")
    answer = net.pbx.take_response(200)
    assert answer.to_tag == early.from_tag  # one notifier, one dialog
    assert len(net.core.subscriptions.pairs) == 2
    subscriber = End.of_caller(net.pbx, sent, answer)
    end(notifier, subscriber)
    net.assert_all_freed()


def test_a_subscription_that_ended_before_its_answer_keeps_its_tag() -> None:
    """A fetch: the one NOTIFY says "terminated" and overtakes the 200 (RFC 6665 4.4.3)."""
    net = Net()
    net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 0")
    got = net.carrier.take_request("SUBSCRIBE")
    End.of_callee(net.carrier, got).request("NOTIFY", headers=f"{EVENT}\n{TERMINATED}")
    early = net.pbx.take_request("NOTIFY")
    net.pbx.reply(early, 200)
    net.carrier.take(200)
    net.carrier.reply(got, 200, headers="Expires: 0")
    assert net.pbx.take_response(200).to_tag == early.from_tag
    assert not net.core.subscriptions.pairs
    net.assert_all_freed()


@pytest.mark.parametrize("asking", ["pbx", "carrier"])
def test_a_refresh_and_an_unsubscribe_pass_in_the_dialog_6665_4_1_2(asking: str) -> None:
    net = Net()
    asks, tells = (net.pbx, net.carrier) if asking == "pbx" else (net.carrier, net.pbx)
    subscriber, notifier = subscribe(net, asks, tells)
    notify(notifier, subscriber)
    for expires in (900, 0):
        subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: {expires}")
        got = tells.take_request("SUBSCRIBE")
        assert (got.call_id.decode(), text(got, b"Expires")) == (notifier.call_id, str(expires))
        tells.reply(got, 200, headers=f"Expires: {expires}")
        assert text(asks.take_response(200), b"Expires") == str(expires)
        if expires:
            net.run(700)  # longer than what was granted at first
            notify(notifier, subscriber, "Subscription-State: active;expires=200")
    end(notifier, subscriber)
    net.assert_all_freed()


@pytest.mark.parametrize(
    ("granted", "stands", "is_gone"), [("600", 600, 640), ("", 600, 640), ("999999999999", 86_000, 86_440)]
)
def test_without_a_refresh_it_is_freed_when_it_has_expired_6665_4_4_1(
    granted: str, stands: int, is_gone: int
) -> None:
    net = Net()
    sent = net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600", seq=40)
    got = net.carrier.take_request("SUBSCRIBE")
    net.carrier.reply(got, 200, headers=f"Expires: {granted}" if granted else "")
    subscriber = End.of_caller(net.pbx, sent, net.pbx.take_response(200))
    notifier = End.of_callee(net.carrier, got)
    notify(notifier, subscriber, "Subscription-State: active")
    net.run(stands)
    notify(notifier, subscriber, "Subscription-State: active")  # says nothing of the time
    net.run(is_gone - stands)
    assert not net.endpoint.dialogs
    notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    net.carrier.take(481)
    net.assert_all_freed()


def test_a_notify_shortens_the_time_6665_4_1_3() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber, "Subscription-State: pending;expires=20")
    net.run(20)
    assert net.endpoint.dialogs  # its last NOTIFY may still be on its way
    net.run(33)
    assert not net.endpoint.dialogs
    net.assert_all_freed()


def test_granted_without_any_notify_it_is_freed_after_timer_n_6665_4_1_2_4() -> None:
    net = Net()
    subscribe(net, net.pbx, net.carrier)
    net.run(31)
    assert net.core.subscriptions.pairs
    net.run(2)
    assert not net.endpoint.dialogs
    net.assert_all_freed()


@pytest.mark.parametrize("status", [489, 403, 503])
def test_a_refused_subscribe_leaves_no_dialog_6665_4_1_2_1(status: int) -> None:
    net = Net()
    net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    got = net.carrier.take_request("SUBSCRIBE")
    End.of_callee(net.carrier, got).request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    told = net.pbx.take_request("NOTIFY")
    net.carrier.reply(got, status, headers="Allow-Events: presence")
    assert text(net.pbx.take_response(status), b"Allow-Events") == "presence"
    assert not net.endpoint.dialogs
    net.pbx.reply(told, 481)
    net.carrier.take(481)
    assert not net.core.subscriptions
    net.assert_all_freed()


def test_a_subscribe_that_only_a_notify_answers_stands_6665_4_1_2_4() -> None:
    net = Net()
    sent = net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600", seq=40)
    got = net.carrier.take_request("SUBSCRIBE")
    notifier = End.of_callee(net.carrier, got)
    notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    first = net.pbx.take_request("NOTIFY")
    net.pbx.reply(first, 200)
    net.carrier.take(200)
    net.run(40)  # no 200 ever comes
    net.carrier.forget()
    net.pbx.take(100)
    net.pbx.nothing()
    subscriber = End(
        net.pbx, sent.call_id.decode(), text(sent, b"From"), text(first, b"From"), "sip:192.0.2.1:5060", 40
    )
    end(notifier, subscriber)
    net.assert_all_freed()


@pytest.mark.parametrize("status", [481, 404, 501])
def test_a_subscriber_that_does_not_know_it_ends_it_6665_4_2_2(status: int) -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber, status=status)
    assert not net.core.subscriptions.pairs
    notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    net.carrier.take(481)
    net.assert_all_freed()


def test_a_subscriber_that_is_silent_ends_it_6665_4_2_2() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    net.run(33)
    net.pbx.forget()
    assert not net.endpoint.dialogs
    net.assert_all_freed()


@pytest.mark.parametrize("state", [ACTIVE, TERMINATED])
def test_a_notify_that_is_challenged_changes_nothing_3261_22(state: str) -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    notify(notifier, subscriber, state, status=401)
    notify(notifier, subscriber)
    end(notifier, subscriber)
    net.assert_all_freed()


@pytest.mark.parametrize(("status", "ends"), [(481, True), (489, True), (500, False), (401, False)])
def test_a_refused_refresh_ends_it_by_its_status_6665_4_1_2_2(status: int, ends: bool) -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    net.carrier.reply(net.carrier.take_request("SUBSCRIBE"), status)
    net.pbx.take(status)
    assert bool(net.core.subscriptions.pairs) != ends
    if not ends:
        end(notifier, subscriber)
    net.assert_all_freed()


def test_a_refresh_before_any_notify_waits_on() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    net.run(20)
    subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    net.carrier.reply(net.carrier.take_request("SUBSCRIBE"), 200)
    net.pbx.take(200)
    net.run(20)
    notify(notifier, subscriber)
    end(notifier, subscriber)
    net.assert_all_freed()


def test_answers_that_cross_its_end_change_nothing() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 0")
    refresh = net.carrier.take_request("SUBSCRIBE")
    told = []
    for state in (ACTIVE, ACTIVE, TERMINATED, TERMINATED):
        notifier.request("NOTIFY", headers=f"{EVENT}\n{state}")
        told.append(net.pbx.take_request("NOTIFY"))
    for late, status in ((3, 200), (2, 200), (1, 200), (0, 481)):
        net.pbx.reply(told[late], status)
        net.carrier.take(status)
    assert not net.endpoint.dialogs.keys() - {(notifier.remote.rpartition("tag=")[2].encode(), b"")}
    net.carrier.reply(refresh, 200, headers="Expires: 0")
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_subscriber_that_never_answers_its_first_notify_is_given_timer_n() -> None:
    net = Net()
    net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    got = net.carrier.take_request("SUBSCRIBE")
    End.of_callee(net.carrier, got).request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    net.run(33)
    net.pbx.forget()
    assert not net.endpoint.dialogs
    net.assert_all_freed()


def test_one_notify_may_be_all_6665_4_4_3() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    end(notifier, subscriber)
    assert not net.core.subscriptions.pairs
    net.assert_all_freed()


# -- the table ---------------------------------------------------------------------------------------------

DIALOGUES: list[Callable[[], None]] = [
    test_a_subscription_that_ended_before_its_answer_keeps_its_tag,
    test_a_notify_may_come_before_the_answer_6665_4_1_2_4,
    test_granted_without_any_notify_it_is_freed_after_timer_n_6665_4_1_2_4,
    test_a_refresh_before_any_notify_waits_on,
    test_answers_that_cross_its_end_change_nothing,
    test_a_subscriber_that_never_answers_its_first_notify_is_given_timer_n,
    test_one_notify_may_be_all_6665_4_4_3,
    lambda: test_a_refused_subscribe_leaves_no_dialog_6665_4_1_2_1(489),
    lambda: test_a_subscriber_that_does_not_know_it_ends_it_6665_4_2_2(481),
    lambda: test_without_a_refresh_it_is_freed_when_it_has_expired_6665_4_4_1("600", 600, 640),
    lambda: test_a_refresh_and_an_unsubscribe_pass_in_the_dialog_6665_4_1_2("pbx"),
    lambda: test_a_refused_refresh_ends_it_by_its_status_6665_4_1_2_2(481, True),
]


def test_dialogues_reach_every_cell_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[tuple[State, Input]] = set()
    feed = Subscription.feed

    def note(subscription: Subscription, given: Input, seconds: int | None, now: float) -> None:
        reached.add((subscription.state, given))
        feed(subscription, given, seconds, now)

    monkeypatch.setattr(Subscription, "feed", note)
    for dialogue in DIALOGUES:
        dialogue()
    assert reached == set(Subscription.TABLE)


@pytest.mark.parametrize(
    ("state", "given"), sorted(set(itertools.product(State, Input)) - set(Subscription.TABLE))
)
def test_what_cannot_happen_is_loud(state: State, given: Input) -> None:
    net = Net()
    subscribe(net, net.pbx, net.carrier)
    [[subscription], _] = net.core.subscriptions.pairs.values()
    subscription.state = state
    with pytest.raises(ImpossibleInputError, match=f"{given.name} in state {state.name}"):
        subscription.feed(given, None, net.now)
