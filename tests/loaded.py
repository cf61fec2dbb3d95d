"""What a process has in memory once it has done something: modules stay there for as long as it lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def loaded_by(code: str) -> set[str]:
    """Return the modules that a process of its own has loaded when it has run some code."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.check_output(command, env=environment, text=True).split())
