"""What a carrier's rejection becomes on its way to a real SIPp caller, and new rules while it runs."""

from __future__ import annotations

import re
import signal
import time

import pytest

from tests.e2e.peers import DEAD_NUMBER_RULE, NO_RULES, Lab, Message

pytestmark = pytest.mark.e2e

UNALLOCATED = 'Reason: Q.850;cause=1;text="Unallocated number"'
NETWORK_BLOCKED = 'SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN'


def reasons(message: Message) -> dict[str, list[str]]:
    """The Reason values of a message by protocol, each as its parameters in order."""
    values = [value.strip() for line in message.all("Reason") for value in line.split(",")]
    parts = [value.split(";") for value in values]
    return {protocol: parameters for protocol, *parameters in parts}


def refused(lab: Lab, answer: str, headers: str, status: str, name: str = "") -> Message:
    """Place a call that the carrier refuses with `answer`; the refusal that the caller got, a `status`."""
    carrier = lab.carrier("uas_rejected", name=f"carrier{name}", ANSWER=answer, HEADERS=headers)
    caller = lab.caller("uac_rejected", name=f"caller{name}", STATUS=status).succeeds()
    carrier.succeeds()
    return caller.received()[-1]


def test_a_603_for_a_dead_number_becomes_a_404_whose_reason_agrees(either_lab: Lab) -> None:
    either_lab.gateway(rules=DEAD_NUMBER_RULE)
    got = refused(either_lab, "603 Decline", UNALLOCATED, "404")

    assert got.start == "SIP/2.0 404 Not Found"
    assert reasons(got)["Q.850"][0] == "cause=1"
    assert reasons(got)["SIP"][0] == "cause=603"
    assert set(reasons(got)) == {"Q.850", "SIP"}


def test_a_603_without_evidence_stays_a_603(lab: Lab) -> None:
    lab.gateway(rules=DEAD_NUMBER_RULE)
    got = refused(lab, "603 No Thanks", 'Reason: Q.850;cause=21;text="Call rejected"', "603")

    assert got.start == "SIP/2.0 603 No Thanks"
    assert got.all("Reason") == ['Q.850;cause=21;text="Call rejected"']


def test_network_blocked_passes_byte_for_byte_whatever_a_rule_says(either_lab: Lab) -> None:
    rule_for_every_603 = 'version = 1\n[[rule]]\nname = "all"\nwhen.status = 603\nthen.status = 404\n'
    either_lab.gateway(rules=rule_for_every_603)
    got = refused(either_lab, "603 Network Blocked", f"Reason: {NETWORK_BLOCKED}", "603")

    assert got.start == "SIP/2.0 603 Network Blocked"
    assert got.all("Reason") == [NETWORK_BLOCKED]


def test_a_rule_added_by_sighup_decides_the_next_call(lab: Lab) -> None:
    gateway = lab.gateway(rules=NO_RULES)
    refused(lab, "603 Decline", UNALLOCATED, "603", "-before")

    gateway.new_rules(DEAD_NUMBER_RULE)

    refused(lab, "603 Decline", UNALLOCATED, "404", "-after")


def test_a_number_list_decides_as_soon_as_it_is_written(lab: Lab) -> None:
    lists = lab.folder / "lists"
    lists.mkdir()
    (lists / "dead.txt").write_text("nobody\n")
    rule = 'version = 1\n[[rule]]\nname = "list"\nwhen.called.list = "lists/dead.txt"\nthen.status = 404\n'
    gateway = lab.gateway(rules=NO_RULES)
    gateway.rules.write_text(rule)
    gateway.says("in force")
    refused(lab, "603 Decline", UNALLOCATED, "603", "-before")

    heard = gateway.errors.stat().st_size
    for attempt in range(100):  # the list that has come with the new rules is watched a moment later
        (lists / "dead.txt").write_text(f"*\n# {attempt}\n")
        time.sleep(0.1)
        if gateway.errors.stat().st_size > heard:
            break
    gateway.says("in force", heard)

    refused(lab, "603 Decline", UNALLOCATED, "404", "-after")


def test_a_broken_rule_file_is_refused_and_the_old_rules_go_on(lab: Lab) -> None:
    gateway = lab.gateway(rules=DEAD_NUMBER_RULE)
    refused(lab, "603 Decline", UNALLOCATED, "404", "-before")

    complaint = gateway.new_rules(DEAD_NUMBER_RULE.replace("then.status = 404", "then.status = 200"))

    assert re.search(
        r"rules\.toml:\d+: .*then\.status: .+; .+", complaint
    )  # what is wrong; what would be right
    assert "Traceback" not in complaint
    refused(lab, "603 Decline", UNALLOCATED, "404", "-after")


def test_sigterm_ends_the_gateway_with_exit_code_0(lab: Lab) -> None:
    gateway = lab.gateway()
    assert gateway.ready == f"ready sip=udp:{lab.at(lab.gateway_port)} console=off\n"
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.errors.read_text()


def test_a_hundred_reloads_under_load_lose_no_call(lab: Lab) -> None:
    """The rule file changes ten times a second while 300 calls are rejected; then it decides otherwise."""
    calls = 300
    carrier = lab.carrier(
        "uas_rejected", calls=calls + 1, limit=60, ANSWER="603 Decline", HEADERS=UNALLOCATED
    )
    gateway = lab.gateway(rules=DEAD_NUMBER_RULE)
    caller = lab.caller("uac_rejected", calls=calls, rate=25, limit=60, STATUS="404")
    for turn in range(100):
        gateway.rules.write_text(f"{DEAD_NUMBER_RULE}\n# turn {turn}\n")
        gateway.process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    caller.succeeds()
    gateway.rules.write_text(DEAD_NUMBER_RULE.replace("then.status = 404", "then.status = 410"))
    time.sleep(3.0)  # the log would not tell of so many reloads
    lab.caller("uac_rejected", name="last", STATUS="410").succeeds()
    carrier.succeeds()
    assert "Traceback" not in gateway.errors.read_text()
