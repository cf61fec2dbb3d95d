"""Files that are put to work as soon as they change."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import trio
import watchfiles

log = logging.getLogger(__name__)

_LOOK = 1_000  # milliseconds between two looks at the files
_STEP = 200  # milliseconds without a change after which those before are told of
_TOGETHER = 400  # milliseconds of changes that are told of at once, at most


Stamps = Mapping[Path, object]
"""What tells a file from its next version; None of one that is not there."""


def stamps(files: Iterable[Path]) -> Stamps:
    """Return the stamps that files have now. To be taken before they are read."""
    return {file: _stamp(file) for file in files}


async def changes(files: Iterable[Path], stop: trio.Event, since: Stamps) -> AsyncIterator[set[Path]]:
    """Yield which of these files have changed, whenever some have, until ``stop`` is set; first those that
    are no longer what they were by ``since``, because nobody watched them while they were read.

    The system tells at once of most changes; changes within a fifth of a second come together. Once a second
    the files are looked at, too: the system may watch no more of them, or none on this file system, or
    another directory than the one that has their names by now.
    """
    files = set(files)
    last: Stamps = {**await _looked_at(files), **since}
    async for told in _news(files, stop):
        now = await _looked_at(files)
        changed = told | {file for file in files if now[file] != last[file]}
        last = now
        if changed:
            yield changed


async def _news(files: set[Path], stop: trio.Event) -> AsyncIterator[set[Path]]:
    """Yield the files that the system tells of; at least once a second, perhaps none."""
    try:
        async for told in _watched(files, stop):
            yield told
    except (OSError, RuntimeError) as error:  # of the latter kind is what watchfiles raises of its own
        log.warning("files are looked at once a second, for the system does not watch them (%s)", error)
    while not stop.is_set():
        yield set()
        with trio.move_on_after(_LOOK / 1000):
            await stop.wait()


async def _watched(files: set[Path], stop: trio.Event) -> AsyncIterator[set[Path]]:
    """Yield the files that watchfiles tells of; none once a second. Their directories are watched, because
    editors replace files, and links are moved to new ones.
    """
    places = {file.parent.resolve() / file.name: file for file in files}
    folders = {place.parent for place in places if place.parent.is_dir()}
    if not folders:
        return

    def is_ours(_change: watchfiles.Change, changed: str) -> bool:
        return Path(changed) in places

    async for found in watchfiles.awatch(
        *folders,
        watch_filter=is_ours,
        debounce=_TOGETHER,
        step=_STEP,
        recursive=False,
        stop_event=stop,
        rust_timeout=_LOOK,
        yield_on_timeout=True,
    ):
        yield {places[Path(changed)] for _, changed in found}


async def _looked_at(files: set[Path]) -> Stamps:
    """The stamps of files, looked at in a thread: on a server that is gone, that may take for ever."""
    return await trio.to_thread.run_sync(stamps, files, abandon_on_cancel=True)


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_dev, found.st_ino
