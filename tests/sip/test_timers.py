"""Timers: the one heap, and timers A to M of RFC 3261 (table 4) and RFC 6026 at their times."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.flow import Local
from gateway.sip.timers import Timers
from gateway.sip.transaction import Timing

from .lone import SLOT, TCP, UDP, Lone, response
from .strategies import PROPERTY


class Target:
    """Notes when it is called."""

    def __init__(self) -> None:
        self.called: list[float] = []

    def on_timer(self, now: float) -> None:
        self.called.append(now)


class Numbered:
    """Notes its number where it is called, in the order of the calls."""

    def __init__(self, number: int, order: list[int]) -> None:
        self.number = number
        self.order = order

    def on_timer(self, _now: float) -> None:
        self.order.append(self.number)


# -- the heap ---------------------------------------------------------------------------------------------


def test_nothing_set_is_nothing_due() -> None:
    timers = Timers()
    assert timers.next_due() is None
    assert len(timers) == 0
    timers.fire(1e9)


def test_a_timer_is_called_once_at_its_time_and_not_before() -> None:
    timers, target = Timers(), Target()
    timers.at(5.0, target)
    timers.fire(4.999)
    assert target.called == []
    timers.fire(5.0 + SLOT)
    assert target.called == [5.0 + SLOT]
    timers.fire(100.0)
    assert target.called == [5.0 + SLOT]


@PROPERTY
@given(st.floats(0, 4e9))
def test_a_slot_is_never_early_and_at_most_ten_milliseconds_late(when: float) -> None:
    timers, target = Timers(), Target()
    timers.at(when, target)
    due = timers.next_due()
    assert due is not None
    assert when <= due <= when + SLOT + 1e-6
    timers.fire(math.nextafter(due, 0))
    assert target.called == []
    timers.fire(due)
    assert target.called == [due], "who waits until next_due must not find the timer still waiting"


def test_timers_are_called_in_order_of_time_whatever_the_order_they_were_set_in() -> None:
    timers = Timers()
    order: list[int] = []
    numbers = list(range(200))
    Random(1).shuffle(numbers)
    for number in numbers:
        timers.at(number * 0.02, Numbered(number, order))
    timers.fire(1000.0)
    assert order == sorted(numbers)


def test_len_counts_what_waits_and_next_due_is_the_earliest() -> None:
    timers, target = Timers(), Target()
    for when in (3.0, 1.0, 1.001, 2.0):
        timers.at(when, target)
    assert len(timers) == 4
    assert timers.next_due() == pytest.approx(1.01)
    timers.fire(1.02)
    assert len(timers) == 2
    assert timers.next_due() == pytest.approx(2.01)


def test_a_timer_may_set_the_next_one_while_it_is_called() -> None:
    timers = Timers()

    class Repeating:
        count = 0

        def on_timer(self, now: float) -> None:
            self.count += 1
            timers.at(now + 1.0, self)

    repeating = Repeating()
    timers.at(1.0, repeating)
    timers.fire(1.5)
    assert repeating.count == 1, "the next one lies in the future"
    timers.fire(2.6)
    assert repeating.count == 2
    assert len(timers) == 1


def test_a_time_that_is_already_past_comes_with_the_next_look() -> None:
    timers, target = Timers(), Target()
    timers.at(-5.0, target)
    timers.fire(10.0)
    assert target.called == [10.0]


def test_of_many_that_are_due_at_most_so_many_are_called_in_order_and_the_others_next_time() -> None:
    timers = Timers()
    order: list[int] = []

    class Setting(Numbered):
        """Sets another one when it is called; a time that is past comes in its order, too."""

        def on_timer(self, now: float) -> None:
            super().on_timer(now)
            timers.at(0.5, Numbered(99, order))

    for number in range(6):
        target = Setting(number, order) if number == 2 else Numbered(number, order)
        timers.at(1.0 if number < 5 else 2.0, target)
    timers.fire(3.0, most=2)
    assert order == [0, 1]
    assert timers.next_due() == pytest.approx(1.01)
    timers.fire(3.0, most=2)
    assert order == [0, 1, 2, 3]
    timers.fire(3.0, most=1)
    assert order == [0, 1, 2, 3, 99]
    timers.fire(3.0, most=0)
    assert len(timers) == 2
    timers.fire(3.0)
    assert order == [0, 1, 2, 3, 99, 4, 5]
    assert timers.next_due() is None


class Broken:
    """Raises when it is called."""

    def on_timer(self, _now: float) -> None:
        raise ZeroDivisionError


def test_what_a_timer_raises_comes_out() -> None:
    timers = Timers()
    timers.at(1.0, Broken())
    with pytest.raises(ZeroDivisionError):
        timers.fire(2.0)


def test_a_bug_in_one_timer_leaves_the_others_their_turn() -> None:
    timers, before, after, later = Timers(), Target(), Target(), Target()
    timers.at(1.0, before)
    timers.at(1.0, Broken())
    timers.at(1.0, after)
    timers.at(1.5, later)
    bugs: list[Exception] = []
    timers.fire(2.0, bugs.append)
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    assert before.called == after.called == later.called == [2.0]


# -- spurious calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Lone.invite_client, Lone.non_invite_client])
def test_a_call_for_nothing_does_nothing(make: object) -> None:
    lone = make(Lone())  # type: ignore[operator]
    lone.sent.clear()
    for _ in range(5):
        lone.transaction.on_timer(lone.now + 0.4)
    assert lone.sent == []
    lone.run(0.6)
    assert len(lone.sent) == 1, "and loses nothing"


# -- timers A to M ----------------------------------------------------------------------------------------

TIMINGS = [Timing(), Timing(t1=0.1, t2=1.0, t4=2.0), Timing(t1=1.0, t2=8.0, t4=10.0)]
every_timing = pytest.mark.parametrize("timing", TIMINGS, ids=lambda timing: f"T1={timing.t1}")


def gaps(times: list[float], start: float) -> list[float]:
    """The waits between events."""
    return [after - before for before, after in zip([start, *times], times, strict=False)]


def assert_waits(observed: list[float], expected: list[float]) -> None:
    """Each wait is as long as it should be, up to one slot longer."""
    assert len(observed) == len(expected), (observed, expected)
    for wait, wanted in zip(observed, expected, strict=True):
        assert wanted <= wait + 1e-6 <= wanted + SLOT + 2e-6, (observed, expected)


def fired(lone: Lone, name: str) -> list[float]:
    return [when for when, given in lone.fed if given == name]


def doubling(first: float, cap: float, total: float) -> list[float]:
    """Waits that double up to a cap, while their sum (and the slots they are late by) is below the total."""
    waits: list[float] = []
    wait = first
    while sum(waits) + wait + SLOT * (len(waits) + 1) < total:
        waits.append(wait)
        wait = min(2 * wait, cap)
    return waits


@every_timing
def test_timer_a_doubles_without_a_cap_until_timer_b(timing: Timing) -> None:
    """RFC 3261 17.1.1.2: T1, 2 T1, 4 T1 ...; B at 64 T1: seven INVITEs in all."""
    lone = Lone(UDP, timing).invite_client()
    start = lone.now
    lone.run(100 * timing.t1)
    waits = gaps(fired(lone, "TIMER_A"), start)
    assert_waits(waits, [timing.t1 * 2**n for n in range(6)])
    assert lone.sent == [b"INVITE of ours"] * 7
    assert_waits(gaps(fired(lone, "TIMER_B"), start), [64 * timing.t1])
    assert lone.told == ["no response: 408"]


@every_timing
def test_timer_e_doubles_up_to_t2_until_timer_f(timing: Timing) -> None:
    """RFC 3261 17.1.2.2: with the default times a request goes out eleven times."""
    lone = Lone(UDP, timing).non_invite_client()
    start = lone.now
    lone.run(100 * timing.t1)
    waits = doubling(timing.t1, timing.t2, 64 * timing.t1)
    assert_waits(gaps(fired(lone, "TIMER_E"), start), waits)
    assert lone.sent == [b"INFO of ours"] * (1 + len(waits))
    assert_waits(gaps(fired(lone, "TIMER_F"), start), [64 * timing.t1])
    assert lone.told == ["no response: 408"]


def test_the_default_times_give_the_numbers_that_the_rfc_gives() -> None:
    """RFC 3261 17.1.2.2: 500 ms, 1 s, 2 s, 4 s, 4 s ... in 32 s."""
    assert doubling(0.5, 4.0, 32.0) == [0.5, 1.0, 2.0] + [4.0] * 7


@every_timing
def test_after_a_provisional_response_timer_e_comes_every_t2(timing: Timing) -> None:
    """RFC 3261 17.1.2.2: the clock that runs is not set anew; from its next beat on it beats every T2."""
    lone = Lone(UDP, timing).non_invite_client()
    start = lone.now
    lone.run(timing.t1 * 0.6)
    lone.transaction.receive(response(183, method=b"INFO"), lone.now)
    lone.run(timing.t1 * 0.8)
    assert len(fired(lone, "TIMER_E")) == 1
    lone.run(100 * timing.t1)
    waits = gaps(fired(lone, "TIMER_E"), start)
    assert_waits(waits, [timing.t1] + [timing.t2] * (len(waits) - 1))
    assert_waits(gaps(fired(lone, "TIMER_F"), start), [64 * timing.t1])


@every_timing
def test_timer_d_is_32_seconds_at_least(timing: Timing) -> None:
    """RFC 3261 17.1.1.2: the server's T1 is not known here, so a short T1 of ours does not shorten D."""
    lone = Lone(UDP, timing).invite_client().in_state("COMPLETED")
    start = lone.now
    lone.run(1000)
    assert_waits(gaps(fired(lone, "TIMER_D"), start), [max(32.0, 64 * timing.t1)])


