"""The pump of a socket: waits until something can be read, then has it taken in turns, without awaiting in
between. After as many messages as fill a batch it yields, so that a flood on one socket leaves timers, the
ledger and other sockets their turn.

A wake-up through trio costs more than handling a message, and a message alone costs more than one of many:
processors, too, work best when they do the same thing again. So under load the pump makes each turn fetch
many, as network cards do with their interrupts: while messages keep coming it looks when enough should have
come to be worth it, at least once a millisecond, and naps for what its turn has left of that. An idle gateway
answers at once, and one with little to do adds up to a millisecond to a message. Where turns take much of the
time, enough comes during each of them, so the pump hardly naps: whoever calls a busy gateway need not wait
for its naps, too.
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
_RECENT = 0.002  # seconds with nothing to read, below which the pump naps
_LITTLE, _MUCH = 0.3, 0.5  # share of the time that turns take: naps are the shorter the more it is, from
_SHORT = 0.0001  # seconds down to this; without any it would go through trio for one or two messages
_WEIGHT = 0.02  # of each turn in that share: at 5,000 turns a second it follows in 10 ms
_TURN = 0.000001  # seconds that a turn takes at least, and the clock may not show
_NAPS = 8  # at most this many in a row, then the others have their turn


async def pump(
    sock: socket.socket, turn: Callable[[float], int], clock: Callable[[], float], full: int = BATCH
) -> None:
    """Call ``turn`` with the time, in seconds, whenever there is something to read on ``sock``, for as long
    as the gateway runs. It takes what is there, up to ``full`` messages, does what follows, and returns how
    many it took; after so many others have their turn.
    """
    last = looked = ended = busy = 0.0
    while True:
        await trio.lowlevel.wait_readable(sock)
        now = clock()
        naps = _NAPS if now - last < _RECENT else 0
        handled = 0
        while count := turn(now):
            handled += count
            if handled >= full:
                handled = 0
                await trio.lowlevel.checkpoint()
            period = min(_PERIOD, (now - looked) / count * _ENOUGH)
            before, ended = ended, clock()
            busy += ((ended - now) / max(ended - before, _TURN) - busy) * _WEIGHT
            looked, now = now, ended
            if count < full:
                if not naps:
                    break
                naps -= 1
                left = looked + period - now
                if left > 0.0:
                    # Blocking on purpose: a sleep through trio would cost more than it saves.
                    time.sleep(min(left, max(left * (_MUCH - busy) / (_MUCH - _LITTLE), _SHORT)))
                    now = clock()
        last = now
