"""Files that are put to work as soon as they change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import trio
import watchfiles


async def changes(files: Iterable[Path], stop: trio.Event) -> AsyncIterator[set[Path]]:
    """Yield which of these files have changed, whenever some have, until ``stop`` is set.

    Their directories are watched, because editors replace files, and links are moved to new ones. Changes
    within a fifth of a second come together.
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
        debounce=200,
        step=50,
        recursive=False,
        raise_interrupt=False,
        stop_event=stop,
    ):
        yield {places[Path(changed)] for _, changed in found}