@every_timing
def test_timer_g_doubles_up_to_t2_until_timer_h(timing: Timing) -> None:
    """RFC 3261 17.2.1: the rejection is repeated for as long as no ACK comes."""
    lone = Lone(UDP, timing).invite_server().in_state("COMPLETED")
    start = lone.now
    lone.run(1000)
    waits = doubling(timing.t1, timing.t2, 64 * timing.t1)
    assert_waits(gaps(fired(lone, "TIMER_G"), start), waits)
    assert lone.sent == [b"486 of ours"] * len(waits)
    assert_waits(gaps(fired(lone, "TIMER_H"), start), [64 * timing.t1])
    assert lone.told == []


@every_timing
@pytest.mark.parametrize("local", [UDP, TCP], ids=["unreliable", "reliable"])
def test_a_2xx_is_repeated_until_timer_l_on_every_transport(local: Local, timing: Timing) -> None:
    """RFC 3261 13.3.1.4: a hop behind a reliable one may have lost it. RFC 6026 7.1: L is 64 T1."""
    lone = Lone(local, timing).invite_server().in_state("ACCEPTED")
    start = lone.now
    lone.run(1000)
    waits = doubling(timing.t1, timing.t2, 64 * timing.t1)
    assert_waits(gaps(fired(lone, "TIMER_G"), start), waits)
    assert lone.sent == [b"200 of ours"] * len(waits)
    assert_waits(gaps(fired(lone, "TIMER_L"), start), [64 * timing.t1])
    assert lone.told == ["no ACK"]


