"""A version that the supervisor reads in a thread: what comes of it, and that nobody waits."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gateway.config import SettingsErrors
from gateway.workers.reload import Reading
from gateway.workers.versions import Version, read_version

CONFIG = '[gateway]\nrules = "rules.toml"\n[[trunk]]\nname = "pbx"\nsource = ["192.0.2.1"]\n'


def test_what_was_read_is_there_when_the_supervisor_is_woken(tmp_path: Path) -> None:
    path, woken = tmp_path / "gateway.toml", threading.Event()
    path.write_text(CONFIG)
    (tmp_path / "rules.toml").write_text("version = 1\n")
    reading = Reading(lambda: read_version(path, None, whole=True), True, 1, woken.set)
    assert woken.wait(10)
    assert reading.is_over
    assert reading.outcome().config.gateway.workers == 1


def test_mistakes_come_to_who_asks_for_the_outcome(tmp_path: Path) -> None:
    woken = threading.Event()
    reading = Reading(lambda: read_version(tmp_path / "none", None, whole=True), True, 1, woken.set)
    assert woken.wait(10)
    with pytest.raises(SettingsErrors, match="there is no such file"):
        reading.outcome()


def test_nobody_waits_for_files_that_cannot_be_read_to_their_end() -> None:
    goes_on, woken = threading.Event(), threading.Event()

    def read() -> Version:
        assert goes_on.wait(10)
        raise SettingsErrors([])

    reading = Reading(read, False, 1, woken.set)
    assert not reading.is_over
    goes_on.set()
    assert woken.wait(10)
    assert reading.is_over
