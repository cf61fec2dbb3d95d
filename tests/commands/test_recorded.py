"""`gateway explain --call`: a recorded call under the rules of its day, or under others."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from gateway.commands.explain import explain
from gateway.ledger.database import open_for_writing, parse_url
from gateway.ledger.versions import keep, version_of
from gateway.rules import compile_rules
from gateway.toml_source import TomlSource
from tests.commands.conftest import CONFIG, RULES, Place
from tests.ledger.records import NOON, answered, store
from tests.ledger.test_evidence import decided
from tests.rules.support import facts

TODAY = RULES.replace("then.status = 404", "then.status = 410")
CONFIGURED: dict[str, Any] = {"config": "gateway.toml"}


@pytest.fixture
def ledger(place: Place) -> sa.Engine:
    """A dead number's call that was decided under RULES; TODAY is in force."""
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", TODAY)
    ruleset = compile_rules(TomlSource.parse(RULES, "rules.toml"), None)
    known = facts("603 Decline", "Reason: Q.850;cause=1", caller="1001", called="+12155551212", now=NOON)
    record = decided(ruleset, known)
    record.id, record.rules_hash, record.caller_call_id = "call-1", ruleset.version_hash, "a@pbx"
    engine = open_for_writing(parse_url(f"sqlite:///{place.path / 'gateway.db'}"))
    with engine.begin() as connection:
        store(connection, record, answered(2))
        keep(connection, version_of(ruleset, NOON))
    return engine


def test_a_call_is_explained_under_the_rules_of_its_day(place: Place, ledger: sa.Engine) -> None:
    assert place.run(explain, call="call-1", **CONFIGURED) == 0
    told = place.out.splitlines()
    assert told[1] == "  dead-number (rules.toml:3): yes"
    assert told[2].startswith("-> 404 Not Found")
    assert told[-1].startswith("call call-1 was decided under rules ")
    assert told[-1].endswith(", the very same")


def test_a_call_is_found_by_a_call_id_and_explained_for_programs(place: Place, ledger: sa.Engine) -> None:
    assert place.run(explain, call="a@pbx", json=True, **CONFIGURED) == 0
    found = place.json
    assert (found["call"], found["rule"], found["differs"]) == ("call-1", "dead-number", False)
    assert found["rules"] == found["decided_under"]


def test_other_rules_are_told_apart_from_what_was_done(place: Place, ledger: sa.Engine) -> None:
    assert place.run(explain, call="call-1", rules="rules.toml", **CONFIGURED) == 0
    assert "-> 410 Gone" in place.out
    assert place.out.endswith("it was told 404/1 Not Found by dead-number: these rules are others\n")


@pytest.mark.parametrize("option", [{"called": "123"}, {"rang": True}, {"pending": 1}, {"method": "MESSAGE"}])
def test_what_a_recorded_call_says_itself_is_not_said_by_options(
    place: Place, ledger: sa.Engine, option: dict[str, Any]
) -> None:
    assert place.run(explain, call="call-1", **option, **CONFIGURED) == 2
    (name,) = option
    assert place.err == f"--{name}: a recorded call says that itself; leave it out, or name a file instead\n"


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("call-9", "no call has an id or Call-ID like 'call-9'; `gateway calls` lists them"),
        ("call-", "'call-' means more than one call; give more of the id"),
        ("call-000002", "no rules were asked about call call-000002, since it was answered"),
    ],
)
def test_what_cannot_be_explained_is_said(place: Place, ledger: sa.Engine, call: str, problem: str) -> None:
    assert place.run(explain, call=call, **CONFIGURED) == 2
    assert place.err.startswith(problem)
    assert place.err.count("\n") == 1


def test_rules_that_are_not_kept_may_be_named(place: Place, ledger: sa.Engine) -> None:
    with ledger.begin() as connection:
        connection.execute(sa.text("DELETE FROM rule_versions"))
    assert place.run(explain, call="call-1", **CONFIGURED) == 2
    assert "are not kept in this ledger; name a rule file with --rules" in place.err
    assert place.run(explain, call="call-1", rules="rules.toml", **CONFIGURED) == 0


def test_a_response_and_a_call_at_once_or_neither_is_a_mistake(place: Place, ledger: sa.Engine) -> None:
    assert place.run(explain, **CONFIGURED) == 2
    assert place.run(explain, "x.txt", call="call-1", **CONFIGURED) == 2
    assert place.err.startswith("name a file with a response, or a recorded call with --call")
