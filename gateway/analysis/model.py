"""What a capture shows of calls: messages, transactions, and calls of one or several legs.

A *hop* is an INVITE on its way from one host to the next, with all that belongs to the transaction. Hops hang
together: a proxy that forks has one hop above it and several below, and so has a B2BUA, whose legs have
Call-IDs of their own. Everything is as seen on the wire, so a hop may lack its request, its final or its ACK.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.captures.pcap import Datagram
from gateway.ladder.model import shown_address
from gateway.rules.facts import Facts, shown
from gateway.sip.message import Message, Request, Response, parse
from gateway.wire import Address

MOST_KEPT = 64
"""Messages kept of each kind of one hop: more of them say nothing new."""

MOST_HOPS = 128
"""Hops of one call. Findings compare each with each."""


@dataclass(slots=True, eq=False)
class Event:
    """A message in the capture. It is kept as bytes, and read again where a finding asks for more."""

    caught: Datagram
    method: bytes
    """The method of a request, or that in the CSeq of a response."""
    status: int = 0
    """0 for a request."""
    to_tag: bytes = b""

    @property
    def at(self) -> float:
        """When it was caught, in seconds since the epoch."""
        return self.caught.at

    @property
    def number(self) -> int:
        """The number of its packet."""
        return self.caught.number

    @property
    def source(self) -> Address:
        """Who sent it."""
        return self.caught.source

    @property
    def destination(self) -> Address:
        """To whom it was sent."""
        return self.caught.destination

    @property
    def message(self) -> Message:
        """The message, read anew."""
        return parse(self.caught.payload)

    @property
    def title(self) -> str:
        """The method, or status and phrase."""
        if not self.status:
            return self.method.decode("utf-8", "replace")
        message = self.message
        phrase = shown(message.phrase) if isinstance(message, Response) else ""
        return f"{self.status} {phrase}".rstrip()


class Mark(NamedTuple):
    """One message as evidence: where to find it, and what it says."""

    number: int
    """The number of its packet."""
    at: float
    point: int
    source: str
    destination: str
    what: str
    note: str = ""
    """Why it is evidence."""

    @classmethod
    def of(cls, event: Event, note: str = "") -> Mark:
        """Take a message for evidence, with a note on why."""
        caught = event.caught
        ends = shown_address(event.source), shown_address(event.destination)
        return cls(caught.number, caught.at, caught.point, *ends, event.title, note)

    @property
    def text(self) -> str:
        """The message and the note, for people."""
        return f"{self.what} ({self.note})" if self.note else self.what


@dataclass(slots=True, eq=False)
class Hop:
    """An INVITE from one host to the next, and what came of it there."""

    leg: Leg
    invite: Event
    branch: bytes
    cseq: int
    upper_branch: bytes = b""
    """The branch of the Via below the topmost: the sender got the call under it; b"" when there is none."""
    caller: str = ""
    """The number or user of From."""
    called: str = ""
    """The number or user of the Request-URI."""
    resent: list[Event] = field(default_factory=list)
    """The INVITE again (RFC 3261 17.1.1.2)."""
    provisional: list[Event] = field(default_factory=list)
    final: Event | None = None
    finals_again: list[Event] = field(default_factory=list)
    """The final again, and other 2xx of a fork."""
    acks: list[Event] = field(default_factory=list)
    cancels: list[Event] = field(default_factory=list)
    above: Hop | None = None
    """The hop that the sender of this one received: it forwards that call."""
    below: list[Hop] = field(default_factory=list)
    """The hops by which its receiver forwards the call."""
    joined_by: str = ""
    """How `above` was found: "Via", "X-CID", "Session-ID" or "numbers"."""
    in_call: Mark | None = None
    """The answer of another call that its receiver was in when it said its final."""
    judged: tuple[Facts, str] | None = None
    """What rules see of its final, and which shipped rule decides it; None while nobody has asked."""
    earlier: tuple[Attempt, ...] = ()
    """What the same caller tried before towards the same number, by the same way, and was refused."""

    @property
    def asker(self) -> Address:
        """Who sent the INVITE."""
        return self.invite.source

    @property
    def asked(self) -> Address:
        """To whom it was sent."""
        return self.invite.destination

    @property
    def status(self) -> int:
        """The final status; 0 while there is none."""
        return 0 if self.final is None else self.final.status

    @property
    def ending(self) -> Event:
        """The final. Only for a hop that has one."""
        assert self.final is not None, "the hop has no final"
        return self.final

    @property
    def rang_at(self) -> float | None:
        """When the first 18x came, or None."""
        return next((event.at for event in self.provisional if event.status >= 180), None)

    @property
    def is_local(self) -> bool:
        """Whether its receiver made the final itself: none of the hops below it ended so."""
        return all(below.status != self.status for below in self.below)

    @property
    def siblings(self) -> list[Hop]:
        """The other branches of the same fork or hunt; the capture may lack the hop that they come from."""
        if self.above is not None:
            return [hop for hop in self.above.below if hop is not self]
        if not self.upper_branch:
            return []
        return [hop for hop in self.leg.hops if hop is not self and hop.upper_branch == self.upper_branch]

    @property
    def response(self) -> Response:
        """The final, read anew. Only for a hop that has one."""
        message = self.ending.message
        assert isinstance(message, Response)
        return message

    @property
    def request(self) -> Request:
        """The INVITE, read anew."""
        message = self.invite.message
        assert isinstance(message, Request)
        return message

    def pending_at(self, at: float) -> bool:
        """Tell whether it had begun and had no final at this time."""
        return self.invite.at <= at and (self.final is None or self.final.at > at)

    def events(self) -> Iterator[Event]:
        """Yield its messages, kind after kind."""
        yield self.invite
        yield from self.resent
        yield from self.provisional
        if self.final is not None:
            yield self.final
        yield from self.finals_again
        yield from self.acks
        yield from self.cancels


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that was refused: enough to tell of it when the caller tries again."""

    call_id: bytes
    status: int
    invite: Mark
    final: Mark


