"""What no rule may touch. Every rule file here would rewrite everything, if it were asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.rules import emit
from tests.rules.support import CARRIER, PBX, FakeTrunk, facts, lines, rules, told

EVERYTHING_404 = rules('when.method = ["INVITE", "MESSAGE", "BYE"]\nthen.status = 404')
KNOWS_BOTH = replace(PBX, supports=frozenset({607, 608}))
KNOWS_607 = replace(PBX, supports=frozenset({607}))
BLOCKED = [
    'Reason: SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN',
    'Reason: Q.850;cause=21;text="v=analytics1;url=https://example.com/redress;tel=+12155551212";location=LN',
]


def test_the_rule_would_rewrite_everything() -> None:
    assert told(EVERYTHING_404, facts("486 Busy Here"))[0] == "404 Not Found"


@pytest.mark.parametrize("status", [*range(100, 200, 9), *range(200, 300, 9), *range(300, 400, 9)])
def test_what_is_no_failure_passes(status: int) -> None:
    known = facts(f"{status} Something")
    decision = EVERYTHING_404.decide(known)
    assert (decision.status, decision.guard, decision.hunt) == (status, "not-a-failure", "")
    assert emit(decision, known) is known.response.rows


@pytest.mark.parametrize("status", [401, 407, 422, 423, 428, 436, 437, 438, 487, 491])
def test_what_steers_the_protocol_passes(status: int) -> None:
    known = facts(f"{status} Something", "Reason: Q.850;cause=1")
    decision = EVERYTHING_404.decide(known)
    assert (decision.status, decision.guard, decision.hunt) == (status, "protocol", "")
    assert emit(decision, known) is known.response.rows


@pytest.mark.parametrize("status", [200, 403, 481, 487, 603, 607, 608])
def test_an_answer_inside_a_dialog_passes(status: int) -> None:
    known = facts(f"{status} Something", in_dialog=True, method=b"BYE")
    decision = EVERYTHING_404.decide(known)
    assert (decision.status, decision.phrase, decision.guard) == (status, b"Something", "in-dialog")
    assert emit(decision, known) is known.response.rows


@pytest.mark.parametrize("reason", BLOCKED)
@pytest.mark.parametrize("phrase", ["Network Blocked", "NETWORK BLOCKED", "network blocked"])
@pytest.mark.parametrize("rang", [False, True])
def test_603_plus_passes_byte_for_byte_and_stops_hunting(reason: str, phrase: str, rang: bool) -> None:
    known = facts(f"603 {phrase}", reason, rang=rang)
    decision = EVERYTHING_404.decide(known)
    assert (decision.guard, decision.hunt, decision.near_miss) == ("network-blocked", "stop", False)
    assert (decision.status, decision.phrase) == (603, phrase.encode())
    assert emit(decision, known) is known.response.rows


def test_603_plus_is_recognised_with_its_text_in_the_second_of_a_comma_list() -> None:
    known = facts("603 Network Blocked", 'Reason: Q.850;cause=21, SIP;cause=603;text="v=analytics1;tel=+1"')
    assert EVERYTHING_404.decide(known).guard == "network-blocked"


def test_only_the_receiving_trunk_can_have_a_603_plus_rewritten() -> None:
    lifted = replace(PBX, rewrite_network_blocked=True)
    assert told(EVERYTHING_404, facts("603 Network Blocked", BLOCKED[0], target=lifted))[0] == "404 Not Found"
    answering = replace(CARRIER, rewrite_network_blocked=True)
    known = facts("603 Network Blocked", BLOCKED[0], source=answering)
    assert told(EVERYTHING_404, known)[0] == "603 Network Blocked"


@pytest.mark.parametrize(
    ("start", "headers"),
    [
        ("603 Network Blocked", []),
        ("603 Network Blocked", ["Reason: Q.850;cause=21"]),
        ("603 Network Blocked", ['Reason: Q.850;cause=21;text="v=analytics2;url=https://example.com"']),
        ("603 Network Blocked!", [BLOCKED[0]]),
        ("603 Decline", [BLOCKED[0]]),
        ("603 Decline", [BLOCKED[1]]),
    ],
)
def test_a_near_miss_of_603_plus_is_a_plain_603_and_is_noted(start: str, headers: list[str]) -> None:
    decision = EVERYTHING_404.decide(facts(start, *headers))
    assert (decision.status, decision.guard, decision.near_miss) == (404, "", True)
    quiet = rules("when.status = 486\nthen.status = 404").decide(facts(start, *headers))
    assert (quiet.changed, quiet.near_miss) == (False, True)


def test_the_phrase_and_the_reason_of_a_603_plus_mean_nothing_under_another_status() -> None:
    decision = EVERYTHING_404.decide(facts("403 Network Blocked", BLOCKED[0]))
    assert (decision.status, decision.near_miss) == (404, False)
    assert not EVERYTHING_404.decide(facts("603 Decline")).near_miss


def test_608_is_forwarded_to_who_knows_it() -> None:
    known = facts("608 Rejected", "Call-Info: <https://example.com/card>;purpose=jwscard", target=KNOWS_BOTH)
    decision = EVERYTHING_404.decide(known)
    assert (decision.guard, decision.hunt) == ("rejected-608", "stop")
    assert emit(decision, known) is known.response.rows


@pytest.mark.parametrize("target", [PBX, KNOWS_607])
def test_608_is_a_603_that_says_so_to_who_does_not(target: FakeTrunk) -> None:
    card = "Call-Info: <https://example.com/card>;purpose=jwscard"
    known = facts("608 Rejected", card, "Reason: SIP;cause=503", target=target)
    decision = EVERYTHING_404.decide(known)
    assert (decision.guard, decision.hunt, decision.rule) == ("rejected-608", "stop", "")
    assert told(EVERYTHING_404, known) == (
        "603 Decline",
        [card, 'Reason: Q.850;cause=21;text="Call rejected"', 'Reason: SIP;cause=608;text="Rejected"'],
    )


def test_a_reason_that_says_608_already_stays_as_it_came() -> None:
    reason = 'Reason: SIP;cause=608;text="Rejected by example.com";location=TN'
    assert told(EVERYTHING_404, facts("608 Rejected", reason))[1][1] == reason


@pytest.mark.parametrize(("fact", "phrase"), [(607, "Unwanted"), (608, "Rejected")])
def test_a_603_that_stands_for_607_or_608_is_never_washed_away(fact: int, phrase: str) -> None:
    reason = f'Reason: SIP;cause={fact};text="{phrase}"'
    known = facts("603 Decline", reason)
    decision = EVERYTHING_404.decide(known)
    assert (decision.guard, decision.hunt, decision.changed) == ("unwanted-607", "stop", False)
    assert emit(decision, known) is known.response.rows
    start, headers = told(EVERYTHING_404, facts("603 Decline", reason, target=KNOWS_BOTH))
    assert start == f"{fact} {phrase}"
    assert headers == ['Reason: Q.850;cause=21;text="Call rejected"', reason]


def test_607_and_608_are_never_turned_into_one_another() -> None:
    rejected = 'Reason: SIP;cause=608;text="Rejected"'
    assert told(EVERYTHING_404, facts("603 Decline", rejected, target=KNOWS_607)) == (
        "603 Decline",
        [rejected],
    )
    knows_608 = replace(PBX, supports=frozenset({608}))
    unwanted = 'Reason: SIP;cause=607;text="Unwanted"'
    assert told(EVERYTHING_404, facts("603 Decline", unwanted, target=knows_608)) == (
        "603 Decline",
        [unwanted],
    )
    assert told(rules("when.status = 486\nthen.status = 404"), facts("607 Unwanted", target=knows_608))[
        0
    ] == ("603 Decline")


class TestUnwanted:
    """607 is open to rules; what leaves as 607 depends on the receiving trunk."""

    NO_RULE = rules("when.status = 486\nthen.status = 404")
    MAKES_607 = rules('when.phrase = "unwanted"\nthen.status = 607')

    def test_it_passes_to_who_knows_it_and_stops_hunting(self) -> None:
        known = facts("607 Unwanted", target=KNOWS_607)
        decision = self.NO_RULE.decide(known)
        assert (decision.status, decision.changed, decision.hunt) == (607, False, "stop")
        assert emit(decision, known) is known.response.rows

    def test_it_replaces_whatever_the_sip_reason_said(self) -> None:
        known = facts("607 Unwanted", 'Reason: SIP;cause=486;text="Busy", Q.850;cause=17, X;a=1', target=PBX)
        assert told(self.NO_RULE, known) == (
            "603 Decline",
            [
                'Reason: Q.850;cause=21;text="Call rejected"',
                'Reason: SIP;cause=607;text="Unwanted"',
                "Reason: X;a=1",
            ],
        )

    def test_a_rule_may_match_it(self) -> None:
        assert told(EVERYTHING_404, facts("607 Unwanted"))[0] == "404 Not Found"

    def test_a_rule_may_make_one(self) -> None:
        known = facts("603 unwanted call", target=KNOWS_607)
        assert told(self.MAKES_607, known) == (
            "607 Unwanted",
            ['Reason: Q.850;cause=21;text="Call rejected"', 'Reason: SIP;cause=603;text="unwanted call"'],
        )

    def test_the_607_of_a_rule_is_translated_too(self) -> None:
        known = facts("603 unwanted call")
        decision = self.MAKES_607.decide(known)
        assert (decision.rule, decision.guard, decision.hunt) == ("it", "unwanted-607", "stop")
        assert told(self.MAKES_607, known) == (
            "603 Decline",
            ['Reason: Q.850;cause=21;text="Call rejected"', 'Reason: SIP;cause=607;text="Unwanted"'],
        )

    def test_a_shadow_rule_is_said_to_send_what_it_would_send(self) -> None:
        shadow = rules('mode = "shadow"\nwhen.status = 603\nthen.status = 607')
        assert shadow.decide(facts("603 Decline")).shadow_status == 603
        assert shadow.decide(facts("603 Decline", target=KNOWS_607)).shadow_status == 607

    def test_the_receiving_trunks_own_cause_is_used(self) -> None:
        target = replace(PBX, q850={603: 19})
        known = facts("607 Unwanted", target=target)
        assert lines(emit(self.NO_RULE.decide(known), known))[0].startswith("Reason: Q.850;cause=19;")


@pytest.mark.parametrize("method", [b"MESSAGE", b"SUBSCRIBE", b"INVITE"])
class TestEachMethod:
    """607 and 608 answer any request outside of a dialog (RFC 8197 section 3), both ways."""

    def test_towards_who_does_not_know_them_they_become_603(self, method: bytes) -> None:
        for status, phrase in ((607, "Unwanted"), (608, "Rejected")):
            start, headers = told(
                rules("when.rang = true\nthen.status = 404"), facts(f"{status} {phrase}", method=method)
            )
            assert start == "603 Decline"
            assert headers[-1] == f'Reason: SIP;cause={status};text="{phrase}"'

    def test_and_back_again_towards_who_does(self, method: bytes) -> None:
        for status, phrase in ((607, "Unwanted"), (608, "Rejected")):
            reason = f'Reason: SIP;cause={status};text="{phrase}"'
            known = facts("603 Decline", reason, method=method, target=KNOWS_BOTH)
            assert told(EVERYTHING_404, known)[0] == f"{status} {phrase}"
            unknown = facts("603 Decline", reason, method=method, target=PBX)
            assert told(EVERYTHING_404, unknown)[0] == "603 Decline"
