"""Starting processes of the gateway's own, and letting go of them.

What would take the interpreter from the calls for long, a process of its own does: a module of this package
that lives by `child.py`. A thread of the gateway writes to it, waits for its answers, and starts it anew when
it has died. Nothing is in its command line but the name of the module.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


def start(module: str) -> subprocess.Popen[bytes]:
    """Start the process that a module is, with pipes to its standard input and from its output. Raises
    OSError.
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-P", "-m", module]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def let_go(child: subprocess.Popen[bytes], seconds: float) -> int:
    """Have a process end, and kill it when it has not after so many seconds. Returns its exit code, or its
    signal as a negative number. Blocks, for twice as long at most.
    """
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):  # what a child that has died did not read
            pipe.close()
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL  # a disk that hangs keeps it, and it is gone when that answers
