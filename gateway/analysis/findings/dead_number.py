"""603 for a number that does not exist, or not any more: 404 or 410 was meant."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.analysis.declines import Decline, declines
from gateway.analysis.finding import Case, Kind, number, who
from gateway.analysis.model import Call, Mark
from gateway.analysis.shipped import rule_text
from gateway.rules.causes import cause_name

KIND = Kind(
    "603-for-dead-number",
    "603 for a number that does not exist",
    "The far end said 603 Decline, and by its Q.850 cause or its words the number is not allocated, not "
    "in service or changed. 603 tells the caller that a person refused; a dead number is 404 Not Found or "
    "410 Gone, which tells dialers and people to call it no more.",
    "Ask the carrier to send 404 (Q.850 1) or 410 (Q.850 22); until then let the gateway rewrite it by "
    "the rule below, which it ships.",
)


def find(call: Call) -> Iterator[Case]:
    """Find 603 with the evidence of a dead number."""
    for hop, facts, rule in declines(call, Decline.DEAD_NUMBER):
        cause = facts.reasons.q850
        if rule.endswith("by-cause"):
            evidence = f"Q.850 cause {cause} ({cause_name(cause)})"
        else:
            evidence = f'the words "{(facts.reasons.texts or (facts.phrase,))[0]}"'
        if rule.endswith("by-phrase"):
            evidence = f'the words "{facts.phrase}"'
        yield Case(
            KIND,
            who(hop),
            f"{who(hop)} said 603 for {number(hop)} with {evidence}",
            (Mark.of(hop.invite), Mark.of(hop.ending)),
            rule=rule_text(rule),
            call=call,
        )
