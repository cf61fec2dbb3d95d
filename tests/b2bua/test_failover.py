"""Health, failover and limits: pings, resting targets, further addresses of a name, room on a trunk."""

from __future__ import annotations

import pytest

from gateway.routing.locate import Address, Waiter
from gateway.routing.trunk import Target
from gateway.sip.message import Request
from tests.helpers import (
    CARRIER,
    CARRIER2,
    CONFIG,
    HUNTING,
    SDP,
    Net,
    Peer,
    establish,
    give_up,
    hang_up,
    make_setup,
    text,
)

PINGED = HUNTING.replace(
    'name = "carrier"\n', 'name = "carrier"\noptions_ping = 40\ndown_after = 2\nup_after = 2\n'
)
NAMED = CONFIG.replace("sip:192.0.2.3:5060", "sip:carrier.example")
ONE, TWO = Address(*CARRIER, "udp"), Address(*CARRIER2, "udp")


class Names:
    """A locator that knows what a test tells it; asks that it cannot answer wait."""

    def __init__(self, *addresses: Address, is_slow: bool = False) -> None:
        self.addresses = addresses
        self.is_slow = is_slow
        self.waiting: list[Waiter] = []
        self.asked: list[str] = []

    def locate(self, target: Target, waiter: Waiter, _now: float) -> tuple[Address, ...] | None:
        self.asked.append(target.host)
        if not self.is_slow:
            return self.addresses
        self.waiting.append(waiter)
        return None

    def answer(self, net: Net) -> None:
        for waiter in self.waiting:
            waiter.on_located(self.addresses, net.now)
        self.waiting = []
        net.run()


def refuse(peer: Peer, offer: Request, status: int, headers: str = "") -> None:
    peer.reply(offer, status, headers=headers)
    peer.take("ACK")


def offered(net: Net, to: Peer) -> Request:
    """Place a call, and take it at this peer."""
    net.pbx.forget()
    net.pbx.invite()
    net.pbx.take(100)
    return to.take_request("INVITE")


# -- names (RFC 3263) -----------------------------------------------------------------------------------


def test_a_name_is_called_at_its_first_address_with_the_name_in_the_uri_3263_4() -> None:
    net = Net(NAMED)
    net.core.locator = names = Names(ONE, TWO)
    offer = offered(net, net.carrier)
    assert offer.uri == b"sip:1001@carrier.example"
    assert names.asked == ["carrier.example"]
    refuse(net.carrier, offer, 486)
    net.pbx.take(486)
    net.backup.nothing()  # the second address is the same target, which has answered
    net.assert_all_freed()


def test_while_a_name_is_looked_up_other_calls_go_on_and_then_it_is_called() -> None:
    net = Net(NAMED)
    net.core.locator = names = Names(ONE, is_slow=True)
    net.pbx.invite()
    net.pbx.take(100)
    net.carrier.nothing()
    establish(net, net.carrier, net.pbx)
    names.answer(net)
    refuse(net.carrier, net.carrier.take_request("INVITE"), 486)
    net.pbx.take(486)


def test_a_caller_that_gives_up_during_the_look_up_is_told_so_and_nobody_is_called() -> None:
    net = Net(NAMED)
    net.core.locator = names = Names(ONE, is_slow=True)
    sent = net.pbx.invite()
    net.pbx.take(100)
    give_up(net, sent)
    names.answer(net)
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_look_up_that_never_ends_is_bounded_by_the_ring_timeout() -> None:
    net = Net(NAMED.replace('name = "carrier"\n', 'name = "carrier"\nring_timeout = "9s"\n'))
    net.core.locator = Names(ONE, is_slow=True)
    net.pbx.invite()
    net.pbx.take(100)
    net.run(10)
    net.pbx.take(408)
    net.assert_all_freed()


def test_a_dead_name_is_503_with_the_reason_in_the_record() -> None:
    net = Net(NAMED)
    net.core.locator = Names()
    net.pbx.invite()
    net.pbx.take(100)
    net.pbx.take(503)
    assert net.only_record.end_reason == "unreachable"
    net.assert_all_freed()


