"""What rules see of a call besides the response: its other branches, the time, who signed it."""

from __future__ import annotations

from tests.b2bua.test_parallel import TOGETHER, forked, refuse
from tests.helpers import CONFIG, Net

HUNT = CONFIG.replace('to = ["carrier"]', 'to = ["carrier", "backup"]')


def rule(when: str, then: str = "then.status = 480") -> str:
    return f'version = 1\n[[rule]]\nname = "it"\nwhen.status = "4xx"\n{when}\n{then}\n'


ALL_DECLINED = rule("when.branches = 'all-declined'", "then.status = 603")


def test_when_every_branch_of_a_fork_declined_the_last_one_knows_3261_16_7() -> None:
    net = Net(TOGETHER, ALL_DECLINED)
    sent, one, two = forked(net)
    refuse(net.backup, two, 486)
    net.pbx.nothing()
    refuse(net.carrier, one, 486)
    net.pbx.ack(sent, net.pbx.take_response(603))
    assert net.only_record.rule == "it"
    net.assert_all_freed()


def test_a_branch_that_said_something_else_is_no_decline() -> None:
    net = Net(TOGETHER, ALL_DECLINED)
    sent, one, two = forked(net)
    refuse(net.backup, two, 404)
    refuse(net.carrier, one, 486)
    net.pbx.ack(sent, net.pbx.take_response(486))
    net.assert_all_freed()


def test_a_serial_hunt_has_branches_too() -> None:
    net = Net(HUNT, ALL_DECLINED)
    sent = net.pbx.invite()
    net.pbx.take(100)
    refuse(net.carrier, net.carrier.take_request("INVITE"), 486)
    refuse(net.backup, net.backup.take_request("INVITE"), 486)
    net.pbx.ack(sent, net.pbx.take_response(603))
    net.assert_all_freed()


def test_a_lone_target_is_a_single_branch() -> None:
    net = Net(rules=rule("when.branches = 'single'"))
    sent = net.pbx.invite()
    net.pbx.take(100)
    refuse(net.carrier, net.carrier.take_request("INVITE"), 404)
    net.pbx.ack(sent, net.pbx.take_response(480))
    net.assert_all_freed()


def test_a_fork_whose_others_still_ring_is_no_single_branch() -> None:
    net = Net(TOGETHER, rule("when.branches = 'single'", "then.hunt = 'stop'"))
    sent, one, two = forked(net)
    refuse(net.backup, two, 486)
    net.pbx.nothing()
    refuse(net.carrier, one, 404)
    net.pbx.ack(sent, net.pbx.take_response(404))
    net.assert_all_freed()


def test_the_time_reaches_rules_about_calls_and_about_messages() -> None:
    net = Net(rules=rule("when.days = 'mon-sun'\nwhen.method = ['INVITE', 'MESSAGE']"))
    sent = net.pbx.invite()
    net.pbx.take(100)
    refuse(net.carrier, net.carrier.take_request("INVITE"), 404)
    net.pbx.ack(sent, net.pbx.take_response(480))
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 404)
    net.pbx.take(480)


def test_the_attestation_of_the_caller_is_read_from_its_invite_8588() -> None:
    claims = "eyJhdHRlc3QiOiJBIn0"  # {"attest":"A"}
    net = Net(rules=rule("when.attestation = 'A'"))
    sent = net.pbx.invite(headers=f"Identity: e30.{claims}.c2ln;info=<https://a.example/c.pem>;ppt=shaken")
    net.pbx.take(100)
    refuse(net.carrier, net.carrier.take_request("INVITE"), 404)
    net.pbx.ack(sent, net.pbx.take_response(480))
    net.assert_all_freed()
