"""SUBSCRIBE and REFER outside of calls: twin dialogs, and the NOTIFYs in them (RFC 6665, RFC 3515).

How long they live, and what ends them, is in test_subscription_life.py.
"""

from __future__ import annotations

import pytest

from tests.b2bua.account import WITH_ACCOUNT, challenge
from tests.b2bua.subscribers import ACTIVE, EVENT, TERMINATED, end, notify, subscribe
from tests.helpers import CONFIG, End, Net, make_setup, text


@pytest.mark.parametrize("asking", ["pbx", "carrier"])
def test_a_subscription_is_a_pair_of_dialogs_6665_4_4_1(asking: str) -> None:
    net = Net()
    asks, tells = (net.pbx, net.carrier) if asking == "pbx" else (net.carrier, net.pbx)
    subscriber, notifier = subscribe(net, asks, tells)
    for number in range(3):
        got = notify(notifier, subscriber)
        assert (got.call_id.decode(), text(got, b"From"), text(got, b"To")) == (
            subscriber.call_id,
            subscriber.remote,
            subscriber.local,
        )
        assert (text(got, b"Contact"), text(got, b"Event")) == ("<sip:192.0.2.1:5060>", "dialog;id=a7")
        assert (text(got, b"Subscription-State"), got.body) == ("active;expires=600", b"<dialog-info/>")
        assert got.cseq[0] == number + 1
    end(notifier, subscriber)
    notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    tells.take(481)
    asks.nothing()
    net.assert_all_freed()


def test_a_forked_subscribe_is_a_dialog_for_each_notifier_6665_4_4_1() -> None:
    net = Net()
    sent = net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600", seq=40)
    got = net.carrier.take_request("SUBSCRIBE")
    net.carrier.reply(got, 200, tag="one", headers="Expires: 600")
    answer = net.pbx.take_response(200)
    pairs = [(End.of_caller(net.pbx, sent, answer), End.of_callee(net.carrier, got, "one"))]
    for tag in ("two", "three"):
        notifier = End.of_callee(net.carrier, got, tag)
        notifier.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
        first = net.pbx.take_request("NOTIFY")
        assert first.from_tag not in [end.remote.partition("tag=")[2].encode() for end, _ in pairs]
        net.pbx.reply(first, 200)
        net.carrier.take(200)
        subscriber = End(net.pbx, pairs[0][0].call_id, pairs[0][0].local, text(first, b"From"), "", 40)
        subscriber.target = pairs[0][0].target
        pairs.append((subscriber, notifier))
    for subscriber, notifier in pairs:  # each refreshes by itself
        notify(notifier, subscriber)
        subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 300")
        refresh = net.carrier.take_request("SUBSCRIBE")
        assert refresh.to_tag.decode() == notifier.local.partition("tag=")[2]
        net.carrier.reply(refresh, 200, headers="Expires: 300")
        net.pbx.take(200)
        end(notifier, subscriber)
    net.assert_all_freed()


def test_forks_are_bounded() -> None:
    net = Net()
    net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    got = net.carrier.take_request("SUBSCRIBE")
    for number in range(17):
        End.of_callee(net.carrier, got, f"fork{number}").request("NOTIFY", headers=f"{EVENT}\n{TERMINATED}")
        if number < 16:
            net.pbx.reply(net.pbx.take_request("NOTIFY"), 200)
            net.carrier.take(200)
    net.carrier.take(481)
    net.pbx.nothing()
    net.carrier.reply(got, 200, tag="fork1")
    net.pbx.take(200)
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["NOTIFY", "INVITE", "BYE", "MESSAGE", "SUBSCRIBE"])
def test_without_a_tag_nobody_is_a_notifier_3261_8_1_1_3(method: str) -> None:
    net = Net()
    net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    got = net.carrier.take_request("SUBSCRIBE")
    nobody = End(net.carrier, got.call_id.decode(), "<sip:1001@192.0.2.1>", text(got, b"From"), "sip:gw", 1)
    nobody.request(method, headers=f"{EVENT}\n{ACTIVE}")
    net.carrier.take_response(481)
    if method == "INVITE":
        nobody.request("ACK", nobody.seq, contact=False)
    net.pbx.nothing()
    net.carrier.reply(got, 403)
    net.pbx.take(403)
    net.assert_all_freed()


