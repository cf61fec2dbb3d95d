"""The conditions on earlier calls: `number.answered = "0 in 30d"`, `trunk.share_603 = ">30% in 1h"`.

A condition that wants no more than so many calls holds only where the whole window is known: that nobody has
answered must not follow from a ledger that is a day old.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import inf

from gateway.patterns import BadValue, parse_duration
from gateway.rules.conditions import NUMBER, Condition, Span, parse_span
from gateway.rules.facts import Facts
from gateway.rules.history import CALLER_COUNTS, LEAST_FINALS, NUMBER_COUNTS, History, Watch, pair
from gateway.rules.values import as_written
from gateway.toml_source import closest

_FORM = re.compile(r"\s*(\S.*?)\s+in\s+(\S.*?)\s*")
_SHARE = re.compile(r"share_([4-6][0-9]{2})")
_SHORTEST, _LONGEST = 60.0, 366 * 86400.0
_watch = lru_cache(maxsize=1024)(Watch)  # one object for all who ask the same: found faster
_COUNTS = {"number": NUMBER_COUNTS, "caller": CALLER_COUNTS}


def read_history(subject: str, what: str, value: object) -> Condition:
    """Return the condition `when.SUBJECT.WHAT = VALUE`. Raises BadValue."""
    share = _SHARE.fullmatch(what) is not None and subject == "trunk"
    example = '">30% in 1h"' if share else '">=20 in 7d" or "0 in 30d"'
    match = _FORM.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        words = repr(value) if isinstance(value, str) else as_written(value)
        raise BadValue(f"{words} is not a count in a time", f"write {example}")
    span = _read_span(match[1], share, example)
    window = parse_duration(match[2])
    if not _SHORTEST <= window <= _LONGEST:
        raise BadValue(f'"{match[2]}" is not possible', 'write a time from "1m" to "366d"')
    return on_history(_watch(subject, what, window), span, f"{match[1]} in {match[2]}", match[2])


def check_count(subject: str, what: str) -> None:
    """Raise BadValue unless `what` can be counted of `subject`."""
    if subject == "trunk":
        if not _SHARE.fullmatch(what):
            raise BadValue(
                f'"{what}" is not counted of a trunk', 'write a share such as share_603 = ">30% in 1h"'
            )
    elif what not in _COUNTS[subject]:
        near = closest(what, _COUNTS[subject])
        remedy = f'did you mean "{near}"?' if near else f"write one of {', '.join(_COUNTS[subject])}"
        raise BadValue(f'"{what}" is not counted of a {subject}', remedy)


def _read_span(text: str, share: bool, example: str) -> Span:
    def number(word: str) -> float:
        digits = word.removesuffix("%").strip() if share else word
        if not (digits.isascii() and digits.isdigit() and word.endswith("%") == share):
            raise BadValue(
                f'"{word}" is not a {"percentage" if share else "whole number"}', f"write {example}"
            )
        return float(digits)

    if text[0].isdigit() and ".." not in text:
        value = number(text)
        return Span(value, value)
    return parse_span(text, number, example)


def on_history(watch: Watch, span: Span, wanted: str, within: str) -> Condition:
    """So many calls there were, or such a share of a trunk's finals; `within` is the window as written."""
    read = _reader(watch)
    low, high = span
    bounded = high < inf

    def test(facts: Facts) -> bool:
        value = read(facts)
        if value is None or not low <= value <= high:
            return False
        return not bounded or _is_complete(facts, watch)

    def test_number(facts: Facts) -> bool:
        """The same for the most frequent question, without a step too many."""
        history, now = facts.history, facts.now
        if history is None or now is None:
            return False
        series = history.series.get(watch)
        if series is None or not low <= series.count(history.key(facts.called), now) <= high:
            return False
        return not bounded or series.is_complete(now)

    def seen(facts: Facts) -> str:
        value = read(facts)
        if facts.history is None or facts.now is None:
            return "unknown, since no history is kept"
        if value is None:
            return f"unknown, of fewer than {LEAST_FINALS} finals in {within}"
        shown = f"{value:.0f}{'%' if watch.subject == 'trunk' else ''} in {within}"
        if bounded and not _is_complete(facts, watch):
            known = max(facts.now - facts.history.complete_since(watch), 0.0)
            return f"{shown}, of which only the last {_duration(known)} are known in full"
        return shown

    asked = test_number if watch.subject == "number" else test
    return Condition(f"{watch.subject}.{watch.what}", wanted, NUMBER, asked, seen, watches=(watch,))


def _is_complete(facts: Facts, watch: Watch) -> bool:
    return facts.history is not None and facts.now is not None and facts.history.is_complete(watch, facts.now)


def _reader(watch: Watch) -> Callable[[Facts], float | None]:
    """Return what reads the count or share; None where it is not known."""
    subject, what, _ = watch
    if subject == "trunk":

        def share(facts: Facts) -> float | None:
            if facts.history is None or facts.now is None:
                return None
            return facts.history.share(watch, facts.source.name, facts.now)

        return share
    keys = _keys(subject, what)

    def count(facts: Facts) -> float | None:
        history, now = facts.history, facts.now
        if history is None or now is None:
            return None
        most = 0
        for key in keys(facts, history):
            most = max(most, history.count(watch, key, now))
        return most

    return count


def _keys(subject: str, what: str) -> Callable[[Facts, History], Iterable[str]]:
    if subject == "number":
        return lambda facts, history: (history.key(facts.called),)
    if what == "calls":
        return lambda facts, history: (history.key(facts.caller),)
    if what == "unwanted_by_called":
        return lambda facts, _: [pair(caller, facts.called) for caller in facts.callers]
    return lambda facts, _: facts.callers


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
