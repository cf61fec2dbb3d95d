"""A network in a box: caller, gateway and callees on one wire with a virtual clock.

`Net` delivers datagrams between raw peers and the gateway, with delay, loss, duplication and reordering when
a test asks for them. Nothing sleeps: `net.run(seconds)` moves the clock, fires the timers that fall due on
the way and delivers what is in flight. A `Peer` (``tests.peer``) is a scripted user agent, whose
`take` insists on what comes next, so that a test reads as the dialogue that it proves.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.b2bua.core import B2bua, Setup
from gateway.b2bua.record import CallRecord
from gateway.config import parse as parse_config
from gateway.routing.route import Routes
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.rules import compile_rules
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flows, Local
from gateway.sip.message import Request, Response
from gateway.toml_source import TomlSource
from tests.peer import GATEWAY, SDP, Address, Peer, target_of, text

PBX = ("192.0.2.2", 5060)
CARRIER = ("192.0.2.3", 5060)
CARRIER2 = ("192.0.2.4", 5060)

CONFIG = """
[[trunk]]
name = "pbx"
kind = "pbx"
source = ["192.0.2.2"]
target = ["sip:192.0.2.2:5060"]
trusted = true
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["192.0.2.3"]
target = ["sip:192.0.2.3:5060"]
trusted = true
[[trunk]]
name = "backup"
kind = "carrier"
source = ["192.0.2.4"]
target = ["sip:192.0.2.4:5060"]
[[route]]
from = ["pbx"]
to = ["carrier"]
[[route]]
from = ["kind:carrier"]
to = ["pbx"]
"""
HUNTING = CONFIG.replace('to = ["carrier"]', 'to = ["carrier", "backup"]')

RULES = """
version = 1
[[rule]]
name = "dead-number"
when.from = ["kind:carrier"]
when.status = 603
when.q850 = [1, 2, 3, 26]
then.status = 404
"""

PASSWORD = "s3cret!"  # of every trunk with an account


def make_setup(config: str = CONFIG, rules: str = RULES) -> Setup:
    """What a gateway.toml and a rules.toml with these texts set up."""
    settings = parse_config(config, "gateway.toml")
    trunks = TrunkTable(Trunk(trunk, PASSWORD) for trunk in settings.trunks)
    kinds = {trunk.name: trunk.kind for trunk in trunks}
    ruleset = compile_rules(TomlSource.parse(rules, "rules.toml"), kinds)
    return Setup(trunks, Routes(settings, trunks), ruleset)


@dataclass
class Weather:
    """What the wire does to datagrams: seconds of delay, and the chances (0 to 1) of mishaps."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    random: random.Random = field(default_factory=lambda: random.Random(1))

    def arrivals(self, now: float) -> list[float]:
        """When a datagram sent now arrives: never, once or twice."""
        if self.random.random() < self.loss:
            return []
        copies = 2 if self.random.random() < self.duplication else 1
        return [now + self.delay + self.random.random() * self.jitter for _ in range(copies)]


