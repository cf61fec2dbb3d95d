"""A process that is killed with SIGKILL while it works."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
STARTED = 30.0  # seconds that a busy machine may take to start a process


def run_and_kill(script: str, *arguments: str, cwd: Path, lines: int, after: float) -> list[str]:
    """Run a Python script, kill it so many seconds after it has printed that many lines; return them all."""
    said = cwd / "said"
    with said.open("w") as file:
        command = [sys.executable, "-c", script, *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        victim = subprocess.Popen(command, stdout=file, cwd=cwd, env=environment)
    deadline = time.monotonic() + STARTED
    while said.read_text().count("\n") < lines and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after)
    victim.kill()
    assert victim.wait() == -9
    return said.read_text().splitlines()
