"""Histories out of the ledger, and feedback about unwanted calls in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from gateway.b2bua.record import CallRecord
from gateway.ledger import database, past, unwanted
from gateway.ledger.hiding import hider
from gateway.ledger.packing import RowMaker
from gateway.ledger.past import Historian, read_history
from gateway.ledger.writer import Ledger
from gateway.rules.history import Hide, History, Watch
from gateway.rules.unwanted import BEFORE_ANSWER, DIVERTER, Entry, Feedback, Identity
from tests.ledger.records import NOON, answered, rewritten
from tests.rules.support import facts, rules

DAY = 86400.0
ANSWERED = Watch("number", "answered", 30 * DAY)
DECLINED = Watch("number", "declined", 7 * DAY)
NUISANCE = Watch("caller", "unwanted", 30 * DAY)
NUMBER = "+12155551212"
ROBOT = Identity("+12155550666")


class Place:
    """A ledger and a historian at work on it; time is set by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.now = NOON
        self.log: list[str] = []
        self.historian = self.restart()

    def restart(self, lists: bool = False, hide: Hide | None = None) -> Historian:
        self.historian = Historian(
            self.url, 90 * DAY, lists, clock=lambda: self.now, log=self.log.append, hide=hide
        )
        return self.historian

    def fill(self, *records: CallRecord, rows: RowMaker | None = None) -> None:
        async def main() -> None:
            ledger = Ledger(self.url, 1e10, rows=rows, log=self.log.append)
            for record in records:
                ledger.record(record)
            await ledger.flush()
            await ledger.close()

        trio.run(main)

    def work(self, after: float = 5.0) -> None:
        """Let the historian look once, so many seconds later."""
        self.now += after
        trio.run(self.historian.work)

    def engine(self) -> sa.Engine:
        return database.connect(database.parse_url(self.url), writing=True)

    def stored(self) -> list[Entry]:
        engine = self.engine()
        with engine.connect() as connection:
            found = unwanted.read(connection, 0.0)
        engine.dispose()
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "gateway.db")
    yield place
    trio.run(place.historian.close)


def said(at: float, callee: str = "100", *others: Identity) -> Feedback:
    return Feedback(at, (ROBOT, *others), callee, BEFORE_ANSWER, False, "carrier")


def ended(days: float) -> dict[str, float]:
    return {"invited_at": NOON - days * DAY - 1, "ended_at": NOON - days * DAY}


def test_the_past_is_read_at_the_start_and_the_calls_since_are_counted_on_top(place: Place) -> None:
    place.fill(rewritten(1, **ended(40)), rewritten(2, **ended(3)), answered(3, **ended(2)))
    history = place.historian.configure(frozenset((DECLINED, ANSWERED)))
    assert history is not None
    assert not history.is_complete(DECLINED, place.now)
    history.record(rewritten(4, ended_at=NOON + 1))
    place.work()
    assert history.count(DECLINED, NUMBER, place.now) == 2
    assert history.count(ANSWERED, NUMBER, place.now) == 1
    assert history.is_complete(ANSWERED, place.now)
    assert not place.log


def test_what_the_ledger_does_not_reach_back_to_is_not_known(place: Place) -> None:
    place.fill(rewritten(1, **ended(10)))
    history = place.historian.configure(frozenset((DECLINED, ANSWERED)))
    place.work()
    assert history is not None
    assert history.is_complete(DECLINED, place.now)
    assert not history.is_complete(ANSWERED, place.now)
    assert history.complete_since(ANSWERED) == NOON - 10 * DAY


