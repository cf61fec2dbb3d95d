"""Files that are put to work as soon as they change."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import trio
import watchfiles

log = logging.getLogger(__name__)

_LOOK = 1_000  # milliseconds until the watch is known to stand
_STEP = 200  # milliseconds without a change after which those before are told of
_TOGETHER = 400  # milliseconds of changes that are told of at once, at most
_POLL = 1.0  # seconds between two looks at files that the system does not watch


Stamps = Mapping[Path, object]
"""What tells a file from its next version; None of one that is not there."""


def stamps(files: Iterable[Path]) -> Stamps:
    """Return the stamps that files have now. To be taken before they are read."""
    return {file: _stamp(file) for file in files}


async def changes(files: Iterable[Path], stop: trio.Event, since: Stamps) -> AsyncIterator[set[Path]]:
    """Yield which of these files have changed, whenever some have, until ``stop`` is set; first those that
    are no longer what they were by ``since``, because nobody watched them while they were read.

    Their directories are watched, because editors replace files, and links are moved to new ones. Changes
    within a fifth of a second come together. Where the system watches no more files, they are looked at
    instead, once a second.
    """
    files = set(files)
    try:
        async for changed in _watched(files, stop, since):
            since = {}
            yield changed
    except (OSError, RuntimeError) as error:  # of the latter kind is what watchfiles raises of its own
        log.warning("files are looked at once a second, for the system does not watch them (%s)", error)
        async for changed in _polled(files, stop, since or stamps(files)):
            yield changed


async def _polled(files: set[Path], stop: trio.Event, since: Stamps) -> AsyncIterator[set[Path]]:
    """Yield which files have changed, as their stamps tell."""
    while not stop.is_set():
        now = stamps(files)
        changed = {file for file in files if now[file] != since.get(file, now[file])}
        since = now
        if changed:
            yield changed
        with trio.move_on_after(_POLL):
            await stop.wait()


async def _watched(files: set[Path], stop: trio.Event, since: Stamps) -> AsyncIterator[set[Path]]:
    """Yield which files have changed, as the system tells."""
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
        changed = {places[Path(changed)] for _, changed in found}
        changed |= {file for file in places.values() if file in since and _stamp(file) != since[file]}
        since = {}
        if changed:
            yield changed


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_dev, found.st_ino
