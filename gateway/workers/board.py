"""Numbers that all workers see at once: a piece of memory that they share, without locks.

Each number has one writer: a worker its own column, the supervisor its own. What belongs to the gateway as a
whole is the sum over the columns. Whoever enters a limit counts itself in first and looks at the sum then, so
that two that come at one moment may both be refused, but never both be let in past it.
"""

from __future__ import annotations

import mmap

from gateway.routing.limits import Load

LIMITED = 1_024
"""Trunks with limits, over all that a run has ever been configured with."""
SERVES, SILENT, HANGS, AWAY = range(4)
"""States of a worker, as the supervisor sees it: SILENT has not answered for a moment, AWAY is no more."""
_OWN = 3  # numbers of the supervisor: restarts, lost calls, hangs
_CALLS = 0  # row of calls that are up, by worker
_LATE = 1  # row of workers that have too much to do: 1, else 0
_BEATS = 2  # row of numbers that rise as long as a worker answers
_STATE = 3  # row of states, the supervisor's to write
_ROWS = 4  # rows before those of the limits; each limit has two: calls, and calls begun


class Board:
    """The shared numbers of a gateway with so many workers; make it before the fork."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = mmap.mmap(-1, 8 * (_OWN + workers * (_ROWS + 2 * LIMITED)))
        self._cells = memoryview(self._memory).cast("q")

    @property
    def restarts(self) -> int:
        """How often a worker was started in the place of one that had died."""
        return self._cells[0]

    @property
    def lost_calls(self) -> int:
        """About how many calls were up in workers as they died."""
        return self._cells[1]

    @property
    def hangs(self) -> int:
        """How often a worker was killed since it did not answer."""
        return self._cells[2]

    def count_hang(self) -> None:
        """Count one more; the supervisor's to do."""
        self._cells[2] += 1

    def bury(self, worker: int) -> int:
        """Take a dead worker's calls off all limits, count and return them; the supervisor's to do."""
        lost = self._cells[self._at(_CALLS, worker)]
        self._cells[0] += 1
        self._cells[1] += lost
        self.note(worker, 0, False)
        for slot in range(LIMITED):
            self._cells[self._at(_ROWS + 2 * slot, worker)] = 0
        return lost

    def note(self, worker: int, calls: int, is_late: bool) -> None:
        """Say how many calls are up in a worker, and whether it has too much to do."""
        self._cells[self._at(_CALLS, worker)] = calls
        self._cells[self._at(_LATE, worker)] = is_late

    def beat(self, worker: int) -> None:
        """Say that a worker answers."""
        self.add(_BEATS, worker, 1)

    def beats(self, worker: int) -> int:
        """Return a number that has risen since the last time if the worker answers."""
        return self._cells[self._at(_BEATS, worker)]

    def say(self, worker: int, state: int) -> None:
        """Say in which state a worker is; the supervisor's to do."""
        self._cells[self._at(_STATE, worker)] = state

    def state(self, worker: int) -> int:
        """Return the state of a worker."""
        return self._cells[self._at(_STATE, worker)]

    @property
    def is_late(self) -> bool:
        """Whether any worker has too much to do."""
        return self.sum(_LATE) > 0

    def add(self, row: int, worker: int, number: int) -> None:
        """Add to a worker's own number."""
        self._cells[self._at(row, worker)] += number

    def sum(self, row: int) -> int:
        """Return a number of the gateway as a whole."""
        first = self._at(row, 0)
        return sum(self._cells[first : first + self.workers])

    def _at(self, row: int, worker: int) -> int:
        return _OWN + row * self.workers + worker


class SharedLoad(Load):
    """What a limited trunk carries over all workers, as one of them counts it. ``slot`` is the trunk's.

    The bucket of `max_cps` is refilled by each worker for itself, and emptied by what all have begun. They
    look at it at each tick, so that what is wrong with a full one is what comes in between: a twentieth of
    `max_cps`.
    """

    __slots__ = ("_board", "_row", "_seen", "_worker")

    def __init__(
        self, board: Board, slot: int, worker: int, max_calls: int | None, max_cps: float | None
    ) -> None:
        self._board = board
        self._row = _ROWS + 2 * slot
        self._worker = worker
        super().__init__(max_calls, max_cps)
        self._seen = board.sum(self._row + 1)

    def enter(self, now: float) -> bool:
        """Count a new call in, or tell that there is no room for it."""
        board, row, worker = self._board, self._row, self._worker
        board.add(row, worker, 1)
        if (self.max_calls is not None and board.sum(row) > self.max_calls) or not self._may_begin(now):
            board.add(row, worker, -1)
            return False
        self.calls += 1
        return True

    def leave(self) -> None:
        """Count a call out that was counted in."""
        super().leave()
        self._board.add(self._row, self._worker, -1)

    def refill(self, now: float) -> None:
        """Take what all workers have begun since the last look out of the bucket, and fill it up."""
        begun = self._board.sum(self._row + 1)
        spent, self._seen = begun - self._seen, begun
        filled = (now - self._filled_at) * (self.max_cps or 0.0)
        self._bucket = min(self._size, self._bucket + filled - spent)
        self._filled_at = now

    def _may_begin(self, now: float) -> bool:
        if self.max_cps is None:
            return True
        self.refill(now)
        if self._bucket < 1.0:
            return False
        self._board.add(self._row + 1, self._worker, 1)
        return True
