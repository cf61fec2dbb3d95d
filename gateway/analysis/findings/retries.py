"""Callers that go on calling a number that refuses them."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, number, seconds
from gateway.analysis.model import Call, Mark
from gateway.ladder.model import shown_address

KIND = Kind(
    "retry-storm",
    "A retry storm after a final",
    "The same caller calls the same number over and over, each time within a minute of its refusal. A "
    "final is the answer (RFC 3261 8.1.3.5); after 404, 410 or a 6xx calling again cannot help. Such "
    "storms come of dialers and of PBXes that take a code for a passing fault.",
    "Set the caller not to try again after this code, or later. Where the code misleads it (a 403, 480 or "
    "503 for a dead number, a 486 for a person who refuses), mend the code at its source or by a rule; "
    "for real overload send Retry-After.",
)
_LEAST = 3  # attempts before this one


def find(call: Call) -> Iterator[Case]:
    """Find calls that are at least the fourth attempt in a row."""
    for hop in call.hops:
        if hop.above is not None or len(hop.earlier) < _LEAST:
            continue
        first = hop.earlier[0]
        codes = sorted({attempt.status for attempt in hop.earlier})
        span = seconds(hop.invite.at - first.invite.at)
        yield Case(
            KIND,
            f"{shown_address(hop.asker)} to {number(hop)}",
            f"{shown_address(hop.asker)} called {number(hop)} {len(hop.earlier) + 1} times within {span},"
            f" though it was told {', '.join(map(str, codes))}",
            (*(attempt.final for attempt in hop.earlier[-4:]), Mark.of(hop.invite, "again")),
            Sure.LIKELY,
            call=call,
        )