@every_timing
@pytest.mark.parametrize("local", [UDP, TCP], ids=["unreliable", "reliable"])
def test_timer_m_is_64_t1_on_every_transport(local: Local, timing: Timing) -> None:
    """RFC 6026 8.4: 2xx from other branches of a fork may come over a reliable transport as well."""
    lone = Lone(local, timing).invite_client().in_state("ACCEPTED")
    start = lone.now
    lone.run(64 * timing.t1 - 1)
    lone.transaction.receive(response(200, b"other"), lone.now)
    assert lone.told == ["200"]
    lone.run(1000)
    assert_waits(gaps(fired(lone, "TIMER_M"), start), [64 * timing.t1])
    assert lone.gone


LINGERING = {
    "TIMER_I": (Lone.invite_server, "CONFIRMED", lambda timing: timing.t4),
    "TIMER_J": (Lone.non_invite_server, "COMPLETED", lambda timing: 64 * timing.t1),
    "TIMER_J of silence": (Lone.non_invite_server, "SILENT", lambda timing: max(32.0, 64 * timing.t1)),
    "TIMER_K": (Lone.non_invite_client, "COMPLETED", lambda timing: timing.t4),
}


@every_timing
@pytest.mark.parametrize("timer", LINGERING)
def test_timers_i_j_and_k_wait_for_stragglers(timer: str, timing: Timing) -> None:
    """RFC 3261 17.2.1, 17.2.2, 17.1.2.2."""
    make, state, length = LINGERING[timer]
    lone = make(Lone(UDP, timing)).in_state(state)
    start = lone.now
    lone.run(1000)
    assert_waits(gaps(fired(lone, timer.partition(" ")[0]), start), [length(timing)])
    assert lone.gone


