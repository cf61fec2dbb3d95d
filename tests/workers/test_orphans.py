"""What falls to the first process of a container is not left in the system's table."""

from __future__ import annotations

import subprocess
import sys

PLAY = """
import ctypes, os, sys, time
from gateway.workers import orphans

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) == 0  # as the first process is by birth


def ended(pid):
    while True:
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "Z":
                return
        time.sleep(0.01)


def is_there(pid):
    return os.path.exists(f"/proc/{pid}")


orphans.bury(set())  # no child at all
reading, writing = os.pipe()
worker = os.fork()
if not worker:
    grandchild = os.fork()
    if not grandchild:
        os.read(reading, 1)
        os._exit(0)
    os.write(1, b"%d\\n" % grandchild)
    os._exit(0)
ended(worker)
orphans.bury({worker})
assert is_there(worker)  # who waits for it wants to know how it ended
os.waitpid(worker, 0)
grandchild = int(input())
os.write(writing, b"x")
ended(grandchild)
orphans.bury(set())
assert not is_there(grandchild)
"""


def test_orphans_are_buried_and_children_that_others_wait_for_are_not() -> None:
    """The one child says on a pipe what it has left behind."""
    code = f"import os\nr, w = os.pipe()\nos.dup2(r, 0)\nos.dup2(w, 1)\n{PLAY}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
