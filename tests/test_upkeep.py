"""Parts that calls can do without: what they raise is logged, and they are run again."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gateway.upkeep import PAUSE, Upkeep


class Part:
    """A part that fails so many times, and then runs."""

    def __init__(self, failures: int, *, says_started_first: bool = False) -> None:
        self.runs = 0
        self._failures = failures
        self._says_started_first = says_started_first

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.runs += 1
        if self._says_started_first:
            task_status.started()
        await trio.lowlevel.checkpoint()
        if self.runs <= self._failures:
            raise ValueError(f"failure {self.runs}")
        if not self._says_started_first:
            task_status.started()
        await trio.sleep_forever()


def after(part: Part, seconds: float, *, waits: bool) -> None:
    """Have a part kept up for a while, by a clock that leaps."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            parts = Upkeep(nursery)
            if waits:
                with trio.fail_after(1):
                    await parts.start("the part", part.run)
            else:
                parts.start_soon("the part", part.run)
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_part_that_fails_is_run_again_after_a_while(
    waits: bool, first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """And who waits for it to start goes on without it."""
    part = Part(2, says_started_first=first)
    after(part, PAUSE / 2, waits=waits)
    assert part.runs == 1
    part = Part(2, says_started_first=first)
    after(part, 9 * PAUSE, waits=waits)
    assert part.runs == 3
    assert "the part failed; calls go on" in caplog.text
    assert "ValueError: failure 2" in caplog.text


def test_a_part_that_has_ended_is_not_run_again() -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            Upkeep(nursery).start_soon("the part", run)

    trio.run(main)
    assert runs == 1
