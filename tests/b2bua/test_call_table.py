"""What is not in the call's table is an error of ours; test_rows_reached.py has dialogues reach the rest."""

from __future__ import annotations

import itertools

import pytest

from gateway.b2bua.call import Call
from gateway.b2bua.events import Event, State
from gateway.sip.transaction import ImpossibleInputError
from tests.helpers import Net


@pytest.mark.parametrize(("state", "event"), sorted(set(itertools.product(State, Event)) - set(Call.TABLE)))
def test_what_cannot_happen_is_loud(state: State, event: Event) -> None:
    net = Net()
    net.pbx.invite()
    (call,) = net.core.calls
    call.state = state
    with pytest.raises(ImpossibleInputError, match=f"{event.name} in state {state.name}"):
        call.feed(event, None, net.now)
