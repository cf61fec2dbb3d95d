"""The machine's clock is set while the gateway runs: by NTP, by hand, after the machine was suspended.

What is told outside goes by the new time at once; what is compared in memory notices nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway import garbage
from gateway.app import Gateway
from gateway.b2bua.record import Branch, CallRecord
from gateway.config import parse as parse_config
from gateway.console.calls import CallPages
from gateway.console.drawing import as_json
from gateway.ledger import database, unwanted
from gateway.ledger.canaries import history as canary_events
from gateway.ledger.query import Selection, recent
from gateway.rules.canary import Pause
from gateway.rules.trials import Stop
from gateway.rules.unwanted import BEFORE_ANSWER, Entry, Feedback, Identity
from gateway.tap.live import Capture, Choice
from gateway.telemetry.feed import TracedCall
from gateway.wall import Wall
from tests.helpers import Net
from tests.ledger.records import answered, rewritten
from tests.tap.words import call, give, rejected

HOUR = 3600.0
WINDOW = """
version = 1
[[rule]]
name = "asked"
when.status = 603
when.number.declined = ">=1 in 1d"
then.status = 404
[[rule]]
name = "trial"
share = 0.5
when.status = 603
then.status = 404
"""


class Place:
    """A gateway that carries no calls of its own, and a machine whose clock can be set."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._shows = time.time
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(garbage, "look", lambda: None)  # a tick's, and not about clocks
        self.url = f"sqlite:///{folder / 'l.db'}"
        (folder / "rules.toml").write_text(WINDOW)
        config = f"""
            [gateway]
            listen = ["udp:127.0.0.1:0"]
            rules = "{folder / "rules.toml"}"
            [ledger]
            url = "{self.url}"
            [telemetry]
            otlp = "http://127.0.0.1:9"
            sample = 1.0
            [console]
            listen = ""
            [[trunk]]
            name = "pbx"
            source = ["127.0.0.1"]
        """
        self.gateway = Gateway(parse_config(config), None)

    @property
    def now(self) -> float:
        """What the gateway's own clock shows."""
        return self.gateway._clock()

    def set_clock(self, ahead: float) -> None:
        """Set the machine's clock; the gateway looks at it with each tick."""
        shows = self._shows
        self._monkeypatch.setattr(time, "time", lambda: shows() + ahead)
        self.gateway._on_tick()

    def read(self) -> list[CallRecord]:
        engine = database.open_for_reading(self.url)
        with closing(engine.connect()) as connection:
            found = recent(connection, Selection(), 10)
        engine.dispose()
        return found

    def feedback(self) -> list[Entry]:
        engine = database.open_for_reading(self.url)
        with closing(engine.connect()) as connection:
            found = unwanted.read(connection, 0.0)
        engine.dispose()
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path, monkeypatch)
    yield place
    place.gateway.ports.close()


@pytest.mark.parametrize("step", [HOUR, -HOUR, 3e8])
def test_a_call_that_was_up_as_the_clock_was_set_is_dated_by_the_new_time_and_as_long(
    place: Place, step: float
) -> None:
    began = place.now - 60
    record = answered(
        invited_at=began, ringing_at=0.0, answered_at=began + 2, ended_at=place.now, evidence=None
    )
    place.set_clock(step)
    ledger = place.gateway.ledger
    assert ledger is not None

    async def main() -> None:
        await ledger.open()
        ledger.record(record)
        assert ledger.lag < 10
        await ledger.flush()
        await ledger._expire()  # nothing is older than it is by both clocks
        await ledger.close()

    trio.run(main)
    (found,) = place.read()
    assert abs(found.ended_at - time.time()) < 30
    assert found.ringing_at == 0.0
    assert found.answered_at - found.invited_at == pytest.approx(2)
    assert found.ended_at - found.invited_at == pytest.approx(record.ended_at - record.invited_at)


def test_rules_that_hold_at_some_hours_go_by_the_clock_on_the_wall() -> None:
    """The gateway's own clock shows a quarter to two in the afternoon; somebody has set the machine's."""
    rule = 'name = "night"\nwhen.status = 603\nwhen.hours = "22:00-06:00"\nthen.status = 404'
    net = Net(rules=f"version = 1\n[[rule]]\n{rule}")
    for ahead, status in ((0.0, 603), (12 * HOUR, 404)):
        net.core.ahead = ahead
        invite = net.pbx.invite()
        net.pbx.take(100)
        net.carrier.reply(net.carrier.take_request("INVITE"), 603)
        net.carrier.take("ACK")
        response = net.pbx.take_response(status)
        net.pbx.ack(invite, response)
    evidence = net.records[-1].evidence
    assert evidence is not None
    assert evidence.facts.on_the_wall == pytest.approx(1_000_000 + 12 * HOUR, abs=60)  # for a replay