def test_a_fork_that_shows_after_timer_n_is_too_late_6665_4_1_2_4() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    net.run(33)
    late = End(net.carrier, notifier.call_id, "<sip:1001@192.0.2.1>;tag=late", notifier.remote, "", 1)
    late.target = notifier.target
    late.request("NOTIFY", headers=f"{EVENT}\n{ACTIVE}")
    net.carrier.take(481)
    end(notifier, subscriber)
    net.assert_all_freed()


def test_two_events_share_a_dialog_and_end_each_for_itself_6665_4_5_2() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    other = "Event: presence"
    subscriber.request("SUBSCRIBE", headers=f"{other}\nExpires: 60")
    net.carrier.reply(net.carrier.take_request("SUBSCRIBE"), 200, headers="Expires: 60")
    net.pbx.take(200)
    notify(notifier, subscriber, event=other)
    end(notifier, subscriber)
    notify(notifier, subscriber, event=other)
    end(notifier, subscriber, event=other)
    notifier.request("NOTIFY", headers=f"{other}\n{ACTIVE}")
    net.carrier.take(481)
    net.assert_all_freed()


def test_a_dialog_of_a_subscription_knows_no_call_5057_5_2() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    for method in ("INVITE", "BYE", "UPDATE", "PRACK", "INFO"):
        subscriber.request(method)
        net.pbx.take_response(481)
        if method == "INVITE":
            subscriber.request("ACK", subscriber.seq, contact=False)
    net.carrier.nothing()
    for method in ("MESSAGE", "OPTIONS", "FOO"):
        subscriber.request(method)
        net.carrier.reply(net.carrier.take_request(method), 200)
        net.pbx.take(200)
    end(notifier, subscriber)
    net.assert_all_freed()


def test_notifys_and_refreshes_go_along_the_record_route_3261_12() -> None:
    net = Net()
    near, far = "<sip:192.0.2.2:5060;lr>", "<sip:192.0.2.3:5060;lr>"
    sent = net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600\nRecord-Route: {near}", seq=40)
    got = net.carrier.take_request("SUBSCRIBE")
    assert b"Record-Route" not in got.index
    net.carrier.reply(got, 200, headers=f"Expires: 600\nRecord-Route: {far}, <sip:192.0.2.9;lr>")
    answer = net.pbx.take_response(200)
    assert answer.values(b"Record-Route") == [near.encode()]
    subscriber, notifier = End.of_caller(net.pbx, sent, answer), End.of_callee(net.carrier, got)
    # The carrier's proxies recorded themselves in the order of the request: we are at its other end.
    subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    net.carrier.nothing()  # the topmost of the reversed route set is 192.0.2.9
    proxy = net.peer(("192.0.2.9", 5060), "proxy")
    net.run(0.6)
    refresh = proxy.take_request("SUBSCRIBE")
    assert text(refresh, b"Route") == f"<sip:192.0.2.9;lr>, {far}"
    proxy.reply(refresh, 200)
    net.pbx.take(200)
    got_notify = notify(notifier, subscriber)
    assert text(got_notify, b"Route") == near
    end(notifier, subscriber)
    net.assert_all_freed()


