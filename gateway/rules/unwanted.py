"""Unwanted calls: what callees say by 607 (RFC 8197 sections 4 and 6), whom they say it of, and the tallies.

A 607 before the answer, a 603 that stands for one, and `Reason: SIP;cause=607` in the CANCEL or BYE of a call
are feedback. It is kept by the identities that the call gave for its caller, as numbers without separators or
as user@host: From, P-Asserted-Identity where its trunk is trusted, and those who passed the call on, by
History-Info, who are listed but held apart. An anonymous caller (RFC 3323) is nobody, and so is one whose
asserted identity is private. Numbers get new owners, so feedback fades and expires.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from gateway.rules.passport import attestation
from gateway.sip.errors import MalformedError
from gateway.sip.headers import Reason, parse_addresses, parse_reasons
from gateway.sip.message import Request, Response
from gateway.sip.uri import Uri, parse_uri

UNWANTED: Final = 607
BEFORE_ANSWER, MIDCALL = "before-answer", "mid-call"
CALLER, DIVERTER = "caller", "diverter"
"""What an identity is to the call: who made it, or who passed it on."""

_LONGEST = 64  # characters of an identity
_MOST = 4  # identities of one kind in one call
_NOBODY = frozenset((
    b"anonymous", b"unknown", b"unavailable", b"restricted", b"private", b"withheld", b"invalid", b"asterisk",
))  # fmt: skip
_HIDING = (b"id", b"user", b"header", b"session", b"critical")


class Identity(msgspec.Struct, frozen=True):
    """A canonical identity and its role, CALLER or DIVERTER."""

    name: str
    role: str = CALLER


class Feedback(msgspec.Struct, frozen=True):
    """One callee did not want one call."""

    at: float
    identities: tuple[Identity, ...]
    callee: str
    """The called number; it is kept only where there are lists of each callee."""
    stage: str
    """BEFORE_ANSWER or MIDCALL."""
    attested: bool
    """Whether the call had an Identity header with attestation A (read, not verified)."""
    trunk: str
    """The trunk whose side said so."""

    @property
    def callers(self) -> list[str]:
        """The identities of who called."""
        return [each.name for each in self.identities if each.role == CALLER]


class FeedbackSink(Protocol):
    """Somebody who wants feedback. Must return at once and never raise."""

    def feedback(self, feedback: Feedback) -> None:
        """Take one callee's word."""


def says_unwanted(message: Request | Response) -> bool:
    """Tell whether a final, CANCEL or BYE says that the call was unwanted: 607, or SIP;cause=607."""
    if isinstance(message, Response) and message.status == UNWANTED:
        return True
    if not message.has(b"Reason"):
        return False
    # Few are worth reading.
    values = [value for value in message.values(b"Reason") if value.find(b"607") >= 0]
    return stand_for_unwanted(parse_reasons(values))


def stand_for_unwanted(reasons: Iterable[Reason]) -> bool:
    """Tell whether one of these Reason values is SIP;cause=607."""
    return any(reason.kind == b"SIP" and reason.cause == UNWANTED for reason in reasons)


def heard(
    request: Request, trusted: bool, callee: str, stage: str, trunk: str, now: float
) -> Feedback | None:
    """Return the feedback about the caller of this INVITE (or MESSAGE ...); None when it is nobody."""
    found = identities(request, trusted)
    if not found:
        return None
    attested = attestation(request.values(b"Identity")) == "A"
    return Feedback(now, found, callee, stage, attested, trunk)


def callers(request: Request, trusted: bool) -> tuple[str, ...]:
    """Return the canonical identities of who makes this call; none when it is anonymous."""
    return tuple(each.name for each in identities(request, trusted) if each.role == CALLER)


