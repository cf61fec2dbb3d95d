"""Packets out of pcap and pcapng files, as they were caught, one at a time.

Files are as large as somebody let them grow, cut off where the disk was full, and sometimes not what their
name says. So nothing is held but the packet at hand, lengths are checked before they are believed, a file
that ends in the middle of a packet ends there, and what is no capture at all is one `CaptureError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

_LONGEST = 262_144  # bytes of a packet; libpcap's own limit
_LONGEST_BLOCK = 16 * 1024 * 1024
_MOST_INTERFACES = 65_536
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
_NEXT_GENERATION = b"\x0a\x0d\x0d\x0a"
_LITTLE = b"\x4d\x3c\x2b\x1a"
_BIG = b"\x1a\x2b\x3c\x4d"
_INTERFACE, _OLD, _SIMPLE, _ENHANCED = 1, 2, 3, 6


class CaptureError(Exception):
    """A capture cannot be read; `str()` is a sentence for a person, with what would be right."""


@dataclass(slots=True)
class Notes:
    """What was met on the way through a capture, beside its messages."""

    packets: int = 0
    """Packets read."""
    broken: str = ""
    """Why the file could not be read to its end; "" when it could."""
    snapped: int = 0
    """Packets with less in the file than was on the wire (a snap length)."""
    unordered: int = 0
    """Messages that stand behind later ones in the file."""
    fragments_lost: int = 0
    """IP datagrams of which a fragment is missing."""
    segments_lost: int = 0
    """Gaps in TCP streams, where segments are missing."""


class Packet(NamedTuple):
    """A packet as it was caught."""

    number: int
    """Its number in the file, from 1, as Wireshark counts."""
    at: float
    """Seconds since the epoch."""
    link: int
    """The link type (LINKTYPE_ of libpcap)."""
    point: int
    """The interface in the file that caught it."""
    data: bytes


def packets(file: BinaryIO, name: object, notes: Notes) -> Iterator[Packet]:
    """Yield the packets of a pcap or pcapng file, in the order of the file. Raises CaptureError."""
    magic = file.read(4)
    if magic in _MAGIC:
        return _classic(file, *_MAGIC[magic], notes)
    if magic == _NEXT_GENERATION:
        return _sections(file, notes)
    raise CaptureError(f"{name}: this is no capture; give a pcap or pcapng file")


def _classic(file: BinaryIO, order: str, unit: float, notes: Notes) -> Iterator[Packet]:
    head = file.read(20)
    if len(head) < 20:
        notes.broken = "ends within its header"
        return
    link = struct.unpack(order + "HHiIII", head)[5] & 0xFFFF
    read = struct.Struct(order + "IIII")
    while len(head := file.read(16)) == 16:
        seconds, fraction, length, on_the_wire = read.unpack(head)
        if length > _LONGEST:
            notes.broken = f"says after packet {notes.packets} that the next one is {length:,} bytes long"
            return
        data = file.read(length)
        if len(data) < length:
            break
        notes.packets += 1
        notes.snapped += length < on_the_wire
        yield Packet(notes.packets, seconds + fraction * unit, link, 0, data)
    else:
        if not head:
            return
    notes.broken = f"ends in the middle of packet {notes.packets + 1}"


class _Section:
    """A section of a pcapng file: its byte order, and its interfaces."""

    def __init__(self, order: str, first: int) -> None:
        self.order = order
        self.first = first  # the number of its first interface, among those of all sections
        self.interfaces: list[tuple[int, float, float]] = []  # link type, seconds of a unit, offset

    def describe(self, body: bytes) -> None:
        """Read a block that describes an interface."""
        if len(body) >= 8 and len(self.interfaces) < _MOST_INTERFACES:
            (link,) = struct.unpack_from(self.order + "H", body)
            self.interfaces.append((link, *_resolution(body[8:], self.order)))

    def packet(self, kind: int, body: bytes, notes: Notes) -> Packet | None:
        """Read a block that holds a packet; None when it cannot be read."""
        if kind == _SIMPLE:
            if not self.interfaces or len(body) < 4:
                return None
            notes.packets += 1
            return Packet(notes.packets, 0.0, self.interfaces[0][0], self.first, body[4:])
        if len(body) < 20:
            return None
        form = "IIIII" if kind == _ENHANCED else "HxxIIII"
        which, high, low, size, on_the_wire = struct.unpack_from(self.order + form, body)
        notes.packets += 1
        if which >= len(self.interfaces):
            return None
        link, unit, offset = self.interfaces[which]
        notes.snapped += size < on_the_wire
        at = (high << 32 | low) * unit + offset
        return Packet(notes.packets, at, link, self.first + which, body[20 : 20 + size])


def _sections(file: BinaryIO, notes: Notes) -> Iterator[Packet]:
    """Read a pcapng file: sections of either byte order, each with interfaces of its own."""
    section = _Section("<", 0)
    kind_bytes = _NEXT_GENERATION
    while len(kind_bytes) == 4:
        length_bytes = file.read(4)
        read = 8
        if kind_bytes == _NEXT_GENERATION:
            magic = file.read(4)
            if magic not in (_LITTLE, _BIG):
                break
            section = _Section("<" if magic == _LITTLE else ">", section.first + len(section.interfaces))
            read = 12
        if len(length_bytes) < 4:
            break
        kind, length = struct.unpack(section.order + "II", kind_bytes + length_bytes)
        if not read + 4 <= length <= _LONGEST_BLOCK:
            notes.broken = f"has after packet {notes.packets} a block that cannot be {length:,} bytes long"
            return
        body = file.read(length - read)
        if len(body) < length - read:
            break
        if kind == _INTERFACE:
            section.describe(body[:-4])
        elif kind in (_ENHANCED, _SIMPLE, _OLD):
            packet = section.packet(kind, body[:-4], notes)
            if packet is not None:
                yield packet
        kind_bytes = file.read(4)
    else:
        if not kind_bytes:
            return
    notes.broken = f"ends in the middle of a block, after packet {notes.packets}"


def _resolution(options: bytes, order: str) -> tuple[float, float]:
    """Return the seconds of one unit of an interface's time stamps (option if_tsresol), and how many seconds
    are to be added to each (if_tsoffset).
    """
    unit, offset = 1e-6, 0.0
    while len(options) >= 4:
        code, length = struct.unpack_from(order + "HH", options)
        if code == 0:
            break
        value = options[4 : 4 + length]
        if code == 9 and len(value) == 1:
            power = value[0]
            unit = float(2.0 ** -(power & 0x7F) if power & 0x80 else 10.0**-power)
        elif code == 14 and len(value) == 8:
            offset = float(struct.unpack(order + "q", value)[0])
        options = options[4 + (length + 3) // 4 * 4 :]
    return unit, offset
