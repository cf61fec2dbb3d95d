# ruff: noqa: E501 (a sentence stands on one line)
"""What is valid, and probably not meant: each finding with what happens to calls."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.rules import compile_rules, lint, shipped_rules
from gateway.rules.overlap import Overlaps
from gateway.toml_source import TomlSource
from tests.rules.support import TRUNKS, rules


def found(text: str, trunks: Mapping[str, str] | None = TRUNKS) -> list[tuple[str, str, str]]:
    """Return level, kind and sentence of each finding."""
    source = TomlSource.parse(f"version = 1\n{text}", "rules.toml")
    findings = lint(compile_rules(source, None), trunks)
    return [(finding.level, finding.kind, str(finding.text)) for finding in findings]


def kinds(text: str, trunks: Mapping[str, str] | None = TRUNKS) -> list[str]:
    return [kind for _, kind, _ in found(text, trunks)]


def pair(first: str, second: str) -> str:
    """Return two rules with these lines, for a 486 unless they say otherwise."""
    text = ""
    for name, lines in (("one", first), ("two", second)):
        status = "" if "when.status" in lines else "when.status = 486\n"
        text += f'[[rule]]\nname = "{name}"\n{status}{lines}\n'
        text += "" if "then." in lines else f"then.label = '{name}'\n"
    return text


def test_the_shipped_rules_earn_no_warning() -> None:
    findings = lint(compile_rules(shipped_rules(), TRUNKS), TRUNKS)
    assert {finding.level for finding in findings} == {"note"}
    assert {finding.kind for finding in findings} == {"downgrade", "upgrade"}


class TestUnreachable:
    """Rules that never match, because others decide before them."""

    def test_the_sentence_names_the_rule_that_takes_its_calls(self) -> None:
        assert found(
            '[[rule]]\nname = "all"\nwhen.status = "6xx"\nwhen.from = "carrier"\nthen.pass = true\n'
            '[[rule]]\nname = "one"\nwhen.status = 603\nwhen.from = "carrier"\nwhen.q850 = 1\n'
            'then.label = "x"\n'
            '[[rule]]\nname = "two"\nwhen.status = 603\nthen.label = "x"\n'
            '[[rule]]\nname = "three"\nwhen.status = 603\nwhen.method = "MESSAGE"\nthen.label = "x"\n'
        ) == [
            (
                "warning",
                "unreachable",
                'rules.toml:7: rule[one]: the rule never matches, because "all" matches everything that '
                "it does; move it up, or remove it",
            )
        ]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("", "when.q850 = 17"),
            ("when.q850 = [1, 17]", "when.q850 = 17"),
            ("when.from = 'kind:carrier'", "when.from = 'carrier'"),
            ("when.from = 'c*'", "when.from = 'kind:carrier'\nwhen.to = 'pbx'"),
            ("when.after = '<2s'", "when.after = '100ms..1s'"),
            ("when.after = ['<2s', '>9s']", "when.after = ['<=1s', '>10s']"),
            ("when.called.prefix = '+1'", "when.called.prefix = ['+1215', '+1267']"),
            ("when.phrase = ['a', 'b']", "when.phrase = 'b'"),
            ("when.header.X-A = true", "when.header.X-A = true\nwhen.rang = true"),
            ("when.hours = '08:00-18:00'", "when.hours = '08:00-18:00'\nwhen.attestation = 'A'"),
            ("when.attestation = ['A', 'B']", "when.attestation = 'B'"),
            ("when.branches = ['single', 'forked']", "when.branches = 'forked'"),
            ("when.method = ['INVITE', 'MESSAGE']", "when.method = 'MESSAGE'"),
            ("when.status = '4xx'", "when.status = [486, 408]"),
        ],
    )
    def test_proved_by_sets_spans_and_prefixes(self, first: str, second: str) -> None:
        trunks = TRUNKS | {"carrier-2": "carrier"}
        assert "unreachable" in kinds(pair(first, second), trunks)
        assert "unreachable" not in kinds(pair(second, first), trunks)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("when.rang = true", "when.rang = false"),
            ("when.q850 = 17", ""),
            ("when.after = '<1s'", "when.after = '<2s'"),
            ("when.after = '<1s'", "when.ringing = '<1s'"),
            ("when.called.prefix = '+1215'", "when.called.prefix = '+1'"),
            ("when.called.prefix = '+1'\nwhen.called.regex = '5$'", "when.called.prefix = '+12'"),
            ("when.called.prefix = '+1'", "when.caller.prefix = '+12'"),
            ("when.from = 'carrier'", "when.from = 'kind:carrier'"),
            ("when.header.X-A = true", "when.header.X-B = true"),
            ("when.retry_after = '<60'", "when.retry_after = true"),
            ("when.status = [486, 408]", "when.status = '4xx'"),
        ],
    )
    def test_not_where_something_is_left_for_the_second(self, first: str, second: str) -> None:
        trunks = TRUNKS | {"other": "carrier"}
        assert not {"unreachable", "shadowed"} & set(kinds(pair(first, second), trunks))

    def test_several_rules_cover_together_what_none_covers_alone(self) -> None:
        text = pair("when.status = '4xx'", "when.status = '5xx'")
        text += '[[rule]]\nname = "both"\nwhen.status = [486, 503]\nwhen.q850 = 1\nthen.label = "x"\n'
        assert [sentence for _, kind, sentence in found(text) if kind == "unreachable"] == [
            'rules.toml:10: rule[both]: the rule never matches, because "one" and "two" match everything '
            "that it does; move it up, or remove it"
        ]

    def test_expressions_are_compared_by_their_words_and_only_suspected(self) -> None:
        findings = found(pair("when.phrase = 'number'", "when.phrase = 'number (is )?invalid'"))
        assert [(level, kind) for level, kind, _ in findings] == [("note", "shadowed")]
        assert 'hardly ever matches, because "one" most likely matches what it does' in findings[0][2]
        assert not kinds(pair("when.phrase = 'number invalid'", "when.phrase = 'number'"))

    @pytest.mark.parametrize("mode", ["shadow", "off"])
    def test_a_shadow_rule_or_one_that_is_off_covers_nothing(self, mode: str) -> None:
        assert kinds(pair(f"mode = '{mode}'", "when.q850 = 1")) == []

    def test_a_shadow_rule_is_covered_as_any_other(self) -> None:
        assert kinds(pair("", "mode = 'shadow'\nwhen.q850 = 1")) == ["unreachable"]

    def test_rules_are_compared_only_with_those_about_the_same_status(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared = []
        covers = Overlaps.covers
        monkeypatch.setattr(Overlaps, "covers", lambda *each: compared.append(1) or covers(*each))
        heading = '[[rule]]\nname = "{}"\nthen.label = "x"\n'
        text = "".join(
            f"{heading.format(n)}when.status = {500 + n % 100}\nwhen.q850 = {1 + n // 100}\n"
            for n in range(1000)
        )
        assert kinds(text) == []
        assert len(compared) == 100 * sum(range(10))


class TestIdle:
    """Rules that guards, or the trunks there are, keep from ever matching."""

    def test_a_rule_for_statuses_that_guards_protect(self) -> None:
        assert found('[[rule]]\nname = "a"\nwhen.status = [487, 608]\nthen.status = 404\n') == [
            (
                "warning",
                "guarded",
                "rules.toml:4: rule[a].when.status: no rule is ever asked about these statuses, because "
                "guards protect them; remove the rule",
            )
        ]

    def test_a_603_that_stands_for_a_607_is_decided_by_its_guard(self) -> None:
        assert kinds(pair("when.status = 603\nwhen.sip_cause = [607, 608]", "")) == ["guarded"]
        assert kinds(pair("when.status = 603\nwhen.sip_cause = [607, 480]", "")) == []
        assert kinds(pair("when.status = [480, 603]\nwhen.sip_cause = 607", "")) == []

    def test_a_kind_that_no_trunk_is_of(self) -> None:
        text = pair("when.from = ['kind:peer', 'lab*']", "")
        assert found(text)[0][1:] == (
            "no-trunk",
            "rules.toml:5: rule[one].when.from: the rule never matches, because no trunk is kind:peer or lab*; "
            "the trunks are pbx, carrier; name one of them, or remove the rule",
        )
        assert kinds(text, None) == []


def test_neighbours_that_disagree_about_the_same_answers() -> None:
    text = pair("when.q850 = [1, 3]\nthen.status = 404", "when.q850 = [3, 22]\nthen.status = 410")
    assert [sentence for _, _, sentence in found(text)] == [
        'rules.toml:7: rule[two]: "one" above it matches q850 3 too, so that callers hear 404, and not 410; '
        "keep these values in one of the two"
    ]
    assert not kinds(text.replace("[3, 22]", "22"))
    assert not kinds(text.replace("410", "404"))
    assert not kinds(text.replace("when.q850 = [3, 22]", "when.sip_cause = 480"))
    trunks = "when.from = ['{}', 'pbx']\nthen.status = {}"
    assert "contradiction" in kinds(pair(trunks.format("carrier", 404), trunks.format("x", 410)), None)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("then.status = 404\nthen.q850 = 21", "cause 21 does not agree with 404, and many systems believe the cause, and read it as 403; write 1, or leave the key out"),
        ("then.status = 404\nthen.q850 = 'keep'", 'the cause that came stays beside 404, and many systems believe the cause; write "coherent" or "drop"'),
        ("then.q850 = 1", "cause 1 does not agree with 486, and many systems believe the cause, and read it as 404; write 17, or leave the key out"),
        ("then.status = 488\nthen.q850 = 16", 'cause 16 does not agree with 488, and many systems believe the cause; write "drop"'),
        ("then.status = 404\nthen.q850 = 3", ""),
        ("then.status = 480\nthen.q850 = 20", ""),
        ("then.status = 404\nthen.q850 = 'drop'", ""),
        ("then.status = 'from-q850'", ""),
    ],
)  # fmt: skip
def test_a_cause_that_contradicts_its_status(then: str, says: str) -> None:
    sentences = [text for _, kind, text in found(pair(then, "when.status = 500")) if kind == "incoherent"]
    assert [sentence.partition("then.q850: ")[2] for sentence in sentences] == ([says] if says else [])


class TestBlockedCalls:
    """603+ and RFC 8688 section 1."""

    def test_a_bare_603_must_not_look_like_a_dead_number(self) -> None:
        level, kind, sentence = found(pair("when.status = 603\nthen.status = 404", ""))[0]
        assert (level, kind) == ("warning", "bare-603")
        assert sentence == (
            "rules.toml:5: rule[one].then.status: every 603 becomes 404, also that of a blocked caller, so that "
            "others strike a living number off their lists (RFC 8688 section 1); "
            "add evidence about the number: when.q850, when.phrase, when.called.list"
        )

    def test_of_a_trunk_that_the_operator_knows_it_is_only_noted(self) -> None:
        text = pair("when.status = 603\nwhen.from = 'carrier'\nthen.status = 410", "")
        assert found(text)[0][:2] == ("note", "bare-603")
        for evidence in (
            "when.q850 = 1",
            "when.phrase = 'x'",
            "when.called.prefix = '1'",
            "when.after = '<1s'",
        ):
            assert "bare-603" not in kinds(pair(f"when.status = 603\n{evidence}\nthen.status = 404", ""))
        assert "bare-603" not in kinds(pair("when.status = 603\nthen.status = 486", ""))

    def test_a_603_plus_is_not_to_be_invented(self) -> None:
        assert "invented-603-plus" in kinds(pair("when.status = 603\nthen.phrase = 'Network blocked'", ""))

    def test_a_phrase_that_takes_a_near_miss(self) -> None:
        assert "near-miss" in kinds(pair("when.status = 603\nwhen.phrase = 'block'\nthen.status = 486", ""))
        assert "near-miss" not in kinds(
            pair("when.status = 603\nwhen.phrase = 'block'\nthen.pass = true", "")
        )

    def test_a_408_that_nobody_hears(self) -> None:
        """RFC 4320 4.2: no 408 goes out but to INVITE."""
        methods = "when.method = ['MESSAGE', 'INVITE', 'INFO']"
        (one,) = found(f'[[rule]]\nname = "one"\nwhen.status = 480\n{methods}\nthen.status = 408\n')
        assert one == (
            "warning",
            "silence",
            "rules.toml:6: rule[one].then.status: INFO and MESSAGE get no answer, because a 408 is said to INVITE "
            "alone (RFC 4320); write another status, such as 504",
        )
        assert "silence" not in kinds(pair("when.status = 480\nthen.status = 408", ""))
        assert "silence" not in kinds(pair(f"when.status = 408\n{methods}\nthen.status = 480", ""))


def test_what_crosses_between_the_classes_is_noted() -> None:
    down = found(pair("when.status = 603\nwhen.q850 = 1\nthen.status = 404", ""))
    up = found(pair("then.status = 603", "when.status = 500"))
    assert [(level, kind) for level, kind, _ in down + up] == [("note", "downgrade"), ("note", "upgrade")]
    assert "6xx becomes 404, so that upstream may go on" in down[0][2]
    assert "a status below 600 becomes 603, so that upstream stops" in up[0][2]
    assert kinds(pair("then.status = 480", "when.status = 500")) == []
    assert kinds(pair("when.status = 603\nthen.hunt = 'continue'", "")) == ["hunts-on"]


def test_what_a_condition_takes_for_granted_is_noted() -> None:
    assert kinds(pair("when.attestation = 'A'", "")) == ["unverified"]
    assert kinds(pair("when.hours = '08:00-18:00'", "")) == ["utc"]
    assert kinds(pair("when.hours = '08:00-18:00'\nwhen.tz = 'UTC'", "")) == []


def test_a_rule_that_never_matches_earns_no_other_finding() -> None:
    assert kinds(pair("", "then.status = 603")) == ["unreachable"]
    assert lint(rules("mode = 'off'\nwhen.status = 603\nthen.status = 404")) == []