def test_a_notify_that_opens_the_dialog_brings_its_route_set_6665_4_4_1() -> None:
    net = Net()
    sent = net.pbx.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600", seq=40)
    got = net.carrier.take_request("SUBSCRIBE")
    notifier = End.of_callee(net.carrier, got, "fork")
    notifier.request(
        "NOTIFY", headers=f"{EVENT}\n{ACTIVE}\nRecord-Route: <sip:192.0.2.3:5060;lr>, <sip:b;lr>"
    )
    first = net.pbx.take_request("NOTIFY")
    net.pbx.reply(first, 200)
    net.carrier.take(200)
    net.carrier.reply(got, 200, tag="fork")
    subscriber = End.of_caller(net.pbx, sent, net.pbx.take_response(200))
    subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    refresh = net.carrier.take_request("SUBSCRIBE")
    assert text(refresh, b"Route") == "<sip:192.0.2.3:5060;lr>, <sip:b;lr>"
    net.carrier.reply(refresh, 200)
    net.pbx.take(200)
    end(notifier, subscriber)
    net.assert_all_freed()


def test_subscriptions_are_bounded() -> None:
    net = Net()
    net.core.subscriptions._limit = 3
    first = subscribe(net, net.pbx, net.carrier)
    net.pbx.request("SUBSCRIBE", headers=EVENT)
    got = net.carrier.take_request("SUBSCRIBE")
    net.pbx.request("SUBSCRIBE", headers=EVENT)
    assert text(net.pbx.take_response(503), b"Retry-After") == "5"
    net.pbx.request("REFER", headers="Refer-To: <sip:x@y>")
    net.pbx.take(503)
    net.carrier.reply(got, 403)
    net.pbx.take(403)
    again = subscribe(net, net.pbx, net.carrier)
    for subscriber, notifier in (first, again):
        end(notifier, subscriber)
    net.assert_all_freed()


def test_usages_of_one_dialog_are_bounded_and_what_is_more_still_passes() -> None:
    net = Net()
    subscriber, _ = subscribe(net, net.pbx, net.carrier)
    for number in range(20):
        subscriber.request("SUBSCRIBE", headers=f"Event: presence;id={number}\nExpires: 600")
        net.carrier.reply(net.carrier.take_request("SUBSCRIBE"), 200)
        net.pbx.take(200)
    assert len(net.core.subscriptions) == 16 + 1  # and the half that forks may still come to
    net.assert_all_freed()


def test_what_cannot_be_read_gets_400_and_changes_nothing() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    for headers in (
        f'{EVENT}\nSubscription-State: active;"=',
        "Event: dialog;;=\nSubscription-State: active",
    ):
        notifier.request("NOTIFY", headers=headers)
        net.carrier.take(400)
    net.pbx.nothing()
    net.pbx.request("SUBSCRIBE", headers='Event: x;"')
    net.pbx.take(400)
    net.carrier.nothing()
    end(notifier, subscriber)
    net.assert_all_freed()


# -- REFER outside of a dialog ---------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_refer_outside_of_a_dialog_opens_one_3515_2_4(named: bool) -> None:
    net = Net()
    sent = net.pbx.request("REFER", headers="Refer-To: <sip:2002@192.0.2.9>", seq=77)
    got = net.carrier.take_request("REFER")
    net.carrier.reply(got, 202)
    referrer, referee = (
        End.of_caller(net.pbx, sent, net.pbx.take_response(202)),
        End.of_callee(net.carrier, got),
    )
    event = "Event: refer;id=1" if named else "Event: refer"
    for state in (
        "Subscription-State: active;expires=60",
        "Subscription-State: terminated;reason=noresource",
    ):
        told = notify(referee, referrer, state, event=event)
        # The id is the CSeq number of the REFER, which the referrer has counted itself.
        assert text(told, b"Event") == ("refer;id=77" if named else "refer")
    referee.request("NOTIFY", headers=f"{event}\n{TERMINATED}")
    net.carrier.take(481)
    net.assert_all_freed()


