"""Which workers hang: those that do not beat while the supervisor looks, whatever the clocks say."""

from __future__ import annotations

from gateway.workers.board import HANGS, SERVES, SILENT, Board
from gateway.workers.pulse import Pulse


class Watched:
    """Two workers, of which those in `beating` beat between two looks."""

    def __init__(self) -> None:
        self.board = Board(2)
        self.pulse = Pulse(self.board)
        self.now = 1_000.0
        self.beating = {0, 1}
        for worker in (0, 1):
            self.pulse.begin(worker)

    def look(self, times: int = 1, after: float = 1.0) -> list[int]:
        """Look so often; return the states of both."""
        for _ in range(times):
            self.now += after
            for worker in self.beating:
                self.board.beat(worker)
            self.pulse.look(self.now)
        return [self.pulse.state(worker) for worker in (0, 1)]


def test_a_worker_that_stops_beating_is_silent_at_first_then_it_hangs() -> None:
    watched = Watched()
    assert watched.look(10) == [SERVES, SERVES]
    watched.beating = {0}
    assert watched.look(1) == [SERVES, SERVES]
    assert watched.look(1) == [SERVES, SILENT]
    assert watched.look(2) == [SERVES, SILENT]
    assert watched.look(1) == [SERVES, HANGS]


def test_one_that_beats_again_in_time_serves_on() -> None:
    watched = Watched()
    watched.look(3)
    for _ in range(5):
        watched.beating = {0}
        assert watched.look(4) == [SERVES, SILENT]
        watched.beating = {0, 1}
        assert watched.look(1) == [SERVES, SERVES]


def test_a_machine_that_slept_has_not_hung_workers() -> None:
    """The supervisor may be the first to wake, hours later; that is one look without a beat."""
    watched = Watched()
    watched.look(3)
    for _ in range(10):
        watched.beating = set()
        assert watched.look(1, after=10_000.0) == [SERVES, SERVES]
        watched.beating = {0, 1}
        assert watched.look(1) == [SERVES, SERVES]


def test_looks_that_follow_at_once_count_as_one() -> None:
    """The supervisor wakes for much else."""
    watched = Watched()
    watched.look(3)
    watched.beating = set()
    assert watched.look(20, after=0.05) == [SERVES, SERVES]


def test_a_worker_has_a_minute_to_its_first_beat() -> None:
    watched = Watched()
    watched.beating = {0}
    assert watched.look(59) == [SERVES, SERVES]
    assert watched.look(1) == [SERVES, HANGS]
    watched.pulse.begin(1)
    assert watched.look(1) == [SERVES, SERVES]
