"""The calls that a worker leaves behind when it dies: all that were up, none that were over."""

from __future__ import annotations

import os
from typing import Any

from gateway.b2bua.record import CallRecord
from gateway.workers.estate import ENDED_BY, Estate
from tests.ledger.records import NOON, answered

DIED_AT = NOON + 100.0


def up(number: int, **changes: Any) -> CallRecord:
    """A call that has just been answered."""
    return answered(number, ended_at=0.0, ended_by="", end_reason="", **changes)


def dies_with(estate: Estate, *steps: tuple[str, CallRecord]) -> None:
    """Have a process take these steps and die, as a worker does: what it knew is gone but for the estate."""
    pid = os.fork()
    if pid == 0:
        for step, record in steps:
            getattr(estate, step)(record)
        os._exit(1)
    os.waitpid(pid, 0)


def test_calls_that_were_up_are_told_with_their_end_and_calls_that_were_over_are_not() -> None:
    estate = Estate()
    calls = [up(number) for number in range(5)]
    steps = [("answered", call) for call in calls]
    steps += [("record", calls[1]), ("record", calls[3]), ("answered", up(7)), ("record", up(8))]
    dies_with(estate, *steps)
    lost = list(estate.inherit(DIED_AT))
    wanted = [answered(n, ended_at=DIED_AT, ended_by="gateway", end_reason=ENDED_BY) for n in (0, 2, 4, 7)]
    assert sorted(lost, key=lambda record: record.id) == wanted


def test_the_next_worker_begins_with_nothing_and_may_die_too() -> None:
    estate = Estate()
    dies_with(estate, *(("answered", up(number)) for number in range(9)))
    assert len(list(estate.inherit(DIED_AT))) == 9
    dies_with(estate, ("answered", up(20)), ("answered", up(21)), ("record", up(20)))
    assert [record.id for record in estate.inherit(DIED_AT)] == ["call-000021"]
    assert list(estate.inherit(DIED_AT)) == []


def test_what_finds_no_room_is_counted_and_slots_serve_again() -> None:
    estate = Estate(slots=3)
    for number in range(5):
        estate.answered(up(number))
    assert estate.left_out == 2
    estate.record(up(0))
    estate.record(up(4))  # it never had a slot
    estate.answered(up(6, caller_call_id="x" * 600))
    assert estate.left_out == 3
    estate.answered(up(7, caller="\N{SNOWMAN}" * 20))
    assert estate.left_out == 3
    assert [record.id[-1] for record in estate.inherit(DIED_AT)] == ["7", "1", "2"]
