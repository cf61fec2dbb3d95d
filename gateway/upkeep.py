"""How parts that calls can do without are run: what one of them raises costs no call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import trio

log = logging.getLogger(__name__)

PAUSE = 10.0
"""Seconds until a part that has failed is run again."""


class Upkeep:
    """Runs parts of the gateway in a nursery, each until it has ended or is cancelled. What one raises is a
    bug of ours, or a system that fails in a way nobody thought of: it is logged with the part's name, and
    the part is run again after a while.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Have a part run."""
        self._nursery.start_soon(_keep_up, name, run)

    async def start(self, name: str, run: Callable[..., Awaitable[None]]) -> None:
        """Have a part run that says by its ``task_status`` when it has started, and wait until it has, or has
        failed.
        """

        async def begin(*, task_status: trio.TaskStatus[None]) -> None:
            status = _Once(task_status)
            await _keep_up(name, partial(run, task_status=status), failed=status.started)

        await self._nursery.start(begin)


class _Once:
    """Passes on the first time that a part says it has started."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self._status: trio.TaskStatus[None] | None = status

    def started(self) -> None:
        status, self._status = self._status, None
        if status is not None:
            status.started()


async def _keep_up(
    name: str, run: Callable[[], Awaitable[None]], failed: Callable[[], None] = lambda: None
) -> None:
    while True:
        try:
            await run()
            return
        except Exception:
            log.exception("%s failed; calls go on, and it is run again in %.0f s", name, PAUSE)
        failed()
        await trio.sleep(PAUSE)
