"""Each condition: what it matches, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.rules import load_rules
from tests.rules.support import CARRIER, PBX, FakeTrunk, facts, request, rules

SERVER = "Server: FreeSWITCH-mod_sofia/1.10"


def matches(when: str, start: str = "603 Decline", *headers: str, **more: Any) -> bool:
    """Tell whether a rule with this `when` decides about the response."""
    ruleset = rules(f"{when}\nthen.label = 'x'", more.pop("trunks", None))
    return ruleset.decide(facts(start, *headers, **more)).rule == "it"


@pytest.mark.parametrize(
    ("when", "status", "expected"),
    [
        ("when.status = 603", 603, True),
        ("when.status = 603", 604, False),
        ("when.status = [486, 600]", 600, True),
        ("when.status = [486, 600]", 603, False),
        ('when.status = "4xx"', 499, True),
        ('when.status = "4xx"', 500, False),
        ('when.status = "600-606"', 606, True),
        ('when.status = "600-603"', 604, False),
        ('when.status = ["5xx", 486, "600-603"]', 486, True),
        ("", 404, True),
        ("", 699, True),
    ],
)
def test_status(when: str, status: int, expected: bool) -> None:
    assert matches(when, f"{status} X") is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [('"carrier-1"', True), ('"carrier*"', True), ('"kind:carrier"', True), ('["x", "carrier-?"]', True),
     ('"carrier"', False), ('"kind:pbx"', False), ('"*-2"', False)],
)  # fmt: skip
def test_from_is_who_answered_and_to_is_who_will_receive_it(pattern: str, expected: bool) -> None:
    carrier = FakeTrunk("carrier-1", "carrier")
    assert matches(f"when.from = {pattern}", source=carrier, target=PBX) is expected
    assert matches(f"when.to = {pattern}", source=PBX, target=carrier) is expected


def test_method_is_invite_unless_the_rule_says_so() -> None:
    assert matches("", method=b"INVITE")
    assert not matches("", method=b"MESSAGE")
    assert matches('when.method = ["MESSAGE", "INVITE"]', method=b"MESSAGE")
    assert not matches('when.method = "MESSAGE"', method=b"INVITE")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("when.phrase = 'number'", True),
        ("when.phrase = '^number'", False),
        ("when.phrase = ['foo', 'NOT IN SERVICE']", True),
        ("when.phrase = 'größe'", False),
    ],
)
def test_phrase_is_searched_whatever_the_case(when: str, expected: bool) -> None:
    assert matches(when, "603 Invalid Number, not in service") is expected


def test_a_phrase_may_be_any_language_or_no_text_at_all() -> None:
    assert matches("when.phrase = 'ungültige'", "603 UNGÜLTIGE Nummer")
    assert matches("when.phrase = '^$'", "603 ")
    noise = facts("603 X")
    noise.response.phrase = b"\xff\xfe Number"
    assert rules("when.phrase = 'number$'\nthen.label = 'x'").decide(noise).rule == "it"


def test_only_the_first_part_of_a_long_text_is_searched() -> None:
    assert matches("when.phrase = 'end$'", "603 " + "x" * 253 + "end")
    assert not matches("when.phrase = 'end$'", "603 " + "x" * 254 + "end")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("when.q850 = 21", True),
        ("when.q850 = [1, 21]", True),
        ("when.q850 = 1", False),
        ("when.sip_cause = 480", True),
        ("when.sip_cause = [486, 487]", False),
        ("when.reason_text = 'call rejected'", True),
        ("when.reason_text = 'gone; away'", True),
        ("when.reason_text = 'Q.850'", False),
        ("when.location = 'LN'", True),
        ("when.location = ['u', 'ln']", True),
        ("when.location = 'RLN'", False),
    ],
)
def test_reason(when: str, expected: bool) -> None:
    reasons = 'Reason: Q.850;cause=21;text="Call rejected";location=LN, SIP;cause=480;text="gone; away"'
    assert matches(when, "603 Decline", reasons) is expected
    first, second = reasons.removeprefix("Reason: ").split(", ")
    assert matches(when, "603 Decline", f"Reason: {first}", f"reason : {second}") is expected
    assert not matches(when, "603 Decline")
    assert not matches(when, "603 Decline", 'Reason: Q.850;cause=x;text="unclosed')


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("when.server = 'freeswitch'", True),
        ("when.server = '^asterisk'", False),
        ("when.header.X-Error = true", True),
        ("when.header.X-Other = true", False),
        ("when.header.X-Error = false", False),
        ("when.header.X-Other = false", True),
        ("when.header.x-error = '^32203$'", True),
        ("when.header.X-Error = ['1', '322.3']", True),
        ("when.header.X-Error = '^4'", False),
        ("when.header.X-Other = ''\nwhen.header.X-Error = true", False),
    ],
)
def test_headers_of_the_response(when: str, expected: bool) -> None:
    if "''" in when:
        when = when.replace("''", "'.*'")
    assert matches(when, "603 Decline", SERVER, "X-Error: 32203") is expected


def test_only_the_first_lines_of_a_header_are_searched() -> None:
    lines = [f"X-A: {number}" for number in range(5)]
    assert matches("when.header.X-A = '3'", "603 Decline", *lines)
    assert not matches("when.header.X-A = '4'", "603 Decline", *lines)


def test_server_may_call_itself_user_agent() -> None:
    assert matches("when.server = 'yealink'", "603 Decline", "User-Agent: Yealink SIP-T46G")


def test_headers_of_the_request() -> None:
    asked = request("User-Agent: FPBX-16", "Diversion: <sip:1@a>")
    assert matches("when.request_header.User-Agent = 'fpbx'", request=asked)
    assert matches("when.request_header.Diversion = true", request=asked)
    assert not matches("when.request_header.Diversion = false", request=asked)
    assert matches("when.request_header.Identity = false", request=asked)
    assert not matches("when.header.User-Agent = true", request=asked)
    assert matches("when.request_header.Diversion = false", request=None)


@pytest.mark.parametrize("side", ["called", "caller"])
def test_numbers(side: str, tmp_path: Path) -> None:
    number = {side: "+12155550100"}
    assert matches(f"when.{side}.prefix = '+1215'", **number)
    assert matches(f"when.{side}.prefix = ['+44', '+1215']", **number)
    assert not matches(f"when.{side}.prefix = '215'", **number)
    assert matches(f"when.{side}.regex = '0100$'", **number)
    assert matches(f"when.{side}.regex = ['^x', '(?i)0100$']", **number)
    assert not matches(f"when.{side}.regex = '0100$'\nwhen.{side}.prefix = '+44'", **number)
    (tmp_path / "dead.txt").write_text("# found dead\n+1 (215) 555-0100\n+4420*\n")
    file = tmp_path / "rules.toml"
    file.write_text(f"version = 1\n[[rule]]\nname = 'it'\nwhen.{side}.list = 'dead.txt'\nthen.status = 404\n")
    listed = load_rules(file, None)
    assert listed.decide(facts("603 Decline", **number)).rule == "it"
    assert listed.decide(facts("603 Decline", **{side: "+442079460000"})).rule == "it"
    assert listed.decide(facts("603 Decline", **{side: "+12155550101"})).rule == ""


def test_rang_and_origin() -> None:
    assert matches("when.rang = true", rang=True)
    assert not matches("when.rang = true", rang=False)
    assert matches("when.rang = false", rang=False)
    assert matches("when.origin = 'local'", local=True)
    assert not matches("when.origin = 'local'", local=False)
    assert matches("when.origin = ['peer', 'local']", local=False)


@pytest.mark.parametrize(
    ("comparison", "inside", "outside"),
    [
        ("<300ms", [0.0, 0.299], [0.3, 1.0]),
        ("<=300ms", [0.3], [0.301]),
        (">2s", [2.001], [2.0, 0.0]),
        (">=2s", [2.0], [1.999]),
        ("1s..5s", [1.0, 3.0, 5.0], [0.999, 5.001]),
        ("500ms .. 1m", [0.5, 60.0], [0.4, 61.0]),
    ],
)
def test_times(comparison: str, inside: list[float], outside: list[float]) -> None:
    for key in ("after", "ringing"):
        for seconds in inside:
            assert matches(f"when.{key} = '{comparison}'", **{key: seconds}), seconds
        for seconds in outside:
            assert not matches(f"when.{key} = '{comparison}'", **{key: seconds}), seconds
        assert not matches(f"when.{key} = '{comparison}'")
        assert matches(f"when.{key} = ['{comparison}', '>=0s']", **{key: outside[0]})


@pytest.mark.parametrize(
    ("when", "value", "expected"),
    [
        ("true", "60", True), ("true", None, False), ("false", None, True), ("false", "60", False),
        ("'<60'", "59", True), ("'<60'", "60", False), ("'>=1h'", "3600", True),
        ("'10..20'", "20;duration=3", True),
        ("'10..20'", "21 (busy)", False), ("'<60'", None, False), ("'<60'", "soon", False),
        ("true", "soon", True),
    ],
)  # fmt: skip
def test_retry_after(when: str, value: str | None, expected: bool) -> None:
    headers = [] if value is None else [f"Retry-After: {value}"]
    assert matches(f"when.retry_after = {when}", "603 Decline", *headers) is expected


def test_all_conditions_must_hold() -> None:
    when = "when.status = 603\nwhen.q850 = 1\nwhen.rang = false\nwhen.from = 'carrier'"
    assert matches(when, "603 Decline", "Reason: Q.850;cause=1")
    assert not matches(when, "603 Decline", "Reason: Q.850;cause=2")
    assert not matches(when, "603 Decline", "Reason: Q.850;cause=1", rang=True)
    assert not matches(when, "603 Decline", "Reason: Q.850;cause=1", source=PBX, target=CARRIER)
