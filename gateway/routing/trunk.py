"""Trunks as the core sees them, and the table that tells which one a message came from.

A message belongs to the trunk with the most specific source that matches where it came from: over TLS a name
that the certificate proves, which is known once the connection stands; then an IP with the very port, then an
IP, then the longest network. Only sources count: the address of a target is no source,
because a carrier that takes calls at one address often sends them from others, and the other way round.

`TrunkTable.find` runs for each call, so its answers are kept by address, None among them; the usual cost is
one look-up in a dictionary. That dictionary is emptied when it is full, so that a flood from invented
addresses costs time for each, but never memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gateway.addresses import TargetUri, parse_ip
from gateway.config import TrunkSettings
from gateway.routing.limits import Load
from gateway.sip.digest import Account
from gateway.sip.flow import Flow

from .numbers import Numbers
from .strangers import Strangers

HUNT_ON = frozenset({402, 403, 404, 406, 408, 410, 480, 486, 488, *range(500, 600)})
"""Final statuses on which a serial hunt goes on to the next target, unless the trunk says otherwise.

These speak of one branch only: of this peer, this account, this registration. Every 6xx speaks for all
branches and ends the hunt (RFC 3261 21.6); a 3xx and the other 4xx speak to the caller, who would get the
same answer elsewhere or has to act on it first."""

_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Target:
    """Where calls to a trunk go: one of its target URIs, with the defaults of RFC 3263 filled in."""

    uri: bytes
    """As configured: sip:HOST[:PORT][;PARAMETERS], without a user."""
    host: str
    """An IP address without brackets, or a name."""
    port: int
    """Of the URI, or else 5060, or 5061 for tls."""
    transport: str
    """udp, tcp or tls: of the URI, or else of the trunk, or else udp."""
    srv: bool
    """The host is a name and the URI gives no port: SRV records come before `port` (RFC 3263 4.2)."""
    naptr: bool = False
    """Nor does anything name a transport: NAPTR records come before `transport` (4.1)."""
    params: bytes = b""
    """What Request-URIs say of the transport: b";transport=udp" where UDP was asked for by name, so that a
    request stays on it whatever its size (RFC 3261 18.1.1)."""


class Trunk:
    """A peer the gateway speaks SIP with. Made once from its settings; compared by identity."""

    __slots__ = (
        "_hunt_on",
        "account",
        "dialog_ping",
        "follows_redirects",
        "has_own",
        "hide",
        "hide_topology",
        "hunts_after_early_media",
        "keep",
        "kind",
        "load",
        "max_duration",
        "name",
        "nat",
        "numbers",
        "prack_local",
        "q850",
        "rewrite_network_blocked",
        "ring_timeout",
        "session_timer",
        "set",
        "settings",
        "supports",
        "targets",
        "trace_context",
        "trusted",
        "weights",
        "x_cid",
    )

    def __init__(self, settings: TrunkSettings, password: str = "") -> None:
        self.settings = settings
        """Everything that was configured; the attributes here are what calls need of it."""
        self.name = settings.name
        self.kind = settings.kind
        self.trusted = settings.trusted
        self.trace_context = settings.trace_context
        self.supports = settings.supports
        self.targets = tuple(_target(uri, settings.transport) for uri in settings.target)
        self.ring_timeout = settings.ring_timeout
        """Seconds a call to this trunk may go unanswered."""
        self.max_duration = settings.max_duration
        """Seconds an answered call may last; None means no limit."""
        self.hide = tuple(name.encode() for name in settings.hide)
        self.set = tuple((name.encode(), value.encode()) for name, value in settings.set)
        self.account = Account(settings.username, password) if settings.username else None
        """Who the gateway is to this peer; None: challenges are the caller's to answer."""
        self.hide_topology = settings.hide_topology
        self.keep = tuple(name.encode() for name in settings.keep)
        self.x_cid = (
            settings.x_cid and not settings.hide_topology
        )  # a Call-ID often names the host it is from
        self.nat = settings.nat
        """Answers and requests inside dialogs go to the address that the peer sends from."""
        self.numbers = None if settings.numbers is None else Numbers(settings.numbers)
        """How numbers from and to this trunk are changed; None when they are not."""
        self.rewrite_network_blocked = settings.rewrite_network_blocked
        self.q850 = dict(settings.q850)
        """Q.850 cause -> status and status -> cause, where this peer's tables differ from RFC 3398."""
        self.prack_local = settings.prack == "local"
        """The gateway speaks 100rel by itself with this trunk."""
        self.session_timer = settings.session_timer
        """Seconds of the session timer that the gateway keeps with this trunk; None passes timers on."""
        self.dialog_ping = settings.dialog_ping
        """Seconds between OPTIONS inside the dialogs with this trunk."""
        self.has_own = self.prack_local or self.session_timer is not None or self.dialog_ping is not None
        self._hunt_on = (HUNT_ON | settings.advance_on) - settings.stop_on
        self.hunts_after_early_media = settings.hunt_after_early_media
        self.follows_redirects = settings.redirect == "follow"
        self.weights = settings.weights
        """Shares of the targets, in their order; empty when they are tried in order."""
        limited = settings.max_calls is not None or settings.max_cps is not None
        self.load = Load(settings.max_calls, settings.max_cps) if limited else None
        """What it carries, where that is limited."""

    def carry_over(self, predecessor: Trunk | None) -> None:
        """Take over what the trunk of this name carried before the configuration was read anew."""
        if predecessor is not None and predecessor.load is not None and self.load is not None:
            predecessor.load.limit(self.load.max_calls, self.load.max_cps)
            self.load = predecessor.load

    def hunts_on(self, status: int) -> bool:
        """Tell whether a hunt goes on after this trunk has answered with `status`, a final one from 300 on.

        It must be the status that the peer sent, not one that a rule has made of it.
        """
        return status in self._hunt_on

    def __repr__(self) -> str:
        return f"Trunk({self.name})"


