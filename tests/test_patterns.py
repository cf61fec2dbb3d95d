"""What trunk patterns, number patterns, number lists, regular expressions and durations mean."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.patterns import (
    BadValue,
    NumberPattern,
    TrunkPattern,
    compile_regex,
    parse_duration,
    read_numbers,
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


@pytest.mark.parametrize(
    ("pattern", "number", "matches"),
    [
        (NumberPattern(), "anything", True),
        (NumberPattern(prefix=["+1", "00"]), "+12155551212", True),
        (NumberPattern(prefix=["+1", "00"]), "0044", True),
        (NumberPattern(prefix=["+1", "00"]), "12155551212", False),
        (NumberPattern(regex="555"), "+12155551212", True),
        (NumberPattern(regex="^555"), "+12155551212", False),
        (NumberPattern(numbers=["1001", "+44*"]), "1001", True),
        (NumberPattern(numbers=["1001", "+44*"]), "10011", False),
        (NumberPattern(numbers=["1001", "+44*"]), "+44", True),
        (NumberPattern(numbers=["1001", "+44*"]), "+4420", True),
        (NumberPattern(numbers=["1001", "+44*"]), "+4", False),
        (NumberPattern(numbers=["*"]), "", True),
        (NumberPattern(numbers=[]), "1001", False),
        (NumberPattern(prefix=["+1"], regex="5$", numbers=["+1215*"]), "+12155", True),
        (NumberPattern(prefix=["+1"], regex="5$", numbers=["+1215*"]), "+12156", False),
        (NumberPattern(prefix=["+1"], regex="5$", numbers=["+1215*"]), "+12165", False),
        (NumberPattern(prefix=["+2"], regex="5$", numbers=["+1215*"]), "+12155", False),
    ],
)
def test_all_conditions_on_a_number_must_hold(pattern: NumberPattern, number: str, matches: bool) -> None:
    assert pattern.matches(number) is matches


ENTRY = st.from_regex(r"[0-9]{0,4}\*?", fullmatch=True)


@given(st.lists(ENTRY), st.from_regex(r"[0-9]{0,5}", fullmatch=True))
def test_a_list_means_what_comparing_with_each_entry_means(entries: list[str], number: str) -> None:
    meant = any(number.startswith(e[:-1]) if e.endswith("*") else number == e for e in entries)
    assert NumberPattern(numbers=entries).matches(number) is meant


def test_a_number_list_has_comments_blank_lines_and_the_separators_people_write(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text(
        "\ufeff# retired\n\n+1 (215) 555-1212   # the old fax\n1001\n+44 20*\n*72#\nalice.b\n  bob  \n",
        encoding="utf-8",
    )
    assert read_numbers(path) == ["+12155551212", "1001", "+4420*", "*72#", "alice.b", "bob"]


def test_a_line_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("1001\nsome words\n")
    with pytest.raises(BadValue) as caught:
        read_numbers(path)
    assert str(caught.value) == f"line 2 of the list {path} is not a number"
    assert caught.value.remedy == "write one number, or prefix*, on each line"


def test_a_list_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="cannot be read: no such file or directory"):
        read_numbers(tmp_path / "absent")
    (tmp_path / "latin").write_bytes(b"\xe9\n")
    with pytest.raises(BadValue, match="is not UTF-8 text"):
        read_numbers(tmp_path / "latin")


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