def test_the_gateway_tells_its_calls_of_the_new_time(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.set_clock(HOUR)
    place.set_clock(HOUR)
    assert place.gateway.b2bua.ahead == pytest.approx(HOUR, abs=1)
    assert [each.getMessage() for each in caplog.records] == [
        "the clock of this machine was set by +3600.0 s; records go by it now"
    ]


@pytest.mark.parametrize("step", [HOUR, -HOUR, 36 * HOUR])
def test_earlier_calls_stay_counted_and_those_of_the_ledger_are_as_long_ago_as_they_were(
    place: Place, step: float
) -> None:
    """Of three declined calls two are in the ledger; one from before the last day by the new time."""
    historian, ledger = place.gateway.historian, place.gateway.ledger
    history = historian.history
    assert history is not None and ledger is not None
    (watch,) = history.series
    place.set_clock(step)

    async def main() -> None:
        await ledger.open()
        for number, ago in ((1, 2 * HOUR), (2, 25.5 * HOUR)):
            at = place.now - ago
            ledger.record(rewritten(number, invited_at=at - 1, ended_at=at))
        await ledger.flush()
        await ledger.close()
        history.record(rewritten(3, ended_at=place.now))
        assert history.count(watch, "+12155551212", place.now) == 1
        historian._begun -= 60  # what was to be written has been
        await historian.work()
        await historian.close()

    trio.run(main)
    assert history.count(watch, "+12155551212", place.now) == 2


def test_feedback_and_stops_of_canaries_are_dated_by_the_wall_clock_and_hold_by_our_own(place: Place) -> None:
    place.set_clock(HOUR)
    gateway = place.gateway
    trials = gateway.canaries.trials
    assert trials is not None
    canary = trials.canaries["trial"]
    at = place.now
    canary.pauses = (Pause(at, why="too many"),)

    async def main() -> None:
        gateway.historian.feedback(
            Feedback(at, (Identity("+12155550666"),), "100", BEFORE_ANSWER, False, "pbx")
        )
        await gateway.historian.work()
        trials._on_stop(Stop("trial", canary, canary.pauses[0]))
        await gateway.canaries.work()
        await gateway.historian.close()
        await gateway.canaries.close()

    trio.run(main)
    assert [entry.at for entry in place.feedback()] == [pytest.approx(at + HOUR, abs=1)]
    engine = database.open_for_reading(place.url)
    with closing(engine.connect()) as connection:
        (event,) = canary_events(connection)
    engine.dispose()
    assert event.at == pytest.approx(at + HOUR, abs=1)
    assert canary.pause_at(place.now + 1) is not None
    assert canary.pauses[0].begun == pytest.approx(at)


def test_the_console_shows_a_call_and_its_messages_by_the_wall_clock_wherever_it_was_kept(
    place: Place,
) -> None:
    gateway = place.gateway
    pages = CallPages(gateway.wiretap, gateway.b2bua, "gw1", place.url, set())
    at = place.now
    assert gateway.wiretap.ring is not None
    give(gateway.wiretap.ring.store, call(gateway.ports.locals[0], at))
    place.set_clock(HOUR)

    async def shown() -> dict[str, Any]:
        record, messages = await pages._find("id1")
        found: dict[str, Any] = json.loads(as_json(pages._subject("id1", record, messages)))
        return found

    async def main() -> None:
        keeper, ledger = gateway.wiretap.keeper, gateway.ledger
        assert keeper is not None and ledger is not None
        await ledger.open()
        ledger.record(rejected(at))
        await ledger.flush()
        await ledger.close()
        from_ledger = await shown()
        keeper.record(rejected(at))
        from_memory = await shown()
        for found in (from_ledger, from_memory):
            assert found["call"]["invited_at"] == pytest.approx(at + HOUR, abs=1)
            assert [each["at"] - found["call"]["invited_at"] for each in found["messages"]] == pytest.approx(
                [0, 0.001, 0.5, 0.501, 0.501], abs=1e-4
            )

    trio.run(main)


def test_captures_and_traces_are_dated_by_the_wall_clock(place: Place) -> None:
    gateway = place.gateway
    exporter, at = gateway.telemetry.exporter, place.now
    assert exporter is not None
    place.set_clock(HOUR)
    capture = Capture(Choice("", "", lambda _: ""), gateway.wiretap.wall)
    capture.take(call(at=at)[0])
    branch = Branch("carrier", "127.0.0.1:5080", "udp", "b@gw", at, 0.0, at + 0.5, 603, "Decline", "peer")
    record = rejected(at)
    record.branches = [branch]

    async def main() -> None:
        (message,) = await capture.next()
        assert message.at == pytest.approx(at + HOUR, abs=1)
        gateway.telemetry._trace(record, "whole")
        assert gateway.telemetry._completion is not None
        gateway.telemetry._completion.flush()

    trio.run(main)
    traced = exporter._calls.popleft()
    assert isinstance(traced, TracedCall)
    assert traced.record.invited_at == pytest.approx(at + HOUR, abs=1)
    (sent,) = traced.record.branches or ()
    assert (sent.invited_at, sent.rang_at) == (pytest.approx(at + HOUR, abs=1), 0.0)
    assert (record.invited_at, branch.invited_at) == (at, at)  # which others compare by


def test_small_differences_and_slow_looks_set_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, own = Wall(), iter([100.0, 100.0, 100.1, 100.0, 100.0])
    for shows, step in ((100.04, 0.0), (99.0, 0.0), (99.0, -1.0)):
        monkeypatch.setattr(time, "time", lambda shows=shows: shows)
        assert wall.follow(lambda: next(own)) == step
    assert (wall.shows(200.0), wall.least(200.0)) == (199.0, 199.0)


def test_what_is_deleted_for_its_age_is_old_by_both_clocks(place: Place) -> None:
    """Whoever sets the clock a year ahead by mistake finds the ledger as it was."""
    ledger = place.gateway.ledger
    assert ledger is not None

    async def main() -> None:
        await ledger.open()
        ledger.record(rewritten(ended_at=place.now))
        await ledger.flush()
        place.set_clock(365 * 24 * HOUR)
        await ledger._expire()
        await ledger.close()

    trio.run(main)
    assert len(place.read()) == 1
