"""Nobody answers, nobody hangs up: every wait has an end, and every end frees the call."""

from __future__ import annotations

import pytest

from tests.helpers import CONFIG, HUNTING, SDP, End, Net, establish, hang_up, text


def with_carrier(keys: str, config: str = CONFIG) -> str:
    """The configuration with further keys for the trunk "carrier"."""
    return config.replace('name = "carrier"\n', f'name = "carrier"\n{keys}\n')


def test_a_silent_callee_is_408_after_64_t1_3261_17_1_1_2() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.run(31.9)
    assert [message.method for message in net.carrier.inbox] == [b"INVITE"] * 7
    net.pbx.nothing()
    net.run(0.2)
    response = net.pbx.take_response(408)
    assert response.phrase == b"Request Timeout"
    net.pbx.ack(invite, response)
    record = net.only_record
    assert (record.original_status, record.emitted_status, record.origin) == (408, 408, "local")
    assert (record.ended_by, record.end_reason) == ("gateway", "no answer")
    net.assert_all_freed()


def test_a_callee_that_is_silent_after_100_is_given_the_ring_timeout() -> None:
    net = Net(with_carrier('ring_timeout = "20s"'))
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 100)
    net.run(19.9)
    net.pbx.nothing()
    net.carrier.nothing()
    net.run(0.2)
    cancel = net.carrier.take_request("CANCEL")
    assert text(cancel, b"Reason") == 'SIP;cause=408;text="Ring timeout"'
    net.pbx.ack(invite, net.pbx.take_response(408))
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    net.pbx.nothing()
    assert (net.only_record.origin, net.only_record.emitted_status) == ("local", 408)
    net.assert_all_freed()


def test_a_callee_that_rings_for_ever_is_given_the_ring_timeout() -> None:
    net = Net()  # 180 seconds unless told otherwise
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for _ in range(3):
        net.carrier.reply(offer, 180)
        net.pbx.take(180)
        net.run(59)
    net.run(3.1)
    net.pbx.ack(invite, net.pbx.take_response(408))
    net.carrier.take("CANCEL")
    net.assert_all_freed()


def test_a_callee_silent_before_the_ring_timeout_is_never_cancelled() -> None:
    """No provisional response came, so there is nothing that a CANCEL could end (RFC 3261 9.1)."""
    net = Net(with_carrier('ring_timeout = "5s"'))
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.run(5.1)
    net.pbx.ack(invite, net.pbx.take_response(408))
    net.run(40)
    assert {message.method for message in net.carrier.inbox} == {b"INVITE"}
    net.assert_all_freed()


def test_an_answer_that_crosses_the_ring_timeout_is_hung_up() -> None:
    net = Net(with_carrier('ring_timeout = "20s"'))
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.run(20.1)
    net.carrier.take("CANCEL")
    net.pbx.ack(invite, net.pbx.take_response(408))
    net.carrier.reply(offer, 200, body=SDP)
    net.carrier.take("ACK")
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_silent_target_is_left_for_the_next_one() -> None:
    net = Net(HUNTING)
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.run(32.1)
    offer = net.backup.take_request("INVITE")
    net.pbx.nothing()
    net.backup.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.backup.take("ACK")
    End.of_caller(net.pbx, invite, answer).request("BYE", contact=False)
    net.backup.reply(net.backup.take_request("BYE"), 200)
    net.pbx.take(200)
    record = net.only_record
    assert (record.attempts, record.callee_trunk, record.original_status) == (2, "backup", 200)
    net.assert_all_freed()


def test_a_target_that_only_rings_is_cancelled_and_left_for_the_next_one() -> None:
    net = Net(with_carrier('ring_timeout = "15s"', HUNTING))
    net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.carrier.reply(first, 180)
    ringing = net.pbx.take_response(180)
    net.run(15.1)
    cancel = net.carrier.take_request("CANCEL")
    second = net.backup.take_request("INVITE")
    net.carrier.reply(cancel, 200)
    net.carrier.reply(first, 487)
    net.carrier.take("ACK")
    net.pbx.nothing()  # the 487 is about our CANCEL and nothing else
    net.backup.reply(second, 180)
    assert net.pbx.take_response(180).to_tag != ringing.to_tag
    net.backup.reply(second, 486)
    net.pbx.take(486)
    assert net.only_record.attempts == 2
    net.assert_all_freed()


def test_each_target_has_its_own_ring_timeout() -> None:
    net = Net(with_carrier('ring_timeout = "4s"', HUNTING))
    net.pbx.invite()
    net.pbx.take(100)
    net.run(4.1)
    offer = net.backup.take_request("INVITE")
    net.backup.reply(offer, 180)
    net.pbx.take(180)
    net.run(170)
    net.pbx.nothing()
    net.backup.nothing()
    net.run(10.1)
    net.backup.take("CANCEL")
    net.pbx.take(408)
    net.assert_all_freed()


@pytest.mark.parametrize("rings", [True, False])
def test_an_invitation_that_expires_is_487_and_cancelled_3261_13_3_1(rings: bool) -> None:
    """The caller says how long it is to hold; neither it nor the callee needs to look at the clock."""
    net = Net()
    invite = net.pbx.invite(headers="Expires: 10")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert text(offer, b"Expires") == "10"
    net.carrier.reply(offer, 180 if rings else 100)
    if rings:
        net.pbx.take(180)
    net.run(9.9)
    net.pbx.nothing()
    net.carrier.nothing()
    net.run(0.2)
    net.pbx.ack(invite, net.pbx.take_response(487))
    cancel = net.carrier.take_request("CANCEL")
    assert text(cancel, b"Reason") == 'SIP;cause=487;text="invitation expired"'
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    record = net.only_record
    assert record.emitted_status == 487
    assert (record.ended_by, record.end_reason) == ("gateway", "invitation expired")
    net.assert_all_freed()


