"""Files that are put to work as soon as they change."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import trio
import watchfiles

log = logging.getLogger(__name__)

_LOOK = 500  # milliseconds between two looks at the files
_STEP = 200  # milliseconds without a change after which those before are told of
_TOGETHER = 400  # milliseconds of changes that are told of at once, at most
_ATTEMPTS = 5  # at reading files while somebody writes them

T = TypeVar("T")

Stamps = Mapping[Path, object]
"""What tells a file from its next version; None of one that is not there."""

UNREAD = object()
"""The stamp of a file that is to be told of at once, since nobody knows what it was when it was read."""


def stamps(files: Iterable[Path]) -> Stamps:
    """Return the stamps that files have now. To be taken before they are read."""
    return {file: _stamp(file) for file in files}


def read_settled(
    read: Callable[[], T], files: Callable[[T], Iterable[Path]], known: Iterable[Path] = ()
) -> tuple[T, Stamps]:
    """Read what says of which files it was made, if need be again until they do not change meanwhile; return
    it with the stamps that these had before. ``known`` are those that they are likely to be. Raises what
    ``read`` raises.
    """
    after = stamps(known)
    for _ in range(_ATTEMPTS):
        before = after
        found = read()
        after = stamps(files(found))
        if after == before:
            break
    return found, before


async def changes(
    files: Callable[[], Iterable[Path]],
    stop: trio.Event,
    since: Stamps,
    own: Iterable[Path] = (),
) -> AsyncIterator[set[Path]]:
    """Yield which files have changed, whenever some have, until ``stop`` is set; first those that are no
    longer what they were by ``since``, because nobody watched them while they were read.

    ``files`` is asked twice a second which these are. One that comes later is told of once if it is there: it
    may have changed after it was read.

    The system tells at once of most changes; changes within a fifth of a second come together. Twice a second
    the files are looked at, too: the system may watch no more of them, or none on this file system, or
    another directory than the one that has their names by now. It is not asked to watch the directories of
    the gateway's ``own`` files, for it would tell of every record that is written there.
    """
    unwatched = {file.parent.resolve() for file in own}
    watched = set(files())
    last: Stamps = {**await _looked_at(watched), **since}
    while not stop.is_set():
        async with aclosing(_news(watched, unwatched, stop)) as news:
            async for told in news:
                now = await _looked_at(set(files()))
                changed = {file for file in now if file in told or now[file] != last.get(file)}
                last = now
                if changed:
                    yield changed
                if now.keys() != watched:
                    break  # to watch other directories, perhaps
        watched = set(last)


async def _news(files: set[Path], unwatched: set[Path], stop: trio.Event) -> AsyncGenerator[set[Path]]:
    """Yield the files that the system tells of; at least twice a second, perhaps none."""
    try:
        async with aclosing(_watched(files, unwatched, stop)) as found:
            async for told in found:
                yield told
    except* (OSError, RuntimeError) as errors:  # of the latter kind is what watchfiles raises of its own
        causes = "; ".join(map(str, _leaves(errors)))
        log.warning("files are looked at twice a second, for the system does not watch them (%s)", causes)
    while not stop.is_set():
        yield set()
        with trio.move_on_after(_LOOK / 1000):
            await stop.wait()


async def _watched(files: set[Path], unwatched: set[Path], stop: trio.Event) -> AsyncGenerator[set[Path]]:
    """Yield the files that watchfiles tells of; none twice a second, and when others change. Their
    directories are watched, because editors replace files, and links are moved to new ones.
    """
    places = {file.parent.resolve() / file.name: file for file in files}
    folders = {place.parent for place in places if place.parent.is_dir()} - unwatched
    if not folders:
        return
    news = watchfiles.awatch(
        *folders,
        watch_filter=None,
        debounce=_TOGETHER,
        step=_STEP,
        recursive=False,
        stop_event=stop,
        rust_timeout=_LOOK,
        yield_on_timeout=True,
    )
    async with aclosing(news):
        async for found in news:
            yield {places[place] for _, changed in found if (place := Path(changed)) in places}


def _leaves(errors: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """Yield the exceptions of a group; what happens while watchfiles waits comes in one."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _looked_at(files: set[Path]) -> Stamps:
    """The stamps of files, looked at in a thread: on a server that is gone, that may take for ever."""
    return await trio.to_thread.run_sync(stamps, files, abandon_on_cancel=True)


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_dev, found.st_ino
