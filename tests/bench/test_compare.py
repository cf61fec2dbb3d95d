"""The arithmetic of the comparison: quantiles, ratios, what counts as carried; and the files it generates."""

from __future__ import annotations

import dataclasses

import compare
import pytest
import sections
from generator import Histogram, Outcome
from middle import generated_rules
from procstat import Cpu, Load, ProcessGoneError, Usage
from trial import Trial

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
    ("failed", "placed", "carried"), [(1, 2000, True), (2, 2000, False), (0, 1800, False)]
)
def test_a_load_is_carried_if_nearly_no_call_fails_and_all_are_placed(
    failed: int, placed: int, carried: bool
) -> None:
    outcome = dataclasses.replace(OUTCOME, failed=failed, placed=placed)
    assert sections.carried(dataclasses.replace(TRIAL, outcome=outcome)) is carried


def test_ratios_compare_equal_rates_only() -> None:
    rows = [
        {"server": server, "flow": "rejected", "asked": asked, "us": us}
        for server, asked, us in [("gateway", 2000, 50.0), ("kamailio", 2000, 100.0), ("sippy", 200, 2000.0)]
    ]
    assert compare.ratios(rows) == {"rejected": {"kamailio": 0.5}}


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
