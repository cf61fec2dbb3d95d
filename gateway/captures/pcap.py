"""Reads the UDP datagrams of a pcap or pcapng file, one packet at a time.

Files are as large as somebody let them grow, cut off where the disk was full, and sometimes not what their
name says. So nothing is held but the packet at hand, lengths are checked before they are believed, a file
that ends in the middle of a packet ends there, and what is no capture at all is one `CaptureError`. Packets
that cannot be read are passed over. IP fragments are not put together yet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO, NamedTuple

_LONGEST = 262_144  # bytes of a packet; libpcap's own limit
_LONGEST_BLOCK = 16 * 1024 * 1024
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_NEXT_GENERATION = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _SIMPLE, _ENHANCED = 1, 3, 6
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS = (0x8100, 0x88A8, 0x9100)
_UDP = 17

# Link type -> bytes before the EtherType, and bytes of the header in all.
_ETHERTYPES = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
_BARE = {0: 4, 12: 0, 101: 0, 108: 4, 228: 0, 229: 0}  # link type -> bytes before the IP header


class CaptureError(Exception):
    """A capture cannot be read; `str()` is a sentence for a person, with what would be right."""


class Datagram(NamedTuple):
    """A UDP datagram: when (seconds since the epoch), from where, to where, and its payload."""

    at: float
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes


def datagrams(path: Path) -> Iterator[Datagram]:
    """Yield the UDP datagrams of a capture, in the order of the file. Raises CaptureError."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            if magic in _MAGIC:
                packets = _classic(file, *_MAGIC[magic])
            elif magic == _NEXT_GENERATION:
                packets = _sections(file)
            else:
                raise CaptureError(f"{path}: this is no capture; give a pcap or pcapng file")
            for at, link, packet in packets:
                datagram = _datagram(at, link, packet)
                if datagram is not None:
                    yield datagram
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None


def _classic(file: BinaryIO, order: str, unit: float) -> Iterator[tuple[float, int, bytes]]:
    head = file.read(20)
    if len(head) < 20:
        return
    link = struct.unpack(order + "HHiIII", head)[5] & 0xFFFF
    read = struct.Struct(order + "IIII")
    while len(head := file.read(16)) == 16:
        seconds, fraction, length, _ = read.unpack(head)
        if length > _LONGEST:
            return
        packet = file.read(length)
        if len(packet) < length:
            return
        yield seconds + fraction * unit, link, packet


def _sections(file: BinaryIO) -> Iterator[tuple[float, int, bytes]]:
    """Read a pcapng file: sections of either byte order, each with interfaces of its own."""
    order = "<"
    interfaces: list[tuple[int, float]] = []
    kind_bytes = _NEXT_GENERATION
    while len(kind_bytes) == 4:
        length_bytes = file.read(4)
        if kind_bytes == _NEXT_GENERATION:
            magic = file.read(4)
            order = "<" if magic == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        if len(length_bytes) < 4:
            return
        kind, length = struct.unpack(order + "II", kind_bytes + length_bytes)
        read = 12 if kind_bytes == _NEXT_GENERATION else 8
        if not read + 4 <= length <= _LONGEST_BLOCK:
            return
        body = file.read(length - read)[:-4]
        if len(body) < length - read - 4:
            return
        if kind == _INTERFACE and len(body) >= 8 and len(interfaces) < 65_536:
            interfaces.append((struct.unpack(order + "H", body[:2])[0], _resolution(body[8:], order)))
        elif kind == _ENHANCED and len(body) >= 20:
            number, high, low, size = struct.unpack(order + "IIII", body[:16])
            if number < len(interfaces):
                link, unit = interfaces[number]
                yield (high << 32 | low) * unit, link, body[20 : 20 + size]
        elif kind == _SIMPLE and interfaces:
            yield 0.0, interfaces[0][0], body[4:]
        kind_bytes = file.read(4)


def _resolution(options: bytes, order: str) -> float:
    """Return the seconds of one unit of an interface's time stamps (option if_tsresol)."""
    while len(options) >= 4:
        code, length = struct.unpack(order + "HH", options[:4])
        if code == 9 and length == 1 and len(options) >= 5:
            power = options[4]
            return float(2.0 ** -(power & 0x7F) if power & 0x80 else 10.0**-power)
        if code == 0:
            break
        options = options[4 + (length + 3) // 4 * 4 :]
    return 1e-6


def _datagram(at: float, link: int, packet: bytes) -> Datagram | None:
    """Return the UDP datagram in a packet, or None when there is none that can be read."""
    if link in _ETHERTYPES:
        where, start = _ETHERTYPES[link]
        kind = int.from_bytes(packet[where : where + 2], "big")
        while kind in _VLANS:
            kind = int.from_bytes(packet[start + 2 : start + 4], "big")
            start += 4
        if kind not in (_IPV4, _IPV6):
            return None
    elif link in _BARE:
        start = _BARE[link]
    else:
        return None
    ip = packet[start:]
    if not ip:
        return None
    if ip[0] >> 4 == 4:
        return _from_ipv4(at, ip)
    return _from_ipv6(at, ip) if ip[0] >> 4 == 6 else None


def _from_ipv4(at: float, ip: bytes) -> Datagram | None:
    header = (ip[0] & 15) * 4
    if len(ip) < header or header < 20 or ip[9] != _UDP or int.from_bytes(ip[6:8], "big") & 0x3FFF:
        return None
    length = int.from_bytes(ip[2:4], "big") or len(ip)  # 0 where the network card cuts segments
    return _udp(at, ip[12:16], ip[16:20], ip[header:length])


def _from_ipv6(at: float, ip: bytes) -> Datagram | None:
    if len(ip) < 40 or ip[6] != _UDP:
        return None
    return _udp(at, ip[8:24], ip[24:40], ip[40 : 40 + int.from_bytes(ip[4:6], "big")])


def _udp(at: float, source: bytes, destination: bytes, udp: bytes) -> Datagram | None:
    if len(udp) < 8:
        return None
    source_port, destination_port, length = struct.unpack(">HHH", udp[:6])
    if length > len(udp):
        return None  # cut off by the snap length, or a fragment
    return Datagram(
        at,
        (str(ip_address(source)), source_port),
        (str(ip_address(destination)), destination_port),
        udp[8 : max(length, 8)],
    )
