"""What leaves with a decision: status, phrase and cause together, the original kept, headers edited."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.rules import emit, emitted_q850
from gateway.rules.causes import CAUSE_TO_STATUS, NAMES, SIP_TO_CAUSE, cause_for
from tests.rules.support import CARRIER, PBX, facts, rules, told

TO_404 = rules("then.status = 404")


def test_status_phrase_and_cause_leave_together() -> None:
    assert told(TO_404, facts("603 Decline", "Server: x", "Reason: Q.850;cause=21", "X-Last: 1")) == (
        "404 Not Found",
        [
            "Server: x",
            'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"',
            'Reason: SIP;cause=603;text="Decline"',
            "X-Last: 1",
        ],
    )


def test_a_cause_is_put_in_where_none_was() -> None:
    assert told(TO_404, facts("603 Decline", "Server: x"))[1] == [
        "Server: x",
        'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"',
        'Reason: SIP;cause=603;text="Decline"',
    ]


@pytest.mark.parametrize(
    "status", sorted(set(range(400, 700)) - {401, 407, 422, 423, 428, 436, 437, 438, 487, 491, 607, 608})
)
def test_the_cause_agrees_with_the_table_for_each_status(status: int) -> None:
    known = facts("480 X", "Reason: Q.850;cause=99")
    ruleset = rules(f"then.status = {status}")
    decision = ruleset.decide(known)
    assert decision.status == status
    assert emitted_q850(decision, known) == SIP_TO_CAUSE.get(status, 0)
    assert sum("Q.850" in line for line in told(ruleset, known)[1]) == (status in SIP_TO_CAUSE)


def test_the_receiving_trunks_table_goes_before_the_standard_one() -> None:
    known = facts("603 Decline", target=replace(PBX, q850={404: 3}))
    assert told(TO_404, known)[1][0] == 'Reason: Q.850;cause=3;text="No route to destination"'


def test_the_location_of_the_original_cause_stays() -> None:
    known = facts("603 Decline", 'Reason: Q.850;cause=21;text="Call rejected";location=rln')
    assert told(TO_404, known)[1][0].endswith(";location=RLN")


def test_of_two_causes_the_first_counts() -> None:
    headers = ["Reason: Q.850;cause=21;location=LN", "Reason: Q.850;cause=1;location=RLN"]
    known = facts("603 Decline", *headers)
    assert told(TO_404, known)[1][0].endswith(";location=LN")
    assert rules("when.q850 = 21\nthen.status = 404").decide(known).rule == "it"
    assert rules("when.q850 = 1\nthen.status = 404").decide(known).rule == ""


@pytest.mark.parametrize("location", ["", '"a b"', '"LN;cause=21"'])
def test_a_location_that_is_no_token_goes(location: str) -> None:
    known = facts("603 Decline", f"Reason: Q.850;cause=21;location={location}")
    assert told(TO_404, known)[1][0] == 'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"'


def test_a_value_too_long_for_a_line_of_its_own_goes() -> None:
    fits, too_long = ("X;a=" + "y" * (length - 4) for length in (4096, 4097))
    headers = told(TO_404, facts("603 Decline", f"Reason:{fits}", f"Reason:{too_long}"))[1]
    assert f"Reason: {fits}" in headers
    assert not any(too_long in line for line in headers)


def test_a_cause_that_agrees_already_stays_byte_for_byte() -> None:
    reason = 'Reason: q.850 ; cause=1 ;text="unbekannt, leider";location=LN'
    assert told(TO_404, facts("603 Decline", reason))[1][0] == reason


def test_there_is_one_value_a_protocol_and_other_protocols_pass() -> None:
    headers = [
        "Reason: Q.850;cause=21, Preemption;cause=1",
        "Reason: SIP;cause=480",
        "Reason: q.850;cause=3, sip;cause=1",
    ]
    assert told(TO_404, facts("603 Decline", *headers))[1] == [
        'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"',
        "Reason: SIP;cause=480",
        "Reason: Preemption;cause=1",
    ]


def test_a_reason_that_nobody_can_read_does_not_survive_a_rewrite() -> None:
    known = facts("603 Decline", 'Reason: Q.850;cause=21;text="unclosed')
    assert not any("unclosed" in line for line in told(TO_404, known)[1])


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ('Say "no" \\ now', '"Say \\"no\\" \\\\ now"'),
        ("Größe", '"Größe"'),
        ("x" * 500, '"' + "x" * 128 + '"'),
        ("a\tb\x00c", '"a b c"'),
    ],
)
def test_the_original_phrase_is_quoted_and_cleaned(phrase: str, text: str) -> None:
    assert told(TO_404, facts(f"603 {phrase}"))[1][-1] == f"Reason: SIP;cause=603;text={text}"


def test_an_empty_phrase_has_no_text() -> None:
    assert told(TO_404, facts("603 "))[1][-1] == "Reason: SIP;cause=603"


def test_the_original_goes_where_the_rule_says() -> None:
    header = rules('then.status = 404\nthen.original = "header"')
    assert told(header, facts("603 Decline", "X-Original-Response: forged"))[1] == [
        "X-Original-Response: 603 Decline",
        'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"',
    ]
    nowhere = rules('then.status = 404\nthen.original = "none"')
    assert told(nowhere, facts("603 Decline"))[1] == [
        'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"'
    ]


def test_phrase() -> None:
    assert told(rules('then.status = 404\nthen.phrase = "No such number"'), facts("603 X"))[0] == (
        "404 No such number"
    )
    only = rules('then.phrase = "Abgelehnt für heute"')
    assert told(only, facts("603 X", "Reason: SIP;cause=1")) == (
        "603 Abgelehnt für heute",
        ["Reason: SIP;cause=1"],
    )


class TestQ850:
    """The four ways to treat the cause."""

    CAME = ('Reason: Q.850;cause=21;text="x"', "Reason: X;a=1")

    def test_a_number_replaces_it_and_keeps_the_status(self) -> None:
        known = facts("603 Decline", *self.CAME)
        assert told(rules("then.q850 = 31"), known) == (
            "603 Decline",
            ['Reason: Q.850;cause=31;text="Normal, unspecified"', "Reason: X;a=1"],
        )

    def test_a_cause_without_a_name_has_no_text(self) -> None:
        assert told(rules("then.q850 = 126"), facts("603 Decline"))[1] == ["Reason: Q.850;cause=126"]

    def test_keep_leaves_every_value_as_it_came_and_adds_the_original(self) -> None:
        keep = rules('then.status = 404\nthen.q850 = "keep"')
        assert told(keep, facts("603 Decline", *self.CAME)) == (
            "404 Not Found",
            [*self.CAME, 'Reason: SIP;cause=603;text="Decline"'],
        )
        keep = rules('then.status = 404\nthen.q850 = "keep"\nthen.original = "none"')
        known = facts("603 Decline", *self.CAME)
        decision = keep.decide(known)
        assert emit(decision, known) == known.response.rows
        assert emitted_q850(decision, known) == 21

    def test_drop_takes_it_out(self) -> None:
        drop = rules('then.q850 = "drop"')
        assert told(drop, facts("603 Decline", *self.CAME)) == ("603 Decline", ["Reason: X;a=1"])

    def test_coherent_without_a_status_repairs_what_came(self) -> None:
        repair = rules('then.q850 = "coherent"')
        assert (
            told(repair, facts("486 Busy Here", *self.CAME))[1][0]
            == 'Reason: Q.850;cause=17;text="User busy"'
        )


class TestHeaders:
    """Headers that are put in, replaced and taken out."""

    def test_set_replaces_in_place_and_removes_repetitions(self) -> None:
        ruleset = rules('then.set.X-Why = "dead number"\nthen.set.Organization = "Ours"')
        came = ["A: 1", "x-why: 1", "B: 2", "X-Why: 2"]
        assert told(ruleset, facts("603 Decline", *came)) == (
            "603 Decline",
            ["A: 1", "X-Why: dead number", "B: 2", "Organization: Ours"],
        )

    def test_remove_knows_compact_forms(self) -> None:
        ruleset = rules('then.remove = ["Subject", "X-Secret"]')
        assert told(ruleset, facts("603 Decline", "s: hello", "x-secret: 1", "A: 1"))[1] == ["A: 1"]

    @pytest.mark.parametrize(
        ("then", "came", "leaves"),
        [
            ("", ["Retry-After: 60"], ["Retry-After: 60"]),
            ("then.retry_after = 5", ["Retry-After: 60"], ["Retry-After: 5"]),
            ("then.retry_after = 5", [], ["Retry-After: 5"]),
            ("then.retry_after = false", ["Retry-After: 60"], []),
        ],
    )
    @pytest.mark.parametrize("status", [404, 410, 486])
    def test_retry_after_stays_unless_told(
        self, status: int, then: str, came: list[str], leaves: list[str]
    ) -> None:
        headers = told(rules(f"then.status = {status}\n{then}"), facts("603 Decline", *came))[1]
        assert [line for line in headers if line.startswith("Retry-After")] == leaves

    def test_what_is_not_spoken_of_stays_the_very_bytes_that_came(self) -> None:
        known = facts(
            "603 Decline", "X-Odd :  a,  b ", "Call-Info: <sip:x>\r\n  ;purpose=icon", "Reason: Q.850;cause=1"
        )
        emitted = emit(TO_404.decide(known), known)
        assert [row for row in emitted if row[0] != b"Reason"] == [
            row for row in known.response.rows if row[0] != b"Reason"
        ]


def test_pass_hunt_and_label() -> None:
    known = facts("603 Decline")
    decision = rules('then.pass = true\nthen.hunt = "continue"\nthen.label = "known"').decide(known)
    assert (decision.rule, decision.mode, decision.hunt, decision.label) == (
        "it",
        "enforce",
        "continue",
        "known",
    )
    assert not decision.changed
    assert emit(decision, known) is known.response.rows


def test_each_status_has_a_cause_that_has_a_name_or_none() -> None:
    assert (cause_for(404, {}), cause_for(410, {}), cause_for(486, {}), cause_for(603, {})) == (1, 22, 17, 21)
    assert cause_for(488, {}) == 0
    assert set(SIP_TO_CAUSE.values()) <= set(NAMES)


class TestFromQ850:
    """`then.status = "from-q850"`: the cause is believed, and the status follows (RFC 3398 7.2.4.1)."""

    RULE = rules('when.status = "4xx"\nthen.status = "from-q850"')

    @pytest.mark.parametrize("cause", sorted(CAUSE_TO_STATUS))
    def test_each_cause_gives_its_status_and_stays(self, cause: int) -> None:
        reason = f'Reason: Q.850;cause={cause};text="so they said";location=LN'
        start, headers = told(self.RULE, facts("499 X", reason))
        assert int(start[:3]) == CAUSE_TO_STATUS[cause]
        assert headers[0] == reason

    def test_who_rejected_tells_a_decline_from_a_prohibition(self) -> None:
        for location, status in (("U", 603), ("RLN", 403), ("LN", 403)):
            known = facts("480 X", f"Reason: Q.850;cause=21;location={location}")
            assert self.RULE.decide(known).status == status

    def test_the_table_of_the_trunk_that_answered_goes_first(self) -> None:
        known = facts("480 X", "Reason: Q.850;cause=21", source=replace(CARRIER, q850={21: 404, 34: 480}))
        assert told(self.RULE, known)[0] == "404 Not Found"
        known = facts("480 X", "Reason: Q.850;cause=21", source=PBX, target=replace(PBX, q850={21: 404}))
        assert told(self.RULE, known)[0] == "403 Forbidden"

    def test_the_table_of_the_trunk_that_hears_it_still_says_the_cause(self) -> None:
        known = facts("480 X", "Reason: Q.850;cause=2", target=replace(PBX, q850={404: 3}))
        assert told(self.RULE, known)[1][0] == 'Reason: Q.850;cause=3;text="No route to destination"'

    @pytest.mark.parametrize(
        "reason", ["Server: x", "Reason: Q.850;cause=16", "Reason: Q.850;cause=480", "Reason: SIP;cause=1"]
    )
    def test_without_a_cause_that_stands_for_a_status_the_rule_does_not_match(self, reason: str) -> None:
        explanation = self.RULE.explain(facts("499 X", reason))
        assert explanation.decision.rule == ""
        assert "wanted a cause that stands for a status" in explanation.as_text()

    @pytest.mark.parametrize("status", [487, 401, 608])
    def test_no_table_makes_an_answer_that_only_the_protocol_may_give(self, status: int) -> None:
        known = facts("480 X", "Reason: Q.850;cause=21", source=replace(CARRIER, q850={21: status}))
        assert self.RULE.decide(known).rule == ""

    def test_in_shadow_it_says_what_it_would_have_sent(self) -> None:
        shadow = rules('mode = "shadow"\nwhen.status = 480\nthen.status = "from-q850"')
        assert shadow.decide(facts("480 X", "Reason: Q.850;cause=1")).shadow_status == 404

    def test_the_607_of_a_table_is_translated_as_any_other(self) -> None:
        known = facts("480 X", "Reason: Q.850;cause=21", source=replace(CARRIER, q850={21: 607}))
        start, headers = told(self.RULE, known)
        assert (start, headers[-1]) == ("603 Decline", 'Reason: SIP;cause=607;text="Unwanted"')


@pytest.mark.parametrize(
    ("location", "leaves"),
    [("rln", ";location=RLN"), ("LOC-15", ";location=LOC-15"), ("LOC-16", ""), ("mars", "")],
)
def test_a_location_is_one_of_rfc_8606_or_none(location: str, leaves: str) -> None:
    known = facts("603 Decline", f"Reason: Q.850;cause=21;location={location}")
    assert (
        told(TO_404, known)[1][0] == f'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"{leaves}'
    )
