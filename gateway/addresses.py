"""The addresses that settings files speak of, read into typed values.

Three forms: a transport address to bind or to send to (`udp:127.0.0.1:5060`, `tls:[::1]:5061`), the source
of a trunk (`192.0.2.7`, `192.0.2.0/24`, `192.0.2.7:5060`, a TLS name), and the SIP URI of a target. IPv6
addresses stand in brackets wherever a port may follow. An IPv4-mapped IPv6 address (::ffff:192.0.2.7) is the
IPv4 address it maps, because a socket that listens on both families names its IPv4 peers that way.

Each function raises BadValue, with what is wrong and what would be right.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from gateway.patterns import BadValue

TRANSPORTS = ("udp", "tcp", "tls")

_ADDRESS_FORM = "udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT, an IPv6 host in [brackets]"
_SOURCE_FORM = "an IP, a CIDR, IP:PORT or a TLS name, an IPv6 address with a port in [brackets]"
_URI_FORM = "sip:HOST, sip:HOST:PORT or sip:HOST:PORT;transport=tcp"
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^\[\]:]*)(?::(?P<port>[^:]*))?")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_URI = re.compile(r"(?P<scheme>sips?):(?P<host_port>[^;?]*)(?P<parameters>(?:;[^;?\s]+)*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host (a name, or an IP address without brackets) and perhaps a port."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class TransportAddress:
    """Where to bind, or to send: `transport` is udp, tcp or tls; `host` an IP or a name, without brackets."""

    transport: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def where(self) -> str:
        """HOST:PORT, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return it as settings files write it."""
        return f"{self.transport}:{self.where}"


@dataclass(frozen=True, slots=True)
class Source:
    """Who may speak as a trunk: a network (one address is one too), perhaps with a port, or a TLS name."""

    text: str
    network: IPv4Network | IPv6Network | None
    port: int | None = None

    @property
    def identity(self) -> tuple[object, int | None]:
        """What two sources have in common when they mean the same peer."""
        return (self.text.lower() if self.network is None else self.network, self.port)


@dataclass(frozen=True, slots=True)
class TargetUri:
    """A SIP URI that calls are sent to, with what RFC 3263 section 4 needs to find its address."""

    uri: str
    host: str
    """An IP address without brackets, or a name."""
    port: int | None
    """As the URI gives it; None leaves it to RFC 3263."""
    transport: str | None
    """udp, tcp or tls as the URI gives it (sips: means tls); None leaves it to the trunk or RFC 3263."""


def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address `text` is, an IPv4-mapped one as its IPv4 address; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_host_name(text: str) -> bool:
    """Tell whether this can be the name of a host: labels of letters, digits, - and _, the last of which is
    no number (RFC 1123 2.1).
    """
    labels = text.removesuffix(".").split(".")
    return len(text) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def parse_host_port(text: str, form: str = "HOST or HOST:PORT, an IPv6 host in [brackets]") -> HostPort:
    """Read `HOST`, `HOST:PORT` or `[V6]:PORT`; `form` is the remedy to offer where it is something else."""
    match = _HOST_PORT.fullmatch(text)
    if not match or not match["host"]:
        raise BadValue(f'"{text}" is not an address', f"write {form}")
    host = _host(match["host"], form)
    if match["port"] is None:
        return HostPort(host, None)
    return HostPort(host, _port(match["port"], text))


def parse_transport_address(text: str) -> TransportAddress:
    """Read `udp:127.0.0.1:5060`, `tcp:[::1]:5060`, `tls:gw.example.com:5061`. Port 0: the system chooses."""
    transport, colon, rest = text.partition(":")
    if not colon:
        raise BadValue(f'"{text}" is not a transport address', f"write {_ADDRESS_FORM}")
    if transport not in TRANSPORTS:
        raise BadValue(f'"{text}" does not begin with a transport', f"write {_ADDRESS_FORM}")
    address = parse_host_port(rest, _ADDRESS_FORM)
    if address.port is None:
        raise BadValue(f'"{text}" has no port', f"write {_ADDRESS_FORM}")
    return TransportAddress(transport, address.host, address.port)


def parse_source(text: str) -> Source:
    """Read the source of a trunk: an IP, a CIDR, IP:PORT or a TLS name."""
    if "/" in text:
        return Source(text, _network(text))
    address = parse_ip(text)
    if address is not None:
        return Source(text, _single(address))
    split = parse_host_port(text, _SOURCE_FORM)
    address = parse_ip(split.host)
    if split.port == 0:
        raise BadValue(f'"{text}" has port 0', "write a port from 1 to 65535, or none")
    if address is not None:
        return Source(text, _single(address), split.port)
    if split.port is not None:
        raise BadValue(f'"{text}" is a name with a port', f"write {_SOURCE_FORM}")
    return Source(text, None)


def parse_target(text: str) -> TargetUri:
    """Read the SIP URI of a target: a host, perhaps a port and parameters, but no user (RFC 3261 19.1.1).

    The number called takes the place of the user, so a user written here would be lost without a word.
    """
    match = _URI.fullmatch(text)
    if not match:
        raise BadValue(f'"{text}" is not a SIP URI', f"write {_URI_FORM}")
    if "@" in match["host_port"]:
        raise BadValue(f'"{text}" has a user part', f"write {_URI_FORM}; the number called becomes the user")
    address = parse_host_port(match["host_port"], _URI_FORM)
    if address.port == 0:
        raise BadValue(f'"{text}" has port 0', "write a port from 1 to 65535, or none")
    return TargetUri(text, address.host, address.port, _uri_transport(match["scheme"], match["parameters"]))


def _uri_transport(scheme: str, parameters: str) -> str | None:
    named = None
    for parameter in parameters.lower().split(";"):
        key, _, value = parameter.partition("=")
        if key == "transport":
            if value not in TRANSPORTS:
                raise BadValue(f'transport "{value}" is not known', "write transport=udp, tcp or tls")
            named = value
    if scheme.lower() == "sips":
        if named == "udp":
            raise BadValue("a sips: URI cannot go over udp", "leave the transport out, or write sip:")
        return "tls"  # sips over tcp is TLS over TCP (RFC 3261 26.2.2)
    return named


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadValue(f'"{text}" is not a network', "write it as a CIDR, such as 192.0.2.0/24") from None
    if network.network_address != ipaddress.ip_interface(text).ip:
        raise BadValue(f'"{text}" has bits set to the right of its mask', f'write "{network}"')
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network


def _single(address: IPv4Address | IPv6Address) -> IPv4Network | IPv6Network:
    """Return the network that holds only `address`; the interface named in fe80::1%eth0 is no part of it."""
    return ipaddress.ip_network(str(address).partition("%")[0])


def _host(text: str, form: str) -> str:
    """Return `text` as a host: an address in its usual spelling, or a name as it is."""
    if text.startswith("["):
        address = parse_ip(text[1:-1])
        if address is None or ":" not in text:
            raise BadValue(f'"{text}" is not an IPv6 address', f"write {form}")
        return str(address)
    address = parse_ip(text)
    if address is not None:
        return str(address)
    if not is_host_name(text):
        raise BadValue(f'"{text}" is neither an IP address nor a host name', f"write {form}")
    return text


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise BadValue(f'"{whole}" has no valid port', "write a port from 1 to 65535")
    return int(text)
