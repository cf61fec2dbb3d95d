"""The container's build is given what it copies."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_what_the_build_copies_is_there_and_is_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    passed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "setup.py" in names
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in passed
