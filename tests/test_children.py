"""Processes of the gateway's own end when they are let go, are killed, or are left to who holds them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from gateway.children import let_go


def started(script: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", f"{script}; print('ready', flush=True); sys.stdin.read(); sys.exit(3)"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def test_a_process_that_lives_by_its_input_ends_with_it() -> None:
    assert let_go(started("import sys"), 30) == 3


def test_a_process_that_does_not_end_is_killed() -> None:
    child = started("import sys")
    child.send_signal(signal.SIGSTOP)
    assert let_go(child, 0.05) == -signal.SIGKILL
    assert child.returncode is not None


def test_a_process_that_the_system_holds_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk that hangs does: not even SIGKILL ends it then."""
    child = started("import sys")
    waited: list[float] = []

    def wait(seconds: float) -> int:
        waited.append(seconds)
        raise subprocess.TimeoutExpired("child", seconds)

    with monkeypatch.context() as held:
        held.setattr(child, "wait", wait)
        assert let_go(child, 0.25) == -signal.SIGKILL
    assert waited == [0.25, 0.25]
    child.wait(30)
