"""What is in a packet: UDP datagrams and TCP segments, under whatever link and network headers there are.

Links: Ethernet with any number of VLAN tags, Linux cooked captures of both versions, bare IP, loopback. IPv4
and IPv6 with their fragments put together. What cannot be read is passed over; fragments that wait for others
are bounded in number, and the oldest are let go.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from gateway.captures.files import Notes, Packet

UDP, TCP = 17, 6

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS = (0x8100, 0x88A8, 0x9100)

# Link type -> bytes before the EtherType, and bytes of the header in all.
_ETHERTYPES = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
_BARE = {0: 4, 12: 0, 14: 0, 101: 0, 108: 4, 228: 0, 229: 0}  # link type -> bytes before the IP header

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS = 0, 43, 44, 51, 60
_EXTENSIONS = frozenset((_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS))
_MOST_EXTENSIONS = 8

_WAITING = 512  # datagrams that wait for fragments: 32 MiB at the very most
_MOST_FRAGMENTS = 64
_LONGEST = 65_535
_PATIENCE = 30.0  # seconds that fragments wait for each other (RFC 791 3.2: 15; RFC 8200 4.5: 60)


class Segment(NamedTuple):
    """A UDP datagram or TCP segment, with its transport header read."""

    protocol: int
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    sequence: int = 0
    """TCP: the number of its first byte."""
    is_first: bool = False
    """TCP: whether it opens the connection (SYN)."""


class Unpacker:
    """Reads packets of one capture file, in the order of the file."""

    def __init__(self, notes: Notes) -> None:
        self._fragments = _Fragments(notes)

    def segment(self, packet: Packet) -> Segment | None:
        """Return what is in a packet, or in the datagram that it completes; None when there is nothing that
        can be read.
        """
        ip = _ip_of(packet.link, packet.data)
        if not ip:
            return None
        version = ip[0] >> 4
        if version == 4:
            return self._ipv4(packet, ip)
        return self._ipv6(packet, ip) if version == 6 else None

    def finish(self) -> None:
        """Note, at the end of the file, what never became whole."""
        self._fragments.forget()

    def _ipv4(self, packet: Packet, ip: bytes) -> Segment | None:
        start = (ip[0] & 15) * 4
        if len(ip) < start or start < 20:
            return None
        protocol = ip[9]
        if protocol not in (UDP, TCP):
            return None
        end = int.from_bytes(ip[2:4], "big") or len(ip)  # 0 where the network card cuts segments
        payload = ip[start:end]
        flags = int.from_bytes(ip[6:8], "big")
        if flags & 0x3FFF:
            key = (packet.point, protocol, ip[4:6], ip[12:20])
            whole = self._fragments.join(key, packet.at, (flags & 0x1FFF) * 8, bool(flags & 0x2000), payload)
            if whole is None:
                return None
            payload = whole
        return _segment(protocol, ip[12:16], ip[16:20], payload)

    def _ipv6(self, packet: Packet, ip: bytes) -> Segment | None:
        if len(ip) < 40:
            return None
        protocol, at = ip[6], 40
        end = 40 + int.from_bytes(ip[4:6], "big") if ip[4:6] != b"\0\0" else len(ip)
        for _ in range(_MOST_EXTENSIONS):
            if protocol not in _EXTENSIONS or len(ip) < at + 8:
                break
            if protocol == _FRAGMENT:
                protocol, offset = ip[at], int.from_bytes(ip[at + 2 : at + 4], "big")
                key = (packet.point, protocol, ip[at + 4 : at + 8], ip[8:40])
                part = ip[at + 8 : end]
                whole = self._fragments.join(key, packet.at, offset & 0xFFF8, bool(offset & 1), part)
                return None if whole is None else _segment(protocol, ip[8:24], ip[24:40], whole)
            length = (ip[at + 1] + 2) * 4 if protocol == _AUTHENTICATION else (ip[at + 1] + 1) * 8
            protocol, at = ip[at], at + length
        return _segment(protocol, ip[8:24], ip[24:40], ip[at:end])


def _ip_of(link: int, data: bytes) -> bytes:
    """Return the IP packet in a frame, b"" when it holds none."""
    if link in _ETHERTYPES:
        where, start = _ETHERTYPES[link]
        kind = int.from_bytes(data[where : where + 2], "big")
        while kind in _VLANS:
            kind = int.from_bytes(data[start + 2 : start + 4], "big")
            start += 4
        return data[start:] if kind in (_IPV4, _IPV6) else b""
    return data[_BARE[link] :] if link in _BARE else b""


def _segment(protocol: int, source: bytes, destination: bytes, data: bytes) -> Segment | None:
    if protocol == UDP and len(data) >= 8:
        source_port, destination_port, length = struct.unpack_from(">HHH", data)
        if length > len(data):
            return None  # cut off by the snap length
        payload = data[8 : max(length, 8)]
        return Segment(UDP, (_host(source), source_port), (_host(destination), destination_port), payload)
    if protocol == TCP and len(data) >= 20:
        source_port, destination_port, sequence = struct.unpack_from(">HHI", data)
        start = (data[12] >> 4) * 4
        if start < 20:
            return None
        ends = (_host(source), source_port), (_host(destination), destination_port)
        return Segment(TCP, *ends, data[start:], sequence, bool(data[13] & 2))
    return None


@lru_cache(maxsize=16_384)
def _host(packed: bytes) -> str:
    return str(ip_address(packed))


_Key = tuple[int, int, bytes, bytes]


class _Waiting:
    """The fragments of one datagram: by where they begin."""

    __slots__ = ("length", "parts", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.parts: dict[int, bytes] = {}
        self.length = -1  # of the whole datagram; -1 while its end has not come

    def joined(self) -> bytes | None:
        """Return the whole datagram; None while something is missing."""
        if self.length < 0:
            return None
        whole = bytearray()
        for begin, part in sorted(self.parts.items()):
            if begin > len(whole):
                return None
            whole += part[len(whole) - begin :]  # what overlaps came first in an earlier part
        return bytes(whole[: self.length]) if len(whole) >= self.length else None


class _Fragments:
    """Puts fragments together (RFC 791 3.2, RFC 8200 4.5)."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._waiting: OrderedDict[_Key, _Waiting] = OrderedDict()

    def join(self, key: _Key, at: float, begin: int, more: bool, part: bytes) -> bytes | None:
        """Take a fragment; return the datagram that it completes, or None."""
        waiting = self._waiting.get(key)
        if waiting is None or not -_PATIENCE < at - waiting.since < _PATIENCE:
            self._notes.fragments_lost += waiting is not None
            waiting = self._waiting[key] = _Waiting(at)
            self._waiting.move_to_end(key)
            if len(self._waiting) > _WAITING:
                self._waiting.popitem(last=False)
                self._notes.fragments_lost += 1
        if begin + len(part) > _LONGEST or len(waiting.parts) >= _MOST_FRAGMENTS:
            return None
        waiting.parts.setdefault(begin, part)
        if not more:
            waiting.length = begin + len(part)
        whole = waiting.joined()
        if whole is not None:
            del self._waiting[key]
        return whole

    def forget(self) -> None:
        """Count those that will never be whole, at the end of the file."""
        self._notes.fragments_lost += len(self._waiting)
        self._waiting.clear()
