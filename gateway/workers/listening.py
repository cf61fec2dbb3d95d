"""The sockets of all workers, bound by the supervisor before it forks."""

from __future__ import annotations

from gateway.config import Config
from gateway.transport.ports import cannot_bind
from gateway.transport.streams import open_socket as open_listener
from gateway.transport.udp import open_socket

from .seat import Listening
from .steering import steer


def bind(config: Config, workers: int) -> list[Listening]:
    """Bind all that is to be listened at. Raises SettingsErrors."""
    found: list[Listening] = []
    for index, address in enumerate(config.gateway.listen):
        host, port = address.host, address.port
        try:
            if address.transport != "udp":
                found.append(Listening(address.transport, (open_listener(host, port),)))
                continue
            # Sockets that share an address would let a second gateway have it, too.
            alone = open_socket(host, port)
            port = alone.getsockname()[1]
            alone.close()
            socks = tuple(open_socket(host, port, shared=True) for _ in range(workers))
            steer(socks)
            found.append(Listening("udp", socks))
        except OSError as error:
            for each in found:
                for sock in each.socks:
                    sock.close()
            raise cannot_bind(config, index, error) from None
    return found
