"""Finding the peer: the addresses that a target stands for (RFC 3263), without I/O.

:func:`search` is the procedure of section 4 as a generator: it yields questions, is sent the answers, and
returns what it :class:`Found`. :func:`order` makes of that the addresses in the order of trying; it is drawn
anew for each call, so that calls spread by the weights of SRV records however long an answer is remembered.

Answers come from strangers. What they say is bounded in number, questions are too, names must be host names,
and addresses that no peer can have (unspecified, multicast, broadcast, reserved, link-local) are left out. A
loopback address counts only where the gateway serves loopback itself, or where this machine's own table says
so: otherwise whoever owns a name could aim calls at the services of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby, pairwise, zip_longest
from typing import NamedTuple, Protocol

from gateway.addresses import is_host_name, parse_ip
from gateway.routing.records import Answer, Kind, Question, Srv
from gateway.routing.trunk import Target
from gateway.sip.uri import Uri

MAX_QUESTIONS = 64  # for one target
MAX_ALIASES = 8  # CNAMEs followed one after the other, beside those that one reply resolves
MAX_NAPTR = 8  # records used
MAX_SRV = 16  # records used of one service
MAX_OF_ONE_NAME = 8  # addresses used
MAX_ADDRESSES = 16  # used in all

LONGEST = 3600.0  # seconds that an answer counts
SHORTEST = 1.0  # however often the zone wants to be asked
LONGEST_NEGATIVE = 300.0
SHORTEST_NEGATIVE = 5.0
RETRY = 5.0  # seconds after which what failed is asked again

_SERVICES = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}  # RFC 3263 4.1
_SRV_PREFIXES = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}  # RFC 3263 4.2
_KINDS: dict[int, Kind] = {6: "AAAA", 4: "A"}
_NOWHERE = Answer(LONGEST_NEGATIVE)
_FAILED = Answer(RETRY, failed=True)


class Address(NamedTuple):
    """Where a request can be sent: an IP address without brackets, a port, and udp, tcp or tls."""

    host: str
    port: int
    transport: str


class Waiter(Protocol):
    """Whoever asked for addresses that were not known yet."""

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Take the addresses in the order of trying; () when the name leads nowhere. Called once."""


class Locator(Protocol):
    """Finds the addresses of a target, at once or later."""

    def locate(self, target: Target, waiter: Waiter, now: float) -> tuple[Address, ...] | None:
        """Return the addresses in the order of trying when they are known, () when the name is known to lead
        nowhere; None when they have to be asked for: ``waiter`` is told later.
        """


class NoLocator:
    """Knows no name."""

    def locate(self, _target: Target, _waiter: Waiter, _now: float) -> tuple[Address, ...]:
        """Return that no name leads anywhere."""
        return ()


@dataclass(frozen=True, slots=True)
class Reach:
    """What the gateway can send to: transport and IP version (4 or 6) of each of its listening points."""

    points: frozenset[tuple[str, int]]
    loopback: bool
    """Whether one of them is on loopback."""

    @classmethod
    def of(cls, listening: Iterable[tuple[str, str]]) -> Reach:
        """Return the reach of listening points, given as transport and IP address."""
        pairs = [(transport, parse_ip(host)) for transport, host in listening]
        known = [(transport, address) for transport, address in pairs if address is not None]
        points = frozenset((transport, address.version) for transport, address in known)
        return cls(points, any(address.is_loopback for _, address in known))

    def families(self, transport: str) -> list[int]:
        """Return the IP versions that a transport reaches, 6 before 4."""
        return [family for family in _KINDS if (transport, family) in self.points]