class Net:
    """The wire, the clock, and the gateway on it."""

    def __init__(
        self,
        config: str = CONFIG,
        rules: str = RULES,
        weather: Weather | None = None,
        max_calls: int = 200_000,
        streams: tuple[str, ...] = (),
    ) -> None:
        """`streams`: of "tcp" and "tls", what the gateway listens on beside UDP."""
        self.now = 1_000_000.0
        self.weather = weather or Weather()
        self.records: list[CallRecord] = []
        self._order = itertools.count()
        self._flight: list[tuple[float, int, bytes, Address, Address, str]] = []
        self._peers: dict[tuple[str, Address], Callable[[bytes, Address], None]] = {}
        self._tokens = itertools.count(1)
        self.local = Local("udp", *GATEWAY)
        ports = {"tcp": 5060, "tls": 5061}
        self.flows = Flows([self.local, *(Local(name, GATEWAY[0], ports[name]) for name in streams)])
        self.endpoint = Endpoint(self.flows, lambda: b"t%d" % next(self._tokens))
        self.core = B2bua(self.endpoint, make_setup(config, rules), (self,), max_calls)
        self.stations: dict[Address, Endpoint] = {GATEWAY: self.endpoint}
        self.pbx = Peer(self, PBX, "pbx")
        self.carrier = Peer(self, CARRIER, "carrier")
        self.backup = Peer(self, CARRIER2, "backup")

    def record(self, record: CallRecord) -> None:
        """Keep the record of a call that ended."""
        self.records.append(record)

    @property
    def only_record(self) -> CallRecord:
        """The record of the one call that there was."""
        (record,) = self.records
        return record

    def peer(self, address: Address, user: str, transport: str = "udp") -> Peer:
        """A further user agent; what was sent to its address before is lost."""
        return Peer(self, address, user, transport)

    def attach(
        self, address: Address, receive: Callable[[bytes, Address], None], transport: str = "udp"
    ) -> None:
        """Have what is sent to an address handed to `receive`."""
        self._peers[transport, address] = receive

    def transmit(self, data: bytes, source: Address, destination: Address, transport: str = "udp") -> None:
        """Put a datagram on the wire; or a message, which a stream loses neither nor repeats nor reorders."""
        is_stream = transport != "udp"
        arrivals = [self.now + self.weather.delay] if is_stream else self.weather.arrivals(self.now)
        for arrival in arrivals:
            heapq.heappush(self._flight, (arrival, next(self._order), data, source, destination, transport))

    def lose(self, address: Address, transport: str = "tcp", reached: bool = True) -> None:
        """Break the connection between the gateway and a peer, or have none come about."""
        for flow in {client.flow for client in self.endpoint.clients.values()}:
            if flow.local.transport == transport and flow.peer == address:
                self.endpoint.flow_lost(flow, self.now, reached)
        self.run()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass: deliver everything and fire every timer that falls due, in order of time."""
        end = self.now + seconds
        while True:
            self._flush()
            due = [endpoint.timers.next_due() for endpoint in self.stations.values()]
            nearest = min([math.inf if at is None else at for at in due])
            if self._flight:
                nearest = min(nearest, self._flight[0][0])
            if nearest > end:
                break
            self.now = max(self.now, nearest)
            for endpoint in self.stations.values():
                endpoint.tick(self.now)
            self._flush()
            while self._flight and self._flight[0][0] <= self.now:
                _, _, data, source, destination, transport = heapq.heappop(self._flight)
                self._deliver(data, source, destination, transport)
                self._flush()
        self.now = end

    def _deliver(self, data: bytes, source: Address, destination: Address, transport: str) -> None:
        gateway = GATEWAY if destination[0] == GATEWAY[0] else destination  # whatever the port
        endpoint = self.stations.get(gateway)
        receive = self._peers.get((transport, destination))
        if endpoint is not None:
            (local,) = [local for local in endpoint.flows.locals if local.transport == transport]
            endpoint.receive([(data, endpoint.flows.get(local, source))], self.now)
        elif receive is not None:
            receive(data, source)
        elif transport != "udp":
            self.lose(destination, transport, reached=False)

    def _flush(self) -> None:
        for address, endpoint in self.stations.items():
            for data, flow in endpoint.drain():
                self.transmit(data, address, flow.peer, flow.local.transport)

    def assert_all_freed(self) -> None:
        """Nothing of any call is left once its timers have run out."""
        self.run(200)
        left = (
            len(self.core.calls),
            len(self.core.subscriptions),
            len(self.core.relays),
            len(self.endpoint.dialogs),
            len(self.endpoint.servers),
            len(self.endpoint.clients),
            len(self.endpoint._merged),
            len(self.endpoint._large),
            len(self.endpoint.timers) - bool(self.core.bindings),  # which live as long as a registrar grants
        )
        what = "calls, subscriptions, relays, dialogs, servers, clients, merged, large, timers"
        assert not any(left), f"{what} left: {left}"


@dataclass
class End:
    """One end of a dialog as a user agent keeps it (RFC 3261 12), with its own CSeq."""

    peer: Peer
    call_id: str
    local: str
    remote: str
    target: str
    seq: int

    @classmethod
    def of_caller(cls, peer: Peer, invite: Request, response: Response) -> End:
        """The dialog that a response to our INVITE opened."""
        local, remote = text(invite, b"From"), text(response, b"To")
        return cls(peer, invite.call_id.decode(), local, remote, target_of(response).decode(), invite.cseq[0])

    @classmethod
    def of_callee(cls, peer: Peer, invite: Request, tag: str = "") -> End:
        """The dialog that our answer to an INVITE opened, with the tag we answered with."""
        local = f"{text(invite, b'To')};tag={tag or peer.user}"
        return cls(
            peer, invite.call_id.decode(), local, text(invite, b"From"), target_of(invite).decode(), 500
        )

    def request(self, method: str, seq: int | None = None, **more: Any) -> Request:
        """Send a request in the dialog, with the next CSeq number unless told otherwise."""
        if seq is None:
            self.seq += 1
        return self.peer.request(
            method,
            uri=self.target,
            call_id=self.call_id,
            seq=self.seq if seq is None else seq,
            from_=self.local,
            to=self.remote,
            **more,
        )

    def ack(self, invite: Request, body: bytes = b"", **more: Any) -> Request:
        """ACK the 2xx to a re-INVITE of ours."""
        return self.request("ACK", invite.cseq[0], body=body, contact=False, **more)

    def ack_refusal(self, invite: Request) -> Request:
        """ACK the refusal of a re-INVITE of ours: hop by hop, with the branch of its INVITE."""
        return self.request("ACK", invite.cseq[0], branch=invite.via.branch, contact=False)


def establish(
    net: Net, caller: Peer | None = None, callee: Peer | None = None, **invite: Any
) -> tuple[End, End]:
    """Play a call up to the ACK, and return both ends: the caller's and the callee's."""
    caller, callee = caller or net.pbx, callee or net.carrier
    sent = caller.invite(**invite)
    caller.take(100)
    got = callee.take_request("INVITE")
    callee.reply(got, 200, body=SDP)
    answer = caller.take_response(200)
    caller.ack(sent, answer)
    callee.take("ACK")
    return End.of_caller(caller, sent, answer), End.of_callee(callee, got)


def begin(net: Net) -> tuple[Request, Request]:
    """Send an INVITE from the PBX: as it was sent, and what the carrier got of it."""
    invite = net.pbx.invite()
    net.pbx.take(100)
    return invite, net.carrier.take_request("INVITE")


def pair(net: Net, first: str) -> tuple[End, End]:
    """Establish a call, and return its ends: that of the "caller" or the "callee" first, then the other."""
    caller, callee = establish(net)
    return (caller, callee) if first == "caller" else (callee, caller)


def reinvite(one: End, other: End) -> tuple[Request, Request]:
    """Send a re-INVITE from one side: as it was sent, and what the other side got of it."""
    sent = one.request("INVITE", body=SDP)
    one.peer.take(100)
    return sent, other.peer.take_request("INVITE")


def give_up(net: Net, invite: Request, headers: str = "") -> Request:
    """CANCEL the PBX's INVITE, which gets 200 for itself and 487 for the INVITE (RFC 3261 9.2)."""
    cancel = net.pbx.cancel(invite, headers)
    net.pbx.take(200)
    net.pbx.ack(invite, net.pbx.take_response(487))
    return cancel


def hang_up(by: End, other: End) -> None:
    """End a call from one side."""
    by.request("BYE", contact=False)
    other.peer.reply(other.peer.take_request("BYE"), 200)
    by.peer.take(200)
