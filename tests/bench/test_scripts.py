"""Every benchmark starts as its reader is told to start it: by its path, from the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "bench").glob("*.py") if "argparse" in path.read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_tells_its_options(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / name), "--help"]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
