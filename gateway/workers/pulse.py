"""Which workers answer: each counts its beats on the board, and the supervisor looks once a second.

It counts looks that found no new beat, not seconds: where the whole machine has slept, or the supervisor
itself, that is one look, after which a worker that lives has beaten again.
"""

from __future__ import annotations

from .board import HANGS, SERVES, SILENT, Board

LOOK = 0.9
"""Seconds between two looks, at least; the supervisor wakes once a second by itself."""
_SILENT = 2  # looks without a beat, after which somebody stands in
_HANGS = 5  # looks, after which it is taken to hang
_STARTING = 60  # looks that a worker may take to its first beat


class Pulse:
    """The supervisor's view of the beats."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._beats = [0] * board.workers
        self._missed = [0] * board.workers
        self._has_begun = [False] * board.workers
        self._looked_at = float("-inf")

    def begin(self, worker: int) -> None:
        """Watch another one in this place."""
        self._beats[worker] = self._board.beats(worker)
        self._missed[worker] = 0
        self._has_begun[worker] = False

    def look(self, now: float) -> bool:
        """Look, if it is time to; `now` is in seconds of a clock that never goes back."""
        if now - self._looked_at < LOOK:
            return False
        self._looked_at = now
        for worker, before in enumerate(self._beats):
            beats = self._beats[worker] = self._board.beats(worker)
            if beats == before:
                self._missed[worker] += 1
            else:
                self._missed[worker] = 0
                self._has_begun[worker] = True
        return True

    def state(self, worker: int) -> int:
        """Return SERVES, SILENT or HANGS."""
        missed = self._missed[worker]
        if not self._has_begun[worker]:
            return HANGS if missed >= _STARTING else SERVES
        if missed >= _HANGS:
            return HANGS
        return SILENT if missed >= _SILENT else SERVES
