"""Hunting over targets and trunks, decided on what each of them really said (RFC 3261 16.7)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.helpers import HUNTING, SDP, End, Net, Peer, hang_up, make_setup, text

TWO_TARGETS = HUNTING.replace(
    'target = ["sip:192.0.2.3:5060"]', 'target = ["sip:192.0.2.3:5060", "sip:192.0.2.9:5090"]'
)
NO_RULES = "version = 1\n"
BLOCKED = 'Reason: SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN'


def begin(net: Net) -> tuple[Request, Request]:
    invite = net.pbx.invite()
    net.pbx.take(100)
    return invite, net.carrier.take_request("INVITE")


def refuse(peer: Peer, offer: Request, status: int, phrase: str | None = None, headers: str = "") -> None:
    peer.reply(offer, status, phrase, headers=headers)
    peer.take("ACK")


def test_the_next_trunk_is_tried_when_the_first_one_fails() -> None:
    net = Net(HUNTING)
    invite, offer = begin(net)
    refuse(net.carrier, offer, 503)
    second = net.backup.take_request("INVITE")
    net.pbx.nothing()
    assert second.uri == b"sip:1001@192.0.2.4:5060"
    assert second.body == SDP
    assert second.call_id != offer.call_id
    assert second.via.branch != offer.via.branch
    net.backup.reply(second, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.backup, second))
    net.carrier.nothing()
    record = net.only_record
    assert (record.attempts, record.callee_trunk) == (2, "backup")
    assert record.callee_call_id == second.call_id.decode()
    assert (record.original_status, record.emitted_status) == (200, 200)
    net.assert_all_freed()


def test_every_target_of_a_trunk_comes_before_the_next_trunk() -> None:
    net = Net(TWO_TARGETS)
    other = net.peer(("192.0.2.9", 5090), "other")
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 503)
    second = other.take_request("INVITE")
    assert second.uri == b"sip:1001@192.0.2.9:5090"
    net.backup.nothing()
    refuse(other, second, 503)
    refuse(net.backup, net.backup.take_request("INVITE"), 503)
    net.pbx.take(503)
    assert net.only_record.attempts == 3
    net.assert_all_freed()


@pytest.mark.parametrize("status", [402, 403, 404, 406, 408, 410, 480, 486, 488, 500, 502, 503, 599])
def test_what_speaks_of_this_branch_alone_hunts_on(status: int) -> None:
    net = Net(HUNTING, NO_RULES)
    _invite, offer = begin(net)
    refuse(net.carrier, offer, status)
    refuse(net.backup, net.backup.take_request("INVITE"), status)
    net.pbx.take(status)
    net.assert_all_freed()


@pytest.mark.parametrize("status", [302, 401, 407, 415, 422, 484, 487, 600, 603, 604, 606, 607, 608])
def test_what_speaks_for_all_or_to_the_caller_ends_the_hunt(status: int) -> None:
    net = Net(HUNTING.replace('kind = "pbx"', 'kind = "pbx"\nsupports = ["607", "608"]'), NO_RULES)
    _invite, offer = begin(net)
    refuse(net.carrier, offer, status)
    net.backup.nothing()
    net.pbx.take(status)
    assert net.only_record.attempts == 1
    net.assert_all_freed()


def test_a_trunk_may_stop_on_and_advance_on_other_statuses() -> None:
    config = HUNTING.replace('name = "carrier"', 'name = "carrier"\nstop_on = [486]\nadvance_on = [603, 484]')
    for status, hunts in ((486, False), (603, True), (484, True), (503, True)):
        net = Net(config, NO_RULES)
        _invite, offer = begin(net)
        refuse(net.carrier, offer, status)
        if hunts:
            refuse(net.backup, net.backup.take_request("INVITE"), 600)
            net.pbx.forget()
        else:
            net.backup.nothing()
            net.pbx.take(status)
        net.assert_all_freed()


# -- the original decides ----------------------------------------------------------------------------------

AS_BUSY = """
version = 1
[[rule]]
name = "one-phone"
when.status = 603
then.status = 486
"""
AS_DECLINE = """
version = 1
[[rule]]
name = "do-not-disturb"
when.status = 486
then.status = 603
"""


def test_a_603_that_a_rule_turns_into_486_does_not_hunt() -> None:
    net = Net(HUNTING, AS_BUSY)
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 603)
    net.backup.nothing()
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_486_that_a_rule_turns_into_603_hunts() -> None:
    net = Net(HUNTING, AS_DECLINE)
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 486)
    refuse(net.backup, net.backup.take_request("INVITE"), 486)
    net.pbx.take(603)
    assert net.core.rewrites == {("do-not-disturb", "backup", "pbx", 486, 603): 1}
    net.assert_all_freed()


def test_a_rule_may_have_the_hunt_go_on() -> None:
    net = Net(HUNTING, AS_BUSY + 'then.hunt = "continue"\n')
    invite, offer = begin(net)
    refuse(net.carrier, offer, 603)
    second = net.backup.take_request("INVITE")
    net.backup.reply(second, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.backup, second))
    net.assert_all_freed()


def test_a_rule_may_have_the_hunt_stop() -> None:
    net = Net(HUNTING, AS_DECLINE + 'then.hunt = "stop"\n')
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 486)
    net.backup.nothing()
    net.pbx.take(603)
    net.assert_all_freed()


def test_a_shadow_rule_neither_hunts_nor_stops() -> None:
    net = Net(HUNTING, AS_DECLINE + 'then.hunt = "stop"\nmode = "shadow"\n')
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 486)
    refuse(net.backup, net.backup.take_request("INVITE"), 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_603_plus_stops_the_hunt_whatever_rules_and_trunks_say() -> None:
    config = HUNTING.replace('name = "carrier"', 'name = "carrier"\nadvance_on = ["6xx"]')
    net = Net(config, AS_BUSY + 'then.hunt = "continue"\n')
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 603, "Network Blocked", BLOCKED)
    net.backup.nothing()
    assert net.pbx.take_response(603).phrase == b"Network Blocked"
    net.assert_all_freed()


@pytest.mark.parametrize("status", [607, 608])
def test_607_and_608_stop_the_hunt_whatever_trunks_say(status: int) -> None:
    net = Net(HUNTING.replace('name = "carrier"', 'name = "carrier"\nadvance_on = ["6xx"]'))
    _invite, offer = begin(net)
    refuse(net.carrier, offer, status)
    net.backup.nothing()
    net.pbx.take(603)
    net.assert_all_freed()


# -- the best response (RFC 3261 16.7 step 6) --------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (486, 503, 486),  # the lowest class
        (503, 486, 486),
        (480, 486, 486),  # the later of one class: the last word
        (503, 600, 600),  # a 6xx above all
        (503, 302, 302),
    ],
)
def test_the_caller_is_told_the_response_that_says_most(first: int, second: int, told: int) -> None:
    net = Net(HUNTING, NO_RULES)
    _invite, offer = begin(net)
    refuse(net.carrier, offer, first)
    refuse(net.backup, net.backup.take_request("INVITE"), second)
    net.pbx.take(told)
    record = net.only_record
    assert (record.original_status, record.emitted_status) == (told, told)
    assert record.callee_trunk == ("carrier" if told == first else "backup")
    net.assert_all_freed()


def test_what_a_peer_said_comes_before_the_silence_of_another() -> None:
    net = Net(HUNTING, NO_RULES)
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 503, "Trunk down", "X-Why: fire")
    net.backup.take_request("INVITE")
    net.run(32.1)
    response = net.pbx.take_response(503)
    assert (response.phrase, text(response, b"x-why")) == (b"Trunk down", "fire")
    assert (net.only_record.origin, net.only_record.callee_trunk) == ("peer", "carrier")
    net.assert_all_freed()


def test_the_best_response_is_judged_by_the_rules_of_the_trunk_that_gave_it() -> None:
    rules = """
