"""Between real SIPp processes: neither sees the other's address, and the number is written as asked for."""

from __future__ import annotations

import pytest

from tests.e2e.peers import Lab

pytestmark = pytest.mark.e2e


def test_neither_end_of_a_call_sees_the_others_address(either_lab: Lab) -> None:
    lab = either_lab
    carrier = lab.carrier("uas_answered")
    lab.gateway(every_trunk="hide_topology = true\nnat = true")
    caller = lab.caller("uac_answered").succeeds()
    carrier.succeeds()

    for end, other_port in ((carrier, lab.pbx_port), (caller, lab.carrier_port)):
        for message in end.received():
            assert all(lab.at(other_port) not in value for _, value in message.headers), message
    offered, called = caller.sent()[0], carrier.received()[0]
    assert called.all("X-CID") == []
    assert lab.at(lab.gateway_port) in called.one("From")
    own, theirs = called.body.splitlines(), offered.body.splitlines()
    assert [line for line in own if line[:2] in ("c=", "m=")] == [
        line for line in theirs if line[:2] in ("c=", "m=")
    ]
    assert own[1].split()[0] == "o=-" and own[1].split()[2] == theirs[1].split()[2]


def test_the_carrier_gets_the_number_as_it_is_dialled_in_its_country(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered")
    lab.gateway(every_trunk='numbers = {region = "DE", send = "national"}')
    lab.caller("uac_answered").succeeds()
    carrier.succeeds()

    assert carrier.received()[0].start == f"INVITE sip:030123456@{lab.at(lab.carrier_port)} SIP/2.0"
