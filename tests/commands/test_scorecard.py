"""`gateway scorecard` over a ledger of the last two weeks."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from gateway.commands.scorecard import scorecard
from gateway.ledger.database import open_for_writing, parse_url
from gateway.ledger.packing import RowMaker
from gateway.ledger.schema import COLUMNS, calls
from tests.commands.conftest import Place
from tests.ledger.records import answered, rewritten

DAY = 86400.0


@dataclass
class Ledger:
    url: str


@pytest.fixture
def ledger(place: Place) -> Ledger:
    """Last week the carrier answered half of the calls, this week a tenth."""
    url = f"sqlite:///{place.path / 'gateway.db'}"
    now = time.time()
    records = []
    for number in range(200):
        this_week = number % 2
        at = now - (1 if this_week else 8) * DAY + number
        make = answered if number % (20 if this_week else 4) < 2 else rewritten
        records.append(make(number, caller=str(number), invited_at=at, ended_at=at + 1))
    engine = open_for_writing(parse_url(url))
    with engine.begin() as connection:
        for record in records:
            values = dict(zip(COLUMNS, RowMaker()(record), strict=True))
            connection.execute(sa.insert(calls).values(values))
    engine.dispose()
    return Ledger(url)


def test_a_trunk_has_a_histogram_and_what_changed(place: Place, ledger: Ledger) -> None:
    assert place.run(scorecard, ledger=ledger.url) == 0
    assert "carrier: 100 calls, ASR 10.0%, NER 10.0%" in place.out
    assert "603/1 Decline" in place.out
    assert "changed: answered was 50.0% of calls in the 7d before, is 10.0%" in place.out


def test_json_and_the_choice_of_a_trunk(place: Place, ledger: Ledger) -> None:
    assert place.run(scorecard, ledger=ledger.url, trunk="carrier", json=True) == 0
    found = place.json["carrier"]
    assert (found["calls"], found["asr"]) == (100, 0.1)
    assert found["finals"][0]["count"] == 90
    assert {change["what"] for change in found["changes"]} == {"answered", "603/1"}
    assert place.run(scorecard, ledger=ledger.url, trunk="other") == 0
    assert place.out == "No calls in that time.\n"


def test_mistakes_are_said_in_a_sentence(place: Place) -> None:
    assert place.run(scorecard, ledger="sqlite:///none.db") == 2
    assert "there is no ledger at none.db" in place.err
    assert place.run(scorecard, since="ever") == 2
    assert place.err.startswith("--since: ")


@pytest.mark.parametrize("limit", [0, -5, 10**9])
def test_a_list_of_an_impossible_length_is_refused(place: Place, ledger: Ledger, limit: int) -> None:
    assert place.run(scorecard, ledger=ledger.url, limit=limit) == 2
    assert place.err == f"--limit: {limit} is not possible; write a whole number from 1 to 1000000\n"
