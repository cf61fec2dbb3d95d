"""Reads HEPv3 by the letter of its specification."""

from __future__ import annotations

import struct

Chunks = dict[int, bytes]


def decode(packet: bytes) -> Chunks:
    """The chunks of a packet by type, read by the letter of the specification."""
    assert packet[:4] == b"HEP3"
    assert struct.unpack(">H", packet[4:6])[0] == len(packet)
    chunks, rest = {}, packet[6:]
    while rest:
        vendor, kind, length = struct.unpack(">HHH", rest[:6])
        assert vendor == 0 and length >= 6
        chunks[kind] = rest[6:length]
        rest = rest[length:]
    return chunks
