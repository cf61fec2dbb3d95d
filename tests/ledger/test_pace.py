"""A thread that works through much rests in between, unless it hurries."""

from __future__ import annotations

import time

import pytest

from gateway.ledger.pace import Pace


@pytest.mark.parametrize(("hurries", "rests"), [(False, [0.006, 0.004]), (True, [])])
def test_rests_are_twice_as_long_as_what_was_worked(
    hurries: bool, rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    worked = 0.0
    rested: list[float] = []
    monkeypatch.setattr(time, "thread_time", lambda: worked)
    monkeypatch.setattr(time, "sleep", rested.append)
    pace = Pace(lambda: hurries)
    for work in (0.001, 0.002, 0.0005, 0.0015, 0.0001):
        worked += work
        pace.rest()
    assert rested == pytest.approx(rests)
