"""Which regular expressions may look at what strangers send."""

from __future__ import annotations

import pytest

from gateway.patterns import BadValue
from gateway.regexes import compile_search


@pytest.mark.parametrize(
    "text",
    [
        "unallocated|not in service", ".*number.*", "^(a|b)(c|d)?$", r"\bno such \w+ \w+", "(ab){2,}",
        r"(\d{3})+",
        r"(\d{1,3}\.){1,4}", "x{0,500}", "(?:a+|b+|c+|d+)", "(?i)x", "a+b+", "(?!.*spam).*number", "[^,]*,",
        "(?P<x>a)(?P=x)", "(?>a+)b",
    ],
)  # fmt: skip
def test_what_people_write_is_accepted(text: str) -> None:
    assert compile_search(text).pattern == text


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+b", "(a*)*", "(a|aa)+", "(a|b?)*c", "(.*,)*x", "((ab)?c)+", "(a{1,9}){9,}", r"(\w+\s?)*$",
        "(?:x|(?:a+)+)", "(?=(a+)+)b", "(a+){2,50}", "(a+)*?", "((a|ab)c)*",
    ],
)  # fmt: skip
def test_what_can_take_for_ever_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="take for ever"):
        compile_search(text)


@pytest.mark.parametrize(
    "text", [".*.*.*x", "a+b+c+", "x.{0,99}y.{0,99}z.{0,99}", "(.*a){3}", "(?=.*a)(?=.*b).*c"]
)
def test_what_can_take_seconds_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="take seconds"):
        compile_search(text)


@pytest.mark.parametrize("text", ["(", "a**", "[z-a]", "(?P<x", "\\"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="not a regular expression"):
        compile_search(text)
