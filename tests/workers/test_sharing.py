"""What workers count together: limits, and metrics."""

from __future__ import annotations

import pytest

from gateway.config import parse
from gateway.histogram import Histogram
from gateway.telemetry.metric import Metric, counter, gauge, histogram
from gateway.workers.board import Board, SharedLoad
from gateway.workers.merging import Merger
from gateway.workers.notes import MetricNote
from gateway.workers.unsupported import unsupported


def loads(board: Board, max_calls: int | None, max_cps: float | None) -> list[SharedLoad]:
    """One trunk's load as each worker counts it."""
    return [SharedLoad(board, 5, worker, max_calls, max_cps) for worker in range(board.workers)]


def test_max_calls_is_what_all_workers_carry_together() -> None:
    first, second, third = loads(Board(3), 4, None)
    assert [each.enter(1.0) for each in (first, first, second, third)] == [True] * 4
    assert not any(each.enter(1.0) for each in (first, second, third))
    first.leave()
    assert third.enter(1.0)
    assert not second.enter(1.0)


def test_max_cps_is_what_all_workers_begin_together() -> None:
    """Ten a second, asked of two workers in turn for five seconds: the burst of one second, and the mean."""
    both = loads(Board(2), None, 10.0)
    begun = 0
    for step in range(500):
        now = 100.0 + step * 0.01
        begun += both[step % 2].enter(now)
    assert 58 <= begun <= 60


def test_a_refusal_for_cps_leaves_nothing_counted() -> None:
    board = Board(2)
    first, second = loads(board, 100, 1.0)
    for each in (first, second):
        each.refill(1.0)  # as at each tick
    assert first.enter(1.0)
    assert not second.enter(1.0)
    assert not first.enter(1.0)
    first.leave()
    full = SharedLoad(board, 5, 1, 1, None)
    assert full.enter(1.0)


def test_a_dead_workers_calls_are_taken_off_the_limits_and_counted() -> None:
    board = Board(2)
    first, second = loads(board, 2, None)
    assert first.enter(1.0)
    assert second.enter(1.0)
    board.note(1, 7, is_late=True)
    assert board.is_late
    assert board.bury(1) == 7
    assert not board.is_late
    assert (board.restarts, board.lost_calls) == (1, 7)
    assert first.enter(2.0)
    assert not first.enter(2.0)


def told(worker: int, metric: Metric, pid: int = 1) -> MetricNote:
    return MetricNote(worker, pid, metric.name, metric.samples)


def values(metrics: list[Metric]) -> dict[str, object]:
    return {metric.name: dict(metric.samples) for metric in metrics}


def test_counters_are_summed_also_over_workers_that_died() -> None:
    merger = Merger()
    own = counter("calls_total", "", ("trunk",), {"a": 1})
    merger.take(told(1, counter("calls_total", "", ("trunk",), {"a": 10, "b": 5})))
    merger.take(told(2, counter("calls_total", "", ("trunk",), {"a": 100})))
    assert values(merger.merge([own])) == {"calls_total": {("a",): 111, ("b",): 5}}
    merger.take(told(1, counter("calls_total", "", ("trunk",), {"a": 2}), pid=2))
    assert values(merger.merge([own])) == {"calls_total": {("a",): 113, ("b",): 5}}


def test_gauges_are_summed_but_not_those_of_the_dead_nor_what_is_said_of_the_whole() -> None:
    merger = Merger()
    own = [
        gauge("sip_gateway_dialogs", "", (), {(): 1}),
        gauge("sip_gateway_target_up", "", ("target",), {"x": 1}),
        gauge("sip_gateway_ledger_lag_seconds", "", (), {(): 3}),
    ]
    merger.take(told(1, gauge("sip_gateway_dialogs", "", (), {(): 50})))
    merger.take(told(1, gauge("sip_gateway_dialogs", "", (), {(): 4}), pid=2))
    merger.take(told(1, gauge("sip_gateway_target_up", "", ("target",), {"x": 0}), pid=2))
    merger.take(told(1, gauge("sip_gateway_ledger_lag_seconds", "", (), {(): 9}), pid=2))
    assert values(merger.merge(own)) == {
        "sip_gateway_dialogs": {(): 5},
        "sip_gateway_target_up": {("x",): 1},
        "sip_gateway_ledger_lag_seconds": {(): 9},
    }


def test_histograms_are_summed_bucket_by_bucket() -> None:
    merger = Merger()
    one, other = Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    one.observe(0.5)
    other.observe(1.5)
    other.observe(9.0)
    merger.take(told(1, histogram("seconds", "", "trunk", {"a": other})))
    (merged,) = merger.merge([histogram("seconds", "", "trunk", {"a": one})])
    ((_, found),) = merged.samples
    assert isinstance(found, Histogram)
    assert (found.counts, found.total) == ([1, 1, 1], 11.0)


def test_several_workers_are_refused_with_the_line_where_there_is_no_linux(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trunk = '[[trunk]]\nname = "pbx"\nsource = ["192.0.2.2"]\ntarget = ["sip:192.0.2.2"]\n'
    config = parse(f"[gateway]\nworkers = 2\n{trunk}")
    assert unsupported(config) == []
    monkeypatch.setattr("sys.platform", "darwin")
    (error,) = unsupported(config)
    assert str(error).startswith("gateway.toml:2: gateway.workers: several workers need Linux")
