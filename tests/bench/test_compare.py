"""The arithmetic of the comparison: quantiles, ratios, what counts as carried; and the files it generates."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import compare
import pictures
import pytest
import sections
import trial
from generator import Histogram, Outcome
from middle import generated_rules
from procstat import Cpu, Load, ProcessGoneError, Usage
from sipp import PeerError
from trial import OutOfTimeError, Plan, Trial, try_out

from gateway.rules import compile_rules
from gateway.toml_source import TomlSource

NOTHING = Histogram({})
OUTCOME = Outcome(1000, 2.0, 2000, 2000, 0, {}, 0, 0, 0, 0, 0.1, Histogram({1_000: 99, 9_000: 1}), NOTHING)
TRIAL = Trial("gateway", "rejected", OUTCOME, Load(0.2, 0.15, 0.05, 0.0), 1, 2, 3_000_000)


def test_a_quantile_is_the_value_that_so_many_do_not_exceed() -> None:
    assert (OUTCOME.setup.quantile(0.5), OUTCOME.setup.quantile(0.99), OUTCOME.setup.quantile(1.0)) == (
        1,
        1,
        9,
    )
    both = Histogram.merged([OUTCOME.setup, Histogram({9_000: 100})])
    assert (both.quantile(0.4), both.quantile(0.6)) == (1, 9)
    assert NOTHING.quantile(0.5) == 0


def test_a_row_states_costs_by_call() -> None:
    row = TRIAL.row()
    assert (row["us"], row["user_us"], row["core"], row["rate"]) == (100.0, 75.0, 0.1, 1000.0)
    assert compare.line(row).split()[:4] == ["gateway", "rejected", "1000.0", "100.0"]


@pytest.mark.parametrize(
    ("failed", "placed", "carried"),
    [(1, 2000, True), (2, 2000, False), (0, 1800, True), (0, 1700, False)],  # 1,900 and a deviation of 45
)
def test_a_load_is_carried_if_nearly_no_call_fails_and_all_are_placed(
    failed: int, placed: int, carried: bool
) -> None:
    outcome = dataclasses.replace(OUTCOME, failed=failed, placed=placed)
    assert sections.carried(dataclasses.replace(TRIAL, outcome=outcome)) is carried


def test_ratios_compare_equal_rates_only_and_the_means_of_all_turns() -> None:
    measured = [
        ("gateway", 2000, 40.0, 0),
        ("kamailio", 2000, 90.0, 0),
        ("gateway", 2000, 60.0, 0),
        ("kamailio", 2000, 110.0, 0),
        ("gateway", 2000, 1.0, 3),  # calls failed: not the same work
        ("sippy", 200, 2000.0, 0),
        ("relay", 2000, 1.0, 3),
    ]
    rows: list[sections.Row] = [
        {"server": server, "flow": "rejected", "asked": asked, "us": us, "failed": failed}
        for server, asked, us, failed in measured
    ]
    assert compare.ratios(rows) == {"rejected": {"kamailio": 0.5}}


def a_plan() -> Plan:
    """A minute from now on."""
    now = time.monotonic()
    return Plan(2.0, 1.0, 1, now, now + 60, ("gateway",))


@pytest.mark.parametrize("end", [OutOfTimeError(), KeyboardInterrupt(), PeerError("it went wrong")])
def test_what_was_measured_is_kept_however_a_section_ends(
    end: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def costs(_plan: Plan) -> Iterator[sections.Row]:
        """A section that does not come to its end."""
        yield TRIAL.row()
        assert len(json.loads(path.read_text())["sections"]["costs"]) == 1  # in time, if we are killed
        raise end

    def rules(_plan: Plan) -> Iterator[sections.Row]:
        """Another one."""
        yield TRIAL.row()

    path = tmp_path / "results" / "compare.json"
    monkeypatch.setattr(compare, "SECTIONS", {"costs": costs, "rules": rules})
    plan = a_plan()
    well = compare.measure(plan, ["costs", "rules"], compare.Report(path, {}))
    said = json.loads(path.read_text())
    others = [] if isinstance(end, KeyboardInterrupt) else [TRIAL.row()]
    assert said["sections"].get("rules", []) == others
    assert (said["cut_short"], said["not_measured"], well) == {
        OutOfTimeError: (["costs"], [], True),
        KeyboardInterrupt: (["costs", "rules"], [], True),
        PeerError: ([], ["costs: it went wrong"], False),
    }[type(end)]
    assert path.with_suffix(".txt").read_text().count("\ngateway   rejected ") == 1 + len(others)
    assert "gateway   rejected " in capsys.readouterr().out


def test_a_trial_that_fails_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[Trial | Exception] = [OSError("the port is taken"), TRIAL, PeerError("one"), PeerError("two")]

    def measure(*_: object) -> Trial:
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(trial, "_measure", measure)
    plan = a_plan()
    assert try_out(plan, "gateway", "rejected", 1000) is TRIAL
    assert plan.problems == []
    assert try_out(plan, "gateway", "rejected", 1000) is None
    assert plan.problems == ["gateway, rejected, 1,000 a second: two"]


def test_a_trial_that_would_end_too_late_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_measure", lambda *_: pytest.fail("it was begun"))
    with pytest.raises(OutOfTimeError):
        try_out(a_plan(), "gateway", "rejected", 1000, live=100_000)


@pytest.mark.parametrize("failing", [False, True])
def test_each_section_is_drawn(failing: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    keys = {"share": 0.6, "rules": 10, "calls_up": 1_000, "workers": 2, "traced": "1 %", "bytes_a_call": 9}
    outcome = dataclasses.replace(OUTCOME, failed=OUTCOME.placed * failing)
    rows = [
        dataclasses.replace(TRIAL, kind=kind, flow=flow, outcome=outcome).row() | keys | {"added_p99": -1.0}
        for kind in ("gateway", "kamailio")
        for flow in sections.RATES
    ]
    path = tmp_path / "compare.json"
    path.write_text(json.dumps({"sections": dict.fromkeys(sections.SECTIONS, rows)}))
    pictures.draw(path)
    drawn = {each.name for each in tmp_path.glob("*.svg")}
    assert drawn == {f"compare-{name}.svg" for name in sections.SECTIONS}
    for each in tmp_path.glob("*.svg"):
        ElementTree.parse(each)


def test_a_process_that_ended_spoils_a_difference() -> None:
    before = Usage({1: Cpu(1.0, 1, 1, 0.5), 2: Cpu(1.0, 1, 1, 0.5)}, 10)
    after = Usage({1: Cpu(3.0, 4, 2, 1.5)}, 10)
    with pytest.raises(ProcessGoneError):
        after.since(before)
    assert after.since(Usage({1: Cpu(1.0, 1, 1, 0.5)}, 10)) == Load(2.0, 1.5, 0.5, 1.0)


@pytest.mark.parametrize("count", sections.RULE_COUNTS)
def test_so_many_rules_are_generated_and_compile(count: int) -> None:
    text = generated_rules(count)
    assert text.count("[[rule]]") == count
    compile_rules(TomlSource.parse(text, "rules.toml"), None)
