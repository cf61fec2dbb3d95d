"""Reads single values of a rule file: what a person wrote, into what a condition or an action needs.

Each reader takes one TOML value and returns a typed one, or raises `BadValue` with what is wrong with it and
what would be right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.patterns import BadValue, parse_duration
from gateway.rules.causes import LOCATIONS, is_location
from gateway.rules.conditions import Span, parse_span
from gateway.rules.passport import LEVELS
from gateway.settings_table import Table
from gateway.sip.headers import is_token
from gateway.sip.message import METHODS
from gateway.toml_source import closest

T = TypeVar("T")
Path = tuple[str | int, ...]

ORIGINS = ("peer", "local")
ATTESTATIONS = (*LEVELS, "none")

_CLASS = re.compile(r"([1-9])xx")
_RANGE = re.compile(r"([0-9]{3}) ?- ?([0-9]{3})")
_STATUS_REMEDY = 'write a status such as 603, a class such as "4xx" or a range such as "600-699"'


def as_written(value: Any) -> str:
    """Return a TOML value much as it stands in the file, or the word for it when it holds a huge number."""
    try:
        return str(value) if type(value) is int else json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no number of more than 4300 digits, but reads one in hexadecimal
        return "this"


def items(path: Path, value: Any) -> list[tuple[Path, Any]]:
    """Return the elements of a list with their paths; a lone value is a list of one."""
    if isinstance(value, list):
        return [((*path, index), item) for index, item in enumerate(value)]
    return [(path, value)]


def each(table: Table, path: Path, value: Any, read: Callable[[Any], T]) -> list[T] | None:
    """Return what `read` makes of each element, or None when one was bad; `table` has the errors then."""
    elements = items(path, value)
    if not elements:
        table.fail(path, "the list is empty", "name at least one, or remove the key")
        return None
    result = []
    for where, item in elements:
        try:
            result.append(read(item))
        except BadValue as error:
            table.fail(where, str(error), error.remedy)
    return result if len(result) == len(elements) else None


def text(value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str):
        raise BadValue(f"{as_written(value)} is not text", 'write it in "quotes"')
    if not value:
        raise BadValue("the text is empty", "write something, or remove the key")
    return value


def flag(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise BadValue(f"{as_written(value)} is neither true nor false", "write true or false")
    return value


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return what reads a whole number from `low` to `high`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            remedy = f"write a whole number from {low} to {high}"
            raise BadValue(f"{as_written(value)} is not possible", remedy)
        return value

    return read


def choice(choices: tuple[str, ...]) -> Callable[[Any], str]:
    """Return what reads one of `choices`."""

    def read(value: Any) -> str:
        if value not in choices:
            near = closest(value, choices) if isinstance(value, str) else None
            remedy = f'did you mean "{near}"?' if near else f"write {', '.join(map(as_written, choices))}"
            raise BadValue(f"{as_written(value)} is not one of the choices", remedy)
        return str(value)

    return read


def statuses(value: Any) -> frozenset[int]:
    """Read one form of `when.status`: 603, "4xx" or "600-699"; all of them failures."""
    span: tuple[int, int] | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        span = value, value
    elif isinstance(value, str):
        if match := _CLASS.fullmatch(value):
            span = int(match[1]) * 100, int(match[1]) * 100 + 99
        elif match := _RANGE.fullmatch(value):
            span = int(match[1]), int(match[2])
    if span is None:
        raise BadValue(f"{as_written(value)} is not a status", _STATUS_REMEDY)
    if span[0] > span[1]:
        raise BadValue(f"{as_written(value)} ends before it begins", "put the smaller status first")
    if span[0] < 400 or span[1] > 699:
        raise BadValue(
            f"{as_written(value)} is outside of what rules can speak of", "write statuses from 400 to 699"
        )
    return frozenset(range(span[0], span[1] + 1))


def method(value: Any) -> str:
    """Read a SIP method; methods are case-sensitive (RFC 3261 7.1)."""
    name = text(value)
    if not is_token(name.encode()):
        raise BadValue(f"{as_written(value)} is not a SIP method", 'write one such as "INVITE"')
    upper = name.upper()
    if name != upper and upper.encode() in METHODS:
        raise BadValue(f"{as_written(value)} is not a SIP method", f'did you mean "{upper}"?')
    return name


def location(value: Any) -> str:
    """Read a Reason location (RFC 8606), whatever its case."""
    name = text(value).upper()
    if not is_location(name.encode()):
        raise BadValue(f"{as_written(value)} is not a location", f"write {', '.join(LOCATIONS)} or LOC-n")
    return name


def duration_span(value: Any) -> Span:
    """Read a comparison of durations."""
    example = '"<300ms", ">2s" or "1s..5s"'
    if not isinstance(value, str):
        raise BadValue(f"{as_written(value)} is not a comparison", f"write {example}")
    return parse_span(value, parse_duration, example)


def seconds_span(value: Any) -> Span:
    """Read a comparison of seconds; durations are understood too."""
    example = 'true, false, "<60", ">=3600" or "10..20"'
    if not isinstance(value, str):
        raise BadValue(f"{as_written(value)} is not a comparison", f"write {example}")
    return parse_span(value, _seconds, example)


def _seconds(word: str) -> float:
    return float(word) if word.isascii() and word.isdigit() else parse_duration(word)


def header_name(name: str) -> str:
    """Read the name of a header."""
    if not is_token(name.encode()):
        raise BadValue(f"{as_written(name)} is not a header name", 'write one such as "X-Reason"')
    return name


def line_of_text(value: Any) -> bytes:
    """Read a text that can stand in one line of a message: no line end, no other control character."""
    word = text(value)
    if not word.isprintable():
        raise BadValue("the text holds a line end or another control character", "write it on one line")
    if len(word) > 256:
        raise BadValue(f"the text has {len(word)} characters", "write at most 256")
    return word.strip().encode()
