"""What a process of the gateway's own lives by: it reads frames from its standard input, answers on its
standard output, and ends when its input does, so that it never outlives the gateway.

Only what every such process needs is imported here: some are to be small. `children.py` starts them.
"""

from __future__ import annotations

import os
import signal
from typing import BinaryIO


def settle(niceness: int) -> None:
    """Be nice, for calls come first, and leave signals for the gateway's group to the gateway."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(niceness)


def write_frame(stream: BinaryIO, *parts: bytes) -> None:
    """Write a frame: its length, four bytes, and what it is made of. Raises OSError."""
    length = sum(map(len, parts))
    stream.write(b"".join((length.to_bytes(4), *parts)))  # one write, however long it is
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """Return what is in the next frame; None at the end, and for a frame that has not come whole."""
    length = int.from_bytes(stream.read(4))
    data = stream.read(length)
    return data if data and len(data) == length else None
