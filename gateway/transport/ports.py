"""All SIP sockets of a gateway: what a configuration's ``listen`` asks for, under one roof.

The UDP pumps and the connections of TCP and TLS feed one endpoint, and what it wants sent goes to whichever
of them its flow belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from gateway.config import Config, SettingsErrors
from gateway.routing.trunk import TrunkTable
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flows, Local

from .connection import Limits
from .streams import StreamTransport
from .tls import Certificates
from .udp import Clock, UdpTransport

if TYPE_CHECKING:
    from gateway.tap.tap import Tap


class Ports:
    """The listening points of a configuration, bound. Raises SettingsErrors when one cannot be had, or when a
    certificate cannot be used.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        settings = config.gateway
        self._clock = clock
        self.certificates = Certificates(config)
        limits = Limits(
            idle=settings.idle,
            connections=settings.max_connections,
            per_source=settings.max_connections_per_source,
        )
        self.streams = StreamTransport(clock, self.certificates, limits)
        self.udp = UdpTransport(clock, self.streams.send)
        try:
            self.locals = self._bind(config)
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
                    nursery.start_soon(self.udp.pump, local, endpoint, flows)
            await nursery.start(self.streams.serve, endpoint, trunks, lambda: self.flush(endpoint))
            task_status.started()

    def tick(self, endpoint: Endpoint, flows: Flows) -> None:
        """Do what is due. What has arrived comes before what is due: after a stall, the answer may already be
        waiting.
        """
        now = self._clock()
        self.udp.take(endpoint, flows)
        endpoint.tick(now)
        self.streams.sweep(now)
        self.flush(endpoint)
        self.udp.measures = True

    def attach(self, tap: Tap | None) -> None:
        """Have a tap told of all messages, or None any more."""
        self.udp.tap = self.streams.tap = tap

    def flush(self, endpoint: Endpoint) -> None:
        """Send everything that the endpoint has for the wire."""
        self.udp.flush(endpoint)

    def close(self) -> None:
        """Close every socket."""
        self.udp.close()
        self.streams.close()

    def _bind(self, config: Config) -> list[Local]:
        settings = config.gateway
        bound = []
        for index, address in enumerate(settings.listen):
            transport, host, port = address.transport, address.host, address.port
            try:
                if transport == "udp":
                    bound.append(self.udp.bind(host, port, settings.advertise))
                else:
                    bound.append(self.streams.bind(transport, host, port, settings.advertise))
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                problem = f"{transport}:{host}:{port} cannot be bound ({why})"
                remedy = "stop the program that has it, or choose another address"
                raise SettingsErrors(
                    [config.source.error(("gateway", "listen", index), problem, remedy)]
                ) from None
        return bound