@dataclass(slots=True, eq=False)
class Inside:
    """A request inside a dialog, with what came of it on that hop."""

    request: Event
    branch: bytes
    cseq: int
    resent: list[Event] = field(default_factory=list)
    final: Event | None = None


@dataclass(slots=True, eq=False)
class Leg:
    """All messages with one Call-ID."""

    call_id: bytes
    call: Call
    hops: list[Hop] = field(default_factory=list)
    inside: list[Inside] = field(default_factory=list)
    other: list[Event] = field(default_factory=list)
    """Messages that no finding asks about; they are there for the ladder."""
    is_ending: bool = False
    """Whether somebody said BYE."""
    names: bytes = b""
    """The Call-ID that it says it comes from (X-CID)."""
    session: bytes = b""
    """The Session-ID of its caller (RFC 7989)."""


@dataclass(slots=True, eq=False)
class Call:
    """The legs that belong together."""

    legs: list[Leg] = field(default_factory=list)
    last: float = 0.0
    """When its last message came, by the time of the capture."""
    queued_at: float = 0.0
    """When it was last moved behind the other calls, to be judged after them."""
    hop_count: int = 0
    """How many hops it has."""
    size: int = 0
    """Bytes of the messages that are kept of it."""
    capture_ends: float = 0.0
    """Up to when the capture shows what became of it; set when it is judged."""

    @property
    def hops(self) -> list[Hop]:
        """All hops of all legs."""
        return [hop for leg in self.legs for hop in leg.hops]

    @property
    def is_up(self) -> bool:
        """Whether it was answered and nobody has hung up."""
        return any(
            not leg.is_ending and any(200 <= hop.status < 300 for hop in leg.hops) for leg in self.legs
        )

    @property
    def call_ids(self) -> list[str]:
        """The Call-IDs of its legs, the first one first."""
        return [shown(leg.call_id) for leg in self.legs]

    def forks(self) -> Iterator[list[Hop]]:
        """Yield the branches of each fork or hunt, at once or one after the other, by when they begin."""
        groups: dict[tuple[int, bytes], list[Hop]] = {}
        for hop in self.hops:
            if hop.above is not None:
                groups.setdefault((id(hop.above), b""), []).append(hop)
            elif hop.upper_branch:
                groups.setdefault((id(hop.leg), hop.upper_branch), []).append(hop)
        for group in groups.values():
            if len(group) > 1:
                yield sorted(group, key=lambda hop: hop.invite.at)

    def take_apart(self) -> None:
        """Let go of everything: what refers to each other in a ring is not freed by itself at once."""
        for leg in self.legs:
            for hop in leg.hops:
                hop.above = None
                hop.below.clear()
            leg.hops.clear()
        self.legs.clear()

    def events(self) -> list[Event]:
        """All its messages, in the order of time."""
        found = [event for hop in self.hops for event in hop.events()]
        for leg in self.legs:
            found += leg.other
        return sorted(found, key=lambda event: (event.at, event.number))
