"""Routes: where a call from a trunk goes, by the numbers it names.

Which routes can apply to calls from a trunk, and what each plans, is known when the configuration is read. So
planning a call is a walk over the routes of its trunk that stops at the first one whose numbers match; a
route without number conditions matches at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.addresses import parse_ip
from gateway.config import Config, RouteSettings
from gateway.number_lists import NumberPattern
from gateway.routing.locate import Address
from gateway.routing.trunk import Target, Trunk, TrunkTable


@dataclass(frozen=True, slots=True)
class Hop:
    """One place to try: a target, and the trunk it belongs to."""

    trunk: Trunk
    target: Target
    address: Address | None
    """Where that is; None while the target is a name that has not been looked up."""
    is_alternate: bool = False
    """Another address of the target before it: tried only where that one failed (RFC 3263 4.3)."""
    uri: bytes = b""
    """The Request-URI, where it is not the number called at the target: a redirection named it."""
    route: bytes = b""
    """A Route line, where proxies stand between the target and whoever the Request-URI names (RFC 3327)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a call goes: every target of the route's first trunk in order, then those of the second, ..."""

    hops: tuple[Hop, ...]
    strategy: str
    """"serial": one after the other while the answers allow it; "parallel": all together."""
    is_weighted: bool = False
    """Whether :meth:`draw` decides the order."""

    def draw(self, chance: int) -> tuple[Hop, ...]:
        """Return the hops, those of a trunk with weights in an order that ``chance``, a random number of at
        least 32 bits, decides: each is first in as many calls as its weight says; one of weight 0 is last.
        """
        drawn: list[Hop] = []
        for trunk, hops in _by_trunk(self.hops):
            if not trunk.weights:
                drawn += hops
                continue
            left = list(zip(trunk.weights, hops, strict=True))
            while left:
                whole = sum(weight for weight, _ in left)
                point, chance = (chance % whole, chance // whole) if whole else (0, chance)
                index = 0
                while whole and point >= left[index][0]:
                    point -= left[index][0]
                    index += 1
                drawn.append(left.pop(index)[1])
        return tuple(drawn)


def over_tls(hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """Return those hops that a request to a sips URI may take (RFC 3261 26.2.2)."""
    return tuple(hop for hop in hops if hop.target.transport == "tls")


class Routes:
    """The routes of a configuration, over the trunks made from it."""

    def __init__(self, config: Config, trunks: TrunkTable) -> None:
        choices = [(route, _plan(route, trunks)) for route in config.routes]
        self._by_source: dict[str, list[tuple[NumberPattern | None, NumberPattern | None, Plan]]] = {
            trunk.name: [
                (route.called, route.caller, plan)
                for route, plan in choices
                if route.source is None or route.source.matches(trunk.name, trunk.kind)
            ]
            for trunk in trunks
        }

    def plan(self, source: Trunk, called: str, caller: str) -> Plan | None:
        """Return the plan of the first route that matches; None when no route does.

        `called` and `caller` are the user parts of the Request-URI and of From, without visual separators.
        """
        for called_pattern, caller_pattern, plan in self._by_source[source.name]:
            if called_pattern is not None and not called_pattern.matches(called):
                continue
            if caller_pattern is not None and not caller_pattern.matches(caller):
                continue
            return plan
        return None


def hop_to(trunk: Trunk, target: Target, uri: bytes = b"", route: bytes = b"") -> Hop:
    """Return the way to a target; its address is known when its host is one."""
    is_name = parse_ip(target.host) is None
    address = None if is_name else Address(target.host, target.port, target.transport)
    return Hop(trunk, target, address, uri=uri, route=route)


def _plan(route: RouteSettings, trunks: TrunkTable) -> Plan:
    tried = [trunks.by_name[name] for name in route.to]
    hops = tuple(hop_to(trunk, target) for trunk in tried for target in trunk.targets)
    return Plan(hops, route.strategy, any(trunk.weights for trunk in tried))


def _by_trunk(hops: Sequence[Hop]) -> Iterator[tuple[Trunk, list[Hop]]]:
    """Yield the hops in runs of one trunk."""
    for trunk in dict.fromkeys(hop.trunk for hop in hops):
        yield trunk, [hop for hop in hops if hop.trunk is trunk]
