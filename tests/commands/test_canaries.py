"""`gateway rules canaries` and `enable`: which rules are on trial, how they do, and how they go on."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from gateway.commands.canaries import canaries, enable
from gateway.commands.replay import replay
from gateway.commands.rules import history
from gateway.ledger import canaries as events
from gateway.ledger.canaries import STOPPED, CanaryEvent
from gateway.ledger.database import open_for_writing, parse_url
from gateway.rules import RuleSet, compile_rules
from gateway.rules.canary import Canary, Pause
from gateway.toml_source import TomlSource
from tests.commands.conftest import CONFIG, Place
from tests.ledger.records import store
from tests.ledger.test_evidence import decided
from tests.rules.support import facts

NOON = 1_800_000_000.0
TRIAL = """\
version = 1
[[rule]]
name = "say-gone"
when.status = 603
then.status = 410
share = 0.5
stop_when = "retries > 1.5x in 15m"
[[rule]]
name = "say-busy"
when.status = 600
then.status = 486
"""


def compiled(text: str = TRIAL) -> tuple[RuleSet, Canary]:
    ruleset = compile_rules(TomlSource.parse(text, "rules.toml"), None)
    canary = ruleset.rules[0].canary
    assert canary is not None
    return ruleset, canary


@pytest.fixture
def engine(place: Place) -> sa.Engine:
    """An empty ledger beside a rule file with a canary."""
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", TRIAL)
    return open_for_writing(parse_url(f"sqlite:///{place.path / 'gateway.db'}"))


def stop(engine: sa.Engine) -> None:
    ruleset, canary = compiled()
    event = CanaryEvent(NOON, STOPPED, "say-gone", canary.id, ruleset.version_hash, "gateway", "9 of 10")
    with engine.begin() as connection:
        events.keep(connection, event)


CONFIGURED = {"config": "gateway.toml"}


def test_canaries_are_listed_with_their_state(place: Place, engine: sa.Engine) -> None:
    assert place.run(canaries, **CONFIGURED) == 0
    assert place.out.splitlines()[1].split()[:4] == ["say-gone", "0.5", "0", "0"]
    assert place.out.rstrip().endswith("retries > 1.5x in 15m  running")
    stop(engine)
    assert place.run(canaries, **CONFIGURED) == 0
    assert "STOPPED 2027-01-15" in place.out
    assert "9 of 10" in place.out
    assert place.run(canaries, **CONFIGURED, json=True) == 0
    (row,) = place.json
    assert (row["rule"], row["stopped_at"], row["why"]) == ("say-gone", NOON, "9 of 10")


def test_a_canary_that_is_stopped_is_enabled_once_and_both_stand_in_the_history(
    place: Place, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_AUTHOR", "olga")
    assert place.run(enable, "say-gone", **CONFIGURED) == 1
    assert "canary say-gone is not stopped" in place.err
    stop(engine)
    assert place.run(enable, "say-gone", **CONFIGURED) == 0
    assert "canary say-gone decides again from " in place.out
    assert place.run(enable, "say-gone", **CONFIGURED) == 1
    assert place.run(history, **CONFIGURED, json=True) == 0
    assert {(each["event"], each["rule"], each["author"]) for each in place.json} == {
        ("enabled", "say-gone", "olga"),
        ("stopped", "say-gone", "gateway"),
    }
    assert place.run(history, **CONFIGURED) == 0
    assert "canary say-gone STOPPED: 9 of 10" in place.out


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("say-bussy", "no rule is called 'say-bussy'; did you mean \"say-busy\"?"),
        ("zz", "no rule is called 'zz'; `gateway rules canaries` lists canaries"),
        ("say-busy", "rule say-busy has no share, so that nothing stops it; write share = 0.1"),
    ],
)
def test_what_cannot_be_enabled_is_said(place: Place, engine: sa.Engine, name: str, problem: str) -> None:
    assert place.run(enable, name, **CONFIGURED) == 2
    assert place.err.strip() == problem


def test_a_user_without_a_name_enables_a_canary_as_a_number(
    place: Place, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.delenv("GATEWAY_AUTHOR", raising=False)
    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr("os.getuid", lambda: 1234)
    stop(engine)
    assert place.run(enable, "say-gone", **CONFIGURED) == 0
    assert place.run(history, **CONFIGURED, json=True) == 0
    assert "1234" in {each["author"] for each in place.json}


def test_without_canaries_the_list_is_empty(place: Place, engine: sa.Engine) -> None:
    place.write("rules.toml", "version = 1")
    assert place.run(canaries, **CONFIGURED) == 0
    assert place.out == "No rule of rules.toml has a share.\n"


def test_a_replay_goes_by_the_share_and_by_when_the_canary_was_stopped(
    place: Place, engine: sa.Engine
) -> None:
    """Calls before and after the stop were decided otherwise, and under the same rules would be again."""
    ruleset, canary = compiled()
    with engine.begin() as connection:
        for number in range(60):
            if number == 30:
                canary.pauses = (Pause(NOON),)
            now = NOON + number - 29.5
            known = facts("603 Decline", caller=f"+1215555{number:04}", called="1", now=now)
            record = decided(ruleset, known)
            record.id, record.ended_at = f"call-{number:02}", now
            store(connection, record)
    stop(engine)
    assert place.run(replay, **CONFIGURED, json=True) == 0
    assert (place.json["judged"], place.json["changes"]) == (60, [])
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM canary_events"))
    assert place.run(replay, **CONFIGURED, json=True) == 1
    examples = [example["id"] for change in place.json["changes"] for example in change["examples"]]
    assert min(examples) >= "call-30"