def test_no_more_records_are_read_than_the_bound(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MOST_CALLS", 2)
    place.fill(*(rewritten(number, **ended(6 - number)) for number in range(5)))
    engine = place.engine()
    with engine.connect() as connection:
        history = read_history(connection, [DECLINED], NOON)
    engine.dispose()
    assert history.count(DECLINED, NUMBER, NOON) == 3  # and the one at the edge
    assert history.complete_since(DECLINED) == NOON - 4 * DAY


def test_a_reload_reads_only_what_is_new_and_keeps_the_rest(place: Place) -> None:
    place.fill(rewritten(1, **ended(20)), rewritten(2, **ended(1)))
    place.historian.configure(frozenset((DECLINED,)))
    place.work()
    history = place.historian.configure(frozenset((DECLINED, ANSWERED)))
    assert history is not None
    assert history.count(DECLINED, NUMBER, place.now) == 1
    assert history.complete_since(ANSWERED) == place.now
    place.work()
    assert history.complete_since(ANSWERED) == NOON - 20 * DAY
    assert place.historian.configure(frozenset()) is None


def test_feedback_counts_at_once_and_is_there_after_a_restart(place: Place) -> None:
    place.fill(rewritten(1, **ended(1)))
    history = place.historian.configure(frozenset((NUISANCE,)))
    place.work()
    place.historian.feedback(said(place.now, "100", Identity("+1999", DIVERTER)))
    assert history is not None
    assert history.count(NUISANCE, ROBOT.name, place.now) == 1
    place.work()
    assert [(entry.identity, entry.role, entry.callee) for entry in place.stored()] == [
        (ROBOT.name, "caller", ""),
        ("+1999", "diverter", ""),
    ]
    trio.run(place.historian.close)
    history = place.restart().configure(frozenset((NUISANCE,)))
    place.work()
    assert history is not None
    assert history.count(NUISANCE, ROBOT.name, place.now) == 1
    assert history.count(NUISANCE, "+1999", place.now) == 0  # it passed the call on


def test_who_said_so_is_kept_only_where_there_are_lists(place: Place) -> None:
    place.fill()
    place.restart(lists=True).feedback(said(place.now))
    place.work()
    assert [entry.callee for entry in place.stored()] == ["100"]


def test_what_somebody_removes_is_no_longer_counted(place: Place) -> None:
    place.fill(rewritten(1, **ended(1)))
    history = place.historian.configure(frozenset((NUISANCE,)))
    place.work()
    assert history is not None
    other = Feedback(place.now, (Identity("+1777"),), "100", BEFORE_ANSWER, False, "carrier")
    place.historian.feedback(said(place.now))
    place.historian.feedback(other)
    place.work()
    engine = place.engine()
    with engine.begin() as connection:
        assert unwanted.remove(connection, ROBOT.name) == 1
    engine.dispose()
    place.work()  # sees it
    place.work()  # and reads what is left
    assert history.count(NUISANCE, ROBOT.name, place.now) == 0
    assert history.count(NUISANCE, "+1777", place.now) == 1


def test_feedback_expires(place: Place) -> None:
    place.fill()
    place.historian.feedback(said(place.now))
    place.work()
    place.work(91 * DAY)
    assert place.stored() == []


def test_the_table_is_bounded_and_the_oldest_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwanted, "MOST", 3)
    place.fill()
    for number in range(5):
        place.historian.feedback(said(NOON + number))
    place.work()
    assert [entry.at - NOON for entry in place.stored()] == [2, 3, 4]


def test_a_ledger_that_fails_costs_nothing_but_the_past_and_is_told_once(place: Place) -> None:
    place.path.mkdir()  # where the file should be
    history = place.historian.configure(frozenset((DECLINED,)))
    assert history is not None
    history.record(rewritten(1, ended_at=NOON + 1))
    place.historian.feedback(said(place.now))
    place.work()
    place.work()
    (line,) = place.log
    assert line.startswith("history: the ledger fails (")
    assert history.count(DECLINED, NUMBER, place.now) == 1
    place.path.rmdir()
    place.fill(rewritten(2, **ended(1)))
    place.work()
    assert place.log[1:] == ["history: the ledger is there again"]
    assert history.count(DECLINED, NUMBER, place.now) == 2
    assert len(place.stored()) == 1


def test_without_a_ledger_feedback_is_only_counted() -> None:
    historian = Historian("", 90 * DAY, False, clock=lambda: NOON, log=print)
    history = historian.configure(frozenset((NUISANCE,)))
    historian.feedback(said(NOON))
    assert history is not None
    assert history.count(NUISANCE, ROBOT.name, NOON) == 1
    trio.run(historian.close)


def test_too_much_feedback_is_dropped_and_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "_MOST_WAITING", 2)
    for _ in range(5):
        place.historian.feedback(said(place.now))
    assert place.historian.dropped == 3
    place.fill()


# -- numbers that the ledger hides -------------------------------------------------------------------------


def hidden_place(place: Place, key: bytes = b"pepper") -> History:
    """Start anew over a ledger that hides numbers, with one call in it, and read it."""
    place.restart(hide=hider(key))
    place.fill(rewritten(1, **ended(3)), rows=RowMaker(True, b"pepper"))
    history = place.historian.configure(frozenset((DECLINED,)))
    assert history is not None
    place.work()
    place.work()
    return history


def test_calls_with_hidden_numbers_are_counted_as_others_are(place: Place) -> None:
    history = hidden_place(place)
    called = rewritten(1).called
    assert history.count(DECLINED, history.key(called), place.now) == 1
    history.record(rewritten(2, ended_at=place.now))
    assert history.count(DECLINED, history.key(called), place.now) == 2
    assert called not in history.series[DECLINED]._entries
    ruleset = rules('when.status = 603\nwhen.number.declined = ">=2 in 7d"\nthen.status = 404', None)
    known = facts("603 Decline", called=called, now=place.now)
    known.history = history
    assert ruleset.decide(known).status == 404
    assert ruleset.decide(known).saw == "number.declined was 2 in 7d"


def test_calls_from_before_numbers_were_hidden_are_counted_too(place: Place) -> None:
    place.fill(rewritten(5, **ended(4)))
    history = hidden_place(place)
    assert history.count(DECLINED, history.key(rewritten(1).called), place.now) == 2


def test_hidden_numbers_say_nothing_once_numbers_are_clear_and_that_is_told(place: Place) -> None:
    place.fill(rewritten(1, **ended(5)), rows=RowMaker(True, b"pepper"))
    place.fill(rewritten(2, **ended(2)))
    history = place.historian.configure(frozenset((DECLINED,)))
    assert history is not None
    place.work()
    place.work()
    assert history.count(DECLINED, NUMBER, place.now) == 1
    assert history.complete_since(DECLINED) == NOON - 5 * DAY
    assert [line[:41] for line in place.log] == ["history: the ledger has hidden numbers up"]
