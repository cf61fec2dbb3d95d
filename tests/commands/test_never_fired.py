"""`gateway check` with a ledger: rules that have matched nothing for as long as they have been in force."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.commands.check import check
from gateway.ledger.database import open_for_writing, parse_url
from gateway.ledger.versions import keep, version_of
from gateway.rules import compile_rules
from gateway.toml_source import TomlSource
from tests.commands.conftest import CONFIG, RULES, Place
from tests.ledger.records import NOON, rewritten, store

LATER = '\n[[rule]]\nname = "later"\nwhen.status = 600\nthen.status = 486\n'
CHECKED: dict[str, Any] = {"config": "gateway.toml", "json": True}


class Kept:
    """A ledger in which RULES have been in force since noon, and a call came every second."""

    def __init__(self, place: Place) -> None:
        place.write("gateway.toml", CONFIG)
        place.write("rules.toml", RULES)
        self.place = place
        self.engine = open_for_writing(parse_url(f"sqlite:///{place.path / 'gateway.db'}"))
        self.apply(RULES, NOON)
        for number in range(5):
            self.call(number, rule="dead-number")

    def apply(self, text: str, at: float) -> None:
        version = version_of(compile_rules(TomlSource.parse(text, "rules.toml"), None), at)
        with self.engine.begin() as connection:
            keep(connection, version)

    def call(self, number: int, **changes: Any) -> None:
        record = rewritten(number, rules_hash="abc", **changes)
        with self.engine.begin() as connection:
            store(connection, record)

    def never_fired(self) -> list[tuple[str, str]]:
        assert self.place.run(check, **CHECKED) == 0
        return [
            (note["rule"], note["problem"])
            for note in self.place.json["notes"]
            if note.get("kind") == "never-fired"
        ]


@pytest.fixture
def kept(place: Place) -> Kept:
    return Kept(place)


def test_a_rule_that_matched_nothing_is_noted_with_how_many_calls_were_looked_at(kept: Kept) -> None:
    ((rule, problem),) = kept.never_fired()
    assert rule == "phone-declined"
    assert problem == "the rule matched none of the 5 rejections with such a status since 2027-01-15"


def test_a_rule_that_matched_in_shadow_has_fired(kept: Kept) -> None:
    kept.call(9, rule="", shadow_rule="phone-declined", shadow_status=486)
    assert kept.never_fired() == []


def test_a_rule_is_judged_by_the_calls_since_it_has_been_there(kept: Kept) -> None:
    kept.place.write("rules.toml", RULES + LATER)
    assert [rule for rule, _ in kept.never_fired()] == ["phone-declined"], "it was never in force"
    kept.apply(RULES + LATER, NOON + 100)
    assert [rule for rule, _ in kept.never_fired()] == ["phone-declined"], "no call had its status"
    kept.call(200, original_status=600)
    ((_, first), (rule, problem)) = kept.never_fired()
    assert "none of the 5 rejections" in first
    assert (rule, "none of the 1 rejections" in problem) == ("later", True)


def test_a_ledger_that_was_named_must_be_there_and_another_need_not(place: Place) -> None:
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", RULES)
    assert place.run(check, config="gateway.toml") == 0
    assert place.run(check, config="gateway.toml", ledger="sqlite:///none.db") == 2
    assert place.err.startswith("there is no ledger at none.db")
