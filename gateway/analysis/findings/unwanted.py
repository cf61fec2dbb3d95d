"""607 to a peer that took it for 600."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.finding import Case, Kind, Sure, number, seconds, who
from gateway.analysis.model import Call, Mark
from gateway.ladder.model import shown_address

KIND = Kind(
    "607-taken-for-600",
    "A peer takes 607 Unwanted for 600 Busy Everywhere",
    "607 (RFC 8197) says that a person does not want such calls. A peer that does not know it must take "
    "it for 600 (RFC 3261 8.1.3.2): it passes 600 on, or calls again as after busy, and what the person "
    "said is lost.",
    "Send 607 only to peers that know it. On the gateway leave 607 out of the trunk's supports: it then "
    'sends 603 with Reason: SIP;cause=607;text="Unwanted", without any rule.',
)


def find(call: Call) -> Iterator[Case]:
    """Find 607 that left a host as 600, and callers that try again after 607."""
    for hop in call.hops:
        if hop.status == 600:
            for below in hop.below:
                if below.status == 607:
                    yield Case(
                        KIND,
                        who(hop),
                        f"{who(hop)} got 607 from {who(below)} and said 600 to {shown_address(hop.asker)}",
                        (Mark.of(below.ending), Mark.of(hop.ending, "the same, passed on")),
                        call=call,
                    )
        elif hop.above is None and hop.earlier and hop.earlier[-1].status == 607:
            last = hop.earlier[-1].final
            waited = seconds(hop.invite.at - last.at)
            caller = shown_address(hop.asker)
            yield Case(
                KIND,
                caller,
                f"{caller} got 607 for {number(hop)} and called again {waited} later, as after busy",
                (last, Mark.of(hop.invite, "again")),
                Sure.POSSIBLE,
                call=call,
            )
