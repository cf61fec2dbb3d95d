"""The pump of a socket: waits until something can be read, then has it taken in turns, without awaiting in
between. After as many messages as fill a batch it yields, so that a flood on one socket leaves timers, the
ledger and other sockets their turn.

A wake-up through trio costs more than handling a message, and a message alone costs more than one of many:
processors, too, work best when they do the same thing again. So under load the pump makes each turn fetch
many, as network cards do with their interrupts: while messages keep coming it looks when enough should have
come to be worth it, at least once a millisecond, and naps for what its turn has left of that. An idle gateway
answers at once, a busy one adds up to a millisecond to a message, a busier one less, and one that is busy all
the time does not nap at all.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import trio

BATCH = 64
"""Messages of one socket that are handled before others have their turn."""
_PERIOD = 0.001  # seconds from one look to the next, at most; twice that doubles what a message waits
_ENOUGH = 8  # messages worth a look: with more, one costs little less and waits longer
_BUSY = 0.002  # seconds with nothing to read, below which the pump naps
_NAPS = 8  # at most this many in a row, then the others have their turn


async def pump(
    sock: socket.socket, turn: Callable[[float], int], clock: Callable[[], float], full: int = BATCH
) -> None:
    """Call ``turn`` with the time, in seconds, whenever there is something to read on ``sock``, for as long
    as the gateway runs. It takes what is there, up to ``full`` messages, does what follows, and returns how
    many it took; after so many others have their turn.
    """
    last = looked = 0.0
    while True:
        await trio.lowlevel.wait_readable(sock)
        now = clock()
        naps = _NAPS if now - last < _BUSY else 0
        handled = 0
        while count := turn(now):
            handled += count
            if handled >= full:
                handled = 0
                await trio.lowlevel.checkpoint()
            period = min(_PERIOD, (now - looked) / count * _ENOUGH)
            looked, now = now, clock()
            if count < full:
                if not naps:
                    break
                naps -= 1
                left = looked + period - now
                if left > 0.0:
                    # Blocking on purpose: a sleep through trio would cost more than it saves.
                    time.sleep(left)
                    now = clock()
        last = now