def test_a_request_outside_of_calls_waits_for_its_name_too() -> None:
    net = Net(NAMED)
    net.core.locator = names = Names(TWO, ONE, is_slow=True)
    net.pbx.request("MESSAGE")
    net.backup.nothing()
    names.answer(net)
    request = net.backup.take_request("MESSAGE")
    assert request.uri == b"sip:1001@carrier.example"
    net.backup.reply(request, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_request_outside_of_calls_to_a_dead_name_is_503() -> None:
    net = Net(NAMED)
    net.core.locator = Names()
    net.pbx.request("MESSAGE")
    net.pbx.take(503)
    net.assert_all_freed()


@pytest.mark.parametrize("how", ["503", "silence"])
def test_the_next_address_is_tried_where_the_first_one_failed_3263_4_3(how: str) -> None:
    net = Net(NAMED)
    net.core.locator = Names(ONE, TWO)
    offer = offered(net, net.carrier)
    if how == "503":
        refuse(net.carrier, offer, 503, "Retry-After: 32")
    else:
        net.run(33)
        net.carrier.forget()
    second = net.backup.take_repeated("INVITE")
    assert second.uri == offer.uri
    assert second.call_id != offer.call_id
    refuse(net.backup, second, 486)
    net.pbx.take(486)
    assert net.only_record.attempts == 2
    # The first address rests now: the next call begins at the second.
    refuse(net.backup, offered(net, net.backup), 486)
    net.carrier.nothing()
    net.run(33)
    refuse(net.carrier, offered(net, net.carrier), 486)
    net.assert_all_freed()


# -- targets that rest (RFC 3261 21.5.4) ------------------------------------------------------------------


def test_a_503_with_retry_after_sends_calls_elsewhere_for_that_long_3261_21_5_4() -> None:
    net = Net(HUNTING)
    refuse(net.carrier, offered(net, net.carrier), 503, "Retry-After: 100")
    refuse(net.backup, net.backup.take_request("INVITE"), 404)
    net.pbx.take(404)
    net.run(90)
    refuse(net.backup, offered(net, net.backup), 404)
    # Its turn comes after the others, not never.
    refuse(net.carrier, net.carrier.take_request("INVITE"), 404)
    net.run(20)
    refuse(net.carrier, offered(net, net.carrier), 603)
    net.assert_all_freed()


def test_a_503_without_retry_after_speaks_for_its_call_only_3261_21_5_4() -> None:
    net = Net(HUNTING)
    for _ in range(2):
        refuse(net.carrier, offered(net, net.carrier), 503)
        refuse(net.backup, net.backup.take_request("INVITE"), 404)
    net.assert_all_freed()


def test_a_target_that_only_takes_long_does_not_rest() -> None:
    net = Net(HUNTING.replace('name = "carrier"\n', 'name = "carrier"\nring_timeout = "5s"\n'))
    net.carrier.reply(offered(net, net.carrier), 100)
    net.run(6)
    net.carrier.forget()
    refuse(net.backup, net.backup.take_repeated("INVITE"), 603)
    net.pbx.take(603)
    offered(net, net.carrier)


# -- pings ------------------------------------------------------------------------------------------------


def test_pings_are_options_that_any_answer_satisfies_3261_11() -> None:
    net = Net(PINGED)
    net.core.begin(net.now)
    net.run(0.1)
    ping = net.carrier.take_request("OPTIONS")
    assert (ping.uri, text(ping, b"Max-Forwards")) == (b"sip:192.0.2.3:5060", "70")
    net.carrier.reply(ping, 405)
    net.backup.nothing()
    for _ in range(5):
        net.run(40)
        net.carrier.reply(net.carrier.take_request("OPTIONS"), 200)
    assert [target.is_up for target in net.core.health.targets.values()] == [True]


def test_a_target_that_answers_no_pings_gets_no_calls_until_it_answers_again() -> None:
    net = Net(PINGED)
    told: list[str] = []
    net.core.health.log = told.append
    net.core.begin(net.now)
    net.run(79)
    net.carrier.forget()
    assert told == ["target carrier sip:192.0.2.3:5060 is down"]
    refuse(net.backup, offered(net, net.backup), 603)
    net.pbx.take(603)
    for _ in range(2):
        net.run(2)
        net.carrier.reply(net.carrier.take_repeated("OPTIONS"), 200)
        net.run(38)
    assert told[1:] == ["target carrier sip:192.0.2.3:5060 is up"]
    refuse(net.carrier, offered(net, net.carrier), 603)


@pytest.mark.parametrize("status", [408, 503])
def test_what_a_proxy_says_for_somebody_who_is_away_is_no_answer(status: int) -> None:
    net = Net(PINGED)
    net.core.begin(net.now)
    for _ in range(2):
        net.run(0.1)
        net.carrier.reply(net.carrier.take_request("OPTIONS"), status)
        net.run(39.9)
    assert [target.is_up for target in net.core.health.targets.values()] == [False]


def test_when_every_target_is_down_the_caller_is_told_at_once() -> None:
    net = Net(PINGED.replace('["carrier", "backup"]', '["carrier"]'))
    net.core.begin(net.now)
    net.run(79)
    net.pbx.invite()
    net.pbx.take(100)
    refused = net.pbx.take_response(503)
    assert (text(refused, b"Retry-After"), text(refused, b"Warning")) == (
        "5",
        '399 gateway "no target is up"',
    )
    assert net.only_record.end_reason == "no target is up"


def test_a_name_that_leads_nowhere_is_down() -> None:
    net = Net(PINGED.replace("sip:192.0.2.3:5060", "sip:carrier.example"))
    net.core.locator = names = Names()
    net.core.begin(net.now)
    net.run(41)
    assert [target.is_up for target in net.core.health.targets.values()] == [False]
    names.addresses = (ONE,)
    net.run(40)
    assert net.carrier.take_request("OPTIONS").uri == b"sip:carrier.example"


def test_a_name_is_up_as_long_as_one_of_its_addresses_answers_3263_4_3() -> None:
    net = Net(PINGED.replace("sip:192.0.2.3:5060", "sip:carrier.example"))
    net.core.locator = Names(ONE, TWO)
    net.core.begin(net.now)
    for _ in range(4):
        net.run(33)
        net.backup.reply(net.backup.take_repeated("OPTIONS"), 200)
        net.run(7)
    net.carrier.forget()
    assert [target.is_up for target in net.core.health.targets.values()] == [True]
    # The silent address rests, so a call goes to the one that answers.
    refuse(net.backup, offered(net, net.backup), 603)
    net.carrier.nothing()


def test_a_name_is_down_when_none_of_its_addresses_answers() -> None:
    net = Net(PINGED.replace("sip:192.0.2.3:5060", "sip:carrier.example"))
    net.core.locator = Names(ONE, TWO)
    net.core.begin(net.now)
    for peer in (net.carrier, net.backup):
        net.run(33)
        assert [target.is_up for target in net.core.health.targets.values()] == [True]
        assert peer.take_repeated("OPTIONS").uri == b"sip:carrier.example"
        net.run(7)
    net.run(80)
    assert [target.is_up for target in net.core.health.targets.values()] == [False]


def test_a_reload_keeps_what_is_known_and_pings_no_more_where_it_is_not_asked_for() -> None:
    net = Net(PINGED)
    net.core.begin(net.now)
    net.run(79)
    net.carrier.forget()
    net.core.reload(make_setup(PINGED))
    net.core.begin(net.now)
    assert [target.is_up for target in net.core.health.targets.values()] == [False]
    net.run(1)
    net.carrier.take("OPTIONS")
    net.core.reload(make_setup(HUNTING))
    net.core.begin(net.now)
    assert net.core.health.targets == {}
    net.carrier.forget()
    net.run(100)
    net.carrier.forget()  # what the last ping repeats
    net.run(100)
    net.carrier.nothing()
    refuse(net.carrier, offered(net, net.carrier), 603)


# -- weights ----------------------------------------------------------------------------------------------


def test_each_target_gets_its_share_of_the_calls_and_takes_over_for_the_other() -> None:
    both = 'target = ["sip:192.0.2.3:5060", "sip:192.0.2.4:5060"]\nweights = [3, 1]'
    net = Net(CONFIG.replace('target = ["sip:192.0.2.3:5060"]', both))
    first = {net.carrier: 0, net.backup: 0}
    for _ in range(200):
        net.pbx.invite()
        net.pbx.take(100)
        peer, other = (net.carrier, net.backup) if net.carrier.inbox else (net.backup, net.carrier)
        first[peer] += 1
        refuse(peer, peer.take_request("INVITE"), 500)
        refuse(other, other.take_request("INVITE"), 603)
        net.pbx.take(603)
    assert 130 <= first[net.carrier] <= 170


# -- limits ------------------------------------------------------------------------------------------------


def limited(trunk: str, limit: str, config: str = HUNTING) -> Net:
    return Net(config.replace(f'name = "{trunk}"\n', f'name = "{trunk}"\n{limit}\n'))


def test_a_full_trunk_is_passed_over_and_takes_calls_again_when_one_has_ended() -> None:
    net = limited("carrier", "max_calls = 1")
    caller, callee = establish(net)
    refuse(net.backup, offered(net, net.backup), 603)
    net.pbx.take(603)
    hang_up(caller, callee)
    refuse(net.carrier, offered(net, net.carrier), 603)
    net.pbx.take(603)
    refuse(net.carrier, offered(net, net.carrier), 603)
    net.pbx.take(603)
    net.assert_all_freed()
    carrier = net.core.setup.trunks.by_name["carrier"]
    assert carrier.load is not None
    assert carrier.load.calls == 0


def test_without_another_trunk_a_full_one_is_503_with_retry_after() -> None:
    net = limited("carrier", "max_calls = 1", CONFIG)
    establish(net)
    net.pbx.invite()
    net.pbx.take(100)
    refused = net.pbx.take_response(503)
    assert (text(refused, b"Retry-After"), text(refused, b"Warning")) == (
        "5",
        '399 gateway "no room on the trunk"',
    )


def test_calls_from_a_trunk_count_too_and_are_refused_beyond_its_limit() -> None:
    net = limited("pbx", "max_calls = 1", CONFIG)
    caller, callee = establish(net)
    net.pbx.invite()
    assert text(net.pbx.take_response(503), b"Retry-After") == "5"
    net.carrier.invite()
    net.carrier.take(100)
    net.carrier.take(503)
    assert net.core.refused == {"trunk limit": 1}
    hang_up(caller, callee)
    refuse(net.carrier, offered(net, net.carrier), 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_cancelled_call_makes_room_at_once() -> None:
    net = limited("carrier", "max_calls = 1", CONFIG)
    sent = net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 180)
    net.pbx.take(180)
    net.pbx.cancel(sent)
    net.pbx.take(200)
    net.pbx.take(487)
    net.carrier.take("CANCEL")
    offered(net, net.carrier)


def test_a_hunt_within_a_full_trunk_counts_one_call() -> None:
    config = CONFIG.replace('["sip:192.0.2.3:5060"]', '["sip:192.0.2.3:5060", "sip:192.0.2.4:5060"]')
    net = limited("carrier", "max_calls = 1", config)
    refuse(net.carrier, offered(net, net.carrier), 503)
    refuse(net.backup, net.backup.take_request("INVITE"), 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_new_calls_a_second_are_a_mean_and_a_burst_of_one_second() -> None:
    net = limited("carrier", "max_cps = 2")
    for peer in (net.carrier, net.carrier, net.backup):
        refuse(peer, offered(net, peer), 603)
        net.pbx.take(603)
    net.run(0.5)
    refuse(net.carrier, offered(net, net.carrier), 603)
    net.pbx.take(603)
    refuse(net.backup, offered(net, net.backup), 603)


def test_a_reload_sets_new_limits_and_goes_on_counting() -> None:
    net = limited("carrier", "max_calls = 1")
    ends = establish(net)
    net.core.reload(make_setup(HUNTING.replace('name = "carrier"\n', 'name = "carrier"\nmax_calls = 2\n')))
    establish(net)
    refuse(net.backup, offered(net, net.backup), 603)
    net.pbx.take(603)
    hang_up(*ends)
    establish(net)


# -- what a hunt may not talk over -------------------------------------------------------------------------


def test_after_early_media_there_is_no_hunt_unless_the_trunk_says_so() -> None:
    for setting, told in (("", 480), ("hunt_after_early_media = true", 603)):
        net = limited("carrier", setting)
        offer = offered(net, net.carrier)
        net.carrier.reply(offer, 183, body=SDP)
        net.pbx.take(183)
        refuse(net.carrier, offer, 480)
        if setting:
            refuse(net.backup, net.backup.take_request("INVITE"), 603)
        net.backup.nothing()
        net.pbx.take(told)
        net.assert_all_freed()


def test_a_rule_may_hunt_on_after_early_media() -> None:
    rules = 'version = 1\n[[rule]]\nname = "go on"\nwhen.status = 480\nthen.hunt = "continue"\n'
    net = Net(HUNTING, rules)
    offer = offered(net, net.carrier)
    net.carrier.reply(offer, 183, body=SDP)
    net.pbx.take(183)
    refuse(net.carrier, offer, 480)
    net.backup.take("INVITE")
