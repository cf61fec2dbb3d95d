"""`gateway rules`: each version that was applied is kept, shown, compared, and can be gone back to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from gateway.commands.calls import calls
from gateway.commands.rules import diff, history, rollback, show
from gateway.ledger.database import open_for_writing, parse_url
from gateway.ledger.versions import RuleVersion, VersionKeeper, keep, version_of
from gateway.rules import compile_rules, load_rules
from gateway.toml_source import TomlSource
from tests.commands.conftest import CONFIG, RULES, Place

FIRST = "# As the carrier has it since May\n" + RULES
SECOND = RULES.replace("404", "410")
NOON = 1_800_000_000.0


def version(text: str, at: float) -> RuleVersion:
    return version_of(compile_rules(TomlSource.parse(text, "rules.toml"), None), at)


ONE, TWO = version(FIRST, NOON), version(SECOND, NOON + 60)


@pytest.fixture
def kept(place: Place) -> Place:
    """A ledger in which FIRST and then SECOND were applied; SECOND is in force."""
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", SECOND)
    engine = open_for_writing(parse_url(f"sqlite:///{place.path / 'gateway.db'}"))
    with engine.begin() as connection:
        for each in (ONE, TWO, TWO):  # a restart applies the same again
            keep(connection, each)
    engine.dispose()
    return place


CONFIGURED = {"config": "gateway.toml"}


def test_history_lists_each_version_once_with_its_comment_the_last_first(kept: Place) -> None:
    assert kept.run(history, **CONFIGURED, json=True) == 0
    assert [(each["hash"], each["applied_at"]) for each in kept.json] == [
        (TWO.hash, NOON + 60),
        (ONE.hash, NOON),
    ]
    assert kept.run(history, **CONFIGURED) == 0
    assert "As the carrier has it since May" in kept.out


def test_show_prints_the_text_of_a_version_named_by_the_beginning_of_its_hash(kept: Place) -> None:
    assert kept.run(show, ONE.hash[:6], **CONFIGURED) == 0
    assert kept.out == FIRST
    assert kept.run(show, "nonsense", **CONFIGURED) == 2
    assert "no version has a hash like 'nonsense'" in kept.err


def test_diff_compares_two_versions_or_the_file_with_what_is_in_force(kept: Place) -> None:
    assert kept.run(diff, **CONFIGURED) == 0
    assert kept.out == "nothing differs\n"
    assert kept.run(diff, ONE.hash, TWO.hash, **CONFIGURED) == 1
    assert "-then.status = 404\n+then.status = 410" in kept.out
    kept.write("rules.toml", "\ufeff" + SECOND.replace("\n", "\r\n"))  # as some editors save it
    assert kept.run(diff, **CONFIGURED) == 0
    kept.write("rules.toml", SECOND + "# more\n")
    assert kept.run(diff, **CONFIGURED) == 1
    assert "+# more" in kept.out


def test_rollback_goes_to_the_version_before_or_to_a_named_one(kept: Place) -> None:
    assert kept.run(rollback, **CONFIGURED) == 0
    assert Path("rules.toml").read_text() == FIRST
    assert f"version {ONE.hash} again, it was {TWO.hash}" in kept.out
    assert kept.run(rollback, TWO.hash, **CONFIGURED) == 0
    assert Path("rules.toml").read_text() == SECOND
    assert load_rules("rules.toml", None).version_hash == TWO.hash
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_rollback_mends_a_file_that_is_broken_and_keeps_its_mode(kept: Place) -> None:
    kept.write("rules.toml", "version = 7").chmod(0o640)
    assert kept.run(rollback, **CONFIGURED) == 0
    assert Path("rules.toml").read_text() == SECOND
    assert Path("rules.toml").stat().st_mode & 0o777 == 0o640


def test_rollback_writes_nothing_that_would_be_refused(kept: Place) -> None:
    kept.write("gateway.toml", CONFIG)
    engine = open_for_writing(parse_url(f"sqlite:///{kept.path / 'gateway.db'}"))
    with engine.begin() as connection:
        strange = RULES.replace('["kind:pbx"]', '["gone"]')
        keep(connection, version(strange, NOON + 70))
    engine.dispose()
    assert kept.run(rollback, version(strange, 0).hash, **CONFIGURED) == 2
    assert '"gone" matches no trunk' in kept.err
    assert Path("rules.toml").read_text() == SECOND


def test_without_versions_there_is_nothing_to_go_back_to(place: Place) -> None:
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", RULES)
    open_for_writing(parse_url(f"sqlite:///{place.path / 'gateway.db'}")).dispose()
    assert place.run(history, **CONFIGURED) == 0
    assert place.out == "No rules have been applied yet.\n"
    assert place.run(rollback, **CONFIGURED) == 2
    assert place.run(diff, **CONFIGURED) == 2
    assert "no rules have been applied yet" in place.err


def test_the_author_is_named_by_the_environment_or_owns_the_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("rules.toml", RULES)
    applied = load_rules("rules.toml", None)
    monkeypatch.delenv("GATEWAY_AUTHOR", raising=False)
    assert version_of(applied, NOON).author == Path("rules.toml").owner()
    monkeypatch.setenv("GATEWAY_AUTHOR", "alice")
    assert version_of(applied, NOON).author == "alice"


def test_a_version_waits_for_a_database_that_cannot_be_written(place: Place) -> None:
    """The keeper says so once, goes on trying, and writes what waited."""
    blocked = place.path / "var"
    blocked.write_text("in the way of a directory")
    url = f"sqlite:///{blocked / 'gateway.db'}"
    told: list[str] = []
    keeper = VersionKeeper(url, told.append)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            keeper.note(ONE)
            await trio.sleep(12)
            assert len(told) == 1
            blocked.unlink()
            await trio.sleep(6)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0.2))
    assert place.run(history, ledger=url, json=True) == 0
    assert [each["hash"] for each in place.json] == [ONE.hash]


def test_rollback_keeps_the_owner_the_group_and_the_mode_of_the_file(
    kept: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    stat = os.stat

    def stat_of_ours(path: Path | str, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        if Path(path).name != "rules.toml":
            return found
        return os.stat_result((found.st_mode, *found[1:4], 1234, 5678, *found[6:]))

    def chown(_path: str, owner: int, group: int) -> None:
        given.append((owner, group))

    Path("rules.toml").chmod(0o640)
    monkeypatch.setattr(os, "stat", stat_of_ours)
    monkeypatch.setattr(os, "chown", chown)
    assert kept.run(rollback, **CONFIGURED) == 0
    assert given == [(1234, 5678)]
    assert Path("rules.toml").stat().st_mode & 0o777 == 0o640

    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    assert kept.run(rollback, TWO.hash, **CONFIGURED) == 2
    assert kept.err == (
        "rules.toml: its owner and group cannot be kept; roll back as its owner, or as root\n"
    )
    assert Path("rules.toml").read_text() == FIRST
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_a_list_of_an_impossible_length_is_refused(kept: Place) -> None:
    for limit in (-1, 0, 10**20):
        for command in (history, calls):
            assert kept.run(command, **CONFIGURED, limit=limit) == 2
            assert kept.err == f"--limit: {limit} is not possible; write a whole number from 1 to 1000000\n"