@pytest.mark.parametrize("overtaking", [False, True])
def test_the_notifys_of_a_challenged_refer_name_the_one_that_was_accepted_3515_2_4_6(
    overtaking: bool,
) -> None:
    net = Net(WITH_ACCOUNT)
    sent = net.pbx.request("REFER", headers="Refer-To: <sip:2002@192.0.2.9>", seq=77)
    challenge(net, net.carrier.take_request("REFER"))
    got = net.carrier.take_request("REFER")
    assert got.cseq[0] == 2
    referee, event = End.of_callee(net.carrier, got), "Event: refer;id=2"
    if overtaking:
        referee.request("NOTIFY", headers=f"{event}\n{ACTIVE}")
        first = net.pbx.take_request("NOTIFY")
        assert text(first, b"Event") == "refer;id=77"
        net.pbx.reply(first, 200)
        net.carrier.take(200)
    net.carrier.reply(got, 202)
    referrer = End.of_caller(net.pbx, sent, net.pbx.take_response(202))
    assert text(notify(referee, referrer, event=event), b"Event") == "refer;id=77"
    net.run(40)  # longer than a first NOTIFY is waited for
    assert text(notify(referee, referrer, TERMINATED, event=event), b"Event") == "refer;id=77"
    assert not net.endpoint.dialogs
    net.assert_all_freed()


def test_refer_sub_false_opens_nothing_4488_4() -> None:
    net = Net()
    net.pbx.request("REFER", headers="Refer-To: <sip:2@192.0.2.9>\nRefer-Sub: false\nSupported: norefersub")
    got = net.carrier.take_request("REFER")
    assert (text(got, b"Refer-Sub"), text(got, b"Supported")) == ("false", "norefersub")
    net.carrier.reply(got, 200, headers="Refer-Sub: false")
    assert text(net.pbx.take_response(200), b"Refer-Sub") == "false"
    assert not net.endpoint.dialogs
    assert not net.core.subscriptions
    net.assert_all_freed()


def test_a_subscription_keeps_its_trunks_when_the_configuration_changes() -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    net.core.reload(make_setup(CONFIG.replace('to = ["carrier"]', 'to = ["backup"]')))
    notify(notifier, subscriber)
    end(notifier, subscriber)
    net.assert_all_freed()


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("method", ["SUBSCRIBE", "NOTIFY"])
def test_only_an_accepted_request_moves_its_sender_3261_8_2(method: str, status: int) -> None:
    """SUBSCRIBE and NOTIFY are target refresh requests (RFC 6665 4.4.1); a refused one changes nothing."""
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    one, other = (subscriber, notifier) if method == "SUBSCRIBE" else (notifier, subscriber)
    address = (one.peer.address[0], 5099)
    moved = net.peer(address, "moved")
    lines = f"{EVENT}\nExpires: 600\n{ACTIVE}\nContact: <{moved.contact}>"
    one.request(method, headers=lines, contact=False)
    other.peer.reply(other.peer.take_request(method), status)
    one.peer.take(status)
    back = "NOTIFY" if method == "SUBSCRIBE" else "SUBSCRIBE"
    other.request(back, headers=f"{EVENT}\nExpires: 600\n{ACTIVE}")
    (moved if status == 200 else one.peer).take(back)


@pytest.mark.parametrize("event", [EVENT, "Event: presence"])
def test_a_notify_that_nobody_asked_for_moves_nobody_unless_it_is_accepted_6665_4_1_3(event: str) -> None:
    net = Net()
    subscriber, notifier = subscribe(net, net.pbx, net.carrier)
    notify(notifier, subscriber)
    net.peer(("192.0.2.3", 5099), "moved")
    lines = f"{event}\n{ACTIVE}\nContact: <sip:moved@192.0.2.3:5099>"
    notifier.request("NOTIFY", headers=lines, contact=False)
    net.pbx.reply(net.pbx.take_request("NOTIFY"), 500)
    net.carrier.take(500)
    subscriber.request("SUBSCRIBE", headers=f"{EVENT}\nExpires: 600")
    net.carrier.take("SUBSCRIBE")