def test_an_invitation_expires_for_all_targets_together_3261_13_3_1() -> None:
    net = Net(with_carrier('ring_timeout = "20s"', HUNTING))
    invite = net.pbx.invite(headers="Expires: 30")
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.carrier.reply(first, 100)
    net.run(20.1)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    net.carrier.reply(first, 487)
    net.carrier.take("ACK")
    second = net.backup.take_request("INVITE")
    net.backup.reply(second, 180)
    net.pbx.take(180)
    net.run(9.8)
    net.backup.nothing()
    net.run(0.2)
    net.pbx.ack(invite, net.pbx.take_response(487))
    net.backup.reply(net.backup.take_request("CANCEL"), 200)
    net.backup.reply(second, 487)
    net.backup.take("ACK")
    net.assert_all_freed()


@pytest.mark.parametrize("value", ["5", "soon", "99999999999"])
def test_an_expires_that_is_met_or_cannot_be_read_ends_no_call_3261_13_3_1(value: str) -> None:
    net = Net()
    ends = establish(net, headers=f"Expires: {value}")
    net.run(60)
    net.pbx.nothing()
    net.carrier.nothing()
    hang_up(*ends)
    net.assert_all_freed()


def test_max_duration_hangs_up_both_sides() -> None:
    net = Net(with_carrier('max_duration = "1h"'))
    establish(net)
    net.run(3599.9)
    net.pbx.nothing()
    net.carrier.nothing()
    net.run(0.2)
    for peer in (net.pbx, net.carrier):
        bye = peer.take_request("BYE")
        assert text(bye, b"Reason") == 'SIP;cause=408;text="max_duration"'
        peer.reply(bye, 200)
    record = net.only_record
    assert (record.ended_by, record.end_reason) == ("gateway", "max_duration")
    assert 3600 <= record.ended_at - record.answered_at < 3600.1
    net.assert_all_freed()


@pytest.mark.parametrize(("caller", "callee"), [("10m", "1h"), ("1h", "10m"), ("10m", ""), ("", "10m")])
def test_the_shorter_max_duration_of_both_trunks_holds(caller: str, callee: str) -> None:
    config = CONFIG
    for trunk, limit in (("pbx", caller), ("carrier", callee)):
        if limit:
            config = config.replace(f'name = "{trunk}"\n', f'name = "{trunk}"\nmax_duration = "{limit}"\n')
    net = Net(config)
    establish(net)
    net.run(599.9)
    net.pbx.nothing()
    net.carrier.nothing()
    net.run(0.2)
    for peer in (net.pbx, net.carrier):
        peer.reply(peer.take_request("BYE"), 200)
    assert net.only_record.end_reason == "max_duration"
    net.assert_all_freed()


def test_max_duration_ends_even_a_call_whose_peers_are_dead() -> None:
    net = Net(with_carrier('max_duration = "10m"'))
    establish(net)
    net.run(600.1)
    assert not net.core.calls
    net.run(33)
    assert not net.endpoint.clients
    net.assert_all_freed()


def test_max_duration_before_the_ack_settles_the_answer_first() -> None:
    net = Net(with_carrier('max_duration = "10s"'))
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    net.run(10.1)
    net.carrier.take("ACK")
    net.carrier.take("BYE")
    for _ in range(5):
        net.pbx.take(200)
    net.pbx.take("BYE")
    net.assert_all_freed()


def test_a_call_that_ended_before_max_duration_is_not_ended_again() -> None:
    net = Net(with_carrier('max_duration = "10s"'))
    caller, _callee = establish(net)
    caller.request("BYE", contact=False)
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.take(200)
    net.run(20)
    net.pbx.nothing()
    net.carrier.nothing()
    assert net.only_record.end_reason == "bye"
    net.assert_all_freed()


def test_a_call_whose_bye_is_on_its_way_when_max_duration_comes_ends_by_the_bye() -> None:
    net = Net(with_carrier('max_duration = "10s"'))
    caller, _callee = establish(net)
    net.run(9)
    caller.request("BYE", contact=False)
    net.run(33)
    assert net.only_record.end_reason == "bye"
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_challenged_bye_that_never_comes_again_cannot_outlive_max_duration() -> None:
    net = Net(with_carrier('max_duration = "10s"'))
    caller, _callee = establish(net)
    net.run(9)
    caller.request("BYE", contact=False)
    net.run(2)
    net.carrier.reply(net.carrier.take_request("BYE"), 407)
    net.pbx.take(407)
    net.run(3)
    assert net.only_record.end_reason == "max_duration"
    net.assert_all_freed()


def test_a_transport_that_breaks_is_503_and_hunted_over_3261_8_1_3_1() -> None:
    net = Net(HUNTING)
    net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 180)
    net.pbx.take(180)
    net.endpoint.flow_lost(net.flows.get(net.local, net.carrier.address), net.now)
    offer = net.backup.take_request("INVITE")
    net.endpoint.flow_lost(net.flows.get(net.local, net.backup.address), net.now)
    net.pbx.take(503)
    assert (net.only_record.origin, net.only_record.original_status) == ("local", 503)
    net.backup.reply(offer, 200, body=SDP)  # too late: its transaction is gone
    net.pbx.nothing()
    net.assert_all_freed()
