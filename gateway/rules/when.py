"""Reads the `when` table of a rule into conditions.

One method of `_When` for each kind of condition, found by the key in `_READERS`: a new condition is one
function here, one in `conditions`, and one line in the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gateway.patterns import KINDS, BadValue, NumberPattern, TrunkPattern, compile_regex, read_numbers
from gateway.regexes import check_cost, compile_search
from gateway.rules import conditions as on
from gateway.rules import values
from gateway.rules.conditions import Condition
from gateway.settings_table import Table
from gateway.toml_source import closest

T = TypeVar("T")

ALL_FAILURES = frozenset(range(400, 700))

_NOT_YET = ("this version does not evaluate this condition yet", "remove it, and think of what then matches")
_LATER = dict.fromkeys(("branches", "attestation", "days", "hours", "tz"), _NOT_YET)


@dataclass(frozen=True, slots=True)
class When:
    """A `when` table: its conditions, in the order in which they are to be asked, and what they amount to."""

    conditions: tuple[Condition, ...]
    statuses: frozenset[int]
    methods: frozenset[str]


def read_when(table: Table, trunks: Mapping[str, str] | None, directory: Path) -> When:
    """Read a `when` table. Mistakes go to the table's errors; what they spoil is left out.

    `trunks` (name -> kind) are those that may be named, None for any; `directory` is where number lists are.
    """
    reader = _When(table, trunks, directory)
    for key, read in _READERS.items():
        value = table.value(key)
        if value is not None:
            read(reader, key, value)
    table.done(_LATER)
    if not reader.methods:
        reader.methods = ["INVITE"]
    reader.conditions.append(on.on_method(reader.methods))
    reader.conditions.sort(key=lambda condition: condition.cost)
    return When(tuple(reader.conditions), reader.statuses, frozenset(reader.methods))


class _When:
    """The conditions of one rule, while they are being read."""

    def __init__(self, table: Table, trunks: Mapping[str, str] | None, directory: Path) -> None:
        self.table = table
        self.trunks = trunks
        self.directory = directory
        self.conditions: list[Condition] = []
        self.statuses = ALL_FAILURES
        self.methods: list[str] = []

    def status(self, key: str, value: Any) -> None:
        sets = values.each(self.table, (key,), value, values.statuses)
        if sets:
            self.statuses = frozenset().union(*sets)
            self.conditions.append(on.on_status(self.statuses, self._written(value)))

    def method(self, key: str, value: Any) -> None:
        self.methods = values.each(self.table, (key,), value, values.method) or []

    def trunk(self, key: str, value: Any) -> None:
        patterns = values.each(self.table, (key,), value, self._trunk_pattern)
        if patterns:
            self.conditions.append((on.on_source if key == "from" else on.on_target)(TrunkPattern(patterns)))

    def rang(self, key: str, value: Any) -> None:
        try:
            self.conditions.append(on.on_rang(values.flag(value)))
        except BadValue as error:
            self.table.fail(key, str(error), error.remedy)

    def origin(self, key: str, value: Any) -> None:
        self._many(key, value, values.choice(values.ORIGINS), on.on_origin)

    def duration(self, key: str, value: Any) -> None:
        written = self._written(value)
        self._many(key, value, values.duration_span, lambda spans: on.on_seconds(key, spans, written))

    def retry_after(self, key: str, value: Any) -> None:
        written = self._written(value)
        if isinstance(value, bool):
            self.conditions.append(on.on_retry_after(value, "present" if value else "absent"))
        else:
            self._many(key, value, values.seconds_span, lambda spans: on.on_retry_after(spans, written))

    def q850(self, key: str, value: Any) -> None:
        written = self._written(value)
        read = values.whole(1, 127)
        self._many(key, value, read, lambda causes: on.on_q850(frozenset(causes), written))

    def sip_cause(self, key: str, value: Any) -> None:
        written = self._written(value)
        read = values.whole(200, 699)
        self._many(key, value, read, lambda causes: on.on_sip_cause(frozenset(causes), written))

    def location(self, key: str, value: Any) -> None:
        self._many(key, value, values.location, on.on_location)

    def text(self, key: str, value: Any) -> None:
        read = {"phrase": on.phrase_text, "reason_text": on.reason_texts, "server": on.server_texts}[key]
        self._many(key, value, _search, lambda patterns: on.on_text(key, read, patterns))

    def headers(self, key: str, value: Any) -> None:
        if not isinstance(value, dict):
            self.table.fail(key, f"{values.as_written(value)} names no header", f'write {key}.NAME = "…"')
            return
        for name, wanted in value.items():
            path, shown = (key, name), f"{key}.{name}"
            try:
                values.header_name(name)
            except BadValue as error:
                self.table.fail(path, str(error), error.remedy)
                continue
            read = (on.response_header if key == "header" else on.request_header)(name)
            if isinstance(wanted, bool):
                self.conditions.append(on.on_header_presence(shown, read, wanted))
                continue
            patterns = values.each(self.table, path, wanted, _search)
            if patterns:
                self.conditions.append(on.on_text(shown, read, patterns))

    def number(self, key: str, value: Any) -> None:
        remedy = f"write {key}.prefix, {key}.regex or {key}.list"
        if not isinstance(value, dict):
            self.table.fail(key, f"{values.as_written(value)} is not a table", remedy)
            return
        if not value:
            self.table.fail(key, "no numbers are named", remedy)
            return
        table = self.table.table(key)
        prefixes = _listed(table, "prefix", values.text)
        expressions = _listed(table, "regex", _number_regex)
        lists = _listed(table, "list", self._numbers)
        table.done()
        numbers = None if lists is None else [number for numbers in lists for number in numbers]
        patterns = [NumberPattern(prefixes or (), regex, numbers) for regex in expressions or (None,)]
        wanted = " and ".join(f"{name} {self._written(word)}" for name, word in value.items())
        self.conditions.append(on.on_number(key, patterns, wanted))

    def _many(
        self, key: str, value: Any, read: Callable[[Any], Any], make: Callable[[Sequence[Any]], Condition]
    ) -> None:
        read_values = values.each(self.table, (key,), value, read)
        if read_values:
            self.conditions.append(make(read_values))

    @staticmethod
    def _written(value: Any) -> str:
        """Return a value, or the alternatives of a list, as conditions show what they want."""
        return on.any_of(
            item if isinstance(item, str) else values.as_written(item) for _, item in values.items((), value)
        )

    def _trunk_pattern(self, value: Any) -> str:
        pattern = values.text(value)
        if pattern.startswith("kind:"):
            if pattern.removeprefix("kind:") not in KINDS:
                near = closest(pattern.removeprefix("kind:"), KINDS)
                kinds = ", ".join(f"kind:{kind}" for kind in KINDS)
                remedy = f'did you mean "kind:{near}"?' if near else f"write {kinds}"
                raise BadValue(f'"{pattern}" is no kind of trunk', remedy)
        elif self.trunks is not None and TrunkPattern([pattern]).unknown(self.trunks):
            near = closest(pattern, self.trunks)
            remedy = f'did you mean "{near}"?' if near else f"the trunks are {', '.join(self.trunks)}"
            raise BadValue(f'"{pattern}" matches no trunk', remedy)
        return pattern

    def _numbers(self, value: Any) -> list[str]:
        return read_numbers(self.directory / values.text(value))


def _listed(table: Table, key: str, read: Callable[[Any], T]) -> list[T] | None:
    """Return what `read` makes of each element at `key`, None when nothing stands there."""
    value = table.value(key)
    return None if value is None else values.each(table, (key,), value, read)


def _search(value: Any) -> re.Pattern[str]:
    return compile_search(values.text(value))


def _number_regex(value: Any) -> str:
    expression = values.text(value)
    compile_regex(expression)
    check_cost(expression)
    return expression


_READERS: dict[str, Callable[[_When, str, Any], None]] = {
    "from": _When.trunk,
    "to": _When.trunk,
    "method": _When.method,
    "status": _When.status,
    "phrase": _When.text,
    "q850": _When.q850,
    "sip_cause": _When.sip_cause,
    "reason_text": _When.text,
    "location": _When.location,
    "server": _When.text,
    "header": _When.headers,
    "request_header": _When.headers,
    "called": _When.number,
    "caller": _When.number,
    "rang": _When.rang,
    "after": _When.duration,
    "ringing": _When.duration,
    "retry_after": _When.retry_after,
    "origin": _When.origin,
}
