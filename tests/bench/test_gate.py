"""The gate on what a call costs: what it lets pass, and what it stops."""

from __future__ import annotations

import gate
import pytest

BASELINE = {"native": {"rejected": 0.5}, "pure": {"rejected": 0.6}}


def test_a_cost_within_the_margin_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.compare({"native": {"rejected": 0.549}, "pure": {"rejected": 0.3}}, BASELINE) == []
    assert "+9.8%" in capsys.readouterr().out


def test_a_loss_of_more_than_a_tenth_is_stopped_and_named() -> None:
    losses = gate.compare({"native": {"rejected": 0.56}, "pure": {"rejected": 0.6}}, BASELINE)
    assert losses == ["native: a call rejected costs 12% more than the baseline"]


def test_a_cost_without_a_baseline_is_stopped() -> None:
    (loss,) = gate.compare({"native": {"answered": 1.0}}, BASELINE)
    assert "bench/gate.py --write" in loss


def test_the_baseline_has_all_that_is_measured() -> None:
    document = gate.json.loads(gate.BASELINE.read_text())
    for method in ("instructions", "time"):
        assert {core: set(costs) for core, costs in document[method].items()} == {
            core: set(gate.FLOWS) for core in gate.CORES
        }
