"""Commands run in a directory of their own, with a configuration, rules and a ledger that they find there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RULES = """\
version = 1

[[rule]]
name = "dead-number"
when.from = ["kind:carrier"]
when.status = 603
when.q850 = [1, 2, 3, 26]
then.status = 404

[[rule]]
name = "phone-declined"
when.from = ["kind:pbx"]
when.status = 603
when.ringing = ">1s"
then.status = 486
"""

CONFIG = """\
[gateway]
listen = ["udp:127.0.0.1:0"]
rules = "rules.toml"

[console]
listen = ""

[ledger]
url = "sqlite:///gateway.db"

[[trunk]]
name = "hq"
kind = "pbx"
source = ["10.0.0.0/8"]
target = ["sip:10.0.0.1"]

[[trunk]]
name = "west"
kind = "carrier"
source = ["192.0.2.1"]
target = ["sip:192.0.2.1"]

[[route]]
from = ["hq"]
to = ["west"]
"""


class Place:
    """The current directory of a test."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.out = ""
        self.err = ""
        self._capsys = capsys

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Path(name)

    def run(self, command: Callable[..., int], *arguments: object, **options: object) -> int:
        """Run a command, keep what it prints, return its exit code."""
        code = command(*arguments, **options)
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def json(self) -> Any:
        """What was printed, as the program reads it that asked for --json."""
        return json.loads(self.out)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return Place(tmp_path, capsys)