def identities(request: Request, trusted: bool) -> tuple[Identity, ...]:
    """Return the canonical identities in a request; asserted ones only if its trunk is `trusted`."""
    found = dict.fromkeys(Identity(name) for name in _named(_addresses(request, b"From")))
    if trusted and not _is_private(request):
        asserted = _named(_addresses(request, b"P-Asserted-Identity"))
        found |= dict.fromkeys(Identity(name) for name in asserted)
    # The last entry of History-Info is who is called now (RFC 7044 section 9).
    passed_on = _named(_addresses(request, b"History-Info")[:-1])
    known = {each.name for each in found}
    found |= dict.fromkeys(Identity(name, DIVERTER) for name in passed_on if name not in known)
    return tuple(found)


def canonical(uri: Uri) -> str:
    """Return the number, or user@host, that a URI means; "" for nobody and for what is too long."""
    number = uri.number
    host = uri.host.lower()
    if not number or number.lower() in _NOBODY or host == b"anonymous.invalid":
        return ""
    if not is_number(number.decode("utf-8", "replace")):
        if uri.scheme == b"tel" or not host:
            return ""
        number += b"@" + host
    name = number.decode("utf-8", "replace")
    return name if len(name) <= _LONGEST and name.isprintable() else ""


def is_number(text: str) -> bool:
    """Tell whether this is a telephone number, without separators."""
    digits = text.removeprefix("+")
    return digits.isascii() and digits.isdigit() and len(text) <= _LONGEST


def _addresses(request: Request, key: bytes) -> list[bytes]:
    """Return the URIs of a header; none when it cannot be read."""
    if not request.has(key):
        return []
    try:
        return [address.uri for address in parse_addresses(request.values(key))]
    except MalformedError:
        return []


def _named(uris: Sequence[bytes]) -> list[str]:
    names = []
    for raw in uris[:_MOST]:
        try:
            name = canonical(parse_uri(raw))
        except MalformedError:
            continue
        if name:
            names.append(name)
    return names


def _is_private(request: Request) -> bool:
    """Tell whether the caller wants its identity withheld (RFC 3323 4.2, RFC 3325 9.3)."""
    wanted = b";".join(request.values(b"Privacy")).lower().replace(b",", b";").split(b";")
    return any(word.strip() in _HIDING for word in wanted)


# -- tallies ---------------------------------------------------------------------------------------


class Entry(msgspec.Struct, frozen=True):
    """One word of feedback about one identity, as it is kept."""

    at: float
    identity: str
    role: str
    callee: str
    stage: str
    attested: bool
    trunk: str


@dataclass(slots=True)
class Tally:
    """What has been said of one identity. `weight` counts each word less the older it is."""

    identity: str
    role: str
    before_answer: int = 0
    midcall: int = 0
    attested: int = 0
    weight: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0


def entries(feedback: Feedback, callee: str) -> list[Entry]:
    """Return what is kept of feedback: one entry for each identity, with the callee's name or without."""
    at, stage, attested, trunk = feedback.at, feedback.stage, feedback.attested, feedback.trunk
    return [Entry(at, each.name, each.role, callee, stage, attested, trunk) for each in feedback.identities]


def tally(kept: Iterable[Entry], now: float, half_life: float, most: int | None = None) -> list[Tally]:
    """Sum up entries by identity and role, the heaviest first, of many only the first `most`. A word of age
    `half_life` weighs one half.
    """
    found: dict[tuple[str, str], Tally] = {}
    for entry in kept:
        one = found.setdefault((entry.identity, entry.role), Tally(entry.identity, entry.role))
        one.before_answer += entry.stage == BEFORE_ANSWER
        one.midcall += entry.stage == MIDCALL
        one.attested += entry.attested
        one.weight += 0.5 ** (max(now - entry.at, 0.0) / half_life)
        one.first_at = min(one.first_at or entry.at, entry.at)
        one.last_at = max(one.last_at, entry.at)
    # A sort of them all would keep the interpreter from calls for as long as it takes.
    return heapq.nsmallest(most or len(found), found.values(), key=lambda one: (-one.weight, one.identity))
