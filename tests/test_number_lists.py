"""Numbers and prefixes from files: what is in a list, and what such a list costs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import number_lists
from gateway.number_lists import NumberList, NumberPattern, load_numbers
from gateway.patterns import BadValue


@pytest.mark.parametrize(
    ("pattern", "number", "matches"),
    [
        (NumberPattern(), "anything", True),
        (NumberPattern(prefix=["+1", "00"]), "+12155551212", True),
        (NumberPattern(prefix=["+1", "00"]), "0044", True),
        (NumberPattern(prefix=["+1", "00"]), "12155551212", False),
        (NumberPattern(regex="555"), "+12155551212", True),
        (NumberPattern(regex="^555"), "+12155551212", False),
        (NumberPattern(regex="5"), 255 * "1" + "5", True),
        (NumberPattern(regex="5"), 256 * "1" + "5", False),  # only so much is searched
        (NumberPattern(lists=[NumberList(["1001", "+44*"])]), "1001", True),
        (NumberPattern(lists=[NumberList(["1001", "+44*"])]), "10011", False),
        (NumberPattern(lists=[NumberList(["1001", "+44*"])]), "+44", True),
        (NumberPattern(lists=[NumberList(["1001", "+44*"])]), "+4420", True),
        (NumberPattern(lists=[NumberList(["1001", "+44*"])]), "+4", False),
        (NumberPattern(lists=[NumberList(["*"])]), "", True),
        (NumberPattern(lists=[NumberList([])]), "1001", False),
        (NumberPattern(prefix=["+1"], regex="5$", lists=[NumberList(["+1215*"])]), "+12155", True),
        (NumberPattern(prefix=["+1"], regex="5$", lists=[NumberList(["+1215*"])]), "+12156", False),
        (NumberPattern(prefix=["+1"], regex="5$", lists=[NumberList(["+1215*"])]), "+12165", False),
        (NumberPattern(prefix=["+2"], regex="5$", lists=[NumberList(["+1215*"])]), "+12155", False),
    ],
)
def test_all_conditions_on_a_number_must_hold(pattern: NumberPattern, number: str, matches: bool) -> None:
    assert pattern.matches(number) is matches


def test_a_hostile_number_is_searched_in_no_time() -> None:
    """On all of these 60,000 characters the expression would take hours, and every call would wait for it."""
    assert not NumberPattern(regex=".*1.*2").matches(60_000 * "1")


ENTRY = st.from_regex(r"\+?[0-3]{0,4}[a#]?\*?|9{15,20}\*?", fullmatch=True)


@settings(max_examples=500)
@given(st.lists(ENTRY), st.from_regex(r"\+?[0-3]{0,5}[a#]?|9{15,21}x?|[٣0]{1,3}", fullmatch=True))
def test_a_list_means_what_comparing_with_each_entry_means(entries: list[str], number: str) -> None:
    meant = any(number.startswith(e[:-1]) if e.endswith("*") else number == e for e in entries)
    assert (number in NumberList(entries)) is meant


def test_a_number_list_has_comments_blank_lines_and_the_separators_people_write(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text(
        "\ufeff# retired\n\n+1 (215) 555-1212   # the old fax\n1001\n+44 20*\n*72#\nalice.b\n  bob  \n",
        encoding="utf-8",
    )
    numbers = load_numbers(path)
    inside = ["+12155551212", "1001", "+4420", "+44201", "*72#", "alice.b", "bob"]
    outside = ["12155551212", "+12155551213", "10011", "+44", "*72", "alice", "bobb", "retired", "#", ""]
    assert [number for number in inside + outside if number in numbers] == inside


def test_a_line_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("1001\nsome words\n")
    with pytest.raises(BadValue) as caught:
        load_numbers(path)
    assert str(caught.value) == f"line 2 of the list {path} is not a number"
    assert caught.value.remedy == "write one number, or prefix*, on each line"


def test_a_list_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="cannot be read: no such file or directory"):
        load_numbers(tmp_path / "absent")
    (tmp_path / "latin").write_bytes(b"\xe9\n")
    with pytest.raises(BadValue, match="is not UTF-8 text"):
        load_numbers(tmp_path / "latin")


def test_zeros_in_front_and_a_plus_make_another_number() -> None:
    entries = ["0012", "12", "+12"]
    for entry in entries:
        assert [number for number in entries if number in NumberList([entry])] == [entry]
        assert [number for number in entries if number in NumberList([f"{entry}*"])] == [entry]


def test_a_long_list_in_any_order_holds_what_was_put_in() -> None:
    numbers = [str(number * 7919 % 100_003) for number in range(20_000)]
    held, prefixes = NumberList(numbers), NumberList([f"{number}*" for number in numbers])
    known = set(numbers)
    for number in map(str, range(0, 100_003, 17)):
        assert (number in held) is (number in known)
        assert (number in prefixes) is any(number[:length] in known for length in range(1, 7))


def test_a_number_takes_eight_bytes_and_a_prefix_nine() -> None:
    """The bound on memory that docs/architecture.md states."""
    numbers = NumberList(f"+1215{number:07}" for number in range(10_000))
    prefixes = NumberList(f"+1215{number:07}*" for number in range(10_000))
    held = [getattr(each, name) for each in (numbers, prefixes) for name in ("_exact", "_starts", "_lengths")]
    assert sum(map(sys.getsizeof, held)) < 10_000 * 17 * 1.15 + 1000


def test_a_list_has_a_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_lists, "MOST_ENTRIES", 3)
    assert "2" in NumberList(map(str, range(3)))
    with pytest.raises(BadValue, match="the list has more than 3 lines"):
        NumberList(map(str, range(4)))


def test_a_list_in_use_is_read_again_only_when_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("1001\n")
    first = load_numbers(path)
    assert load_numbers(path) is first
    path.write_text("1001\n1002\n")
    second = load_numbers(path)
    assert second is not first
    assert "1002" in second and "1002" not in first
