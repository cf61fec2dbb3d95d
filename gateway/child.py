"""What a process of the gateway's own lives by: it reads frames from its standard input, answers on its
standard output, and ends when its input does, so that it never outlives the gateway.

Only what every such process needs is imported here: some are to be small. `children.py` starts them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO


def live(serve: Callable[[BinaryIO, BinaryIO], None], niceness: int) -> None:
    """Serve on standard input and output until there is no more input. The process is nice, for calls come
    first, and leaves signals for the gateway's group to the gateway.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(niceness)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(0)  # the gateway is gone; there is nobody to flush for


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
