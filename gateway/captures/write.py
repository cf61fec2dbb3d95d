"""Writes messages as a pcap file that Wireshark, tshark and sngrep open.

Whatever a message went over, it is written as one UDP datagram between the same addresses: what was in a TLS
connection could not be read otherwise, and segments of TCP would show nothing that the message does not.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from gateway.wire import WireMessage

_RAW_IP = 101  # link type: packets begin with the IP header
_SNAP = 262_144
_UDP, _HOPS = 17, 64
_LONGEST = 65_535 - 20 - 8  # bytes of a datagram's payload; what is longer is cut off

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP, _RAW_IP)
"""What the file begins with."""


def packet(message: WireMessage) -> bytes:
    """Return the record of one message."""
    source, destination = (
        ip_address(host.partition("%")[0]) for host, _ in (message.source, message.destination)
    )
    payload = message.payload[:_LONGEST]
    length = 8 + len(payload)
    ends = source.packed + destination.packed
    ports = struct.pack(">HH", message.source[1], message.destination[1])
    pseudo = ends + struct.pack(">IxxxB", length, _UDP)
    checksum = _checksum(pseudo + ports + struct.pack(">HH", length, 0) + payload) or 0xFFFF
    udp = ports + struct.pack(">HH", length, checksum) + payload
    if source.version == 4:
        ip = _ipv4_header(ends, length)
    else:
        ip = struct.pack(">IHBB", 6 << 28, length, _UDP, _HOPS) + ends
    size = len(ip) + length
    micros = round(message.at * 1e6)
    return struct.pack("<IIII", *divmod(micros, 1_000_000), size, size) + ip + udp


def _ipv4_header(ends: bytes, length: int) -> bytes:
    head = struct.pack(">BBHHHBB", 0x45, 0, 20 + length, 0, 0, _HOPS, _UDP)
    return head + struct.pack(">H", _checksum(head + bytes(2) + ends)) + ends


def _checksum(data: bytes) -> int:
    """Return the Internet checksum of some bytes (RFC 1071)."""
    # To add words with their carries put back is to take the remainder, and 0xFFFF is the other zero.
    remainder = int.from_bytes(data + bytes(len(data) % 2)) % 0xFFFF
    return 0xFFFF - (remainder or 0xFFFF)
