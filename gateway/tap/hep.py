"""HEPv3: a message in the form that Homer, heplify and sngrep take (github.com/sipcapture/HEP).

A packet is "HEP3", its length, and chunks: vendor 0, a type, a length, a value.
"""

from __future__ import annotations

import socket
import struct

from gateway.wire import WireMessage

LARGEST = {"udp": 65_507, "tcp": 65_535}
"""Bytes of a packet: what a datagram carries beside the headers of IP and UDP, what the length can say."""

_CHUNK = struct.Struct(">HHH")
_HEAD = 6  # bytes of a packet, and of a chunk, before what is in it
_PROTOCOLS = {"udp": socket.IPPROTO_UDP, "tcp": socket.IPPROTO_TCP, "tls": socket.IPPROTO_TCP}
_FAMILY_4, _FAMILY_6 = 2, 10  # as on Linux, wherever we run
_SIP = 1


def encode(message: WireMessage, correlation: bytes, agent: int, node: bytes, largest: int) -> bytes | None:
    """Return the packet for a message; None when it would be longer than ``largest``.

    ``correlation`` is the same for all legs of a call, ``agent`` and ``node`` tell gateways apart.
    """
    family = socket.AF_INET6 if ":" in message.source[0] else socket.AF_INET
    is_6 = family == socket.AF_INET6
    seconds, fraction = divmod(message.at, 1.0)
    source = socket.inet_pton(family, message.source[0].partition("%")[0])
    destination = socket.inet_pton(family, message.destination[0].partition("%")[0])
    chunks = (
        (0x0001, bytes((_FAMILY_6 if is_6 else _FAMILY_4,))),
        (0x0002, bytes((_PROTOCOLS[message.transport],))),
        (0x0005 if is_6 else 0x0003, source),
        (0x0006 if is_6 else 0x0004, destination),
        (0x0007, message.source[1].to_bytes(2, "big")),
        (0x0008, message.destination[1].to_bytes(2, "big")),
        (0x0009, int(seconds).to_bytes(4, "big")),
        (0x000A, int(fraction * 1e6).to_bytes(4, "big")),
        (0x000B, bytes((_SIP,))),
        (0x000C, agent.to_bytes(4, "big")),
        (0x0011, correlation),
        (0x0013, node),
        (0x000F, message.payload),
    )
    length = _HEAD + sum(_HEAD + len(value) for _, value in chunks)
    if length > largest:
        return None
    body = b"".join([_CHUNK.pack(0, kind, _HEAD + len(value)) + value for kind, value in chunks])
    return b"HEP3" + length.to_bytes(2, "big") + body
