"""Captures whose clocks do not agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.analysis.captures import place_of
from gateway.analysis.clocks import LEAST, Skew
from gateway.analysis.finding import Case, Kind, Sure, seconds
from gateway.analysis.model import Call, Mark

KIND = Kind(
    "clock-skew",
    "The clocks of two captures disagree",
    "The same messages were caught in two places, or a call was passed on before it had come, and the "
    "times do not fit. Times between messages of the two captures are wrong by the skew, and so are "
    "findings that go by them.",
    "Synchronise both hosts (NTP, chrony) and capture again, or shift one file: editcap -t SECONDS IN OUT.",
)


def skews(found: Iterable[Skew]) -> Iterator[Case]:
    """Tell of captures that caught the same messages at different times."""
    for skew in found:
        about = "" if skew.is_certain else "about "
        yield Case(
            KIND,
            _points(skew.behind, skew.point),
            f"the clock of {place_of(skew.point)} is {about}{seconds(skew.seconds)} ahead of that of"
            f" {place_of(skew.behind)}",
            (skew.second, skew.first),
            Sure.CERTAIN if skew.is_certain else Sure.LIKELY,
        )


def find(call: Call) -> Iterator[Case]:
    """Find legs that begin before the leg that they come from, in another capture."""
    for hop in call.hops:
        above = hop.above
        if above is None or above.invite.caught.point == hop.invite.caught.point:
            continue
        early = above.invite.at - hop.invite.at
        if early >= LEAST:
            yield Case(
                KIND,
                _points(above.invite.caught.point, hop.invite.caught.point),
                f"a call was passed on {seconds(early)} before it came, by the clocks of the two captures",
                (Mark.of(hop.invite, "passed on"), Mark.of(above.invite, "came")),
                Sure.LIKELY,
                call=call,
            )


def _points(one: int, other: int) -> str:
    return f"{place_of(min(one, other))} and {place_of(max(one, other))}"
