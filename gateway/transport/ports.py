"""All SIP sockets of a gateway: what a configuration's ``listen`` asks for, under one roof.

The UDP pumps and the connections of TCP and TLS feed one endpoint, and what it wants sent goes to whichever
of them its flow belongs to.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from gateway.config import Config, SettingsErrors
from gateway.os_errors import in_words, to_bind
from gateway.routing.trunk import TrunkTable
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flows, Local

from .connection import Limits
from .pump import pump
from .streams import StreamTransport
from .tls import Certificates
from .udp import Carry, Clock, UdpTransport, visible

if TYPE_CHECKING:
    from gateway.tap.tap import Ear


class Given(NamedTuple):
    """A listening point that was bound before: over what, its socket, and whether its connections are held
    here.
    """

    transport: str
    sock: socket.socket
    is_held_here: bool = True


class Ports:
    """The listening points of a configuration, bound; those of ``given``, where others have bound them.
    ``carry`` sends what goes over connections, where these are held elsewhere. ``on_bug`` is told of what our
    own mistakes raise. Raises SettingsErrors when one cannot be had, or when a certificate cannot be used.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        on_bug: Callable[[Exception], None],
        given: Sequence[Given] | None = None,
        carry: Carry | None = None,
    ) -> None:
        settings = config.gateway
        self._clock = clock
        self._on_bug = on_bug
        self.certificates = Certificates(config)
        limits = Limits(
            idle=settings.idle,
            connections=settings.max_connections,
            per_source=settings.max_connections_per_source,
        )
        self.streams = StreamTransport(clock, self.certificates, on_bug, limits)
        self.udp = UdpTransport(clock, carry or self.streams.send)
        try:
            self.locals = self._bind(config, given)
        except SettingsErrors:
            self.close()
            raise

    async def serve(
        self,
        endpoint: Endpoint,
        flows: Flows,
        trunks: Callable[[], TrunkTable],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Receive on every port for as long as the gateway runs; ``trunks`` tells who is known."""

        async with trio.open_nursery() as nursery:
            for local in self.locals:
                if local.transport == "udp":
                    turn = partial(self._turn, local, endpoint, flows)
                    nursery.start_soon(pump, self.udp.socket_of(local), turn, self._clock)
            await nursery.start(self.streams.serve, endpoint, trunks, lambda: self.flush(endpoint))
            task_status.started()

    def _turn(self, local: Local, endpoint: Endpoint, flows: Flows, now: float) -> int:
        """One turn of a socket; a bug costs what it was about, and no more."""
        try:
            return self.udp.turn(local, endpoint, flows, now)
        except Exception as bug:
            self._on_bug(bug)
            return 1

    def tick(self, endpoint: Endpoint, flows: Flows) -> None:
        """Do what is due. What has arrived comes before what is due: after a stall, the answer may already be
        waiting.
        """
        now = self._clock()
        flows.look_again(now)
        self.udp.take(endpoint, flows)
        self.streams.take(now)
        endpoint.tick(now)
        self.streams.sweep(now)
        self.flush(endpoint)
        self.udp.measures = True

    def attach(self, tap: Ear | None) -> None:
        """Have a tap told of all messages, or None any more."""
        self.udp.tap = self.streams.tap = tap

    def flush(self, endpoint: Endpoint) -> None:
        """Send everything that the endpoint has for the wire."""
        self.udp.flush(endpoint)

    def close(self) -> None:
        """Close every socket."""
        self.udp.close()
        self.streams.close()

    def _bind(self, config: Config, given: Sequence[Given] | None) -> list[Local]:
        settings = config.gateway
        if given is not None:
            return [self._adopt(each, told) for each, told in zip(given, settings.advertise, strict=True)]
        bound = []
        for index, (address, told) in enumerate(zip(settings.listen, settings.advertise, strict=True)):
            transport, host, port = address.transport, address.host, address.port
            try:
                if transport == "udp":
                    bound.append(self.udp.bind(host, port, told))
                else:
                    bound.append(self.streams.bind(transport, host, port, told))
            except OSError as error:
                raise cannot_bind(config, index, error) from None
        return bound

    def _adopt(self, given: Given, advertise: str) -> Local:
        transport, sock, is_held_here = given
        if transport == "udp":
            return self.udp.adopt(sock, advertise)
        if is_held_here:
            return self.streams.adopt(transport, sock, advertise)
        bound = sock.getsockname()
        return Local(transport, visible(bound[0], sock.family), bound[1], advertise)


def cannot_bind(config: Config, index: int, error: OSError) -> SettingsErrors:
    """Say that one of the configured addresses cannot be had."""
    address = config.gateway.listen[index]
    problem = f"{address} cannot be bound ({in_words(error)})"
    return SettingsErrors([config.source.error(("gateway", "listen", index), problem, to_bind(error))])
