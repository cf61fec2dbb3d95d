"""The stops of canaries outlive the process that made them, and end when somebody says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from gateway.ledger import database
from gateway.ledger.canaries import (
    ENABLED,
    NOTICE,
    STOPPED,
    CanaryEvent,
    CanaryKeeper,
    history,
    keep,
    pauses,
)
from gateway.rules import RuleSet
from gateway.rules.canary import Canary, Pause
from gateway.rules.trials import Stop
from tests.rules.support import rules

NOON = 1_800_000_000.0
TENTH = 'share = 0.1\nstop_when = "retries > 2x in 15m"\nthen.status = 404'


def canary_in(ruleset: RuleSet) -> Canary:
    canary = ruleset.rules[0].canary
    assert canary is not None
    return canary


class Place:
    """A ledger, and gateways that keep their canaries in it; time is set by hand."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.now = NOON
        self.log: list[str] = []
        self.keepers: list[CanaryKeeper] = []

    def start(self, text: str = TENTH, url: str | None = None) -> tuple[CanaryKeeper, Canary]:
        """Start a gateway with one canary; it has looked into the ledger."""
        keeper = CanaryKeeper(self.url if url is None else url, clock=lambda: self.now, log=self.log.append)
        self.keepers.append(keeper)
        ruleset = rules(text)
        keeper.configure(ruleset)
        trio.run(keeper.work)
        return keeper, canary_in(ruleset)

    def stop(self, keeper: CanaryKeeper, why: str = "too many") -> None:
        """Have the canary stopped, as `Trials` does it."""
        assert keeper.trials is not None
        canary = keeper.trials.canaries["it"]
        canary.pauses = (*canary.pauses, Pause(self.now, why=why))
        keeper.trials._on_stop(Stop("it", canary, canary.pauses[-1]))

    def enable(self, canary: Canary) -> None:
        """Do what `gateway rules enable` does."""
        event = CanaryEvent(self.now + NOTICE, ENABLED, "it", canary.id, "", "ops", "")
        engine = database.open_for_writing(database.parse_url(self.url))
        with engine.begin() as connection:
            keep(connection, event)
        engine.dispose()

    def events(self) -> list[str]:
        engine = database.open_for_reading(self.url)
        with engine.connect() as connection:
            found = [event.event for event in history(connection)]
        engine.dispose()
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "gateway.db")
    yield place
    for keeper in place.keepers:
        trio.run(keeper.close)


def test_a_stop_is_told_loudly_written_and_holds_after_a_restart(place: Place) -> None:
    keeper, _ = place.start()
    place.stop(keeper, "50 of 60 tried again")
    assert place.log == [
        'canary "it" IS STOPPED: 50 of 60 tried again. It changes no more answers until the rule is changed '
        'or enabled: gateway rules enable "it"'
    ]
    trio.run(keeper.work)
    assert place.events() == [STOPPED]
    _, again = place.start()
    assert again.pauses == (Pause(NOON, why="50 of 60 tried again"),)
    assert len(place.log) == 2
    assert place.log[1].startswith('canary "it" has been stopped since 2027-01-15 ')
    assert place.log[1].endswith(": 50 of 60 tried again")


def test_a_stop_holds_over_reloads_until_the_rule_itself_is_changed(place: Place) -> None:
    keeper, _ = place.start()
    place.stop(keeper)
    remark, changed = rules(f"{TENTH}\n# a remark"), rules(TENTH.replace("0.1", "0.05"))
    keeper.configure(remark)
    assert canary_in(remark).pause_at(None) is not None
    keeper.configure(changed)
    assert canary_in(changed).pauses == ()


def test_a_canary_that_somebody_enables_goes_on_a_little_later(place: Place) -> None:
    keeper, canary = place.start()
    place.stop(keeper)
    trio.run(keeper.work)
    place.now += 60
    place.enable(canary)
    trio.run(keeper.work)
    assert place.log[1:] == ['canary "it" goes on; ops enabled it']
    assert canary.pause_at(place.now) is not None
    assert canary.pause_at(place.now + NOTICE + 0.1) is None
    trio.run(keeper.work)
    assert len(place.log) == 2
    assert place.events() == [ENABLED, STOPPED]


def test_a_stop_of_one_gateway_stops_the_canary_of_all_that_share_the_ledger(place: Place) -> None:
    one, _ = place.start()
    two, canary = place.start()
    place.stop(one)
    trio.run(one.work)
    trio.run(two.work)
    assert canary.pause_at(None) is not None


def test_a_database_that_fails_costs_no_stop_and_is_told_once(place: Place, tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    keeper, canary = place.start(url=f"sqlite:///{tmp_path / 'in-the-way' / 'gateway.db'}")
    trio.run(keeper.work)
    place.stop(keeper)
    trio.run(keeper.work)
    assert canary.pause_at(None) is not None
    assert [line.partition(" (")[0] for line in place.log[:1]] == ["canaries: the ledger fails"]
    assert len(place.log) == 2  # and the stop
    (tmp_path / "in-the-way").unlink()
    trio.run(keeper.work)
    place.url = f"sqlite:///{tmp_path / 'in-the-way' / 'gateway.db'}"
    assert place.events() == [STOPPED]


def test_without_a_ledger_a_stop_is_remembered_while_the_process_lives(place: Place) -> None:
    keeper, _ = place.start(url="")
    place.stop(keeper)
    again = rules(TENTH)
    keeper.configure(again)
    assert canary_in(again).pause_at(None) is not None


def test_rules_without_a_share_are_not_watched(place: Place) -> None:
    keeper = CanaryKeeper(place.url, clock=lambda: place.now, log=place.log.append)
    assert keeper.configure(rules("then.status = 404")) is None


def test_pauses_begin_with_a_stop_and_end_with_the_next_enabling() -> None:
    def event(at: float, what: str, canary: str = "a") -> CanaryEvent:
        return CanaryEvent(at, what, "it", canary, "", "", "")

    first = [event(1, STOPPED), event(5, ENABLED), event(6, STOPPED, "b")]
    told = [*first, event(9, STOPPED), event(9, ENABLED, "b")]
    assert pauses(told[::-1]) == {"a": (Pause(1, 5), Pause(9)), "b": (Pause(6, 9),)}
    assert pauses([event(1, ENABLED)]) == {"a": ()}
