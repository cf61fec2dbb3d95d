"""Several captures read as one: messages of all files in the order of time.

A place where packets were caught is a file and an interface in it; both make up the `point` of a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import BinaryIO

from gateway.captures.pcap import CaptureError, Datagram, Notes, messages

Open = Callable[[Path], BinaryIO]
"""Opens a file for reading; it may show how far the reading has come."""

_INTERFACES = 1 << 16


def read(paths: Sequence[Path], notes: Sequence[Notes], open_: Open) -> Iterator[Datagram]:
    """Yield the messages of all files; `notes` has one for each, to learn what else is in it.

    Raises CaptureError, also for a file without a single packet that can be read.
    """
    files = [
        _placed(index, path, note, open_) for index, (path, note) in enumerate(zip(paths, notes, strict=True))
    ]
    return files[0] if len(files) == 1 else merge(*files, key=lambda message: message.at)


def _placed(index: int, path: Path, notes: Notes, open_: Open) -> Iterator[Datagram]:
    for message in messages(path, notes, open_):
        yield message._replace(point=index * _INTERFACES + message.point % _INTERFACES) if index else message
    if not notes.packets:
        why = f"it {notes.broken}" if notes.broken else "it is empty"
        raise CaptureError(f"{path}: no packet can be read, {why}; capture again")


def file_of(point: int) -> int:
    """Return the place of the file that a point is in, from 0."""
    return point // _INTERFACES


def place_of(point: int) -> str:
    """Name a place where packets were caught, for people.

    >>> place_of(0), place_of((1 << 16) + 2)
    ('file 1 interface 1', 'file 2 interface 3')
    """
    return f"file {file_of(point) + 1} interface {point % _INTERFACES + 1}"


def sentences(path: Path, notes: Notes) -> Iterator[str]:
    """Say what is wrong with a file that could be read."""
    if notes.broken:
        yield f"{path}: {notes.broken}; what was before it was analysed"
    if notes.snapped:
        yield f"{path}: {notes.snapped:,} packets were cut off by a snap length; capture with -s 0"
    if notes.unordered:
        yield f"{path}: {notes.unordered:,} messages were not in the order of time, and were put in order"
    if notes.fragments_lost:
        yield f"{path}: {notes.fragments_lost:,} IP datagrams lack a fragment"
    if notes.segments_lost:
        yield f"{path}: {notes.segments_lost:,} gaps in TCP streams, where packets are missing"