@every_timing
@pytest.mark.parametrize("local", [UDP, TCP], ids=["unreliable", "reliable"])
def test_a_server_says_100_when_timer_e_is_at_t2_and_falls_silent_when_timer_f_fires(
    local: Local, timing: Timing
) -> None:
    """RFC 4320 4.1 "without regard to transport", 4.2."""
    waits = doubling(timing.t1, timing.t2, 64 * timing.t1)
    lone = Lone(local, timing).non_invite_server()
    start = lone.now
    lone.run(1000)
    assert_waits(gaps(fired(lone, "LATE"), start), [sum(wait for wait in waits if wait < timing.t2)])
    assert_waits(gaps(fired(lone, "TIMEOUT"), start), [64 * timing.t1])
    [trying] = lone.sent
    assert trying.startswith(b"SIP/2.0 100 Trying\r\n")
    assert lone.gone


@pytest.mark.parametrize(
    ("t1", "t2", "seconds"),
    [(0.5, 4.0, 3.5), (0.5, 5.0, 7.5), (0.5, 0.5, 0.5), (4.0, 4.0, 4.0), (1.0, 1.5, 1.0)],
)
def test_the_time_in_which_timer_e_gets_to_t2_3261_17_1_2_2(t1: float, t2: float, seconds: float) -> None:
    assert Timing(t1, t2).until_t2 == seconds


# -- reliable transports ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (Lone.invite_client, "COMPLETED"),  # D
        (Lone.invite_server, "CONFIRMED"),  # I
        (Lone.non_invite_server, "COMPLETED"),  # J
        (Lone.non_invite_server, "SILENT"),  # J
        (Lone.non_invite_client, "COMPLETED"),  # K
    ],
)
def test_on_a_reliable_transport_nothing_lingers(make: object, state: str) -> None:
    """RFC 3261 table 4: D, I, J and K are 0 s for TCP."""
    lone = make(Lone(TCP)).in_state(state)  # type: ignore[operator]
    lone.run(2 * SLOT)
    assert lone.gone
    assert lone.sent == []


@pytest.mark.parametrize("make", [Lone.invite_client, Lone.non_invite_client])
def test_on_a_reliable_transport_a_request_is_sent_once_and_times_out_all_the_same(make: object) -> None:
    """RFC 3261 17.1.1.2, 17.1.2.2: no timer A or E; B and F as ever."""
    lone = make(Lone(TCP))  # type: ignore[operator]
    lone.run(31.9)
    assert len(lone.sent) == 1
    assert lone.told == []
    lone.run(0.2)
    assert lone.told == ["no response: 408"]
    assert len(lone.sent) == 1


def test_on_a_reliable_transport_a_rejection_is_sent_once_and_waits_for_its_ack_all_the_same() -> None:
    """RFC 3261 17.2.1: no timer G; H as ever."""
    lone = Lone(TCP).invite_server().in_state("COMPLETED")
    lone.run(31.9)
    assert (lone.sent, lone.gone) == ([], False)
    lone.run(0.2)
    assert (lone.sent, lone.gone) == ([], True)
