"""A domain name system in a dictionary, to play searches against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.addresses import parse_target
from gateway.config import TrunkSettings
from gateway.routing.locate import Address, Found, Reach, order, search
from gateway.routing.records import Answer, Kind, Naptr, Question, Srv
from gateway.routing.trunk import Target, Trunk

Records = Naptr | Srv | str | Answer

EVERYWHERE = Reach.of([(t, h) for t in ("udp", "tcp", "tls") for h in ("192.0.2.5", "2001:db8::5")])
UDP4 = Reach.of([("udp", "192.0.2.5")])
LOOPBACK = Reach.of([("udp", "127.0.0.1"), ("udp", "::1")])


class Zone:
    """What each question is answered; one that is not here gets an answer without records. ``asked`` has the
    questions of each round, as they were put.
    """

    def __init__(
        self, records: Mapping[tuple[str, Kind], Sequence[Records]] | None = None, ttl: float = 300
    ) -> None:
        self.records: dict[tuple[str, Kind], Sequence[Records]] = dict(records or {})
        self.ttl = ttl
        self.negative_ttl = 60.0
        self.asked: list[list[str]] = []

    def answer(self, question: Question) -> Answer:
        """Return the answer to one question."""
        found = self.records.get(question, [])
        if not found:
            return Answer(self.negative_ttl)
        if isinstance(found[0], Answer):
            return found[0]
        return Answer(
            self.ttl,
            tuple(record for record in found if isinstance(record, Naptr)),
            tuple(record for record in found if isinstance(record, Srv)),
            tuple(record for record in found if isinstance(record, str)),
        )

    def find(self, uri: str, reach: Reach = EVERYWHERE, transport: str | None = None) -> Found:
        """Search for a target as configured."""
        return self.find_target(target(uri, transport), reach)

    def find_target(self, wanted: Target, reach: Reach = EVERYWHERE) -> Found:
        """Search for a target."""
        steps = search(wanted, reach)
        try:
            questions = next(steps)
            while True:
                self.asked.append([f"{question.name} {question.kind}" for question in questions])
                questions = steps.send({question: self.answer(question) for question in questions})
        except StopIteration as end:
            found: Found = end.value
            return found

    def addresses(self, uri: str, reach: Reach = EVERYWHERE, transport: str | None = None) -> list[Address]:
        """Return the addresses of a target in the order of trying, every draw at its lowest."""
        return list(order(self.find(uri, reach, transport), lambda: 0.0))


def target(uri: str, transport: str | None = None) -> Target:
    """Return a target as a trunk has it."""
    (made,) = Trunk(TrunkSettings("t", target=(parse_target(uri),), transport=transport)).targets
    return made


def udp(*places: str) -> list[Address]:
    """Return addresses over UDP, written HOST:PORT, with IPv6 in brackets."""
    return over("udp", *places)


def over(transport: str, *places: str) -> list[Address]:
    """Return addresses over a transport, written HOST:PORT, with IPv6 in brackets."""
    split = [place.rpartition(":") for place in places]
    return [Address(host.strip("[]"), int(port), transport) for host, _, port in split]
