"""What the measurement of two gateways side by side makes of its rounds."""

from __future__ import annotations

from twins import Round, interval, told


def test_the_interval_of_a_median_comes_from_the_order_of_the_rounds() -> None:
    """The tables of the sign test have ranks 7 and 18 of 24, and 2 and 9 of 10."""
    assert interval([float(n) for n in range(24, 0, -1)]) == (7.0, 18.0)
    assert interval([float(n) for n in range(1, 11)]) == (2.0, 9.0)


def test_few_rounds_have_their_extremes_as_interval() -> None:
    assert interval([1.0, 2.0, 3.0]) == (1.0, 3.0)


def test_the_line_tells_the_median_of_the_ratios_and_every_failed_call() -> None:
    rounds = [Round(110.0, 100.0, 5.0, 0), Round(206.0, 200.0, 5.0, 2), Round(51.0, 50.0, 5.0, 1)]
    assert told("1 %", rounds).split() == ["1", "%", "3", "110.0", "100.0", "5.0", "1.030", "1.020", "to",
                                           "1.100", "3"]  # fmt: skip
