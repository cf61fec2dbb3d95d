"""What trunk patterns, regular expressions and durations mean."""

import re

import pytest

from gateway.patterns import (
    BadValue,
    TrunkPattern,
    compile_regex,
    parse_duration,
)

TRUNKS = {"pbx": "pbx", "carrier-a": "carrier", "carrier-b": "carrier", "lab": "peer"}


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        (["pbx"], ["pbx"]),
        (["carrier*"], ["carrier-a", "carrier-b"]),
        (["carrier-[b-z]"], ["carrier-b"]),
        (["?bx", "lab"], ["pbx", "lab"]),
        (["kind:carrier"], ["carrier-a", "carrier-b"]),
        (["kind:pbx", "kind:peer"], ["pbx", "lab"]),
        (["*"], list(TRUNKS)),
        (["carrier"], []),
        (["CARRIER-A"], []),
        ([], []),
    ],
)
def test_a_trunk_pattern_means_names_globs_and_kinds(patterns: list[str], matched: list[str]) -> None:
    pattern = TrunkPattern(patterns)
    assert [name for name, kind in TRUNKS.items() if pattern.matches(name, kind)] == matched


def test_patterns_that_match_no_trunk_are_told() -> None:
    pattern = TrunkPattern(["pbx", "carier-a", "kind:carrier", "kind:pxb", "lab*", "x*"])
    assert pattern.unknown(TRUNKS) == ["carier-a", "kind:pxb", "x*"]


def test_a_regular_expression_takes_flags() -> None:
    assert compile_regex("not in service", flags=re.IGNORECASE).search("Number Not In Service")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a(", "'a(' is not a regular expression: missing ), unterminated subpattern at position 1"),
        ("*", "'*' is not a regular expression: nothing to repeat at position 0"),
        ("[[a]", "'[[a]' is not a regular expression: possible nested set at position 1"),
        ("a{9999999999}", "'a{9999999999}' is not a regular expression: the repetition number is too large"),
    ],
)
def test_what_is_no_regular_expression_is_refused_with_the_place(text: str, problem: str) -> None:
    with pytest.raises(BadValue) as caught:
        compile_regex(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("1.5 s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("30d", 2_592_000.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1 minute", "1m30s", "1e3s", "٣s", "1S"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_duration(text)
    assert str(caught.value) == f"{text!r} is not a duration"
    assert caught.value.remedy == 'write a number with ms, s, m, h or d, such as "30s"'