version = 1
[[rule]]
name = "carrier-only"
when.from = "carrier"
when.status = 404
then.status = 410
"""
    net = Net(HUNTING, rules)
    _invite, offer = begin(net)
    refuse(net.carrier, offer, 404)
    refuse(net.backup, net.backup.take_request("INVITE"), 500)
    net.pbx.take(410)
    record = net.only_record
    assert (record.rule, record.callee_trunk, record.original_status) == ("carrier-only", "carrier", 404)
    net.assert_all_freed()


# -- after ringing -----------------------------------------------------------------------------------------


def test_after_ringing_the_next_target_is_another_early_dialog() -> None:
    net = Net(HUNTING)
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    failed = net.pbx.take_response(180)
    refuse(net.carrier, offer, 486)
    second = net.backup.take_request("INVITE")
    End.of_caller(net.pbx, invite, failed).request("INFO", contact=False)
    net.pbx.take(481)  # nobody is behind the first early dialog any more
    net.backup.reply(second, 183, body=SDP)
    ringing = net.pbx.take_response(183)
    assert ringing.to_tag != failed.to_tag
    caller = End.of_caller(net.pbx, invite, ringing)
    caller.request("PRACK", headers="RAck: 1 1 INVITE", contact=False)
    net.backup.reply(net.backup.take_request("PRACK"), 200)
    net.pbx.take(200)
    net.backup.reply(second, 200, body=SDP)
    answer = net.pbx.take_response(200)
    assert answer.to_tag == ringing.to_tag
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    hang_up(caller, End.of_callee(net.backup, second))
    net.assert_all_freed()


def test_a_cancel_while_hunting_reaches_the_target_that_is_tried() -> None:
    net = Net(HUNTING)
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    refuse(net.carrier, offer, 503)
    second = net.backup.take_request("INVITE")
    net.backup.reply(second, 100)
    net.pbx.cancel(invite)
    net.pbx.take(200)
    net.pbx.ack(invite, net.pbx.take_response(487))
    net.backup.reply(net.backup.take_request("CANCEL"), 200)
    net.backup.reply(second, 487)
    net.backup.take("ACK")
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_bye_in_the_early_dialog_of_a_target_that_failed_gives_the_call_up() -> None:
    net = Net(HUNTING)
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    ringing = net.pbx.take_response(180)
    refuse(net.carrier, offer, 503)
    second = net.backup.take_request("INVITE")
    net.backup.reply(second, 100)
    End.of_caller(net.pbx, invite, ringing).request("BYE", contact=False)
    net.pbx.take(200)
    net.pbx.ack(invite, net.pbx.take_response(487))
    net.backup.take("CANCEL")
    net.assert_all_freed()


# -- routes ------------------------------------------------------------------------------------------------


def routed(net: Net, **invite: str) -> Peer:
    """Call and say which peer was called; it rejects the call."""
    net.pbx.invite(**invite)
    net.pbx.take(100)
    (called,) = [peer for peer in (net.carrier, net.backup) if peer.inbox]
    refuse(called, called.take_request("INVITE"), 600)
    net.pbx.take(600)
    return called


NUMBERS = (
    HUNTING[: HUNTING.index("[[route]]")]
    + """
