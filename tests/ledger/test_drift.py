"""Drift: a trunk whose calls end otherwise than in the week before is measured and told of, once."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from gateway.b2bua.record import CallRecord
from gateway.ledger.drift import BUCKET, WEEK, DriftWatch, Mixes, distance
from gateway.ledger.writer import Ledger
from tests.ledger.records import NOON, answered, rewritten

HOUR = 3600.0


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"answered": 50, "603": 50}, {"answered": 5, "603": 5}, 0.0),
        ({"answered": 50, "603": 50}, {"answered": 7, "603": 3}, 0.2),
        ({"answered": 10}, {"503": 10}, 1.0),
        ({}, {"503": 10}, 0.0),
    ],
)
def test_the_distance_is_the_share_of_calls_that_end_otherwise(
    before: dict[str, int], now: dict[str, int], expected: float
) -> None:
    assert distance(before, now) == pytest.approx(expected)
    assert distance(now, before) == pytest.approx(expected)


def test_kinds_of_a_bucket_are_bounded_and_buckets_are_forgotten() -> None:
    mixes = Mixes()
    for kind in range(300):
        mixes.add(NOON, "carrier", str(kind), 1)
    mix = mixes.between("carrier", NOON, NOON + BUCKET)
    assert (len(mix), mix["others"], mix.total()) == (101, 200, 300)
    mixes.forget_before(NOON + 2 * BUCKET)
    assert mixes.trunks() == set()


class Place:
    """A ledger with a week of calls, and the watch over it; time is set by hand."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path / 'gateway.db'}"
        self.now = NOON
        self.log: list[str] = []
        self.watch = DriftWatch(self.url, clock=lambda: self.now, log=self.log.append)
        self._serial = 0

    def calls(self, answers: int, declines: int, at: float, **more: object) -> None:
        """Have so many calls answered and declined at a time."""
        self._serial += 1000
        self.fill(
            *(answered(self._serial + number, ended_at=at, **more) for number in range(answers)),
            *(rewritten(self._serial + answers + number, ended_at=at, **more) for number in range(declines)),
        )

    def fill(self, *records: CallRecord) -> None:
        async def main() -> None:
            ledger = Ledger(self.url, 1e10, log=self.log.append)
            for record in records:
                ledger.record(record)
            await ledger.close()

        trio.run(main)

    def look(self) -> dict[tuple[str, str], float]:
        trio.run(self.watch.look)
        return self.watch.distances


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("gateway.ledger.drift._BREATH", 0.0)
    place = Place(tmp_path)
    place.calls(900, 100, NOON - 3 * 86400)
    return place


def test_a_trunk_that_declines_more_is_told_of_once_and_when_it_is_over(place: Place) -> None:
    place.calls(50, 50, NOON - 600)
    assert place.look() == {("carrier", "1h"): 0.4, ("carrier", "24h"): 0.4}
    place.look()
    assert [line for line in place.log if "1h" in line] == [
        "drift: 40% of the calls to trunk carrier in the last 1h ended otherwise than in the week before: "
        "603/1 10.0% -> 50.0%, answered 90.0% -> 50.0%; see gateway scorecard --trunk carrier --since 1h"
    ]
    place.now += 2 * HOUR
    place.calls(900, 100, place.now - 60)
    assert place.look()["carrier", "1h"] < 0.05
    assert place.log[-2] == "drift: trunk carrier ends calls as in the week before, over the last 1h"


def test_what_chance_explains_or_too_few_calls_are_not_told(place: Place) -> None:
    place.calls(49, 0, NOON - 600)
    assert place.look() == {}
    place.now += 120
    place.calls(0, 6, place.now - 60)  # 6 of 55, as before
    assert place.look()["carrier", "1h"] < 0.1
    assert place.log == []


def test_each_record_is_read_once_also_those_of_the_bucket_under_way(place: Place) -> None:
    for minute in range(20):
        place.now = NOON + minute * 60
        place.calls(3, 0, place.now - 30)
        place.look()
    mix = place.watch._mixes.between("carrier", NOON - HOUR, NOON + HOUR)
    assert mix == {"answered": 60}


def test_what_is_older_than_the_week_before_is_forgotten(place: Place) -> None:
    place.look()
    assert place.watch._mixes.trunks() == {"carrier"}
    place.now += WEEK + 86400
    place.look()
    assert place.watch._mixes.trunks() == set()


def test_calls_that_went_to_no_trunk_do_not_count(place: Place) -> None:
    place.calls(0, 100, NOON - 60, callee_trunk="")
    place.look()
    assert place.watch._mixes.trunks() == {"carrier"}


def test_without_a_ledger_nothing_is_known_and_nothing_fails(tmp_path: Path) -> None:
    log: list[str] = []
    watch = DriftWatch(f"sqlite:///{tmp_path / 'none.db'}", clock=lambda: NOON, log=log.append)
    trio.run(watch.look)
    assert (watch.distances, log) == ({}, [])