@dataclass(frozen=True, slots=True)
class Place:
    """One server that offers a service: an SRV record with the addresses of its target."""

    priority: int
    weight: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has come to, for ``ttl`` seconds."""

    services: tuple[tuple[Place, ...], ...]
    """The servers of each service, the preferred transport first; in each the lower priority number first."""
    ttl: float
    is_broken: bool = False
    """Nothing was found, and not because there is nothing: some question was not answered."""

    @property
    def is_drawn(self) -> bool:
        """Whether the order of trying is another at each draw."""
        return any(a.priority == b.priority for places in self.services for a, b in pairwise(places))


Draw = Callable[[], float]
"""Returns a random number from 0 up to but not including 1."""
Search = Generator[tuple[Question, ...], Mapping[Question, Answer], Found]


def target_of_uri(uri: Uri) -> Target:
    """Return the target that a sip or sips URI of a Contact, Route or Record-Route is (RFC 3263 4).

    Its ``maddr`` stands in for the host. A transport that the gateway has not got leads nowhere.
    """
    host = (uri.param(b"maddr") or uri.host).strip(b"[]").decode("ascii", "replace")
    named = (uri.param(b"transport") or b"").decode("ascii", "replace").lower()
    transport = named or "udp"
    if uri.scheme == b"sips":
        transport = "tls" if named in ("", "tcp", "tls") else ""  # RFC 3261 26.2.2
    is_name = parse_ip(host) is None
    return Target(
        uri.raw,
        host,
        uri.port or default_port(transport),
        transport,
        srv=is_name and not uri.port,
        naptr=is_name and not uri.port and not named,
    )


def default_port(transport: str) -> int:
    """Return the port where neither a URI nor an SRV record names one (RFC 3261 19.1.2)."""
    return 5061 if transport == "tls" else 5060


def order(found: Found, draw: Draw) -> tuple[Address, ...]:
    """Return the addresses in the order of trying: by priority, and among equals by a draw with the weights
    (RFC 2782). Those of one server stay together (RFC 3263 4.3).
    """
    addresses: dict[Address, None] = {}
    for places in found.services:
        for _, equals in groupby(places, key=lambda place: place.priority):
            for place in _drawn(list(equals), draw):
                addresses.update(dict.fromkeys(place.addresses))
    return tuple(addresses)[:MAX_ADDRESSES]


def search(target: Target, reach: Reach) -> Search:
    """Find a target whose host is a name: yields questions to be asked together, is sent the answers by
    question (one that is missing counts as failed), and returns what was found (RFC 3263 4).
    """
    return _Inquiry(reach).about(target)


Asking = Generator[tuple[Question, ...], Mapping[Question, Answer], dict[Question, Answer]]
Services = list[tuple[str, tuple[Srv, ...]]]  # transport, and the records that offer it


class _Inquiry:
    """One search, with what it may still ask and how long its outcome will count."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._left = MAX_QUESTIONS
        self._ttl = LONGEST
        self._failed = False

    def about(self, target: Target) -> Search:
        host = _plain(target.host)
        if not is_host_name(host):
            return self._found(())
        if target.srv:
            services = yield from self._services(target, host)
        else:
            services = self._itself(host, target.transport, target.port)
        return self._found((yield from self._places(services)))

    def _itself(self, host: str, transport: str, port: int) -> Services:
        """Return the name as its own and only server (RFC 3263 4.2)."""
        return [(transport, (Srv(0, 0, port, host),))] if self._reach.families(transport) else []

    def _services(
        self, target: Target, host: str
    ) -> Generator[tuple[Question, ...], Mapping[Question, Answer], Services]:
        """Ask for NAPTR and SRV; when the name has no SRV, it is its own server."""
        transport, port = target.transport, target.port
        wanted = [target.transport]
        if target.naptr:
            wanted = ["tls"] if target.transport == "tls" else ["udp", "tcp", "tls"]
        ours = [transport for transport in wanted if self._reach.families(transport)]
        names = [(transport, Question(_SRV_PREFIXES[transport] + host, "SRV")) for transport in ours]
        if target.naptr and ours:
            chosen = yield from self._chosen(host, ours)
            if chosen is not None:
                names = chosen
            if chosen:
                transport = chosen[0][0]
                port = default_port(transport)
        answers = yield from self._ask(question for _, question in names)
        # When SRV cannot be asked for, the name's own address could be the wrong place.
        if names and not any(answer.srv or answer.failed for answer in answers.values()):
            return self._itself(host, transport, port)
        return [(offered, answers[question].srv) for offered, question in names]

    def _chosen(
        self, host: str, ours: list[str]
    ) -> Generator[tuple[Question, ...], Mapping[Question, Answer], list[tuple[str, Question]] | None]:
        """Ask for NAPTR (RFC 3263 4.1); None when no record speaks of SIP, [] when none is for us.

        A server that fails on NAPTR is taken as one that has none: there are such that do not know the type.
        """
        question = Question(host, "NAPTR")
        records = (yield from self._ask([question]))[question].naptr
        self._failed = False
        sip = [
            (record, _SERVICES[record.service.upper()])
            for record in records
            if record.service.upper() in _SERVICES
            and record.flags.lower() == "s"
            and not record.regexp
            and is_host_name(record.replacement)
        ]
        if not sip:
            return None
        usable = sorted((record, transport) for record, transport in sip if transport in ours)
        # RFC 3403 4.1: once a record serves, those of a higher order must not be looked at
        first = [pair for pair in usable if pair[0].order == usable[0][0].order][:MAX_NAPTR]
        return [(transport, Question(_plain(record.replacement), "SRV")) for record, transport in first]

    def _places(
        self, services: Services
    ) -> Generator[tuple[Question, ...], Mapping[Question, Answer], tuple[tuple[Place, ...], ...]]:
        """Ask for the addresses of every server."""
        usable = [
            (transport, sorted(record for record in records if record.port and is_host_name(record.target)))
            for transport, records in services
        ]
        chosen = [(transport, records[:MAX_SRV]) for transport, records in usable]
        answers = yield from self._ask(
            question
            for transport, records in chosen
            for record in records
            for question in self._questions(record, transport)
        )
        return tuple(
            tuple(self._place(record, transport, answers) for record in records)
            for transport, records in chosen
        )

    def _questions(self, record: Srv, transport: str) -> list[Question]:
        name = _plain(record.target)
        return [Question(name, _KINDS[family]) for family in self._reach.families(transport)]

    def _place(self, record: Srv, transport: str, answers: Mapping[Question, Answer]) -> Place:
        """Join an SRV record with its addresses, IPv6 and IPv4 by turns (RFC 8305 4): where one of the two
        does not work, every other try still does.
        """
        families = [
            [
                host
                for host in answers[question].addresses
                if self._is_usable(host, question, answers[question])
            ]
            for question in self._questions(record, transport)
        ]
        hosts = [host for host in chain.from_iterable(zip_longest(*families)) if host is not None]
        addresses = tuple(Address(host, record.port, transport) for host in hosts[:MAX_OF_ONE_NAME])
        return Place(record.priority, record.weight, addresses)

    def _is_usable(self, host: str, question: Question, answer: Answer) -> bool:
        address = parse_ip(host)
        if address is None or not (":" in host) == (address.version == 6) == (question.kind == "AAAA"):
            return False  # an IPv4-mapped IPv6 address is none that a socket of ours reaches
        if address.is_loopback:
            return self._reach.loopback or answer.is_own
        is_reserved = address.version == 4 and (address.is_reserved or host.startswith("0."))
        return not (address.is_unspecified or address.is_multicast or address.is_link_local or is_reserved)

    def _ask(self, questions: Iterable[Question]) -> Asking:
        """Ask, and follow aliases as far as they may lead. Every question has an answer afterwards."""
        answers: dict[Question, Answer] = {}
        asked_as = {question: question for question in questions}
        for _ in range(MAX_ALIASES + 1):
            asked = tuple(dict.fromkeys(asked_as.values()))[: self._left]
            self._left -= len(asked)
            if not asked:
                break
            replies = yield asked
            led_on = {}
            for question, now_asked in asked_as.items():
                answer = replies.get(now_asked, _FAILED) if now_asked in asked else _NOWHERE
                self._note(answer)
                alias = _plain(answer.alias)
                if alias and is_host_name(alias):
                    led_on[question] = Question(alias, question.kind)
                else:
                    answers[question] = answer
            asked_as = led_on
        return answers | dict.fromkeys(asked_as, _NOWHERE)

    def _note(self, answer: Answer) -> None:
        self._failed = self._failed or answer.failed
        self._ttl = min(self._ttl, answer.ttl if answer.ttl < 1 << 31 else 0)  # RFC 2181 8

    def _found(self, services: tuple[tuple[Place, ...], ...]) -> Found:
        if any(place.addresses for places in services for place in places):
            return Found(services, max(SHORTEST, self._ttl))
        if self._failed:
            return Found((), RETRY, is_broken=True)
        return Found((), min(max(SHORTEST_NEGATIVE, self._ttl), LONGEST_NEGATIVE))


def _drawn(places: list[Place], draw: Draw) -> Iterator[Place]:
    """Yield places of one priority by the algorithm of RFC 2782: those of weight 0 stand first, and have a
    very small chance beside others.
    """
    left = sorted(places, key=lambda place: place.weight > 0)
    while len(left) > 1:
        mark = int(draw() * (sum(place.weight for place in left) + 1))
        at = 0
        while mark > left[at].weight:
            mark -= left[at].weight
            at += 1
        yield left.pop(at)
    yield from left


def _plain(name: str) -> str:
    """Return a name as questions have it."""
    return name.removesuffix(".").lower()
