"""What lies below a directory that may not be entered is a sentence, from each command that looks there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.commands.calls import calls
from gateway.commands.check import check
from gateway.commands.doctor import doctor
from gateway.commands.rules import diff, rollback
from gateway.ledger.database import LedgerError, open_for_writing, parse_url, probe
from gateway.ledger.versions import keep
from tests.commands.conftest import CONFIG, RULES, Place
from tests.commands.test_rules import ONE, TWO


@pytest.fixture
def closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Whatever has "closed" in its path answers as for a user who may not enter: root may enter anything."""
    place.write("rules.toml", RULES)
    stat, read_bytes = Path.stat, Path.read_bytes

    def refuse(path: Path) -> None:
        if "closed" in path.parts[:-1]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def refused_stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        refuse(path)
        return stat(path, follow_symlinks=follow_symlinks)

    def refused_read(path: Path) -> bytes:
        refuse(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "stat", refused_stat)
    monkeypatch.setattr(Path, "read_bytes", refused_read)
    return place


def test_rules_that_cannot_be_reached_are_told(closed: Place) -> None:
    config = closed.write("gateway.toml", CONFIG.replace('"rules.toml"', '"closed/rules.toml"'))
    assert closed.run(check, config=config) == 2
    assert closed.err == "closed/rules.toml: cannot be read: permission denied; check its permissions\n"


def test_tls_files_that_cannot_be_reached_are_told(closed: Place) -> None:
    text = CONFIG.replace("[console]", 'tls_ca = "closed/ca.pem"\n[console]')
    assert closed.run(check, config=closed.write("gateway.toml", text)) == 2
    assert closed.err == (
        'gateway.toml:5: gateway.tls_ca: "closed/ca.pem" cannot be read: permission denied; '
        "check its permissions\n"
    )


def test_a_ledger_that_cannot_be_reached_is_told(closed: Place) -> None:
    text = CONFIG.replace("sqlite:///gateway.db", "sqlite:///closed/gateway.db")
    config = closed.write("gateway.toml", text)
    assert closed.run(calls, config=config) == 2
    assert closed.err == (
        "the ledger closed/gateway.db cannot be read: permission denied; check its permissions\n"
    )
    assert closed.run(doctor, config=config, json=True) == 0
    (row,) = [each for each in closed.json if each["name"] == "ledger"]
    assert (row["state"], row["advice"]) == ("problem", "check its permissions")


def test_a_ledger_whose_directory_cannot_be_reached_is_told(closed: Place) -> None:
    with pytest.raises(LedgerError, match="cannot be read: permission denied"):
        probe("sqlite:///closed/deep/gateway.db")


def test_a_spool_that_cannot_be_reached_is_a_row_of_the_doctors(closed: Place) -> None:
    open_for_writing(parse_url(f"sqlite:///{closed.path / 'gateway.db'}")).dispose()
    text = CONFIG.replace("gateway.db", 'gateway.db"\nspool = "closed/spool')
    assert closed.run(doctor, config=closed.write("gateway.toml", text), json=True) == 0
    (row,) = [each for each in closed.json if each["name"] == "ledger"]
    assert row["state"] == "problem"
    assert "the spool closed/spool cannot be read: permission denied" in row["found"]


def test_rules_that_cannot_be_reached_are_neither_compared_nor_rolled_back(closed: Place) -> None:
    engine = open_for_writing(parse_url(f"sqlite:///{closed.path / 'gateway.db'}"))
    with engine.begin() as connection:
        for each in (ONE, TWO):
            keep(connection, each)
    engine.dispose()
    config = closed.write("gateway.toml", CONFIG.replace('"rules.toml"', '"closed/rules.toml"'))
    assert closed.run(rollback, config=config) == 2
    assert "closed/rules.toml: cannot be written (permission denied" in closed.err
    assert closed.run(diff, config=config) == 2
    assert "closed/rules.toml: cannot be read (" in closed.err
