"""Writes captures: datagrams and streams in the packets of one of several link types, in pcap or pcapng."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from gateway.captures.pcap import Datagram

Address = tuple[str, int]
Caught = tuple[float, bytes]
"""When, and the bytes of a packet."""

_LINKS = {
    1: lambda kind: bytes(12) + kind,
    113: lambda kind: bytes(14) + kind,
    276: lambda kind: kind + bytes(18),
    101: lambda kind: b"",
    228: lambda kind: b"",
    0: lambda kind: bytes(4),
}


def frame(ip: bytes, link: int = 1, vlans: Sequence[int] = ()) -> bytes:
    """An IP packet with the header of its link, and VLAN tags of these types."""
    kind = b"\x08\x00" if ip[0] >> 4 == 4 else b"\x86\xdd"
    tags = b"".join(struct.pack(">HH", tag, 5) for tag in vlans)
    if tags:
        return bytes(12) + tags + kind + ip
    return _LINKS[link](kind) + ip


def ip_packets(
    source: str, destination: str, protocol: int, data: bytes, mtu: int = 0, key: int = 1
) -> list[bytes]:
    """IP packets around a payload: one, or with `mtu` fragments of at most so many bytes of it."""
    ends = ip_address(source).packed, ip_address(destination).packed
    size = mtu // 8 * 8 or len(data)
    parts = [(begin, data[begin : begin + size]) for begin in range(0, len(data) or 1, size or 1)]
    packets = []
    for begin, part in parts:
        more = begin + len(part) < len(data)
        if len(ends[0]) == 4:
            flags = begin // 8 | more << 13
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(part), key, flags, 64, protocol, 0)
            packets.append(head + ends[0] + ends[1] + part)
        elif len(parts) == 1:
            head = struct.pack(">IHBB", 6 << 28, len(part), protocol, 64)
            packets.append(head + ends[0] + ends[1] + part)
        else:
            head = struct.pack(">IHBB", 6 << 28, 8 + len(part), 44, 64)
            fragment = struct.pack(">BxHI", protocol, begin | more, key)
            packets.append(head + ends[0] + ends[1] + fragment + part)
    return packets


def udp(datagram: Datagram) -> bytes:
    """The UDP datagram itself."""
    length = 8 + len(datagram.payload)
    ports = datagram.source[1], datagram.destination[1]
    return struct.pack(">HHHH", *ports, length, 0) + datagram.payload


def packet(datagram: Datagram, link: int = 1, vlans: Sequence[int] = ()) -> bytes:
    """The one packet of a UDP datagram."""
    return frame(ip_packets(datagram.source[0], datagram.destination[0], 17, udp(datagram))[0], link, vlans)


def tcp(source: Address, destination: Address, sequence: int, data: bytes, syn: bool = False) -> bytes:
    """The packet of a TCP segment."""
    flags = 2 if syn else 16
    head = struct.pack(">HHIIBBHHH", source[1], destination[1], sequence % 2**32, 0, 5 << 4, flags, 0, 0, 0)
    return frame(ip_packets(source[0], destination[0], 6, head + data)[0])


def pcap(datagrams: list[Datagram], link: int = 1, order: str = "<", vlans: Sequence[int] = ()) -> bytes:
    """A pcap file of UDP datagrams."""
    return pcap_of([(datagram.at, packet(datagram, link, vlans)) for datagram in datagrams], link, order)


def pcap_of(packets: Sequence[Caught], link: int = 1, order: str = "<") -> bytes:
    """A pcap file of packets as they are."""
    parts = [struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)]
    for at, data in packets:
        micros = round(at * 1e6)
        parts += [struct.pack(order + "IIII", *divmod(micros, 1_000_000), len(data), len(data)), data]
    return b"".join(parts)


def pcapng(datagrams: list[Datagram], link: int = 1, order: str = "<", offset: int = 0) -> bytes:
    """A pcapng file, with time stamps in nanoseconds, to which readers add so many seconds."""
    parts = [_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    options = struct.pack(order + "HHBxxxHHqxxxx", 9, 1, 9, 14, 8, offset)
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
