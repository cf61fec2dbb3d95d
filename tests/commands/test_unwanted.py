"""`gateway unwanted`: who is listed, how they get off the list, and what other programs get."""

from __future__ import annotations

import time

import pytest

from gateway.commands.explain import explain
from gateway.commands.unwanted import export, remove, show
from gateway.ledger import database, unwanted
from gateway.rules.unwanted import BEFORE_ANSWER, MIDCALL, Entry
from tests.commands.conftest import CONFIG, Place
from tests.commands.test_calls import URL, fill
from tests.ledger.records import rewritten

DAY = 86400.0
ANSWER = "SIP/2.0 603 Decline\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\n"
COUNTING = """\
version = 1
[[rule]]
name = "never-answers"
when.status = 603
when.number.declined = ">=2 in 30d"
then.status = 404
"""


def keep(*entries: Entry) -> None:
    fill(rewritten())
    engine = database.connect(database.parse_url(URL), writing=True)
    with engine.begin() as connection:
        unwanted.add(connection, entries)
    engine.dispose()


def said(identity: str, age: float = 0.0, callee: str = "", stage: str = BEFORE_ANSWER) -> Entry:
    return Entry(time.time() - age, identity, "caller", callee, stage, False, "carrier")


@pytest.fixture
def listed(place: Place) -> Place:
    place.write("gateway.toml", CONFIG)
    keep(said("+12155550666", callee="100"), said("+12155550666", 14 * DAY, "200", MIDCALL), said("+1777"))
    return place


def test_the_list_shows_the_heaviest_first(listed: Place) -> None:
    assert listed.run(show, config="gateway.toml") == 0
    heading, first, second = listed.out.splitlines()
    assert heading.split() == ["caller", "weight", "before", "answer", "mid-call", "attested", "last", "role"]
    assert first.split()[:5] == ["+12155550666", "1.5", "1", "1", "0"]
    assert second.split()[:5] == ["+1777", "1.0", "1", "0", "0"]


def test_one_caller_or_one_callee_can_be_asked_for(listed: Place) -> None:
    listed.run(show, "+1777", json=True, config="gateway.toml")
    assert [each["identity"] for each in listed.json] == ["+1777"]
    listed.run(show, callee="200", json=True, config="gateway.toml")
    assert [(each["identity"], each["midcall"]) for each in listed.json] == [("+12155550666", 1)]


def test_what_is_removed_is_gone(listed: Place) -> None:
    assert listed.run(remove, "+12155550666", callee="100", config="gateway.toml") == 0
    assert listed.out == "Removed 1.\n"
    assert listed.run(remove, "+1 (215) 555-0666", ledger=URL) == 0  # as people write it
    listed.run(show, json=True, config="gateway.toml")
    assert [each["identity"] for each in listed.json] == ["+1777"]
    assert listed.run(remove, "+12155550666", config="gateway.toml") == 1
    assert listed.err.startswith("nothing was said of '+12155550666'")


def test_the_export_has_every_word(listed: Place) -> None:
    assert listed.run(export, config="gateway.toml") == 0
    rows = [line.split("\t") for line in listed.out.splitlines()]
    assert [row[1:] for row in rows] == [
        ["+12155550666", "caller", "mid-call", "-", "carrier", "200"],
        ["+12155550666", "caller", "before-answer", "-", "carrier", "100"],
        ["+1777", "caller", "before-answer", "-", "carrier", "-"],
    ]
    listed.run(export, json=True, callee="100", config="gateway.toml")
    assert [each["identity"] for each in listed.json] == ["+12155550666"]


def test_a_ledger_without_feedback_lists_nobody(place: Place) -> None:
    fill(rewritten())
    assert place.run(show, ledger=URL) == 0
    assert place.out == "Nobody was unwanted.\n"
    assert place.run(export, ledger=URL) == 0
    assert place.run(remove, "+1777", ledger=URL) == 1


def test_no_ledger_is_said(place: Place) -> None:
    assert place.run(show, ledger=URL) == 2
    assert place.err.startswith("there is no ledger at gateway.db")
    assert not (place.path / "gateway.db").exists()


def test_explain_counts_earlier_calls_in_the_ledger(place: Place) -> None:
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", COUNTING)
    answer = place.write("answer.txt", ANSWER)
    now = time.time()
    fill(*(rewritten(number, ended_at=now - number * DAY) for number in (1, 2)))
    assert place.run(explain, answer, called="+12155551212", config="gateway.toml") == 0
    assert "never-answers (rules.toml:2): yes, number.declined was 2 in 30d" in place.out
    place.run(explain, answer, called="+12155551213", config="gateway.toml")
    assert "no, number.declined is 0 in 30d, wanted >=2 in 30d" in place.out
    assert place.err == ""


def test_explain_without_a_ledger_says_that_counts_are_not_known(place: Place) -> None:
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", COUNTING)
    answer = place.write("answer.txt", ANSWER)
    assert place.run(explain, answer, config="gateway.toml") == 0
    assert place.err.startswith("rules that count earlier calls are not answered: there is no ledger")
    assert "no, number.declined is unknown, since no history is kept" in place.out
