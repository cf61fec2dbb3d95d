"""Flows by names that every worker understands.

All workers have the same listening points in the same order, so a flow is the number of one of them, the
peer, and over TLS the trunk. Only the first worker holds connections. To the others a connection is a flow
that is made of its name, one object a name, as the core compares flows by identity.
"""

from __future__ import annotations

from gateway.sip.flow import Flow, Flows, Peer

from .notes import FlowName

_LIMIT = 20_000


class FlowBook:
    """The names of the flows of one worker."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._numbers = {local: number for number, local in enumerate(flows.locals)}
        self._known: dict[FlowName, Flow] = {}
        self._names: dict[Flow, FlowName] = {}

    def name_of(self, flow: Flow) -> FlowName:
        """Return the name of a flow."""
        name = self._names.get(flow)
        if name is None:
            if len(self._names) >= _LIMIT:
                self._names.clear()
            name = self._names[flow] = FlowName(self._numbers[flow.local], flow.peer, flow.trunk)
        return name

    def flow_of(self, local: int, peer: Peer, trunk: str = "") -> Flow:
        """Return the flow of a name. Bounded: a flood of new connections makes the table start anew."""
        place = self._flows.locals[local]
        if not place.reliable:
            return self._flows.get(place, peer)
        name = FlowName(local, peer, trunk)
        flow = self._known.get(name)
        if flow is None:
            if len(self._known) >= _LIMIT:
                self._known.clear()
            flow = self._known[name] = Flow(place, peer, trunk)
        return flow

    def forget_trunks(self) -> None:
        """Have each flow's trunk looked up anew for counting."""
        for flow in self._known.values():
            flow.tally = None
