"""Reads one table of a settings file into typed values, and collects everything that is wrong with it.

Each getter names a key, its default and what the value must be; a bad value becomes a SettingsError with the
line and the remedy, and the default is handed out in its place, so that one reading finds every mistake.
`done()` then reports the keys that nobody asked for, with the key that was probably meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from gateway.patterns import BadValue, parse_duration
from gateway.toml_source import SettingsError, TomlSource, closest

T = TypeVar("T")

_TYPE_NAMES = (  # bool before int: True is an int to Python, but not to a person
    (str, "text"),
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
)


class Table:
    """The TOML table at `path` of `source`, while it is being read; its mistakes go to `errors`."""

    def __init__(
        self, source: TomlSource, path: tuple[str | int, ...], data: Any, errors: list[SettingsError]
    ) -> None:
        self.source = source
        self.path = path
        self.data: dict[str, Any] = data if isinstance(data, dict) else {}
        self.errors = errors
        self._known: dict[str, None] = {}  # in the order of asking

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def fail(self, key: str | Sequence[str | int], problem: str, remedy: str) -> None:
        """Record that the value at `key` (of this table, or a path from it) is wrong."""
        path = (key,) if isinstance(key, str) else tuple(key)
        self.errors.append(self.source.error((*self.path, *path), problem, remedy))

    def text(self, key: str, default: str) -> str:
        """Return a string."""
        value = self._get(key)
        if value is None or not self._is(key, value, str, 'write it in "quotes"'):
            return default
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean."""
        value = self._get(key)
        if value is None or not self._is(key, value, bool, "write true or false"):
            return default
        return bool(value)

    def integer(self, key: str, default: T, low: int, high: int) -> int | T:
        """Return a whole number from `low` to `high`."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(key, f"{_shown(value)} is not possible", f"write a whole number from {low} to {high}")
            return default
        return value

    def number(self, key: str, default: T, low: float, high: float) -> float | T:
        """Return a number from `low` to `high`."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.fail(key, f"{_shown(value)} is not possible", f"write a number from {low:g} to {high:g}")
            return default
        return float(value)

    def duration(self, key: str, default: T, low: str, high: str) -> float | T:
        """Return the seconds of a duration from `low` to `high`, which are durations too."""
        value = self._get(key)
        if value is None:
            return default
        remedy = f'write a duration from "{low}" to "{high}"'
        if not self._is(key, value, str, remedy):
            return default
        try:
            seconds = parse_duration(value)
        except BadValue as error:
            self.fail(key, str(error), error.remedy)
            return default
        if not parse_duration(low) <= seconds <= parse_duration(high):
            self.fail(key, f'"{value}" is not possible', remedy)
            return default
        return seconds

    def choice(self, key: str, default: T, choices: Sequence[str]) -> str | T:
        """Return one of `choices`."""
        value = self._get(key)
        if value is None:
            return default
        if value not in choices:
            near = closest(value, choices) if isinstance(value, str) else None
            *rest, last = choices
            remedy = f'did you mean "{near}"?' if near else f"write {', '.join(rest)} or {last}"
            self.fail(key, f"{_shown(value)} is not one of the choices", remedy)
            return default
        return str(value)

    def parsed(self, key: str, default: T, parse: Callable[[str], T]) -> T:
        """Return what `parse` makes of a string; the BadValue that it raises becomes an error here."""
        value = self._get(key)
        if value is None or not self._is(key, value, str, 'write it in "quotes"'):
            return default
        try:
            return parse(value)
        except BadValue as error:
            self.fail(key, str(error), error.remedy)
            return default

    def parsed_list(self, key: str, default: Sequence[T], parse: Callable[[str], T]) -> tuple[T, ...]:
        """Return what `parse` makes of each string of a list, in order; the bad ones are left out."""
        if self._get(key) is None:
            return tuple(default)
        result = []
        for path, value in self.texts(key):
            try:
                result.append(parse(value))
            except BadValue as error:
                self.fail(path, str(error), error.remedy)
        return tuple(result)

    def texts(self, key: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield each string of a list with its path from this table; a lone string is a list of one."""
        value = self._get(key)
        if isinstance(value, str):
            yield (key,), value
        elif value is not None and self._is(key, value, list, 'write a list, such as ["…"]'):
            for index, element in enumerate(value):
                if self._is((key, index), element, str, 'write it in "quotes"'):
                    yield (key, index), element

    def value(self, key: str) -> Any:
        """Return whatever stands at `key`, for a caller that checks it itself; None when nothing does."""
        return self._get(key)

    def table(self, key: str) -> Table:
        """Return the table at `key`, empty when there is none."""
        value = self._get(key)
        if value is not None:
            remedy = f"write {key}.KEY = …" if self.path else f"write [{key}] above its keys"
            self._is(key, value, dict, remedy)
        return Table(self.source, (*self.path, key), value, self.errors)

    def tables(self, key: str) -> list[Table]:
        """Return the tables of the array `key`, none when there is none."""
        value = self._get(key)
        remedy = f"write [[{key}]] above its keys"
        if value is None or not self._is(key, value, list, remedy):
            return []
        return [
            Table(self.source, (*self.path, key, index), element, self.errors)
            for index, element in enumerate(value)
            if self._is((key, index), element, dict, remedy)
        ]

    def done(self, instead: dict[str, tuple[str, str]] | None = None) -> None:
        """Report each key that was not asked for. `instead` has a problem and a remedy for some of them."""
        for key in self.data:
            if key in self._known:
                continue
            if instead and key in instead:
                self.fail(key, *instead[key])
                continue
            near = closest(key, self._known)
            remedy = f'did you mean "{near}"?' if near else f"use one of {', '.join(self._known)}"
            self.fail(key, "this key is not known", remedy)

    def _get(self, key: str) -> Any:
        self._known[key] = None
        return self.data.get(key)

    def _is(self, key: str | Sequence[str | int], value: Any, kind: type, remedy: str) -> bool:
        if isinstance(value, kind):
            return True
        self.fail(key, f"{_shown(value)} is {_type_name(value)}", remedy)
        return False


def words_of(value: Any) -> str:
    """Return words that are the same for two values only if the values are."""
    try:
        return repr(value)
    except ValueError:  # somewhere in it is a number of more than 4300 digits, which is a mistake anywhere
        return f"the value {id(value)}"


def _type_name(value: Any) -> str:
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    return "a date or time"


def _shown(value: Any) -> str:
    """Return a value as it stands in the file, or the word for it when it is long."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return str(value) if isinstance(value, (int, float)) else "this"
    except ValueError:  # Python writes no number of more than 4300 digits, but reads one in hexadecimal
        return "this"
