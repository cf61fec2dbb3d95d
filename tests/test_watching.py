"""Files that change are told, those too that changed before anybody watched them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
import watchfiles

from gateway import watching
from gateway.watching import Stamps, changes, stamps


def told(
    files: list[Path],
    since: Stamps,
    while_watched: Callable[[], object] = lambda: None,
    seen: Callable[[], bool] = lambda: True,
    own: Iterable[Path] = (),
) -> set[Path]:
    """Watch until something is told, having done something as soon as the watch stands; and until what was
    told of could be ``seen``.
    """

    found: list[set[Path]] = []

    async def main() -> None:
        stop = trio.Event()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(later)
                async for changed in changes(lambda: files, stop, since, own):
                    if seen():
                        found.append(changed)
                        stop.set()
                nursery.cancel_scope.cancel()

    async def later() -> None:
        while True:  # once is not enough: when the watch stands is not known
            await trio.sleep(0.3)
            while_watched()

    trio.run(main)
    return found[0]


def test_a_file_that_changes_is_told(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("1")
    assert told([one, other], stamps([one, other]), lambda: other.write_text("2")) == {other}


def test_a_file_that_changed_between_being_read_and_being_watched_is_told(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("1")
    since = stamps([one, other])
    new = tmp_path / "new"
    new.write_text("2")
    new.replace(one)
    assert told([one, other], since) == {one}


def test_a_file_that_came_or_went_meanwhile_is_told(tmp_path: Path) -> None:
    came, went = tmp_path / "came", tmp_path / "went"
    went.write_text("1")
    since = stamps([came, went])
    came.write_text("1")
    went.unlink()
    assert told([came, went], since) == {came, went}


def test_where_the_system_watches_no_more_files_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a machine with many containers, whose inotify instances are used up."""

    def refuse(*_args: object, **_options: object) -> None:
        raise RuntimeError("Too many open files (os error 24)")

    monkeypatch.setattr(watchfiles, "awatch", refuse)
    monkeypatch.setattr(watching, "_LOOK", 50)
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("1")
    assert told([one, other], stamps([one, other]), lambda: other.write_text("2")) == {other}
    assert "Too many open files" in caplog.text
    since = stamps([one, other])
    one.unlink()
    assert told([one, other], since) == {one}


def test_a_directory_that_the_gateway_writes_to_is_looked_at_and_not_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system would tell of each batch of records."""
    watched: list[Path] = []
    watch = watchfiles.awatch

    def note(*folders: Path, **options: Any) -> AsyncGenerator[set[tuple[watchfiles.Change, str]]]:
        watched.extend(folders)
        return watch(*folders, **options)

    monkeypatch.setattr(watchfiles, "awatch", note)
    monkeypatch.setattr(watching, "_LOOK", 50)
    (tmp_path / "lists").mkdir()
    rules, numbers = tmp_path / "rules", tmp_path / "lists" / "numbers"
    rules.write_text("1")
    numbers.write_text("1")
    files = [rules, numbers]
    assert told(files, stamps(files), lambda: rules.write_text("2"), own=[tmp_path / "ledger"]) == {rules}
    assert set(watched) == {tmp_path / "lists"}


def test_files_of_a_directory_that_was_replaced_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a copy, or by a link that leads elsewhere now: the system watches the old one."""
    monkeypatch.setattr(watching, "_LOOK", 50)
    link = tmp_path / "current"
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "rules").write_text(release)
    link.symlink_to("1")
    rules = link / "rules"

    def release_2() -> None:
        new = tmp_path / "new"
        new.unlink(missing_ok=True)
        new.symlink_to("2")
        new.replace(link)

    assert told([rules], stamps([rules]), release_2) == {rules}
    copy = tmp_path / "copy"
    copy.mkdir()
    rules = copy / "rules"
    rules.write_text("1")
    since = stamps([rules])

    def copy_anew() -> None:
        if rules.exists() and rules.read_text() == "1":
            rules.unlink()
            copy.rmdir()
        else:
            copy.mkdir(exist_ok=True)
            rules.write_text("2")

    assert told([rules], since, copy_anew, seen=lambda: rules.exists()) == {rules}


def test_files_whose_directory_is_not_there_yet_are_told(tmp_path: Path) -> None:
    rules = tmp_path / "later" / "rules"

    def come() -> None:
        rules.parent.mkdir(exist_ok=True)
        rules.write_text("1")

    assert told([rules], stamps([rules]), come) == {rules}


def test_files_that_are_put_to_work_later_are_watched_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is told of at once, for it may have changed after it was read, and then when it changes."""
    monkeypatch.setattr(watching, "_LOOK", 50)
    old, new = tmp_path / "old" / "rules", tmp_path / "new" / "rules"
    for file in (old, new):
        file.parent.mkdir()
        file.write_text("1")
    at_work = [old]
    found: list[set[Path]] = []

    async def main() -> None:
        stop = trio.Event()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                async for changed in changes(lambda: at_work, stop, stamps(at_work)):
                    found.append(changed)
                    if len(found) == 2:
                        stop.set()
                    else:
                        new.write_text("2 of these")
                        old.write_text("2 of those")

    async def work() -> None:
        await trio.sleep(0.3)
        at_work[:] = [new, tmp_path / "missing" / "list"]

    trio.run(main)
    assert found == [{new}, {new}]


def test_a_file_that_comes_after_it_was_asked_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LOOK", 50)
    rules, numbers = tmp_path / "rules", tmp_path / "numbers"
    rules.write_text("1")
    at_work = [rules]

    def ask() -> None:
        if numbers in at_work:
            numbers.write_text("1")
        else:
            at_work.append(numbers)

    assert told(at_work, stamps([rules]), ask) == {numbers}


def test_a_file_beside_them_with_a_name_that_is_no_utf_8_does_not_stop_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """watchfiles gives up at it. It comes before a file changes, and again while files are looked at."""
    monkeypatch.setattr(watching, "_LOOK", 200)
    rules = tmp_path / "rules"
    rules.write_text("1")
    beside = os.fsencode(tmp_path) + b"/caf\xe9.txt"

    def touch() -> None:
        with open(beside, "a"):
            os.utime(beside)
        if "files are looked at" in caplog.text:
            rules.write_text("2")

    assert told([rules], stamps([rules]), touch) == {rules}
    assert "files are looked at twice a second" in caplog.text
    assert "Traceback" not in caplog.text
