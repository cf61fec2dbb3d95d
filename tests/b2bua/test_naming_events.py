"""The dialog that a subscription to the dialog package asks for (RFC 4235 4.2), in the other leg's names."""

from __future__ import annotations

import pytest

from tests.b2bua.subscribers import ACTIVE, TERMINATED
from tests.b2bua.watched import hidden
from tests.helpers import End, Net, establish, hang_up, text


def tag(address: str) -> str:
    """The tag at the end of a From or To value."""
    return address.rpartition("tag=")[2]


def named(call_id: str, to_tag: str, from_tag: str) -> str:
    """The Event that asks for one dialog, by its receiver's tag and that of its peer."""
    return f'dialog;call-id="{call_id}";to-tag={to_tag};from-tag={from_tag}'


def subscribe(one: End, other: End, event: str) -> tuple[str, End, End]:
    """SUBSCRIBE outside of the call: the Event as it arrived, and both ends of the subscription."""
    sent = one.peer.request("SUBSCRIBE", headers=f"Event: {event}\nExpires: 600")
    got = other.peer.take_request("SUBSCRIBE")
    other.peer.reply(got, 200, headers="Expires: 600")
    answer = one.peer.take_response(200)
    return text(got, b"Event"), End.of_caller(one.peer, sent, answer), End.of_callee(other.peer, got)


def notify(notifier: End, subscriber: End, event: str, state: str) -> str:
    """A NOTIFY and its answer; its Event as it arrived."""
    notifier.request("NOTIFY", headers=f"Event: {event}\n{state}")
    got = subscriber.peer.take_request("NOTIFY")
    subscriber.peer.reply(got, 200)
    notifier.peer.take(200)
    return text(got, b"Event")


@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_a_subscription_to_one_dialog_names_the_other_legs_4235_4_2(asking: str) -> None:
    net = Net()
    call = establish(net)
    one, other = call if asking == "caller" else call[::-1]
    mine = named(one.call_id, tag(one.remote), tag(one.local))
    theirs = named(other.call_id, tag(other.local), tag(other.remote))
    event, subscriber, notifier = subscribe(one, other, f"{mine};include-session-description")
    assert event == f"{theirs};include-session-description"
    # The NOTIFYs speak of the same dialog, and the refreshes.
    assert notify(notifier, subscriber, theirs, ACTIVE) == mine
    subscriber.request("SUBSCRIBE", headers=f"Event: {mine}\nExpires: 300")
    refresh = other.peer.take_request("SUBSCRIBE")
    assert text(refresh, b"Event") == theirs
    other.peer.reply(refresh, 200, headers="Expires: 300")
    one.peer.take(200)
    assert notify(notifier, subscriber, theirs, TERMINATED) == mine
    hang_up(one, other)
    net.assert_all_freed()


@pytest.mark.parametrize("also", ["", ";to-tag=any", ";from-tag=any"])
def test_a_call_id_without_both_tags_means_all_dialogs_of_the_call_4235_4_2(also: str) -> None:
    net = Net()
    one, other = establish(net)
    event, subscriber, notifier = subscribe(one, other, f"dialog;call-id={one.call_id}{also};id=3")
    assert event == f'dialog;call-id="{other.call_id}";id=3'
    notify(notifier, subscriber, event, TERMINATED)
    hang_up(one, other)
    net.assert_all_freed()


@pytest.mark.parametrize(
    "event",
    [
        "dialog",
        'dialog;call-id="nobody@knows";to-tag=a;from-tag=b',
        "dialog;call-id=unknown",
        'dialog;call-id=""',
        "dialog;call-id",
        'dialog ; include-session-description; sla="a,b"',
    ],
)
def test_an_event_that_names_no_dialog_of_ours_passes_byte_for_byte(event: str) -> None:
    net = Net()
    call = establish(net)
    arrived, subscriber, notifier = subscribe(*call, event)
    assert arrived == event
    notify(notifier, subscriber, event, TERMINATED)
    hang_up(*call)
    net.assert_all_freed()


def test_where_topology_is_hidden_an_unknown_dialog_is_not_named_3323_5_1() -> None:
    net = Net(hidden("carrier"))
    one, other = establish(net)
    said = 'dialog;call-id="7f@10.9.9.9";to-tag=a;from-tag=b;include-session-description'
    event, subscriber, notifier = subscribe(one, other, said)
    assert event == "dialog;include-session-description"
    notify(notifier, subscriber, event, TERMINATED)
    # One that the hidden side knows is its own affair.
    event, subscriber, notifier = subscribe(one, other, named(one.call_id, tag(one.remote), tag(one.local)))
    assert event == named(other.call_id, tag(other.local), tag(other.remote))
    notify(notifier, subscriber, event, TERMINATED)
    hang_up(one, other)
    net.assert_all_freed()
