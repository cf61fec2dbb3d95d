"""Calls of which the capture shows only one direction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.analysis.finding import Case, Kind, Sure
from gateway.analysis.model import Call, Event, Mark
from gateway.ladder.model import shown_address

KIND = Kind(
    "one-direction-captured",
    "The capture shows only one direction",
    "Of some calls only what one side sends is in the capture: there are answers to what was never asked, "
    "or the other way round. Findings on these calls may be wrong, and others are missing.",
    "Capture on an interface that sees both directions (such as any), or on both hosts, and give both files.",
)


def find(call: Call) -> Iterator[Case]:
    """Find INVITEs that had responses, as what follows them shows, of which none was caught."""
    for hop in call.hops:
        if not hop.provisional and hop.final is None and (hop.acks or hop.cancels):
            said = (hop.acks or hop.cancels)[0]
            asker = shown_address(hop.asker)
            yield Case(
                KIND,
                f"from {shown_address(hop.asked)}",
                f"{asker} sent {said.title}, so it had responses that the capture does not show",
                (Mark.of(hop.invite), Mark.of(said)),
                Sure.CERTAIN,
                call=call,
            )


def strays(events: Iterable[Event]) -> Iterator[Case]:
    """Tell of 100s whose INVITE the capture does not show."""
    for event in events:
        text = f"{shown_address(event.source)} said 100 to an INVITE that the capture does not show"
        subject = f"from {shown_address(event.destination)}"
        yield Case(KIND, subject, text, (Mark.of(event),), Sure.CERTAIN)
