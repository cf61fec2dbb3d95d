"""Why did this code come out? What a person reads, and what a program reads."""

from __future__ import annotations

import json

from tests.rules.support import CARRIER, PBX, facts, rules

FILE = """
[[rule]]
name = "gone"
when.status = 603
when.q850 = 22
then.status = 410

[[rule]]
name = "quick"
mode = "shadow"
when.status = 603
when.after = "<300ms"
then.status = 486

[[rule]]
name = "old"
mode = "off"
then.status = 500

[[rule]]
name = "dead"
when.status = [603, 604]
when.from = "kind:carrier"
when.phrase = ['number', 'service']
then.status = 404
then.hunt = "continue"
"""


def test_a_rule_decided() -> None:
    known = facts("603 No such number", "Reason: Q.850;cause=21", after=0.2)
    assert rules(FILE).explain(known).as_text() == "\n".join(
        [
            "603 No such number, Q.850 cause 21 (Call rejected): from carrier to pbx",
            "  gone (rules.toml:3): no, q850 is 21, wanted 22",
            "  quick (rules.toml:9): would match, but is in shadow mode",
            "  old (rules.toml:16): off",
            "  dead (rules.toml:21): yes",
            "  shadow rule quick would have said 486",
            "-> 404 Not Found, Q.850 cause 1 (Unallocated (unassigned) number): changed by rule dead",
            '   Reason: Q.850;cause=1;text="Unallocated (unassigned) number"',
            '   Reason: SIP;cause=603;text="No such number"',
            "   hunting: continue",
        ]
    )


def test_no_rule_decided() -> None:
    known = facts("603 Decline", source=PBX, target=CARRIER, after=1.25)
    assert rules(FILE).explain(known).as_text() == "\n".join(
        [
            "603 Decline, no Q.850 cause: from pbx to carrier",
            "  gone (rules.toml:3): no, q850 is none, wanted 22",
            "  quick (rules.toml:9): no, after is 1.25s, wanted <300ms",
            "  old (rules.toml:16): off",
            "  dead (rules.toml:21): no, from is pbx (kind:pbx), wanted kind:carrier",
            "-> 603 Decline, no Q.850 cause: unchanged by no rule",
        ]
    )


def test_a_guard_decided() -> None:
    assert rules(FILE).explain(facts("487 Request Terminated")).as_text() == "\n".join(
        [
            "487 Request Terminated, no Q.850 cause: from carrier to pbx",
            "  guard protocol: this status steers the protocol between the two sides",
            "-> 487 Request Terminated, no Q.850 cause: unchanged by guard protocol",
        ]
    )


def test_a_near_miss_is_said() -> None:
    text = rules(FILE).explain(facts("603 Network Blocked")).as_text()
    assert "near miss: a 603+ has both the phrase Network Blocked and a text v=analytics1;" in text


def test_each_condition_says_what_it_saw() -> None:
    known = facts(
        "603 Decline",
        "Server: x",
        "Retry-After: 5",
        'Reason: SIP;cause=480;text="a";location=LN',
        called="+1",
    )
    for when, said in {
        "when.status = [486, '4xx']": "status is 603, wanted 486 or 4xx",
        "when.to = ['carrier', 'kind:peer']": "to is pbx (kind:pbx), wanted carrier or kind:peer",
        "when.method = ['BYE', 'INFO']": "method is INVITE, wanted BYE or INFO",
        "when.rang = true": "rang is false, wanted true",
        "when.origin = 'local'": "origin is peer, wanted local",
        "when.ringing = '>2s'": "ringing is unknown, wanted >2s",
        "when.sip_cause = [486, 487]": "sip_cause is 480, wanted 486 or 487",
        "when.location = 'RLN'": "location is LN, wanted RLN",
        "when.reason_text = 'b'": 'reason_text is "a", wanted "b"',
        "when.server = 'y'": 'server is "x", wanted "y"',
        "when.header.X-A = true": "header.X-A is absent, wanted present",
        "when.header.X-A = 'b'": 'header.X-A is none, wanted "b"',
        "when.retry_after = '>1m'": "retry_after is 5, wanted >1m",
        "when.retry_after = false": "retry_after is 5, wanted absent",
        "when.called.prefix = ['+44', '+45']": 'called is "+1", wanted prefix +44 or +45',
    }.items():
        assert f"no, {said}" in rules(f"{when}\nthen.status = 404").explain(known).as_text()


def test_a_program_reads_the_same() -> None:
    known = facts("603 No such number", "Reason: Q.850;cause=21", after=0.4)
    told = json.loads(json.dumps(rules(FILE).explain(known).as_dict()))
    assert told == {
        "from": "carrier",
        "to": "pbx",
        "original": {"status": 603, "phrase": "No such number", "q850": 21},
        "emitted": {"status": 404, "phrase": "Not Found", "q850": 1},
        "changed": True,
        "headers": [
            'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"',
            'Reason: SIP;cause=603;text="No such number"',
        ],
        "rule": "dead",
        "guard": "",
        "mode": "enforce",
        "label": "",
        "hunt": "continue",
        "near_miss": False,
        "defects": [],
        "shadow": {"rule": "", "status": 0},
        "steps": [
            {
                "rule": "gone",
                "line": 3,
                "outcome": "failed",
                "condition": "q850",
                "wanted": "22",
                "seen": "21",
            },
            {
                "rule": "quick",
                "line": 9,
                "outcome": "failed",
                "condition": "after",
                "wanted": "<300ms",
                "seen": "400ms",
            },
            {"rule": "old", "line": 16, "outcome": "off", "condition": "", "wanted": "", "seen": ""},
            {"rule": "dead", "line": 21, "outcome": "matched", "condition": "", "wanted": "", "seen": ""},
        ],
    }
