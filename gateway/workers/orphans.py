"""Processes that nobody waits for. In a container the supervisor is often the first process, and to that fall
the processes of a worker that was killed (the ledger's, the collector's). Each would stay in the system's
table for as long as the container lives.
"""

from __future__ import annotations

import os
from collections.abc import Container


def bury(own: Container[int]) -> None:
    """Let go of what has ended and fallen to this process. ``own`` are the children that others wait for."""
    try:
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if found.si_pid in own:
                return  # who waits for it comes first; another time, then
            os.waitpid(found.si_pid, 0)
    except ChildProcessError:
        pass  # there are none at all
