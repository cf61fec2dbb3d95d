"""603+ "Network Blocked" (ATIS-1000099): what is wrong with one, or with what was meant as one.

A 603+ is recognised by its status, its phrase, and a Reason whose text begins `v=analytics1;`. Where only
some of that is there, it is a near miss, and a plain 603 to a caller. A recognised one may still lack what
the caller needs to complain: somebody to turn to, and where in the network it was blocked. Both are defects
of the carrier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.rules.facts import ANALYTICS, Facts
from gateway.sip.headers import Reason

DEFECTS = {
    "phrase": "the phrase is not Network Blocked",
    "no-text": "no Reason has a text that begins v=analytics1;",
    "version": "the text of the Reason names another version than analytics1",
    "no-contact": "the text names no url, tel or email to turn to",
    "bad-contact": "the url is not https, or the tel or email is none",
    "cause": "the cause of the Reason is neither 603 of SIP nor 21 of Q.850",
    "location": "the location of the Reason is none of LN, TN, RLN, LPN and RPN (RFC 8606)",
}
"""What can be wrong with a 603+, each with its meaning for people."""

PHRASE = b"network blocked"
"""The phrase of a 603+, in lower case."""

_LOCATIONS = frozenset((b"LN", b"TN", b"RLN", b"LPN", b"RPN"))
_CAUSES = frozenset(((b"SIP", 603), (b"Q.850", 21)))
_CONTACTS = {
    b"url": re.compile(rb"https://[^\s/]\S*", re.IGNORECASE),
    b"tel": re.compile(rb"\+?[0-9(][0-9().-]{2,31}"),
    b"email": re.compile(rb"[^\s@]++@[^\s@]++"),
}


def says_network_blocked(facts: Facts) -> bool:
    """Tell whether the phrase is that of a 603+."""
    return facts.response.phrase.strip().lower() == PHRASE


def is_near_miss(facts: Facts) -> bool:
    """Tell whether it is a 603+ gone wrong: the phrase without the Reason, or the other way round."""
    return facts.response.status == 603 and facts.reasons.analytics != says_network_blocked(facts)


def defects(facts: Facts) -> tuple[str, ...]:
    """Return what is wrong with a 603+ or a near miss of one: keys of DEFECTS, none when all is right."""
    return tuple(_defects(facts))


def _defects(facts: Facts) -> Iterator[str]:
    if not says_network_blocked(facts):
        yield "phrase"
    values = facts.reasons.values
    reason = next((value for value in values if value.text.startswith(ANALYTICS)), None)
    if reason is None:
        yield "version" if any(value.text.startswith(b"v=") for value in values) else "no-text"
        return
    yield from _contact_defects(reason)
    if (reason.kind, reason.cause) not in _CAUSES:
        yield "cause"
    if reason.location not in _LOCATIONS:
        yield "location"


def _contact_defects(reason: Reason) -> Iterator[str]:
    named = 0
    for field in reason.text.removeprefix(ANALYTICS).split(b";"):
        name, _, value = field.strip().partition(b"=")
        form = _CONTACTS.get(name.lower())
        if form is not None:
            named += 1
            if not form.fullmatch(value):
                yield "bad-contact"
                return
    if not named:
        yield "no-contact"
