"""Reliable responses and session timers between real SIPp processes, end to end and by the gateway."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.e2e.peers import Lab

pytestmark = pytest.mark.e2e

PRACK = 'prack = "local"'
TIMER = 'session_timer = "1800s"'


def methods(lab_messages: list[str]) -> list[str]:
    """The first word of each start line."""
    return [start.split()[0] for start in lab_messages]


def test_reliable_responses_cross_and_are_acknowledged_from_end_to_end_3262(either_lab: Lab) -> None:
    carrier = either_lab.carrier("uas_reliable")
    either_lab.gateway()
    caller = either_lab.caller("uac_reliable", RINGS="183", CALLER="Supported: 100rel").succeeds()
    carrier.succeeds()

    (ringing,) = [m for m in caller.received() if m.start.startswith("SIP/2.0 183")]
    assert (ringing.one("RSeq"), ringing.one("Require")) == ("4711", "100rel")
    assert ringing.body != ""
    assert methods([m.start for m in carrier.received()]) == ["INVITE", "PRACK", "ACK", "BYE"]


def test_preconditions_are_met_by_update_before_it_rings_3312_13_1(either_lab: Lab) -> None:
    carrier = either_lab.carrier("uas_precondition")
    either_lab.gateway()
    caller = either_lab.caller("uac_precondition").succeeds()
    carrier.succeeds()
    asked = methods([m.start for m in carrier.received()])
    assert asked == ["INVITE", "PRACK", "UPDATE", "ACK", "BYE"]
    statuses = [m.start.split()[1] for m in caller.received()]
    assert statuses == ["100", "183", "200", "200", "180", "200", "200"]


def test_the_gateway_acknowledges_a_reliable_carrier_for_a_plain_caller_3262(lab: Lab) -> None:
    carrier = lab.carrier("uas_reliable")
    lab.gateway(keys={"carrier": PRACK})
    caller = lab.caller("uac_answered").succeeds()
    carrier.succeeds()

    (ringing,) = [m for m in caller.received() if m.start.startswith("SIP/2.0 183")]
    assert (ringing.all("RSeq"), ringing.all("Require")) == ([], [])
    assert methods([m.start for m in carrier.received()]) == ["INVITE", "PRACK", "ACK", "BYE"]
    assert "PRACK" not in methods([m.start for m in caller.sent()])


def test_the_gateway_rings_reliably_for_a_plain_carrier_3262(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered")
    lab.gateway(keys={"pbx": PRACK})
    lab.caller("uac_reliable", RINGS="180", CALLER="Require: 100rel").succeeds()
    carrier.succeeds()

    offered = carrier.received()[0]
    assert (offered.all("Require"), offered.all("Supported")) == ([], [])
    assert methods([m.start for m in carrier.received()]) == ["INVITE", "ACK", "BYE"]


def test_with_both_trunks_local_each_side_acknowledges_for_itself_3262(lab: Lab) -> None:
    carrier = lab.carrier("uas_reliable")
    lab.gateway(keys={"pbx": PRACK, "carrier": PRACK})
    caller = lab.caller("uac_reliable", RINGS="183", CALLER="Supported: 100rel").succeeds()
    carrier.succeeds()

    (ringing,) = [m for m in caller.received() if m.start.startswith("SIP/2.0 183")]
    assert ringing.one("RSeq") != "4711"


def test_session_timers_pass_where_no_trunk_keeps_one_4028(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered")
    lab.gateway()
    asked = "Session-Expires: 600;refresher=uac\n      Supported: timer"
    lab.caller("uac_answered", CALLER=asked).succeeds()
    carrier.succeeds()

    offered = carrier.received()[0]
    assert (offered.one("Session-Expires"), offered.one("Supported")) == ("600;refresher=uac", "timer")


def test_the_gateway_agrees_on_a_session_timer_with_each_side_4028(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered")
    lab.gateway(keys={"pbx": TIMER, "carrier": 'session_timer = "900s"'})
    asked = "Session-Expires: 600;refresher=uac\n      Supported: timer"
    caller = lab.caller("uac_answered", CALLER=asked).succeeds()
    carrier.succeeds()

    offered = carrier.received()[0]
    assert (offered.one("Session-Expires"), offered.one("Supported")) == ("900;refresher=uac", "timer")
    answer = next(m for m in caller.received() if m.start == "SIP/2.0 200 OK")
    assert (answer.one("Session-Expires"), answer.one("Require")) == ("600;refresher=uac", "timer")


def test_the_gateway_refreshes_the_session_of_a_carrier_that_wants_it_4028_7_4(lab: Lab) -> None:
    """At half of the shortest interval that there is, 90 s; the caller knows no timers and hears nothing."""
    carrier = lab.carrier("uas_refreshed", limit=80)
    lab.gateway(keys={"carrier": 'session_timer = "90s"'})
    caller = lab.caller("uac_hung_up", limit=80).succeeds()
    carrier.succeeds()

    invite, _ack, refresh, bye = carrier.received()
    assert (invite.one("Session-Expires"), refresh.one("Session-Expires")) == 2 * ("90;refresher=uac",)
    assert methods([refresh.start, bye.start]) == ["UPDATE", "SIP/2.0"]
    assert refresh.body == ""
    assert methods([m.start for m in caller.received()])[-1] == "BYE"
    assert "UPDATE" not in methods([m.start for m in caller.received()])
    answer = next(m for m in caller.received() if m.start == "SIP/2.0 200 OK")
    assert answer.all("Session-Expires") == []


def test_a_call_that_has_lasted_long_enough_is_hung_up_on_both_sides_3261_15(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered")
    lab.gateway(keys={"carrier": 'max_duration = "1s"'})
    lab.caller("uac_hung_up").succeeds()
    carrier.succeeds()


def test_a_callee_that_falls_silent_is_missed_by_the_dialog_ping_5057_5_1(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered", extra=("-aa",))  # which has it answer OPTIONS
    lab.gateway(keys={"carrier": "dialog_ping = 1"}, more='[timers]\nt1 = "20ms"\n')
    caller = lab.caller("uac_hung_up")
    deadline = time.monotonic() + 15
    while "OPTIONS" not in methods([m.start for m in carrier.received()]):
        assert time.monotonic() < deadline, carrier.evidence()
        time.sleep(0.1)
    os.kill(carrier.process.pid, signal.SIGSTOP)
    try:
        caller.succeeds()  # it was hung up
    finally:
        os.kill(carrier.process.pid, signal.SIGCONT)
    assert caller.received()[-1].start.startswith("BYE ")
