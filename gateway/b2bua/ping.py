"""OPTIONS to the targets of trunks that ask for it (`options_ping`), to know which of them are up.

Any final response shows that somebody is there, whatever it says, but for 408 and 503, which a proxy gives
for somebody who is not. A ping that finds no answer ends with its transaction, 64*T1 later, or when the next
one is due, if that comes first. Of a target that is a name each address is tried before the target has failed
to answer (RFC 3263 4.3); those that are silent rest, so that calls need not find out by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.routing.health import REST, Input, TargetHealth
from gateway.routing.locate import Address
from gateway.routing.route import Hop, hop_to
from gateway.sip.build import MAX_FORWARDS
from gateway.sip.dialog import Dialog
from gateway.sip.message import Response
from gateway.sip.transaction import ClientTransaction

if TYPE_CHECKING:
    from .core import B2bua

_NOBODY_THERE = (408, 503)


class Pinger:
    """Keeps one :class:`Ping` for each target that is to be pinged."""

    def __init__(self, core: B2bua) -> None:
        self._core = core
        self._pings: list[Ping] = []

    def begin(self, now: float) -> None:
        """Ping what the trunks in force ask for, and nothing else; what is known of a target is kept."""
        for ping in self._pings:
            ping.stop()
        self._pings = []
        health = self._core.health
        watched = set()
        for trunk in self._core.setup.trunks:
            every = trunk.settings.options_ping
            if every is None:
                continue
            for target in trunk.targets:
                watched.add((trunk.name, target.uri))
                settings = trunk.settings
                known = health.watch(trunk.name, target.uri, settings.down_after, settings.up_after)
                self._pings.append(Ping(self._core, hop_to(trunk, target), known, every))
        health.keep_only(watched)
        for index, ping in enumerate(self._pings):
            ping.start(now + index % 100 * 0.01)  # not all in one moment


class Ping:
    """The pings to one target, every ``every`` seconds. ``_asked`` tells that one waits for its answer,
    ``_address`` where it went; ``_left`` are the target's addresses that have not been tried since.
    """

    __slots__ = ("_address", "_asked", "_core", "_every", "_health", "_hop", "_is_over", "_left")

    def __init__(self, core: B2bua, hop: Hop, health: TargetHealth, every: float) -> None:
        self._core = core
        self._hop = hop
        self._health = health
        self._every = every
        self._is_over = False
        self._asked: ClientTransaction | None = None
        self._address: Address | None = None
        self._left: tuple[Address, ...] = ()

    def start(self, when: float) -> None:
        """Ping for the first time at ``when``."""
        self._core.endpoint.timers.at(when, self)

    def stop(self) -> None:
        """Ping no more."""
        self._is_over = True

    def on_timer(self, now: float) -> None:
        """Send the next ping."""
        if self._is_over:
            return
        self._core.endpoint.timers.at(now + self._every, self)
        if self._asked is not None:
            self._silent(now)
            if self._asked is not None:
                return  # at the next address
        address = self._hop.address
        if address is not None:
            self._send(address, now)
            return
        found = self._core.locator.locate(self._hop.target, self, now)
        if found is not None:
            self.on_located(found, now)

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Ping the best address of a target that is a name; a name that leads nowhere is down."""
        if self._is_over:
            return
        if addresses:
            first, *others = sorted(addresses, key=self._core.health.is_resting)
            self._left = tuple(others)
            self._send(first, now)
        else:
            self._health.feed(Input.SILENT)

    def _send(self, address: Address, now: float) -> None:
        self._address = address
        endpoint = self._core.endpoint
        flow = endpoint.flows.towards(address.host, address.port, address.transport, self._hop.trunk.name)
        if flow is None:
            self._silent(now)
            return
        tag = endpoint.new_token()
        us = b"<sip:ping@%b>" % flow.local.sent_by
        half = Dialog(
            None,
            endpoint.new_token() + b"@" + flow.local.host.encode(),
            b"%b;tag=%b" % (us, tag),
            tag,
            b"<%b>" % self._hop.target.uri,
            b"",
            self._hop.target.uri,
            flow,
        )
        lines = b"Contact: %b\r\nAccept: application/sdp\r\n" % half.contact
        self._asked = endpoint.request(b"OPTIONS", half, lines, b"", self, now, MAX_FORWARDS)

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Take the answer."""
        if response.status < 200 or transaction is not self._asked:
            return
        if response.status in _NOBODY_THERE:
            self._silent(now)
            return
        self._asked = None
        if not self._is_over:
            self._health.feed(Input.ANSWERED)

    def on_no_response(self, transaction: ClientTransaction, _status: int, now: float) -> None:
        """Take it that nobody answers."""
        if transaction is self._asked:
            self._silent(now)

    def _silent(self, now: float) -> None:
        """Nobody is at this address: go to the target's next one, or count it as silent."""
        self._asked = None
        if self._is_over:
            return
        if not self._left:
            self._health.feed(Input.SILENT)
            return
        if self._address is not None:
            self._core.health.rest(self._address, REST, now)
        address, *left = self._left
        self._left = tuple(left)
        self._send(address, now)
