"""The call's table, tried in full: dialogues reach each cell, and a missing cell is an error of ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from gateway.b2bua.call import Call
from gateway.b2bua.events import Event, State
from gateway.sip.transaction import ImpossibleInputError
from tests.b2bua import (
    test_answer,
    test_bye,
    test_cancel,
    test_liveness,
    test_parallel,
    test_reinvite,
    test_rejection,
    test_reliable_local,
    test_setup,
    test_timeouts,
)
from tests.helpers import Net

DIALOGUES: list[Callable[[], None]] = [
    test_setup.test_a_fork_behind_the_callee_is_several_early_dialogs_for_the_caller_3261_12_1_2,
    test_answer.test_a_lost_ack_ends_the_call_on_both_legs_after_64_t1_3261_13_3_1_4,
    test_rejection.test_a_rejection_after_ringing_keeps_the_tag_of_the_early_dialog,
    test_rejection.test_a_603_for_a_dead_number_reaches_the_caller_as_404,
    test_cancel.test_before_any_provisional_the_cancel_waits_for_one_3261_9_1,
    test_cancel.test_after_180,
    test_bye.test_the_caller_hangs_up,
    test_bye.test_a_bye_that_overtakes_the_ack_still_acknowledges_the_answer,
    test_bye.test_both_sides_hang_up_at_once,
    test_bye.test_a_challenged_bye_before_the_ack_leaves_the_call_standing,
    test_timeouts.test_a_callee_that_is_silent_after_100_is_given_the_ring_timeout,
    test_timeouts.test_a_target_that_only_rings_is_cancelled_and_left_for_the_next_one,
    test_timeouts.test_max_duration_hangs_up_both_sides,
    test_timeouts.test_max_duration_before_the_ack_settles_the_answer_first,
    test_reliable_local.test_a_caller_that_never_acknowledges_is_rejected_after_64_t1_3262_3,
    test_reliable_local.test_a_caller_that_never_acknowledges_is_rejected_after_the_target_that_rang_was_left,
    test_liveness.test_silence_ends_the_call_on_both_sides_5057_5_1,
    test_parallel.test_the_caller_waits_for_the_best_of_the_rejections_3261_16_7_step_6,
    lambda: test_reinvite.test_the_lost_ack_of_a_reinvite_ends_the_call_on_both_legs_3261_14_2("caller"),
]


def test_dialogues_reach_every_cell_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[tuple[State, Event]] = set()
    feed = Call.feed

    def note(call: Call, event: Event, detail: Any, now: float) -> None:
        reached.add((call.state, event))
        feed(call, event, detail, now)

    monkeypatch.setattr(Call, "feed", note)
    for dialogue in DIALOGUES:
        dialogue()
    assert reached == set(Call.TABLE)


@pytest.mark.parametrize(("state", "event"), sorted(set(itertools.product(State, Event)) - set(Call.TABLE)))
def test_what_cannot_happen_is_loud(state: State, event: Event) -> None:
    net = Net()
    net.pbx.invite()
    (call,) = net.core.calls
    call.state = state
    with pytest.raises(ImpossibleInputError, match=f"{event.name} in state {state.name}"):
        call.feed(event, None, net.now)
