"""Parallel forking (RFC 3261 16.7, our caller upstream): first answer, best rejection, 6xx, late answers."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.helpers import CONFIG, SDP, End, Net, Peer, give_up, hang_up, text

ROUTE = '[[route]]\nfrom = ["pbx"]\nto = ["carrier"]\n'
TOGETHER = CONFIG.replace(
    ROUTE, '[[route]]\nfrom = ["pbx"]\nto = ["carrier", "backup"]\nstrategy = "parallel"\n'
)


def forked(net: Net, **more: str) -> tuple[Request, Request, Request]:
    """Send an INVITE that both carriers get; return it as the PBX sent it and as each of them got it."""
    sent = net.pbx.invite(**more)
    net.pbx.take(100)
    return sent, net.carrier.take_request("INVITE"), net.backup.take_request("INVITE")


def refuse(peer: Peer, offer: Request, status: int, headers: str = "") -> None:
    """Reject, and take the ACK."""
    peer.reply(offer, status, headers=headers)
    peer.take("ACK")


def cancelled(peer: Peer, offer: Request) -> str:
    """Take the CANCEL and end the INVITE by it; return the Reason that it gave."""
    cancel = peer.take_repeated("CANCEL")
    peer.reply(cancel, 200)
    peer.reply(offer, 487)
    peer.take("ACK")
    return text(cancel, b"Reason")


def test_all_targets_ring_at_once_each_in_a_dialog_of_its_own_3261_16_6() -> None:
    net = Net(TOGETHER)
    sent, one, two = forked(net)
    assert len({sent.call_id, one.call_id, two.call_id}) == 3
    assert len({one.from_tag, two.from_tag}) == 2
    net.carrier.reply(one, 180)
    net.backup.reply(two, 183, body=SDP)
    tags = {net.pbx.take_response(180).to_tag, net.pbx.take_response(183).to_tag}
    assert len(tags) == 2
    give_up(net, sent)
    for peer, offer in ((net.carrier, one), (net.backup, two)):
        peer.reply(peer.take_request("CANCEL"), 200)
        refuse(peer, offer, 487)
    assert (net.only_record.attempts, net.only_record.end_reason) == (2, "cancelled")
    net.assert_all_freed()


def test_the_first_answer_wins_and_the_others_are_cancelled_with_a_reason_3326_3_1() -> None:
    net = Net(TOGETHER)
    sent, one, two = forked(net)
    net.carrier.reply(one, 180)
    net.backup.reply(two, 180)
    net.pbx.take(180)
    net.pbx.take(180)
    net.backup.reply(two, 200, body=SDP)
    answer = net.pbx.take_response(200)
    assert cancelled(net.carrier, one) == 'SIP;cause=200;text="Call completed elsewhere"'
    net.pbx.ack(sent, answer)
    net.backup.take("ACK")
    record = next(iter(net.core.calls)).record
    assert (record.callee_trunk, record.callee_call_id) == ("backup", two.call_id.decode())
    hang_up(End.of_caller(net.pbx, sent, answer), End.of_callee(net.backup, two))
    assert net.only_record.callee_trunk == "backup"
    net.assert_all_freed()


def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up_3261_13_2_2_4() -> None:
    net = Net(TOGETHER)
    sent, one, two = forked(net)
    net.carrier.reply(one, 180)
    net.pbx.take(180)
    net.backup.reply(two, 200, body=SDP)
    net.pbx.ack(sent, net.pbx.take_response(200))
    net.backup.take("ACK")
    cancel = net.carrier.take_request("CANCEL")
    net.carrier.reply(one, 200, body=SDP)
    net.carrier.take("ACK")
    bye = net.carrier.take_request("BYE")
    net.carrier.reply(cancel, 481)
    net.carrier.reply(bye, 200)
    net.carrier.nothing()
    net.pbx.nothing()
    assert [call.record.callee_trunk for call in net.core.calls] == ["backup"]


def test_the_caller_waits_for_the_best_of_the_rejections_3261_16_7_step_6() -> None:
    net = Net(TOGETHER)
    _, one, two = forked(net)
    refuse(net.carrier, one, 503)
    net.pbx.nothing()
    refuse(net.backup, two, 486)
    net.pbx.take(486)
    record = net.only_record
    assert (record.callee_trunk, record.original_status, record.attempts) == ("backup", 486, 2)
    assert record.callee_call_id == two.call_id.decode()
    net.assert_all_freed()


@pytest.mark.parametrize(
    ("first", "second", "told"), [(404, 302, 302), (401, 480, 401), (486, 407, 407), (500, 404, 404)]
)
def test_which_of_two_rejections_is_the_better_one_3261_16_7_step_6(
    first: int, second: int, told: int
) -> None:
    net = Net(TOGETHER)
    _, one, two = forked(net)
    refuse(net.carrier, one, first, "Contact: <sip:x@y.example>\n" if first == 302 else "")
    refuse(net.backup, two, second)
    net.pbx.take(told)
    net.assert_all_freed()


@pytest.mark.parametrize(
    ("status", "told"), [(600, 600), (603, 603), (606, 606), (607, 603), (608, 603), (699, 699)]
)
def test_a_6xx_stops_everything_and_says_why_to_the_others_3261_16_7_step_5(status: int, told: int) -> None:
    net = Net(TOGETHER)
    _, one, two = forked(net)
    net.backup.reply(two, 180)
    net.pbx.take(180)
    refuse(net.carrier, one, status)
    net.pbx.take(told)
    assert cancelled(net.backup, two).startswith(f"SIP;cause={status};")  # RFC 8197 4 for 607
    net.assert_all_freed()


def test_a_607_cancels_the_others_with_its_own_number_8197_4() -> None:
    net = Net(TOGETHER.replace('name = "pbx"\n', 'name = "pbx"\nsupports = ["607"]\n'))
    _, one, two = forked(net)
    net.backup.reply(two, 180)
    net.pbx.take(180)
    refuse(net.carrier, one, 607)
    assert net.pbx.take_response(607).phrase == b"Unwanted"
    assert cancelled(net.backup, two) == 'SIP;cause=607;text="Unwanted"'
    net.assert_all_freed()


def test_a_rule_that_hunts_on_leaves_the_others_ringing_after_a_6xx() -> None:
    rules = (
        'version = 1\n[[rule]]\nname = "a"\nwhen.status = 603\nthen.status = 486\nthen.hunt = "continue"\n'
    )
    net = Net(TOGETHER, rules)
    _, one, two = forked(net)
    refuse(net.carrier, one, 603)
    net.pbx.nothing()
    net.backup.nothing()
    refuse(net.backup, two, 404)
    net.pbx.take(486)  # a 6xx is the best answer, and the rule tells it so
    net.assert_all_freed()


def test_a_rule_that_stops_the_hunt_cancels_the_others() -> None:
    rules = 'version = 1\n[[rule]]\nname = "busy is busy"\nwhen.status = 486\nthen.hunt = "stop"\n'
    net = Net(TOGETHER, rules)
    _, one, two = forked(net)
    net.backup.reply(two, 100)
    refuse(net.carrier, one, 486)
    net.pbx.take(486)
    assert cancelled(net.backup, two) == 'SIP;cause=486;text="Busy Here"'
    net.assert_all_freed()


def test_each_target_has_the_ring_timeout_of_its_trunk() -> None:
    config = TOGETHER.replace('name = "carrier"\n', 'name = "carrier"\nring_timeout = "10s"\n')
    config = config.replace('name = "backup"\n', 'name = "backup"\nring_timeout = "20s"\n')
    net = Net(config)
    _, one, two = forked(net)
    for peer, offer in ((net.carrier, one), (net.backup, two)):
        peer.reply(offer, 180)
        net.pbx.take(180)
    net.run(11)
    assert cancelled(net.carrier, one) == 'SIP;cause=408;text="Ring timeout"'
    net.backup.nothing()
    net.pbx.nothing()
    net.run(10)
    assert cancelled(net.backup, two) == 'SIP;cause=408;text="Ring timeout"'
    net.pbx.take(408)
    net.assert_all_freed()


def test_the_last_to_ring_out_does_not_outshine_an_earlier_refusal() -> None:
    net = Net(TOGETHER.replace('name = "backup"\n', 'name = "backup"\nring_timeout = "5s"\n'))
    _, one, two = forked(net)
    net.backup.reply(two, 180)
    net.pbx.take(180)
    refuse(net.carrier, one, 480)
    net.run(6)
    net.pbx.take(480)
    cancelled(net.backup, two)
    net.assert_all_freed()


def test_a_target_that_cannot_be_reached_leaves_the_others_ringing() -> None:
    net = Net(TOGETHER.replace("sip:192.0.2.3:5060", "sip:[2001:db8::3]:5060"))
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.backup.take_request("INVITE")
    net.pbx.nothing()
    refuse(net.backup, offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_none_that_can_be_reached_is_503() -> None:
    net = Net(TOGETHER.replace("sip:192.0.2", "sip:[2001:db8::3]:5060;was=192.0.2"))
    net.pbx.invite()
    net.pbx.take(100)
    net.pbx.take(503)
    net.assert_all_freed()


def test_a_prack_goes_to_the_branch_that_rang_reliably_3262_4() -> None:
    net = Net(TOGETHER)
    sent, one, two = forked(net, headers="Supported: 100rel")
    net.carrier.reply(one, 180)
    net.pbx.take(180)
    net.backup.reply(two, 183, headers="Require: 100rel\nRSeq: 7", body=SDP)
    ringing = net.pbx.take_response(183)
    end = End.of_caller(net.pbx, sent, ringing)
    end.request("PRACK", headers=f"RAck: 7 {sent.cseq[0]} INVITE")
    prack = net.backup.take_request("PRACK")
    assert text(prack, b"RAck") == f"7 {two.cseq[0]} INVITE"
    net.backup.reply(prack, 200)
    net.pbx.take(200)
    net.carrier.nothing()


# -- Max-Breadth (RFC 5393 5.3.3) ------------------------------------------------------------------------


@pytest.mark.parametrize(("header", "shares"), [("", ("30", "30")), ("Max-Breadth: 9", ("4", "4"))])
def test_max_breadth_is_shared_out_among_the_branches_5393_5_3_3_2(
    header: str, shares: tuple[str, str]
) -> None:
    net = Net(TOGETHER)
    _, one, two = forked(net, headers=header)
    assert (text(one, b"Max-Breadth"), text(two, b"Max-Breadth")) == shares


def test_too_little_breadth_is_used_one_after_the_other_5393_5_3_3_1() -> None:
    net = Net(TOGETHER)
    net.pbx.invite(headers="Max-Breadth: 1")
    net.pbx.take(100)
    one = net.carrier.take_request("INVITE")
    assert text(one, b"Max-Breadth") == "1"
    net.backup.nothing()
    refuse(net.carrier, one, 480)
    two = net.backup.take_request("INVITE")
    assert text(two, b"Max-Breadth") == "1"
    refuse(net.backup, two, 480)
    net.pbx.take(480)
    net.assert_all_freed()


@pytest.mark.parametrize(("value", "status"), [("0", 440), ("x", 400), ("-1", 400), ("9999999999", 400)])
def test_no_breadth_at_all_is_refused_5393_5_3_3_1(value: str, status: int) -> None:
    net = Net(TOGETHER)
    net.pbx.invite(headers=f"Max-Breadth: {value}")
    net.pbx.take(status)
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_call_that_does_not_fork_passes_max_breadth_as_it_came() -> None:
    net = Net()
    net.pbx.invite(headers="Max-Breadth: 7")
    assert text(net.carrier.take_request("INVITE"), b"Max-Breadth") == "7"
