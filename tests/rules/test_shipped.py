"""The shipped rules against what carriers and PBXes really say: who said what, what others are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules import compile_rules, lint, shipped_rules
from tests.rules.support import CARRIER, PBX, TRUNKS, FakeTrunk, facts, told

SHIPPED = compile_rules(shipped_rules(), TRUNKS)
PBX_607 = FakeTrunk("pbx", "pbx", supports=frozenset({607}))


def by_carrier(start: str, *headers: str) -> tuple[str, str]:
    known = facts(start, *headers)
    return told(SHIPPED, known)[0], SHIPPED.decide(known).rule


def by_pbx(start: str, *headers: str) -> tuple[str, str]:
    known = facts(start, *headers, source=PBX, target=CARRIER)
    return told(SHIPPED, known)[0], SHIPPED.decide(known).rule


@pytest.mark.parametrize("cause", [1, 2, 3, 26])
def test_a_603_with_the_cause_of_a_dead_number_becomes_404(cause: int) -> None:
    known = facts("603 Decline", f"Reason: Q.850;cause={cause}")
    start, headers = told(SHIPPED, known)
    assert start == "404 Not Found"
    assert headers[0].startswith("Reason: Q.850;cause=1")
    assert headers[1:] == ['Reason: SIP;cause=603;text="Decline"']


def test_a_603_of_a_call_that_was_completed_elsewhere_stays() -> None:
    reasons = ('Reason: SIP;cause=200;text="Call completed elsewhere"', "Reason: Q.850;cause=26")
    assert by_carrier("603 Decline", *reasons) == ("603 Decline", "completed-elsewhere")
    assert by_pbx("603 Decline", *reasons) == ("603 Decline", "completed-elsewhere")


def test_a_603_with_the_cause_of_a_gone_number_becomes_410() -> None:
    assert told(SHIPPED, facts("603 Decline", "Reason: Q.850;cause=22")) == (
        "410 Gone",
        ["Reason: Q.850;cause=22", 'Reason: SIP;cause=603;text="Decline"'],
    )


@pytest.mark.parametrize(
    "words",
    [
        "Unallocated Number", "Unallocated (unassigned) number", "Number not in service", "Invalid number",
        "The number you are calling is not in service", "User does not exist", "Number doesn't exist",
        "Destination unknown", "No such subscriber", "Subscriber not found", "unknown number",
    ],
)  # fmt: skip
def test_words_for_a_dead_number_make_a_603_a_404(words: str) -> None:
    assert by_carrier(f"603 {words}") == ("404 Not Found", "dead-number-by-phrase")
    assert by_carrier("603 Decline", f'Reason: SIP;cause=603;text="{words}"') == (
        "404 Not Found",
        "dead-number-by-reason",
    )


@pytest.mark.parametrize(
    "words",
    [
        "Number changed", "Changed", "Number has been disconnected", "disconnected", "Disconnected number",
        "Number is no longer in service", "Ported", "Number was ported", "Ported out",
    ],
)  # fmt: skip
def test_words_for_a_gone_number_make_a_603_a_410(words: str) -> None:
    assert by_carrier(f"603 {words}") == ("410 Gone", "gone-number-by-phrase")
    assert by_carrier("603 Decline", f'Reason: Q.850;cause=21;text="{words}"') == (
        "410 Gone",
        "gone-number-by-reason",
    )


@pytest.mark.parametrize(
    "words", ["Decline", "Declined", "Call disconnected", "Rejected by user", "Busy", ""]
)
def test_without_evidence_a_carriers_603_stays(words: str) -> None:
    assert by_carrier(f"603 {words}") == (f"603 {words}", "")


@pytest.mark.parametrize(
    "words", ["Blocked number not in service", "Invalid number of caller", "Calling number invalid", "Spam"]
)
def test_what_is_said_against_the_caller_never_kills_the_called_number(words: str) -> None:
    assert by_carrier(f"603 {words}", "Reason: Q.850;cause=1") == (f"603 {words}", "caller-blocked-by-phrase")
    assert by_pbx("603 Decline", f'Reason: Q.850;cause=1;text="{words}"') == (
        "603 Decline",
        "caller-blocked-by-reason",
    )


def test_a_near_miss_of_a_603_plus_stays_a_603_and_is_noted() -> None:
    known = facts("603 Network Blocked", source=PBX, target=CARRIER)
    assert told(SHIPPED, known) == ("603 Network Blocked", [])
    assert SHIPPED.decide(known).near_miss


def test_cause_21_is_somebody_who_said_no() -> None:
    assert by_carrier("603 Decline", "Reason: Q.850;cause=21") == ("603 Decline", "")


def test_the_reject_key_of_one_pbx_phone_stops_one_branch_only() -> None:
    known = facts("603 Decline", "Retry-After: 60", source=PBX, target=CARRIER)
    assert told(SHIPPED, known) == (
        "486 Busy Here",
        [
            "Retry-After: 60",
            'Reason: Q.850;cause=17;text="User busy"',
            'Reason: SIP;cause=603;text="Decline"',
        ],
    )


def test_a_dead_extension_of_the_pbx_is_dead_rather_than_busy() -> None:
    assert by_pbx("603 Decline", "Reason: Q.850;cause=1") == ("404 Not Found", "dead-number-by-cause")


@pytest.mark.parametrize("words", ["Do Not Disturb", "Busy (DND)", "User has do not disturb on"])
def test_do_not_disturb_for_the_whole_person_stops_everything(words: str) -> None:
    assert by_pbx(f"486 {words}") == ("603 Decline", "user-do-not-disturb-by-phrase")
    text = f'Reason: Q.850;cause=17;text="{words}"'
    assert by_pbx("486 Busy Here", text) == ("603 Decline", "user-do-not-disturb-by-reason")
    assert by_pbx(f"603 {words}") == (f"603 {words}", "user-do-not-disturb-603-by-phrase")
    assert by_pbx("603 Decline", text) == ("603 Decline", "user-do-not-disturb-603-by-reason")


def test_do_not_disturb_leaves_with_cause_21() -> None:
    known = facts("486 Do Not Disturb", "Reason: Q.850;cause=17", source=PBX, target=CARRIER)
    assert told(SHIPPED, known)[1] == [
        'Reason: Q.850;cause=21;text="Call rejected"',
        'Reason: SIP;cause=486;text="Do Not Disturb"',
    ]


def test_a_busy_phone_stays_busy() -> None:
    assert by_pbx("486 Busy Here", "Reason: Q.850;cause=17") == ("486 Busy Here", "")


def test_607_towards_a_pbx_without_it_is_a_603_that_says_so() -> None:
    known = facts("607 Unwanted")
    decision = SHIPPED.decide(known)
    assert (decision.guard, decision.rule, decision.hunt) == ("unwanted-607", "", "stop")
    assert told(SHIPPED, known) == (
        "603 Decline",
        ['Reason: Q.850;cause=21;text="Call rejected"', 'Reason: SIP;cause=607;text="Unwanted"'],
    )


def test_603_that_stands_for_607_is_607_again_for_a_pbx_that_knows_it() -> None:
    reason = 'Reason: SIP;cause=607;text="Unwanted"'
    assert told(SHIPPED, facts("603 Decline", reason, target=PBX_607))[0] == "607 Unwanted"
    assert told(SHIPPED, facts("603 Decline", reason)) == ("603 Decline", [reason])


def test_603_plus_passes_byte_for_byte() -> None:
    reason = 'Reason: SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN'
    known = facts("603 Network Blocked", reason)
    assert told(SHIPPED, known) == ("603 Network Blocked", [reason])
    assert SHIPPED.decide(known).guard == "network-blocked"


def test_the_shipped_file_is_the_one_at_the_top_and_has_no_warnings() -> None:
    top = Path(__file__).parents[2] / "rules.toml"
    assert top.read_text(encoding="utf-8") == shipped_rules().text
    assert [finding for finding in lint(SHIPPED) if finding.level == "warning"] == []
