"""Transfers and subscriptions of real phones through the gateway."""

from __future__ import annotations

import time

import pytest

from tests.e2e.baresip import Baresip
from tests.e2e.peers import Lab

pytestmark = pytest.mark.e2e

FROM_BOB_TO_CAROL = """
[[route]]
from = ["bob"]
to = ["carol"]
"""


def test_a_phone_transfers_its_call_blindly_and_hears_that_it_worked_5589_6(lab: Lab) -> None:
    ports = {"bob": lab.free_port(), "carol": lab.free_port()}
    lab.gateway(carriers=ports, route=FROM_BOB_TO_CAROL)
    alice = Baresip(lab, "alice", lab.pbx_port)
    bob = Baresip(lab, "bob", ports["bob"])
    carol = Baresip(lab, "carol", ports["carol"])
    alice.do("dial", f"sip:bob@{lab.at(lab.gateway_port)}")
    bob.waits_for("CALL_INCOMING")
    bob.do("accept")
    alice.waits_for("CALL_ESTABLISHED")
    bob.waits_for("CALL_ESTABLISHED")
    alice.do("transfer", f"sip:carol@{lab.at(lab.gateway_port)}")
    carol.waits_for("CALL_INCOMING")
    carol.do("accept")
    carol.waits_for("CALL_ESTABLISHED")
    closed = alice.waits_for("CALL_CLOSED")  # by the NOTIFY that says "200", which hangs up by itself
    assert closed["param"] == "Call transfered"
    bob.do("hangup")
    carol.waits_for("CALL_CLOSED")


def test_a_phone_subscribes_to_anothers_presence_6665(lab: Lab) -> None:
    bob_port = lab.free_port()
    lab.gateway(carriers={"bob": bob_port})
    bob = Baresip(lab, "bob", bob_port)
    contact = f'"Bob" <sip:bob@{lab.at(lab.gateway_port)}>;presence=p2p'
    alice = Baresip(lab, "alice", lab.pbx_port, [contact])
    for status in ("Online", "Offline", "Online"):
        bob.do(f"presence_{status.lower()}")
        deadline = time.monotonic() + 15
        while status not in (shown := alice.says("contacts")):
            assert time.monotonic() < deadline, f"{shown}\n{bob.evidence()}\n{alice.evidence()}"
            time.sleep(0.1)
