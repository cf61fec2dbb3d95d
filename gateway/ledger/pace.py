"""How a thread, or a process, works through much without being in the way of calls for long.

A thread that computes shares the interpreter with the loop half and half: for as long as it takes, calls
wait twice as long as they need, and more wherever the loop has to ask for the interpreter anew. So a thread
that has time rests after each few milliseconds, and takes a third of the interpreter at most. A process of
its own takes a core in the same way, and the system lets it have that for milliseconds, however nice it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WORK = 0.002
"""Seconds of CPU between two rests."""
_REST = 2.0  # times as long as what was worked


class Pace:
    """For one job, in the thread that does it. ``hurries`` tells whether there is no time to rest, after so
    many seconds of CPU as are ``work``.
    """

    def __init__(self, hurries: Callable[[], bool], work: float = WORK) -> None:
        self._hurries = hurries
        self._work = work
        self._since = time.thread_time()

    def rest(self) -> None:
        """Let the loop have the interpreter for a while, if it has been kept from it for long enough."""
        worked = time.thread_time() - self._since
        if worked >= self._work:
            if not self._hurries():
                time.sleep(worked * _REST)
            self._since = time.thread_time()