class TrunkTable:
    """All trunks, by source address and by name."""

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        self.by_name: dict[str, Trunk] = {trunk.name: trunk for trunk in trunks}
        self._with_port: dict[tuple[int, int, int], Trunk] = {}
        self._networks: list[tuple[int, int, dict[int, Trunk]]] = []
        """IP version, host bits, and the trunks by the remaining bits; longest networks first."""
        self._found: dict[tuple[str, int], Trunk | None] = {}
        self.strangers = Strangers()
        self.with_tls_name: dict[str, Trunk] = {}
        """Trunks by the TLS names among their sources, in lower case."""
        networks: dict[tuple[int, int], dict[int, Trunk]] = {}
        for trunk in self.by_name.values():
            for source in trunk.settings.source:
                network = source.network
                if network is None:
                    self.with_tls_name[source.text.lower().rstrip(".")] = trunk
                    continue
                first, version = int(network.network_address), network.version
                if source.port is not None:
                    self._with_port[version, first, source.port] = trunk
                else:
                    host_bits = network.max_prefixlen - network.prefixlen
                    networks.setdefault((version, host_bits), {})[first >> host_bits] = trunk
        self._networks = [(*key, networks[key]) for key in sorted(networks)]

    def __iter__(self) -> Iterator[Trunk]:
        return iter(self.by_name.values())

    def of(self, flow: Flow) -> Trunk | None:
        """Return the trunk that speaks on this flow; None for a stranger."""
        if flow.trunk:
            return self.by_name.get(flow.trunk)
        return self.find(flow.peer[0], flow.peer[1])

    def identify(self, host: str, port: int, names: Iterable[str]) -> Trunk | None:
        """Return the trunk of a new connection: by a name that its certificate proves, else by address."""
        for name in names:
            trunk = self.with_tls_name.get(name)
            if trunk is not None:
                return trunk
        return self.find(host, port)

    def targets(self) -> Iterator[Target]:
        """Yield where calls go, of every trunk."""
        return chain.from_iterable(trunk.targets for trunk in self)

    def find(self, host: str, port: int) -> Trunk | None:
        """Return the trunk that a message from this address and port belongs to; None for a stranger.

        An IPv4-mapped IPv6 address is its IPv4 address; the interface after % does not count.
        """
        key = (host, port)
        try:
            return self._found[key]
        except KeyError:
            pass
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        trunk = self._found[key] = self._search(host, port)
        return trunk

    def _search(self, host: str, port: int) -> Trunk | None:
        address = parse_ip(host)
        if address is None:
            return None
        number = int(address)
        trunk = self._with_port.get((address.version, number, port))
        if trunk is not None:
            return trunk
        for version, host_bits, trunks in self._networks:
            if version == address.version:
                trunk = trunks.get(number >> host_bits)
                if trunk is not None:
                    return trunk
        return None


def tls_names(settings: TrunkSettings) -> frozenset[str]:
    """Return the names of which a trunk's certificate must prove one: the hosts of its targets, and the TLS
    names of its sources, in lower case.
    """
    names = [uri.host for uri in settings.target]
    names += [source.text for source in settings.source if source.network is None]
    return frozenset(name.lower().rstrip(".") for name in names)


def _target(uri: TargetUri, trunk_transport: str | None) -> Target:
    transport = uri.transport or trunk_transport or "udp"
    port = uri.port if uri.port is not None else 5061 if transport == "tls" else 5060
    srv = uri.port is None and parse_ip(uri.host) is None
    # sips: by itself means tls, but leaves it to NAPTR where tls is served
    named = trunk_transport or (uri.transport and "transport=" in uri.uri.lower())
    params = b";transport=udp" if (uri.transport or trunk_transport) == "udp" else b""
    return Target(uri.uri.encode(), uri.host, port, transport, srv, srv and not named, params)
