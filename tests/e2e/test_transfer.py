"""Transfers and subscriptions of real phones through the gateway."""

from __future__ import annotations

import time

import pytest

from tests.e2e.baresip import Baresip
from tests.e2e.peers import Lab
from tests.e2e.twinkle import Twinkle

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


def test_a_phone_transfers_its_call_after_asking_the_other_party_5589_7(lab: Lab) -> None:
    """Attended: the REFER names the second call by Replaces, whose dialog ids are others on every leg."""
    ports = {"bob": lab.free_port(), "carol": lab.free_port()}
    lab.gateway(carriers=ports, route=FROM_BOB_TO_CAROL)
    alice = Twinkle(lab, "alice", lab.pbx_port)
    bob = Twinkle(lab, "bob", ports["bob"])
    carol = lab.carrier("uas_replacing", name="carol", port=ports["carol"], calls=2)
    alice.do(f"call sip:bob@{lab.at(lab.gateway_port)}")
    bob.waits_for("incoming call")
    bob.do("answer")
    alice.waits_for("far end answered call")
    alice.do(f"transfer -c sip:carol@{lab.at(lab.gateway_port)}")
    alice.waits_for("far end answered call")
    alice.do("transfer -c")
    bob.waits_for("transferring call to")
    bob.waits_for("far end answered call")
    alice.waits_for("200 OK")  # of the NOTIFY
    invites = [message for message in carol.received() if message.start.startswith("INVITE ")]
    consulted = next(message for message in carol.sent() if message.start == "SIP/2.0 200 OK")
    asked, replacing = invites[0], invites[-1]
    call_id, *tags = replacing.one("Replaces").split(";")
    assert call_id == asked.one("Call-ID") != replacing.one("Call-ID")
    own, theirs = consulted.one("To"), consulted.one("From")
    assert set(tags) == {f"to-tag={own.partition(';tag=')[2]}", f"from-tag={theirs.partition(';tag=')[2]}"}


@pytest.mark.parametrize(
    ("header", "receivers", "senders"),
    [("Join", "to-tag", "from-tag"), ("Target-Dialog", "local-tag", "remote-tag")],
)
def test_a_second_call_names_the_first_as_its_receiver_knows_it_3911_4_4538_4(
    lab: Lab, header: str, receivers: str, senders: str
) -> None:
    """Its Request-URI is the gateway's own address, as a Contact is: only the header says where it goes."""
    carrier = lab.carrier("uas_answered", calls=2)
    lab.gateway()
    lab.caller("uac_naming", NAMES=header, RECEIVERS=receivers, SENDERS=senders).succeeds()
    carrier.succeeds()
    first, second = (message for message in carrier.received() if message.start.startswith("INVITE "))
    answer = next(message for message in carrier.sent() if message.start == "SIP/2.0 200 OK")
    call_id, *tags = second.one(header).split(";")
    assert call_id == first.one("Call-ID") != second.one("Call-ID")
    own, theirs = answer.one("To"), answer.one("From")
    assert set(tags) == {
        f"{receivers}={own.partition(';tag=')[2]}",
        f"{senders}={theirs.partition(';tag=')[2]}",
    }


def test_a_phone_sends_its_call_elsewhere_3261_21_3(lab: Lab) -> None:
    """A 302 is followed where the trunk says so: to another trunk's own address."""
    ports = {"bob": lab.free_port(), "carol": lab.free_port()}
    lab.gateway(carriers=ports, keys={"bob": 'redirect = "follow"'})
    bob = Twinkle(lab, "bob", ports["bob"])
    carol = lab.carrier("uas_answered", name="carol", port=ports["carol"])
    alice = Baresip(lab, "alice", lab.pbx_port)
    alice.do("dial", f"sip:bob@{lab.at(lab.gateway_port)}")
    bob.waits_for("incoming call")
    bob.do(f"redirect sip:carol@{lab.at(ports['carol'])}")
    alice.waits_for("CALL_ESTABLISHED")
    alice.do("hangup")
    carol.succeeds()
    assert carol.received()[0].start == f"INVITE sip:carol@{lab.at(ports['carol'])} SIP/2.0"


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
