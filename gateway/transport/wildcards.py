"""A wildcard such as ``0.0.0.0`` is told to all peers as one address, though this machine may have one in
each of several networks: who is met from another one than it is told may not find its way back.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from gateway.addresses import parse_ip
from gateway.config import Config

from .udp import source_of, visible


def misleading(config: Config) -> list[str]:
    """Return a sentence for each trunk that would be told another address in Via and Contact than requests to
    it leave from. Targets that are names are left out, and peers on this machine, which reach all of it.
    """
    found: dict[str, str] = {}
    for address, told in zip(config.gateway.listen, config.gateway.advertise, strict=True):
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        shown = visible(address.host, family)
        if told or shown == address.host:
            continue
        for trunk in config.trunks:
            for target in trunk.target:
                host = parse_ip(target.host)
                if host is None or (host.version == 6) != (family == socket.AF_INET6):
                    continue
                source = source_of(str(host))
                if source not in ("", shown) and not ip_address(source).is_loopback:
                    found[trunk.name] = (
                        f"requests to trunk {trunk.name} leave from {source}, but its Via and Contact say "
                        f"{shown}, as {address} is told to all; list the address in each network in listen"
                    )
    return list(found.values())
