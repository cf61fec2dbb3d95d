"""Who asks the database again and again leaves nothing behind that only a look at everything would free."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.ledger import versions
from gateway.ledger.database import LedgerError, open_for_reading, open_for_writing, parse_url
from gateway.ledger.drift import DriftWatch
from gateway.ledger.lasting import LastingEngine
from gateway.ledger.versions import RuleVersion, VersionKeeper
from tests.ledger.records import NOON


def left_by(use: Callable[[int], object]) -> int:
    """How many objects nobody reaches any more after each of many uses, without a look at everything."""
    for number in range(5):
        use(number)
    gc.collect()
    gc.disable()
    try:
        for number in range(5, 25):
            use(number)
        return gc.collect() // 20
    finally:
        gc.enable()


def test_rules_that_are_kept_one_after_the_other_leave_little(tmp_path: Path) -> None:
    keeper = VersionKeeper(f"sqlite:///{tmp_path / 'gateway.db'}", print)
    left = left_by(lambda n: keeper._write((RuleVersion(NOON + n, f"hash-{n}", "", "", "text"),)))
    assert left < 50, "an engine and its migrations would be hundreds"
    with open_for_reading(f"sqlite:///{tmp_path / 'gateway.db'}").connect() as connection:
        assert [each.hash for each in versions.history(connection, 2)] == ["hash-24", "hash-23"]


def test_looks_for_drift_leave_little(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    open_for_writing(parse_url(url)).dispose()
    watch = DriftWatch(url, clock=lambda: NOON, log=print)
    watch._look(NOON)
    assert left_by(lambda n: watch._look(NOON + n)) < 50


def test_a_file_that_was_replaced_is_found(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    url = f"sqlite:///{path}"
    lasting = LastingEngine(lambda: open_for_reading(url))
    with pytest.raises(LedgerError, match="there is no ledger"), lasting.begin():
        pass
    open_for_writing(parse_url(url)).dispose()
    with lasting.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM calls")).scalar() == 0
    path.unlink()
    with pytest.raises(sa.exc.OperationalError), lasting.begin() as connection:
        connection.execute(sa.text("SELECT count(*) FROM calls"))
    open_for_writing(parse_url(url)).dispose()
    with lasting.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM calls")).scalar() == 0
