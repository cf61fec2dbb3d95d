"""Reads the `when` table of a rule into conditions.

One method of `WhenReader` for each kind of condition, found by the key in `_READERS`: a new condition is one
function here, one in `conditions`, and one line in the table. Rules say the same things over and over, so
a condition that was read is used again wherever the same words stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gateway.number_lists import NumberList, NumberPattern, load_numbers
from gateway.patterns import KINDS, BadValue, TrunkPattern, compile_regex
from gateway.regexes import check_cost, compile_search
from gateway.rules import conditions as on
from gateway.rules import schedule, values
from gateway.rules.conditions import Condition
from gateway.rules.history import CALLER_COUNTS
from gateway.rules.history_conditions import check_count, read_history
from gateway.settings_table import Table, words_of
from gateway.toml_source import closest

T = TypeVar("T")

ALL_FAILURES = frozenset(range(400, 700))

_INVITE = on.on_method(("INVITE",))
_SCHEDULE = ("days", "hours", "tz")


@dataclass(frozen=True, slots=True)
class When:
    """A `when` table: its conditions, in the order in which they are to be asked, and what they amount to."""

    conditions: tuple[Condition, ...]
    statuses: frozenset[int]
    methods: frozenset[str]


class WhenReader:
    """Reads the `when` tables of one file. Mistakes go to the table's errors; what they spoil is left out.

    `trunks` (name -> kind) are those that may be named, None for any; `directory` is where number lists are.
    `files` are the number lists that were asked for, those that could not be read among them.
    """

    def __init__(self, trunks: Mapping[str, str] | None, directory: Path) -> None:
        self.files: dict[Path, None] = {}
        self._trunks = trunks
        self._directory = directory
        self._known: dict[tuple[str, str], tuple[Condition, ...]] = {}

    def read(self, table: Table) -> When:
        """Return what a `when` table says."""
        found: list[Condition] = []
        for key in table.data:
            reader = _READERS.get(key)
            if reader is not None:
                found += self._conditions(table, key, reader)
        if not table.data.keys() <= _READERS.keys() | set(_SCHEDULE):
            for key in (*_READERS, *_SCHEDULE):
                table.value(key)  # so that the known keys are told
            table.done()
        if not table.data.keys().isdisjoint(_SCHEDULE):
            found += self._schedule(table)
        by_key = {condition.key: condition for condition in found}
        method = by_key.get("method")
        if method is None:
            found.append(method := _INVITE)
        found.sort(key=_cost)
        statuses = by_key["status"].choices if "status" in by_key else ALL_FAILURES
        return When(tuple(found), statuses, method.choices)

    def _conditions(self, table: Table, key: str, reader: _Reader) -> Sequence[Condition]:
        value = table.data[key]
        words = (key, words_of(value))
        known = self._known.get(words)
        if known is None:
            mistakes = len(table.errors)
            known = tuple(reader(self, table, key, value))
            if len(table.errors) == mistakes:
                self._known[words] = known
        return known

    def _status(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        sets = values.each(table, (key,), value, values.statuses)
        if sets:
            yield on.on_status(frozenset().union(*sets), _written(value))

    def _method(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        return _many(table, key, value, values.method, on.on_method)

    def _trunk(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        make = on.on_source if key == "from" else on.on_target
        return _many(table, key, value, self._trunk_pattern, lambda patterns: make(TrunkPattern(patterns)))

    def _rang(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        try:
            yield on.on_rang(values.flag(value))
        except BadValue as error:
            table.fail(key, str(error), error.remedy)

    def _origin(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        return _many(table, key, value, values.choice(values.ORIGINS), on.on_origin)

    def _branches(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        return _many(table, key, value, values.choice(on.BRANCHES), on.on_branches)

    def _attestation(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        return _many(table, key, value, values.choice(values.ATTESTATIONS), on.on_attestation)

    def _duration(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        written = _written(value)
        return _many(
            table, key, value, values.duration_span, lambda spans: on.on_seconds(key, spans, written)
        )

    def _retry_after(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        written = _written(value)
        if isinstance(value, bool):
            return iter((on.on_retry_after(value, "present" if value else "absent"),))
        return _many(table, key, value, values.seconds_span, lambda spans: on.on_retry_after(spans, written))

    def _q850(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        written = _written(value)
        read = values.whole(1, 127)
        return _many(table, key, value, read, lambda causes: on.on_q850(frozenset(causes), written))

    def _sip_cause(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        written = _written(value)
        read = values.whole(200, 699)
        return _many(table, key, value, read, lambda causes: on.on_sip_cause(frozenset(causes), written))

    def _location(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        return _many(table, key, value, values.location, on.on_location)

    def _text(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        read = {"phrase": on.phrase_text, "reason_text": on.reason_texts, "server": on.server_texts}[key]
        return _many(table, key, value, _search, lambda patterns: on.on_text(key, read, patterns))

    def _headers(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        if not isinstance(value, dict):
            table.fail(key, f"{values.as_written(value)} names no header", f'write {key}.NAME = "…"')
            return
        for name, wanted in value.items():
            path, shown = (key, name), f"{key}.{name}"
            try:
                values.header_name(name)
            except BadValue as error:
                table.fail(path, str(error), error.remedy)
                continue
            read = (on.response_header if key == "header" else on.request_header)(name)
            if isinstance(wanted, bool):
                yield on.on_header_presence(shown, read, wanted)
                continue
            patterns = values.each(table, path, wanted, _search)
            if patterns:
                yield on.on_text(shown, read, patterns)

    def _number(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        remedy = f"write {key}.prefix, {key}.regex or {key}.list"
        if not isinstance(value, dict):
            table.fail(key, f"{values.as_written(value)} is not a table", remedy)
            return
        if not value:
            table.fail(key, "no numbers are named", remedy)
            return
        inner = table.table(key)
        counts = [name for name in value if key == "caller" and name in CALLER_COUNTS]
        for name in counts:
            yield from self._count(inner, key, name)
        if len(counts) == len(value):
            return
        prefixes = _listed(inner, "prefix", values.text)
        expressions = _listed(inner, "regex", _number_regex)
        lists = _listed(inner, "list", self._numbers)
        inner.done()
        patterns = [NumberPattern(prefixes or (), regex, lists) for regex in expressions or (None,)]
        wanted = " and ".join(
            f"{name} {_written(word)}" for name, word in value.items() if name not in counts
        )
        alone = prefixes if prefixes and value.keys() == {"prefix"} else ()
        yield on.on_number(key, patterns, wanted, alone)

    def _history(self, table: Table, key: str, value: Any) -> Iterator[Condition]:
        """Read `number` or `trunk`: counts of earlier calls."""
        if not isinstance(value, dict) or not value:
            example = "trunk.share_603" if key == "trunk" else "number.answered"
            table.fail(key, f"{values.as_written(value)} counts nothing", f'write {example} = "…"')
            return
        inner = table.table(key)
        for name in value:
            try:
                check_count(key, name)
            except BadValue as error:
                inner.fail(name, str(error), error.remedy)
            else:
                yield from self._count(inner, key, name)

    def _count(self, table: Table, subject: str, name: str) -> Iterator[Condition]:
        try:
            yield read_history(subject, name, table.value(name))
        except BadValue as error:
            table.fail(name, str(error), error.remedy)

    def _schedule(self, table: Table) -> Iterator[Condition]:
        """Read `days`, `hours` and `tz`, which are one condition: a night belongs to the day it begins on."""
        given = {key: table.data[key] for key in _SCHEDULE if key in table.data}
        if given.keys() == {"tz"}:
            table.fail("tz", "a time zone alone says nothing", "add days or hours, or remove it")
            return
        days = _listed(table, "days", lambda value: schedule.read_days(values.text(value)))
        hours = _listed(table, "hours", lambda value: schedule.read_hours(values.text(value)))
        zones = _listed(table, "tz", lambda value: schedule.read_zone(values.text(value)))
        if zones is not None and len(zones) > 1:
            table.fail("tz", "there are several time zones", "write one")
        zone = (zones or [schedule.read_zone(schedule.UTC)])[0]
        meant = frozenset().union(*days) if days else frozenset(range(7))
        wanted = ", ".join(_written(value) for value in given.values())
        key = "hours" if "hours" in given else "days"
        yield on.on_schedule(key, schedule.Schedule(meant, hours or (), zone), wanted)

    def _trunk_pattern(self, value: Any) -> str:
        pattern = values.text(value)
        if pattern.startswith("kind:"):
            if pattern.removeprefix("kind:") not in KINDS:
                near = closest(pattern.removeprefix("kind:"), KINDS)
                kinds = ", ".join(f"kind:{kind}" for kind in KINDS)
                remedy = f'did you mean "kind:{near}"?' if near else f"write {kinds}"
                raise BadValue(f'"{pattern}" is no kind of trunk', remedy)
        elif self._trunks is not None and TrunkPattern([pattern]).unknown(self._trunks):
            near = closest(pattern, self._trunks)
            remedy = f'did you mean "{near}"?' if near else f"the trunks are {', '.join(self._trunks)}"
            raise BadValue(f'"{pattern}" matches no trunk', remedy)
        return pattern

    def _numbers(self, value: Any) -> NumberList:
        path = self._directory / values.text(value)
        self.files[path] = None
        return load_numbers(path)


def _many(
    table: Table,
    key: str,
    value: Any,
    read: Callable[[Any], T],
    make: Callable[[Sequence[T]], Condition],
) -> Iterator[Condition]:
    """Yield the condition that `make` makes of a list of values, unless one of them is bad."""
    found = values.each(table, (key,), value, read)
    if found:
        yield make(found)


def _written(value: Any) -> str:
    """Return a value, or the alternatives of a list, as conditions show what they want."""
    return on.any_of(
        item if isinstance(item, str) else values.as_written(item) for _, item in values.items((), value)
    )


def _cost(condition: Condition) -> int:
    return condition.cost


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


_Reader = Callable[[WhenReader, Table, str, Any], Iterator[Condition]]

_READERS: dict[str, _Reader] = {
    "from": WhenReader._trunk,
    "to": WhenReader._trunk,
    "method": WhenReader._method,
    "status": WhenReader._status,
    "phrase": WhenReader._text,
    "q850": WhenReader._q850,
    "sip_cause": WhenReader._sip_cause,
    "reason_text": WhenReader._text,
    "location": WhenReader._location,
    "server": WhenReader._text,
    "header": WhenReader._headers,
    "request_header": WhenReader._headers,
    "called": WhenReader._number,
    "caller": WhenReader._number,
    "number": WhenReader._history,
    "trunk": WhenReader._history,
    "rang": WhenReader._rang,
    "after": WhenReader._duration,
    "ringing": WhenReader._duration,
    "retry_after": WhenReader._retry_after,
    "branches": WhenReader._branches,
    "attestation": WhenReader._attestation,
    "origin": WhenReader._origin,
}
"""All but days, hours and tz, which are one condition."""
