"""Threads that use a database, each for a while: a server may keep a connection and say nothing for ever.

Who waits gets an error after a time, and asks again later, with another connection. The thread is left to its
fate. When the server comes to itself it goes on, so what it does must be harmless by then: before it commits
it asks whether somebody still waits (`check`), unless what it writes may come twice. A server that swallows
one connection after the other costs a few threads and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import trio

PATIENT = 15.0
"""Seconds that a database may take for a batch."""
READING = 600.0
"""Seconds that it may take for all that a ledger knows of the past."""
MOST = 3
"""Threads that one part of the gateway has, those that it has left included: then it waits for one to end."""
_GRACE = 2.0  # seconds that what is under way has left when the gateway stops

T = TypeVar("T")


class _Work(Generic[T]):
    """Something to be done in a thread, and what came of it."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self._value = self._do()
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value


class Patience:
    """Has threads work on a database for one part of the gateway, `most` at a time."""

    def __init__(self, most: int = MOST) -> None:
        self._limiter = trio.CapacityLimiter(most)
        self._turn = 0

    @property
    def turn(self) -> int:
        """What a thread must remember as it begins, to ask later whether it is awaited."""
        return self._turn

    def is_awaited(self, turn: int) -> bool:
        """Tell whether somebody still waits for the thread that began in a turn."""
        return turn == self._turn

    def check(self, turn: int) -> None:
        """Raise TimeoutError where nobody waits for the thread any more, to undo what it has begun."""
        if not self.is_awaited(turn):
            raise TimeoutError("nobody waits for this any more")

    async def run(self, do: Callable[[], T], seconds: float | None = None, grace: float | None = None) -> T:
        """Do something in a thread, for PATIENT seconds or so many. Raises what it raises, and TimeoutError
        when it is left to its fate. A cancellation leaves it `grace` seconds.
        """
        if not self._limiter.available_tokens:
            raise TimeoutError("earlier questions have no answer yet")
        seconds = PATIENT if seconds is None else seconds
        grace = _GRACE if grace is None else grace
        work, began = _Work(do), trio.current_time()
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True, deadline=began + seconds) as scope:
                nursery.start_soon(_hasten, scope, grace)
                await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
            nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            self._turn += 1
            raise TimeoutError(f"no answer for {trio.current_time() - began:.0f} s")
        return work.result()


async def _hasten(scope: trio.CancelScope, grace: float) -> None:
    """Bring a deadline forward when everything ends."""
    with suppress(trio.Cancelled):  # which comes to who waits as soon as it has what the thread brought
        await trio.sleep_forever()
    scope.deadline = min(scope.deadline, trio.current_time() + grace)
