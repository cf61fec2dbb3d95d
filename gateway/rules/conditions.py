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
from typing import NamedTuple

from gateway.patterns import BadValue, NumberPattern, TrunkPattern
from gateway.rules.facts import TEXT_LIMIT, Facts, shown
from gateway.sip.message import Request, Response, header_key

_HEADER_LINES = 4  # of one header that a regular expression is shown

# What a test costs, cheapest first: an attribute, a pattern over names, a header, a number list, a search.
_ATTRIBUTE, _NAMES, _HEADER, _NUMBER, _SEARCH = range(1, 6)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule. `wanted` is what the file says, `seen` what one response shows, for people."""

    key: str
    wanted: str
    cost: int
    test: Callable[[Facts], bool]
    seen: Callable[[Facts], str]


class Span(NamedTuple):
    """A comparison with numbers: `low` and `high` are inside only when `at_low` and `at_high` say so."""

    low: float
    at_low: bool
    high: float
    at_high: bool

    def holds(self, value: float) -> bool:
        """Tell whether `value` satisfies the comparison."""
        above = value > self.low or (self.at_low and value == self.low)
        return above and (value < self.high or (self.at_high and value == self.high))


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
        span = Span(read(low), True, read(high), True)
        if span.low > span.high:
            raise BadValue(f'"{text}" ends before it begins', "put the smaller number first")
        return span
    value = read(bound)
    if sign[0] == "<":
        return Span(float("-inf"), True, value, sign == "<=")
    return Span(value, sign == ">=", float("inf"), True)


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
        "status", wanted, 0, lambda facts: facts.response.status in statuses, lambda f: str(f.response.status)
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
    )


def on_rang(wanted: bool) -> Condition:
    """An 18x was seen, or not."""
    return Condition(
        "rang", _yes(wanted), _ATTRIBUTE, lambda facts: facts.rang is wanted, lambda facts: _yes(facts.rang)
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
    )


def on_seconds(key: str, spans: Sequence[Span], wanted: str) -> Condition:
    """The time since the INVITE (`after`) or since the first 18x (`ringing`) is in one of these spans."""
    read: Callable[[Facts], float | None] = (
        (lambda facts: facts.after) if key == "after" else (lambda facts: facts.ringing)
    )

    def test(facts: Facts) -> bool:
        value = read(facts)
        return value is not None and any(span.holds(value) for span in spans)

    def seen(facts: Facts) -> str:
        value = read(facts)
        return "unknown" if value is None else f"{value * 1000:.0f}ms" if value < 1 else f"{value:.3g}s"

    return Condition(key, wanted, _ATTRIBUTE, test, seen)


def on_q850(causes: frozenset[int], wanted: str) -> Condition:
    """The cause of the Q.850 Reason is one of these."""
    return Condition(
        "q850", wanted, _HEADER, lambda f: f.reasons.q850 in causes, lambda f: _cause(f.reasons.q850)
    )


def on_sip_cause(causes: frozenset[int], wanted: str) -> Condition:
    """The cause of the SIP Reason is one of these."""
    return Condition(
        "sip_cause",
        wanted,
        _HEADER,
        lambda facts: facts.reasons.sip_cause in causes,
        lambda facts: _cause(facts.reasons.sip_cause),
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
    )


def on_retry_after(wanted: bool | Sequence[Span], text: str) -> Condition:
    """A Retry-After is there or not, or its seconds are in one of these spans."""

    def test(facts: Facts) -> bool:
        if isinstance(wanted, bool):
            return (b"Retry-After" in facts.response.index) is wanted
        value = facts.retry_after
        return value is not None and any(span.holds(value) for span in wanted)

    def seen(facts: Facts) -> str:
        value = facts.response.get(b"Retry-After")
        return "none" if value is None else shown(value)

    return Condition("retry_after", text, _HEADER, test, seen)


def on_number(key: str, patterns: Sequence[NumberPattern], wanted: str) -> Condition:
    """The called or calling number is one of these."""
    read: Callable[[Facts], str] = (
        (lambda facts: facts.called) if key == "called" else (lambda facts: facts.caller)
    )

    def test(facts: Facts) -> bool:
        number = read(facts)[:TEXT_LIMIT]
        return any(pattern.matches(number) for pattern in patterns)

    return Condition(key, wanted, _NUMBER, test, lambda facts: f'"{read(facts)[:TEXT_LIMIT]}"')


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

    wanted = any_of(quoted(pattern.pattern for pattern in patterns))
    return Condition(key, wanted, _SEARCH, test, lambda facts: _list(quoted(read(facts))))


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
    return (shown(facts.response.phrase),)


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
    if key not in message.index:
        return ()
    return tuple(shown(value) for value in message.values(key)[:_HEADER_LINES])


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _cause(cause: int) -> str:
    return str(cause) if cause else "none"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
