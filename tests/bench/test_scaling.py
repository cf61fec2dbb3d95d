"""The arithmetic of what two workers carry beside one, and where the messages went meanwhile."""

from __future__ import annotations

import pytest
import scaling
from scaling import ALONE, SHARED, Spread, Trial


def test_two_workers_carry_as_much_less_than_twice_as_a_call_is_dearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter dearer: 1.6 times. A pair with failed calls says nothing."""
    used = {ALONE: 1.0, SHARED: 1.25}
    failed = iter((0.0, 0.0, 0.0, 0.01))

    def attempt(flow: str, kind: str, rate: float, _seconds: float) -> Trial:
        return Trial(flow, kind, rate, used[kind], 0.2, next(failed), [])

    monkeypatch.setattr(scaling, "attempt", attempt)
    trials: list[Trial] = []
    assert scaling.pairs("rejected", 2, 3.0, trials) == [pytest.approx(1.6)]
    assert sorted(trial.kind for trial in trials) == [ALONE, ALONE, SHARED, SHARED]


@pytest.mark.parametrize(
    ("used", "failed", "wanted"), [(1.25, 0.0, 2_304.0), (0.2, 0.0, 2_500.0), (1.25, 0.01, 1_700.0)]
)
def test_the_next_rate_leaves_the_generator_its_part(used: float, failed: float, wanted: float) -> None:
    """Four fifths of what is left of two cores; never much more at once, and less where calls failed."""
    trial = Trial("rejected", SHARED, 2_000.0, used, 0.2, failed, [])
    assert scaling.next_rate(2_000.0, trial) == pytest.approx(wanted)


def test_where_messages_went_is_read_out_of_the_metrics() -> None:
    """Worker 0 received three of four; one of all was another's."""
    series = "sip_gateway_worker_messages_total"
    text = (
        f'# TYPE {series} counter\n{series}{{owner="itself",worker="0"}} 500\n'
        f'{series}{{owner="another",worker="0"}} 250\n{series}{{owner="itself",worker="1"}} 250\n'
        f'{series}{{owner="another",worker="1"}} 0\n'
        'sip_gateway_dropped_total{why="receive buffer full"} 7\n'
    )
    assert scaling.spread(text) == Spread([0.75, 0.25], 0.25, 7.0)


def test_one_gateway_alone_shares_nothing_out() -> None:
    assert scaling.spread("sip_gateway_calls_total 5\n") == Spread([], 0.0, 0.0)
