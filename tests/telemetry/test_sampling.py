"""Which calls are traced."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.b2bua.record import CallRecord, TraceContext
from gateway.telemetry.sampling import Sampler


def record(number: int, rule: str = "", trace: TraceContext | None = None) -> CallRecord:
    return CallRecord(
        id=f"0{number:015x}",
        caller_call_id="",
        callee_call_id="",
        caller_trunk="pbx",
        callee_trunk="carrier",
        caller="",
        called="",
        invited_at=1000.0,
        ended_at=1000.0,
        original_status=603,
        emitted_status=404 if rule else 603,
        rule=rule,
        trace=trace,
    )


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_the_share_that_was_asked_for_is_traced(share: float) -> None:
    sampler = Sampler(share, 1.0, 1e9)
    kept = sum(sampler.keeps(record(number), 1000.0) for number in range(20_000))
    assert kept == pytest.approx(20_000 * share, abs=150)


def test_rewritten_calls_have_a_share_of_their_own() -> None:
    sampler = Sampler(0.0, 1.0, 1e9)
    assert sampler.draws(record(1, rule="dead-number"))
    assert not sampler.draws(record(1))


@pytest.mark.parametrize("sampled", [True, False])
def test_a_call_whose_trace_is_kept_by_the_caller_is_traced(sampled: bool) -> None:
    sampler = Sampler(0.0, 0.0, 1e9)
    assert sampler.draws(record(1, trace=TraceContext("a" * 32, "b" * 16, sampled, ""))) is sampled


def test_a_call_draws_once() -> None:
    lots = [Sampler(0.5, 0.5, 1e9).keeps(record(number), 1000.0) for number in range(100)]
    assert lots == [Sampler(0.5, 0.5, 1e9).keeps(record(number), 1000.0) for number in range(100)]


def test_above_the_limit_traces_thin_out_evenly() -> None:
    sampler = Sampler(1.0, 1.0, 10)
    kept = [[sampler.keeps(record(number), 1000.0 + second) for number in range(100)] for second in range(3)]
    assert [sum(second) for second in kept] == [10, 10, 10]
    gaps = [at for at, taken in enumerate(kept[2]) if taken]
    assert {later - earlier for earlier, later in pairwise(gaps)} == {10}
    assert sampler.thinned == 270


def test_no_traces_at_all_when_the_limit_is_0() -> None:
    sampler = Sampler(1.0, 1.0, 0)
    assert not any(sampler.keeps(record(number), 1000.0) for number in range(10))
