"""The conditions of a rule, compiled: each a small object that can test the facts and say what it saw.

`decide` runs only `test`, in the order of `cost`, so that a regular expression is searched only when
everything cheaper has held. `explain` runs the same `test`, and asks `seen` and `wanted` about the one that
failed; therefore the two cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, nextafter
from operator import attrgetter
from typing import Any, NamedTuple

from gateway.number_lists import NumberPattern
from gateway.patterns import BadValue, TrunkPattern
from gateway.regexes import TEXT_LIMIT
from gateway.rules.facts import Facts, shown
from gateway.rules.history import Watch
from gateway.rules.schedule import Schedule
from gateway.sip.message import Request, Response
from gateway.sip.rows import header_key

_HEADER_LINES = 4  # of one header that a regular expression is shown

# What a test costs, cheapest first: an attribute, a pattern over names, a header, a number list, a search.
_ATTRIBUTE, _NAMES, _HEADER, NUMBER, _SEARCH = range(1, 6)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule. `wanted` is what the file says, `seen` what one response shows, for people."""

    key: str
    wanted: str
    cost: int
    test: Callable[[Facts], bool]
    seen: Callable[[Facts], str]
    choices: frozenset[Any] = frozenset()
    """The values that satisfy it, where they can be listed; with more of them it holds more often."""
    watches: tuple[Watch, ...] = ()
    """What must be counted of earlier calls, so that it can be tested."""


class Span(NamedTuple):
    """A comparison with numbers: from `low` to `high`, both inside."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether `value` satisfies the comparison."""
        return self.low <= value <= self.high


_COMPARISON = re.compile(r"\s*(<=|>=|<|>)\s*(\S.*?)\s*|\s*(\S.*?)\s*\.\.\s*(\S.*?)\s*")


def parse_span(text: str, read: Callable[[str], float], example: str) -> Span:
    """Read a comparison such as "<300ms", ">=2s" or "1s..5s" (both ends inside); `read` reads its numbers.

    Raises BadValue when it is none; `example` shows what would be right.
    """
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise BadValue(f'"{text}" is not a comparison', f"write {example}")
    sign, bound, low, high = match.groups()
    if sign is None:
        span = Span(read(low), read(high))
        if span.low > span.high:
            raise BadValue(f'"{text}" ends before it begins', "put the smaller number first")
        return span
    value = read(bound)
    if sign[0] == "<":
        return Span(-inf, value if sign == "<=" else nextafter(value, -inf))
    return Span(value if sign == ">=" else nextafter(value, inf), inf)


