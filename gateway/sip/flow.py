"""Where a message came from and where one goes: a pair of addresses over one transport.

The transport layer makes one :class:`Local` for each socket it serves; the core makes and compares
:class:`Flow` objects and never looks behind them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .uri import Uri

if TYPE_CHECKING:
    from .traffic import Tally

Peer = tuple[Any, ...]
"""An address as the socket layer has it: host and port, for IPv6 with flow label and scope behind them."""

WAYS = 5.0
"""Seconds for which it counts which of several listening points reaches a peer: routes change."""

UDP_ONLY = 300.0
"""Seconds for which a peer that refused TCP is not tried again with requests that are large for UDP."""


class Local:
    """One listening point of ours.

    ``transport`` is ``"udp"``, ``"tcp"`` or ``"tls"``; ``host`` and ``port`` are what is bound;
    ``advertise`` is the HOST[:PORT] that peers are told when it differs. ``via`` and ``contact`` are the
    bytes that stand in Via (RFC 3261 18.1.1) and Contact (8.1.1.8) for it; ``secure_contact`` is the Contact
    of a dialog with a sips URI (12.1.1).
    """

    __slots__ = (
        "contact",
        "family",
        "host",
        "port",
        "reliable",
        "secure_contact",
        "sent_by",
        "transport",
        "via",
    )

    def __init__(self, transport: str, host: str, port: int, advertise: str = "") -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.family = 6 if ":" in host else 4
        self.reliable = transport != "udp"
        if advertise:
            shown = advertise if advertise.rpartition("]")[2].find(":") >= 0 else f"{advertise}:{port}"
        else:
            shown = f"[{host}]:{port}" if self.family == 6 else f"{host}:{port}"
        self.sent_by = shown.encode()
        self.via = b"SIP/2.0/%b %b" % (transport.upper().encode(), self.sent_by)
        parameter = b"" if transport == "udp" else b";transport=" + transport.encode()
        self.contact = b"<sip:%b%b>" % (self.sent_by, parameter)
        self.secure_contact = b"<sips:%b>" % self.sent_by


class Flow:
    """One peer as seen from one of our listening points. ``peer`` is what the socket layer wants to see;
    its first two members are host and port. ``host`` is the peer's address as it stands in a Via.

    ``trunk`` is the name of the trunk whose certificates serve and whose names the peer must prove, or has
    proved, over TLS; "" elsewhere. On a connection that the peer opened, ``reply_port`` is the port it takes
    connections at, by its Via (0: not known), and ``alias`` says that it wants requests to there to come on
    this connection (RFC 5923).

    ``sought`` is the name of the trunk that requests of ours were sent to here for, "" when none was, and
    ``tally`` is where its messages are counted, once that is known.
    """

    __slots__ = ("alias", "host", "local", "peer", "reply_port", "sought", "tally", "trunk")

    def __init__(self, local: Local, peer: Peer, trunk: str = "") -> None:
        self.local = local
        self.peer = peer
        self.trunk = trunk
        self.sought = ""
        self.tally: Tally | None = None
        self.reply_port = 0
        self.alias = False
        host = peer[0]
        self.host = (f"[{host}]" if ":" in host else host).encode()

    def __str__(self) -> str:
        return f"{self.local.transport} {self.host.decode()}:{self.peer[1]}"

    def __repr__(self) -> str:
        return f"Flow({self})"


class Flows:
    """The flows in use, one object a peer, so that a datagram costs one dictionary look-up.

    Bounded: a peer that shows up from ever new ports makes the table start anew, never grow.
    ``on_name`` is told of a dialog whose next hop, a URI over a transport, is no IP address that we reach.
    ``source_of`` tells from which address of this machine the route to another one starts, "" where there
    is none; it is asked where several listening points could reach a peer.
    """

    def __init__(
        self, locals_: list[Local], limit: int = 20_000, source_of: Callable[[str], str] | None = None
    ) -> None:
        self.locals = locals_
        self.on_name: Callable[[Any, Uri, str], None] | None = None
        self._limit = limit
        self._source_of = source_of
        self._has_choice = len({(local.family, local.transport) for local in locals_}) < len(locals_)
        self._known: dict[tuple[Local, Peer], Flow] = {}
        self._secured: dict[tuple[Local, str, int, str], Flow] = {}
        self._towards: dict[tuple[str, int, str, str, Local | None], Flow | None] = {}
        self._ways_until = 0.0
        self._udp_only: dict[tuple[str, int], float] = {}

    def get(self, local: Local, peer: Peer) -> Flow:
        """Return the flow between a listening point of ours and a peer's address."""
        flow = self._known.get((local, peer))
        if flow is None:
            if len(self._known) >= self._limit:
                self._known.clear()
            flow = self._known[local, peer] = Flow(local, peer)
        return flow

    def towards(
        self, host: str, port: int, transport: str = "udp", trunk: str = "", near: Local | None = None
    ) -> Flow | None:
        """Return a flow to an IP address from the listening point that reaches it; None when there is none,
        or when ``host`` is a name. Of several it is the one on the way there, then the one at the address of
        ``near``, then the first.

        ``trunk`` names the trunk that is to be met there; only TLS looks at it (RFC 5922).
        """
        key = (host, port, transport, trunk, near)
        try:
            return self._towards[key]
        except KeyError:
            pass
        if len(self._towards) >= self._limit:
            self._towards.clear()
        flow = self._towards[key] = self._search(host, port, transport, trunk, near)
        if flow is not None and trunk:
            flow.sought = trunk
            flow.tally = None
        return flow

    def named(self, host: str, port: int, transport: str, near: Flow) -> Flow | None:
        """Return a flow to an address that the peer at ``near`` named, like :meth:`towards`; None when no
        peer can be there.

        A peer must not send us to the services of this machine or of this link, so loopback and link-local
        addresses count only for one that is there itself, or where we serve them.
        """
        if not self.may_name(host, near):
            return None
        return self.towards(host, port, transport, near.trunk, near.local)

    def may_name(self, host: str, near: Flow) -> bool:
        """Tell whether the peer at ``near`` may send us to this host; names are left to who looks them up."""
        kind = _kind(host)
        return not kind or (kind != "nobody" and (_kind(near.peer[0]) == kind or self._serves(kind)))

    def _serves(self, kind: str) -> bool:
        return any(_kind(local.host) == kind for local in self.locals)

    def forget_trunks(self) -> None:
        """Have each flow's trunk looked up anew for counting."""
        for flow in (*self._known.values(), *self._towards.values()):
            if flow is not None:
                flow.tally = None

    def for_large(self, flow: Flow, now: float) -> Flow | None:
        """Return the TCP flow that a request too large for this UDP flow goes over (RFC 3261 18.1.1); None
        when we have no TCP, or the peer is known to have none.
        """
        host, port = flow.peer[:2]
        if self._udp_only.get((host, port), 0.0) > now:
            return None
        return self.towards(host, port, "tcp", near=flow.local)

    def without_tcp(self, flow: Flow, now: float) -> None:
        """Remember for a while that this peer takes no TCP connection."""
        if len(self._udp_only) >= self._limit:
            self._udp_only.clear()
        self._udp_only[flow.peer[0], flow.peer[1]] = now + UDP_ONLY

    def is_own(self, host: str) -> bool:
        """Tell whether this is an address of this machine: the way to it starts where it ends."""
        return self._source_of is not None and is_address(host) and self._source_of(host) == host

    def look_again(self, now: float) -> None:
        """Have the way to each peer looked for anew every few seconds, where there is a choice."""
        if self._has_choice and now >= self._ways_until:
            self._ways_until = now + WAYS
            self._towards.clear()

    def _search(self, host: str, port: int, transport: str, trunk: str, near: Local | None) -> Flow | None:
        if not is_address(host):
            return None
        family = 6 if ":" in host else 4
        able = [local for local in self.locals if local.family == family and local.transport == transport]
        if not able:
            return None
        local = able[0] if len(able) == 1 else self._best(able, host, near)
        if transport == "tls":
            return self._over_tls(local, host, port, trunk)
        return self.get(local, (host, port))

    def _over_tls(self, local: Local, host: str, port: int, trunk: str) -> Flow:
        """Return the flow to the peer that is met there as this trunk."""
        key = (local, host, port, trunk)
        flow = self._secured.get(key)
        if flow is None:
            if len(self._secured) >= self._limit:
                self._secured.clear()
            flow = self._secured[key] = Flow(local, (host, port), trunk)
        return flow

    def _best(self, able: list[Local], host: str, near: Local | None) -> Local:
        """Return the listening point on the way to a host. It need not be where the route starts, as a
        second address of an interface is not; so the more they have in common, the better (RFC 6724 5,
        rule 8).
        """
        source = "" if self._source_of is None else self._source_of(host)
        place = None if near is None else (near.host, near.port)
        return max(
            able, key=lambda local: (_bits_in_common(local.host, source), (local.host, local.port) == place)
        )


@lru_cache(maxsize=4096)
def _kind(host: str) -> str:
    """Return "loopback", "link-local" or "nobody" for addresses that are not just anybody's; else, and for
    names, "".
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    is_reserved = address.version == 4 and (address.is_reserved or str(address).startswith("0."))
    return "nobody" if address.is_unspecified or address.is_multicast or is_reserved else ""


def _bits_in_common(one: str, other: str) -> int:
    """Return how many bits two addresses of a family begin with alike; 0 where one is none."""
    try:
        first, second = ipaddress.ip_address(one), ipaddress.ip_address(other)
    except ValueError:
        return 0
    return first.max_prefixlen - (int(first) ^ int(second)).bit_length()


def is_address(host: str) -> bool:
    """Tell whether this is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
