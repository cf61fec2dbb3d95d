"""Writes captures: UDP datagrams in the packets of one of several link types, in pcap or pcapng."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from gateway.captures.pcap import Datagram

_LINKS = {
    1: lambda kind: bytes(12) + kind,
    113: lambda kind: bytes(14) + kind,
    276: lambda kind: kind + bytes(18),
    101: lambda kind: b"",
    0: lambda kind: bytes(4),
}


def packet(datagram: Datagram, link: int = 1, vlan: bool = False) -> bytes:
    """The bytes of one packet."""
    source, destination = (ip_address(host) for host, _ in (datagram.source, datagram.destination))
    length = 8 + len(datagram.payload)
    udp = struct.pack(">HHHH", datagram.source[1], datagram.destination[1], length, 0) + datagram.payload
    if source.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0)
        kind = b"\x08\x00"
    else:
        head = struct.pack(">IHBB", 6 << 28, length, 17, 64)
        kind = b"\x86\xdd"
    ip = head + source.packed + destination.packed + udp
    if vlan:
        return bytes(12) + b"\x81\x00\x00\x05" + kind + ip
    return _LINKS[link](kind) + ip


def pcap(datagrams: list[Datagram], link: int = 1, order: str = "<", vlan: bool = False) -> bytes:
    """A pcap file."""
    parts = [struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)]
    for datagram in datagrams:
        data = packet(datagram, link, vlan)
        micros = round(datagram.at * 1e6)
        parts += [struct.pack(order + "IIII", *divmod(micros, 1_000_000), len(data), len(data)), data]
    return b"".join(parts)


def pcapng(datagrams: list[Datagram], link: int = 1, order: str = "<") -> bytes:
    """A pcapng file, with time stamps in nanoseconds."""
    parts = [_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    options = struct.pack(order + "HHBxxx", 9, 1, 9) + bytes(4)
    parts.append(_block(order, 1, struct.pack(order + "HHI", link, 0, 65535) + options))
    for datagram in datagrams:
        data = packet(datagram, link)
        at = round(datagram.at * 1e9)
        head = struct.pack(order + "IIIII", 0, at >> 32, at & 0xFFFFFFFF, len(data), len(data))
        parts.append(_block(order, 6, head + data + bytes(-len(data) % 4)))
    return b"".join(parts)


def _block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length
