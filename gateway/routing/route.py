"""Routes: where a call from a trunk goes, by the numbers it names.

Which routes can apply to calls from a trunk, and what each plans, is known when the configuration is read. So
planning a call is a walk over the routes of its trunk that stops at the first one whose numbers match; a
route without number conditions matches at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config import Config, RouteSettings
from gateway.patterns import NumberPattern
from gateway.routing.trunk import Target, Trunk, TrunkTable


@dataclass(frozen=True, slots=True)
class Hop:
    """One place to try: a target, and the trunk it belongs to."""

    trunk: Trunk
    target: Target


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a call goes: every target of the route's first trunk in order, then those of the second, ..."""

    hops: tuple[Hop, ...]
    strategy: str
    """"serial": one after the other while the answers allow it; "parallel": all together."""

    def over_tls(self) -> Plan:
        """Return what of the plan a call to a sips URI may take (RFC 3261 26.2.2)."""
        return Plan(tuple(hop for hop in self.hops if hop.target.transport == "tls"), self.strategy)


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


def _plan(route: RouteSettings, trunks: TrunkTable) -> Plan:
    tried = [trunks.by_name[name] for name in route.to]
    return Plan(tuple(Hop(trunk, target) for trunk in tried for target in trunk.targets), route.strategy)