def any_of(values: Iterable[object]) -> str:
    """Return values as a person lists alternatives: `1, 2 or 3`."""
    words = list(map(str, values)) or ["nothing"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def quoted(values: Iterable[str]) -> list[str]:
    """Return texts in quotes."""
    return [f'"{value}"' for value in values]


def on_status(statuses: frozenset[int], wanted: str) -> Condition:
    """The status is one of these. The index by status has tested it before a rule is looked at."""
    return Condition(
        "status",
        wanted,
        0,
        lambda facts: facts.response.status in statuses,
        lambda facts: str(facts.response.status),
        statuses,
    )


def on_source(pattern: TrunkPattern) -> Condition:
    """The trunk that answered is one of these."""
    matches = cache(pattern.matches)  # of the few trunks there are
    return Condition(
        "from",
        any_of(pattern.patterns),
        _NAMES,
        lambda facts: matches(facts.source.name, facts.source.kind),
        lambda facts: f"{facts.source.name} (kind:{facts.source.kind})",
        frozenset(pattern.patterns),
    )


def on_target(pattern: TrunkPattern) -> Condition:
    """The trunk that will receive the answer is one of these."""
    matches = cache(pattern.matches)
    return Condition(
        "to",
        any_of(pattern.patterns),
        _NAMES,
        lambda facts: matches(facts.target.name, facts.target.kind),
        lambda facts: f"{facts.target.name} (kind:{facts.target.kind})",
        frozenset(pattern.patterns),
    )


def on_method(methods: Sequence[str]) -> Condition:
    """The request's method is one of these."""
    known = frozenset(method.encode() for method in methods)
    return Condition(
        "method",
        any_of(methods),
        _ATTRIBUTE,
        lambda facts: facts.method in known,
        lambda facts: shown(facts.method),
        frozenset(methods),
    )


def on_rang(wanted: bool) -> Condition:
    """An 18x was seen, or not."""
    return Condition(
        "rang",
        _yes(wanted),
        _ATTRIBUTE,
        lambda facts: facts.rang is wanted,
        lambda facts: _yes(facts.rang),
        frozenset((wanted,)),
    )


def on_origin(origins: Sequence[str]) -> Condition:
    """The far end said it ("peer"), or the gateway made it ("local")."""
    known = frozenset(origin == "local" for origin in origins)
    return Condition(
        "origin",
        any_of(origins),
        _ATTRIBUTE,
        lambda facts: facts.local in known,
        lambda facts: "local" if facts.local else "peer",
        frozenset(origins),
    )


def on_seconds(key: str, spans: Sequence[Span], wanted: str) -> Condition:
    """The time since the INVITE (`after`) or since the first 18x (`ringing`) is in one of these spans."""
    read: Callable[[Facts], float | None] = attrgetter(key)

    def test(facts: Facts) -> bool:
        value = read(facts)
        if value is None:
            return False
        for low, high in spans:  # noqa: SIM110 (a generator would double the cost)
            if low <= value <= high:
                return True
        return False

    def seen(facts: Facts) -> str:
        value = read(facts)
        return "unknown" if value is None else f"{value * 1000:.0f}ms" if value < 1 else f"{value:.3g}s"

    return Condition(key, wanted, _ATTRIBUTE, test, seen, frozenset(spans))


def on_q850(causes: frozenset[int], wanted: str) -> Condition:
    """The cause of the Q.850 Reason is one of these."""
    return Condition(
        "q850",
        wanted,
        _HEADER,
        lambda facts: facts.reasons.q850 in causes,
        lambda facts: _cause(facts.reasons.q850),
        causes,
    )


def on_sip_cause(causes: frozenset[int], wanted: str) -> Condition:
    """The cause of the SIP Reason is one of these."""
    return Condition(
        "sip_cause",
        wanted,
        _HEADER,
        lambda facts: facts.reasons.sip_cause in causes,
        lambda facts: _cause(facts.reasons.sip_cause),
        causes,
    )


def on_status_of_cause() -> Condition:
    """The cause of the Q.850 Reason stands for a status (`then.status = "from-q850"`)."""
    return Condition(
        "q850",
        "a cause that stands for a status",
        _HEADER,
        lambda facts: facts.status_of_cause != 0,
        lambda facts: _cause(facts.reasons.q850),
    )


def on_location(locations: Sequence[str]) -> Condition:
    """A Reason value has one of these locations (RFC 8606)."""
    known = frozenset(location.encode() for location in locations)
    return Condition(
        "location",
        any_of(locations),
        _HEADER,
        lambda facts: not known.isdisjoint(facts.reasons.locations),
        lambda facts: _list(location.decode() for location in facts.reasons.locations),
        frozenset(locations),
    )


_DECLINED = frozenset((486, 600, 603, 607))
_BUSY = frozenset((486, 600))
_BRANCHES: dict[str, Callable[[Facts], bool]] = {
    "single": lambda facts: not (facts.finals or facts.pending),
    "forked": lambda facts: bool(facts.finals or facts.pending),
    "all-declined": lambda facts: (
        bool(facts.finals)
        and not facts.pending
        and facts.response.status in _DECLINED
        and _DECLINED.issuperset(facts.finals)
    ),
    "any-busy": lambda facts: facts.response.status in _BUSY or not _BUSY.isdisjoint(facts.finals),
}
BRANCHES = tuple(_BRANCHES)
"""What `when.branches` can say of a call with one branch or several (RFC 3261 16.7)."""


def on_branches(states: Sequence[str]) -> Condition:
    """The branches of the call stand so."""
    tests = tuple(_BRANCHES[state] for state in states)

    def seen(facts: Facts) -> str:
        if not (facts.finals or facts.pending):
            return "single"
        waiting = f" and {facts.pending} without an answer" if facts.pending else ""
        return f"forked ({_list(map(str, (*facts.finals, facts.response.status)))}{waiting})"

    return Condition(
        "branches",
        any_of(states),
        _ATTRIBUTE,
        lambda facts: any(test(facts) for test in tests),
        seen,
        frozenset(states),
    )


def on_attestation(levels: Sequence[str]) -> Condition:
    """The call claims one of these attestations (RFC 8588); "none" when it claims none."""
    known = frozenset(levels)
    return Condition(
        "attestation",
        any_of(levels),
        _SEARCH,  # base64 and JSON, once for each call
        lambda facts: facts.attestation in known,
        lambda facts: facts.attestation,
        known,
    )


def on_schedule(key: str, schedule: Schedule, wanted: str) -> Condition:
    """The response came on such a day, at such an hour."""
    return Condition(
        key,
        wanted,
        _ATTRIBUTE,
        lambda facts: (now := facts.on_the_wall) is not None and schedule.holds(now),
        lambda facts: "unknown" if (now := facts.on_the_wall) is None else schedule.shown(now),
    )


def on_retry_after(wanted: bool | Sequence[Span], text: str) -> Condition:
    """A Retry-After is there or not, or its seconds are in one of these spans."""

    def test(facts: Facts) -> bool:
        if isinstance(wanted, bool):
            return facts.response.has(b"Retry-After") is wanted
        value = facts.retry_after
        return value is not None and any(span.holds(value) for span in wanted)

    def seen(facts: Facts) -> str:
        value = facts.response.get(b"Retry-After")
        return "none" if value is None else shown(value)

    return Condition("retry_after", text, _HEADER, test, seen)


def on_number(
    key: str, patterns: Sequence[NumberPattern], wanted: str, prefixes: Sequence[str] = ()
) -> Condition:
    """The called or calling number is one of these; `prefixes` where nothing else is asked of it."""
    read: Callable[[Facts], str] = attrgetter(key)

    def test(facts: Facts) -> bool:
        number = read(facts)[:TEXT_LIMIT]
        for pattern in patterns:  # noqa: SIM110
            if pattern.matches(number):
                return True
        return False

    def seen(facts: Facts) -> str:
        return f'"{read(facts)[:TEXT_LIMIT]}"'

    return Condition(key, wanted, NUMBER, test, seen, frozenset(prefixes))


def on_text(
    key: str, read: Callable[[Facts], Sequence[str]], patterns: Sequence[re.Pattern[str]]
) -> Condition:
    """One of these expressions is found in one of the texts that `read` returns."""
    searches = tuple(pattern.search for pattern in patterns)

    def test(facts: Facts) -> bool:
        for text in read(facts):
            for search in searches:
                if search(text) is not None:
                    return True
        return False

    choices = frozenset(pattern.pattern for pattern in patterns)
    wanted = any_of(quoted(pattern.pattern for pattern in patterns))
    return Condition(key, wanted, _SEARCH, test, lambda facts: _list(quoted(read(facts))), choices)


def on_header_presence(key: str, read: Callable[[Facts], Sequence[str]], wanted: bool) -> Condition:
    """The header whose lines `read` returns is there, or not."""
    return Condition(
        key,
        "present" if wanted else "absent",
        _HEADER,
        lambda facts: bool(read(facts)) is wanted,
        lambda facts: "present" if read(facts) else "absent",
    )


def phrase_text(facts: Facts) -> Sequence[str]:
    """The reason phrase."""
    return (facts.phrase,)


def reason_texts(facts: Facts) -> Sequence[str]:
    """The text of each Reason value."""
    return facts.reasons.texts


def server_texts(facts: Facts) -> Sequence[str]:
    """What the far end calls itself: Server, or User-Agent, which many send in responses too."""
    return (*_lines(facts.response, b"Server"), *_lines(facts.response, b"User-Agent"))


def response_header(name: str) -> Callable[[Facts], Sequence[str]]:
    """Return what reads the lines of a header of the response."""
    key = header_key(name.encode())
    return lambda facts: _lines(facts.response, key)


def request_header(name: str) -> Callable[[Facts], Sequence[str]]:
    """Return what reads the lines of a header of the request that is answered."""
    key = header_key(name.encode())
    return lambda facts: () if facts.request is None else _lines(facts.request, key)


def _lines(message: Request | Response, key: bytes) -> Sequence[str]:
    if not message.has(key):
        return ()
    return tuple(shown(value) for value in message.values(key)[:_HEADER_LINES])


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _cause(cause: int) -> str:
    return str(cause) if cause else "none"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