[[route]]
from = ["pbx"]
to = ["backup"]
called.prefix = "+44"
[[route]]
from = ["pbx"]
to = ["backup"]
caller.regex = "^alice$"
[[route]]
from = ["pbx"]
to = ["carrier"]
called.prefix = "+49"
"""
)


def test_routes_are_chosen_by_the_called_and_the_calling_number() -> None:
    net = Net(NUMBERS, NO_RULES)
    assert routed(net, uri="sip:+441234@192.0.2.1") is net.backup
    assert routed(net, uri="sip:+49(30)12-34@192.0.2.1") is net.carrier
    assert routed(net, uri="sip:+4930@192.0.2.1", from_="<sip:alice@192.0.2.2>;tag=a") is net.backup
    net.assert_all_freed()


def test_no_route_is_404_and_says_so_in_a_warning() -> None:
    net = Net(NUMBERS, NO_RULES)
    invite = net.pbx.invite(uri="sip:+1555@192.0.2.1")
    net.pbx.take(100)
    response = net.pbx.take_response(404)
    assert text(response, b"Warning") == '399 gateway "no route"'
    net.pbx.ack(invite, response)
    net.carrier.nothing()
    net.backup.nothing()
    record = net.only_record
    assert (record.emitted_status, record.origin, record.ended_by) == (404, "local", "gateway")
    assert (record.end_reason, record.attempts, record.callee_trunk) == ("no route", 0, "")
    assert net.core.refused == {"no route": 1}
    net.pbx.request("MESSAGE", uri="sip:+1555@192.0.2.1")
    assert text(net.pbx.take_response(404), b"Warning") == '399 gateway "no route"'
    net.assert_all_freed()


def test_a_target_that_cannot_be_reached_is_503_and_hunted_over() -> None:
    config = HUNTING.replace('target = ["sip:192.0.2.3:5060"]', 'target = ["sip:[2001:db8::3]:5060"]')
    net = Net(config, NO_RULES)  # the gateway listens on IPv4 only
    net.pbx.invite()
    net.pbx.take(100)
    refuse(net.backup, net.backup.take_request("INVITE"), 486)
    net.pbx.take(486)
    assert net.only_record.attempts == 2
    net.assert_all_freed()
    net = Net(config.replace('to = ["carrier", "backup"]', 'to = ["carrier"]'), NO_RULES)
    net.pbx.invite()
    net.pbx.take(100)
    net.pbx.take(503)
    assert net.only_record.origin == "local"
    net.pbx.request("MESSAGE")
    net.pbx.forget()
    net.assert_all_freed()


def test_draining_refuses_new_calls_and_lets_calls_end() -> None:
    net = Net()
    invite, offer = begin(net)
    net.core.draining = True
    refused = net.pbx.invite()
    response = net.pbx.take_response(503)
    assert int(text(response, b"Retry-After")) > 0
    net.pbx.ack(refused, response)
    assert net.core.refused == {"draining": 1}
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_more_calls_than_the_gateway_holds_are_refused_with_503() -> None:
    net = Net(max_calls=1)
    invite, offer = begin(net)
    net.pbx.ack(net.pbx.invite(), net.pbx.take_response(503))
    assert net.core.refused == {"too many calls": 1}
    net.carrier.reply(offer, 486)
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.carrier.take("ACK")
    _invite, offer = begin(net)  # there is room again
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_call_goes_on_with_the_trunks_it_began_with_when_routes_change() -> None:
    net = Net(HUNTING, NO_RULES)
    _invite, offer = begin(net)
    net.core.reload(make_setup(NUMBERS, NO_RULES))
    refuse(net.carrier, offer, 503)
    refuse(net.backup, net.backup.take_request("INVITE"), 486)
    net.pbx.take(486)
    assert routed(net, uri="sip:+441234@192.0.2.1") is net.backup
    net.assert_all_freed()
