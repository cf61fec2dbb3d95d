"""The tables of what the gateway speaks by itself on a leg, tried in full, as the call's is."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest

from gateway.b2bua import liveness, reliable, session_timer
from gateway.b2bua.call import Call
from gateway.b2bua.leg import Leg
from gateway.b2bua.liveness import DialogPing
from gateway.b2bua.reliable import Sender
from gateway.b2bua.session_timer import SessionTimer
from gateway.sip.transaction import ImpossibleInputError
from tests.b2bua import test_liveness, test_reliable_local, test_session_refresh, test_session_timer

Dialogues = list[Callable[[], None]]
MACHINES: list[tuple[type[Any], type[IntEnum], type[IntEnum], Dialogues]] = [
    (
        Sender,
        reliable.State,
        reliable.Input,
        [
            test_reliable_local.test_one_is_out_at_a_time_and_the_others_wait_their_turn_3262_3,
            test_reliable_local.test_it_is_repeated_at_doubled_intervals_until_its_prack_3262_3,
            test_reliable_local.test_a_caller_that_never_acknowledges_is_rejected_after_64_t1_3262_3,
            test_reliable_local.test_the_answer_does_not_wait_for_the_prack_of_mere_ringing_3262_3,
        ],
    ),
    (
        SessionTimer,
        session_timer.State,
        session_timer.Input,
        [
            test_session_timer.test_the_caller_is_refreshed_by_what_it_takes_4028_7_4,
            test_session_refresh.test_a_peer_that_does_not_refresh_in_time_is_hung_up_4028_10,
            test_session_refresh.test_a_reinvite_that_only_rings_ends_the_call_when_the_session_expires_4028_10,
            test_session_refresh.test_whoever_refuses_a_refresh_is_alive_and_asked_again_5057_5_3,
            test_session_refresh.test_glare_without_end_is_no_refresh_4028_10,
            test_session_refresh.test_a_refresh_that_is_too_short_for_the_peer_now_is_raised_4028_7_3,
            test_session_refresh.test_silence_ends_the_call_on_both_sides_4028_10,
        ],
    ),
    (
        DialogPing,
        liveness.State,
        liveness.Input,
        [
            test_liveness.test_silence_ends_the_call_on_both_sides_5057_5_1,
            test_liveness.test_a_transport_that_is_broken_for_a_moment_ends_nothing,
        ],
    ),
]


@pytest.mark.parametrize(
    ("machine", "dialogues"), [(machine, dialogues) for machine, _, _, dialogues in MACHINES]
)
def test_dialogues_reach_every_cell_of_the_table(
    machine: type[Any], dialogues: Dialogues, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: set[tuple[IntEnum, IntEnum]] = set()
    feed = machine.feed

    def note(one: Any, given: IntEnum, detail: Any, now: float) -> None:
        reached.add((one.state, given))
        feed(one, given, detail, now)

    monkeypatch.setattr(machine, "feed", note)
    for dialogue in dialogues:
        dialogue()
    assert reached == set(machine.TABLE)


@pytest.mark.parametrize(
    ("machine", "state", "given"),
    [
        (machine, state, given)
        for machine, states, inputs, _ in MACHINES
        for state, given in sorted(set(itertools.product(states, inputs)) - set(machine.TABLE))
    ],
)
def test_what_cannot_happen_is_loud(machine: type[Any], state: IntEnum, given: IntEnum) -> None:
    one = machine.__new__(machine)
    one.state = state
    with pytest.raises(ImpossibleInputError, match=f"{given.name} in state {state.name}"):
        one.feed(given, None, 0.0)


@pytest.mark.parametrize("dialogues", [dialogues for *_, dialogues in MACHINES])
def test_calls_that_have_ended_need_no_garbage_collector(dialogues: Dialogues) -> None:
    """What a leg has of its own refers to the leg, and goes with it."""
    gc.collect()
    gc.disable()
    try:
        for dialogue in dialogues:
            dialogue()
        left = [item for item in gc.get_objects() if isinstance(item, (Call, Leg))]
    finally:
        gc.enable()
    assert left == []
