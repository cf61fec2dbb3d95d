"""What captures hold for SIP: the UDP datagrams of a file, or the SIP messages over UDP and TCP.

A capture of several interfaces, or of a busy machine, is not quite in the order of time. Messages are put in
order as far as `_WINDOW` of them reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gateway.captures.files import CaptureError, Notes, Packet, packets
from gateway.captures.packets import UDP, Segment, Unpacker
from gateway.captures.streams import START, Streams
from gateway.os_errors import in_words

__all__ = ["CaptureError", "Datagram", "Notes", "datagrams", "messages"]

_WINDOW = 4096


class Datagram(NamedTuple):
    """What a UDP datagram brought, or one message of a TCP stream."""

    at: float
    """Seconds since the epoch."""
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    number: int = 0
    """The number of the packet in its file, from 1; of a message in several packets, the last one's. 0 where
    nobody asks.
    """
    point: int = 0
    """Where it was caught: an interface of the file."""
    transport: str = "UDP"


def datagrams(path: Path) -> Iterator[Datagram]:
    """Yield the UDP datagrams of a capture, whatever is in them, in the order of the file: what they say, not
    which packet said it. Raises CaptureError.
    """
    for packet, segment in _segments(path, Notes(), _open):
        if segment.protocol == UDP:
            yield Datagram(packet.at, segment.source, segment.destination, segment.payload)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def messages(
    path: Path, notes: Notes | None = None, open_: Callable[[Path], BinaryIO] = _open
) -> Iterator[Datagram]:
    """Yield what looks like SIP messages in a capture, over UDP and TCP, in the order of time.

    `notes` learns what else was met; `open_` opens the file. Raises CaptureError.
    """
    notes = notes or Notes()
    waiting: list[tuple[float, int, int, Datagram]] = []
    latest = 0.0
    for count, message in enumerate(_messages(path, notes, open_)):
        notes.unordered += message.at < latest
        latest = max(latest, message.at)
        heappush(waiting, (message.at, message.number, count, message))
        if len(waiting) > _WINDOW:
            yield heappop(waiting)[3]
    while waiting:
        yield heappop(waiting)[3]


def _messages(path: Path, notes: Notes, open_: Callable[[Path], BinaryIO]) -> Iterator[Datagram]:
    streams = Streams(notes)
    for packet, segment in _segments(path, notes, open_):
        if segment.protocol == UDP:
            if START.match(segment.payload) is not None:
                yield _datagram(packet, segment)
            continue
        for message in streams.feed(packet.point, packet.at, segment):
            yield _datagram(packet, segment)._replace(payload=message, transport="TCP")


def _datagram(packet: Packet, segment: Segment) -> Datagram:
    ends = segment.source, segment.destination
    return Datagram(packet.at, *ends, segment.payload, packet.number, packet.point)


def _segments(
    path: Path, notes: Notes, open_: Callable[[Path], BinaryIO]
) -> Iterator[tuple[Packet, Segment]]:
    """Yield the packets of a file that hold UDP or TCP. Raises CaptureError."""
    unpacker = Unpacker(notes)
    try:
        with open_(path) as file:
            for packet in packets(file, path, notes):
                segment = unpacker.segment(packet)
                if segment is not None:
                    yield packet, segment
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {in_words(error)}") from None
    unpacker.finish()
