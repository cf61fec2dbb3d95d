"""Calls between real SIPp processes through the gateway: answered, changed, cancelled, hunted, lossy."""

from __future__ import annotations

import pytest

from tests.e2e.peers import DEAD_NUMBER_RULE, Lab

pytestmark = pytest.mark.e2e


def test_an_answered_call_crosses_and_ends(either_lab: Lab) -> None:
    lab = either_lab
    carrier = lab.carrier("uas_answered")
    lab.gateway()
    caller = lab.caller("uac_answered").succeeds()
    carrier.succeeds()

    offered, called = caller.sent()[0], carrier.received()[0]
    assert [m.start for m in caller.received()] == [
        "SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK", "SIP/2.0 200 OK",
    ]  # fmt: skip
    assert [m.start.split()[0] for m in carrier.received()] == ["INVITE", "ACK", "BYE"]
    # Each leg is its own dialog, whose identifiers and hop count are the gateway's ...
    assert called.one("Call-ID") != offered.one("Call-ID")
    assert called.one("X-CID") == offered.one("Call-ID")
    assert len(called.all("Via")) == 1
    assert called.one("Max-Forwards") == "69"
    assert lab.at(lab.gateway_port) in called.one("Contact")
    # ... and what the gateway has no business with passes as it is.
    assert called.one("Subject") == offered.one("Subject")
    assert called.body == offered.body != ""


def test_the_number_that_was_called_reaches_the_carrier(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered")
    lab.gateway()
    lab.caller("uac_answered").succeeds()
    carrier.succeeds()

    assert carrier.received()[0].start == f"INVITE sip:+4930123456@{lab.at(lab.carrier_port)} SIP/2.0"


def test_the_callee_hangs_up(either_lab: Lab) -> None:
    carrier = either_lab.carrier("uas_hangs_up")
    either_lab.gateway()
    either_lab.caller("uac_hung_up").succeeds()
    carrier.succeeds()


def test_stock_sipp_calls_stock_sipp(either_lab: Lab) -> None:
    carrier = either_lab.carrier("-sn uas", calls=5)
    either_lab.gateway()
    either_lab.caller("-sn uac", calls=5).succeeds()
    carrier.succeeds()


def test_without_a_configuration_the_embedded_default_serves_stock_sipp(lab: Lab) -> None:
    gateway_port, carrier_port, console_port = 5060, 5080, 8080
    for port in (gateway_port, carrier_port, console_port):
        lab.need_free(port)
    carrier = lab.carrier("-sn uas", port=carrier_port)
    gateway = lab.default_gateway()
    lab.caller("-sn uac", to=gateway_port).succeeds()
    carrier.succeeds()

    assert f"udp:127.0.0.1:{gateway_port}" in gateway.ready


def test_a_call_cancelled_while_ringing_is_cancelled_at_the_callee(either_lab: Lab) -> None:
    carrier = either_lab.carrier("uas_cancelled")
    either_lab.gateway()
    caller = either_lab.caller("uac_cancelled").succeeds()
    carrier.succeeds()

    assert [(m.start, m.method) for m in caller.received()[2:]] == [
        ("SIP/2.0 200 OK", "CANCEL"),
        ("SIP/2.0 487 Request Terminated", "INVITE"),
    ]
    (cancel,) = [m for m in carrier.received() if m.start.startswith("CANCEL ")]
    assert cancel.one("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'


def test_both_ends_change_the_session_with_a_reinvite(either_lab: Lab) -> None:
    carrier = either_lab.carrier("uas_reinvited")
    either_lab.gateway()
    caller = either_lab.caller("uac_reinvited").succeeds()
    carrier.succeeds()

    offers_to_carrier = [m.body for m in carrier.received() if m.start.startswith("INVITE ")]
    offers_to_caller = [m.body for m in caller.received() if m.start.startswith("INVITE ")]
    assert ["m=audio 49202 " in body for body in offers_to_carrier] == [False, True]
    assert ["m=audio 49303 " in body for body in offers_to_caller] == [True]


def test_an_offer_made_late_is_answered_in_the_ack(either_lab: Lab) -> None:
    carrier = either_lab.carrier("uas_late_offer")
    either_lab.gateway()
    either_lab.caller("uac_late_offer").succeeds()
    carrier.succeeds()

    invite, ack, _bye = carrier.received()
    assert invite.body == ""
    assert ack.start.startswith("ACK ")
    assert "m=audio 49401 " in ack.body


def test_a_call_that_the_first_carrier_cannot_take_is_answered_by_the_second(either_lab: Lab) -> None:
    lab = either_lab
    second_port = lab.free_port()
    first = lab.carrier("uas_rejected", name="first", ANSWER="503 Service Unavailable")
    second = lab.carrier("uas_answered", name="second", port=second_port)
    lab.gateway(carriers={"first": lab.carrier_port, "second": second_port})
    caller = lab.caller("uac_answered").succeeds()
    first.succeeds()
    second.succeeds()

    assert not [m for m in caller.received() if m.start.startswith("SIP/2.0 503")]


def test_of_two_carriers_that_ring_together_the_first_to_answer_has_the_call(either_lab: Lab) -> None:
    lab = either_lab
    second_port = lab.free_port()
    ringing = lab.carrier("uas_cancelled", name="ringing")
    answering = lab.carrier("uas_answered", name="answering", port=second_port)
    lab.gateway(
        carriers={"ringing": lab.carrier_port, "answering": second_port}, route='strategy = "parallel"'
    )
    lab.caller("uac_answered").succeeds()
    ringing.succeeds()
    answering.succeeds()

    (cancel,) = [m for m in ringing.received() if m.start.startswith("CANCEL ")]
    assert cancel.one("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'


def test_a_caller_nobody_knows_is_refused(lab: Lab) -> None:
    lab.gateway(pbx_port=lab.free_port())
    caller = lab.caller("uac_rejected", STATUS="403").succeeds()

    assert caller.received()[-1].start.startswith("SIP/2.0 403 ")


def test_calls_complete_when_one_datagram_in_twenty_is_lost(lab: Lab) -> None:
    """Both ends lose 5 % of what they send and of what they receive, and retransmissions make up for it."""
    calls = 100
    loss = ("-lost", "5")
    # The carrier stays 64*T1 for retransmitted BYEs; it is ended by the lab, not awaited.
    lab.carrier("uas_answered", calls=calls, limit=60, extra=loss, LINGER="32000")
    lab.gateway()
    caller = lab.caller("uac_answered", calls=calls, rate=50, limit=50, extra=loss).succeeds()

    # The loss was real: of the 100 and 180 of each call, which nobody sends twice unasked, some never came.
    provisional = {(m.one("Call-ID"), m.start) for m in caller.received() if m.start.startswith("SIP/2.0 1")}
    assert 0 < len(provisional) < 2 * calls


@pytest.mark.parametrize("flow", ["answered", "rejected"])
def test_many_calls_at_once(lab: Lab, flow: str) -> None:
    calls = 200
    carrier = lab.carrier(f"uas_{flow}", calls=calls, ANSWER="603 Decline", HEADERS="Reason: Q.850;cause=1")
    lab.gateway(rules=DEAD_NUMBER_RULE)
    lab.caller(f"uac_{flow}", calls=calls, rate=50, STATUS="404").succeeds()
    carrier.succeeds()
