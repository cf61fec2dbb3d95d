"""Every row of every state table is taken by a dialogue, not only by a test that feeds its input by hand."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.b2bua.call import Call
from gateway.sip.transaction import InviteClient, InviteServer, NonInviteClient, NonInviteServer
from tests.helpers import Net, establish, hang_up
from tests.sip import test_tables
from tests.tables import DIALOGUES, TABLES, Cell, noting, rows_of

FOLDERS = " or ".join(f"tests/{folder.name}" for folder in DIALOGUES)

# What no message and no timer can bring about, as the gateway around the transactions is built. These rows
# guard against a mistake of ours, and tests/sip/test_tables.py tries each of them by hand.
_ONCE = "whoever answers a request answers it once"
_BROKEN = "a broken transport is told to clients; a response that got lost is asked for again (RFC 6026 8.8)"
_DIALOG = "the endpoint gives the ACK of a 2xx to its dialog"
BY_HAND: dict[Cell, str] = {
    ("InviteServer", "ACCEPTED", "ACK"): _DIALOG,
    **{
        ("InviteServer", state, given): _ONCE
        for state in ("COMPLETED", "ACCEPTED")
        for given in ("PROVISIONAL", "SUCCESS", "FAILURE")
    },
    ("NonInviteServer", "COMPLETED", "FINAL"): _ONCE,
    **{
        ("InviteServer", state, "TRANSPORT_ERROR"): _BROKEN
        for state in ("PROCEEDING", "COMPLETED", "CONFIRMED", "ACCEPTED")
    },
    **{
        ("NonInviteServer", state, "TRANSPORT_ERROR"): _BROKEN
        for state in ("TRYING", "PROCEEDING", "COMPLETED", "SILENT")
    },
}


@pytest.mark.parametrize("table", TABLES, ids=[table.__name__ for table in TABLES])
def test_dialogues_reach_every_row(table: Any, rows_reached: set[Cell]) -> None:
    missed = sorted(" ".join(row[1:]) for row in rows_of(table) - rows_reached - BY_HAND.keys())
    assert not missed, f"no dialogue in {FOLDERS} reaches these rows: {', '.join(missed)}"


def test_rows_that_are_tried_by_hand_are_reached_in_no_other_way(rows_reached: set[Cell]) -> None:
    assert not BY_HAND.keys() & rows_reached, "a dialogue reaches them now: take them out of BY_HAND"


def test_rows_that_are_tried_by_hand_are_tried() -> None:
    tried = {
        (name.title().replace("_", ""), step.state, step.given)
        for name, steps in test_tables.TABLES.items()
        for step in steps
    }
    assert BY_HAND.keys() <= tried


def test_all_tables_of_the_gateway_are_found() -> None:
    assert {Call, InviteClient, InviteServer, NonInviteClient, NonInviteServer} <= set(TABLES)


def test_what_a_dialogue_reaches_is_noted_and_nothing_afterwards() -> None:
    reached: set[Cell] = set()
    with noting(reached):
        hang_up(*establish(Net()))
    assert {
        ("Call", "CALLING", "ANSWERED"),
        ("Call", "ANSWERED", "ACKED"),
        ("Call", "TALKING", "BYE"),
    } <= reached
    assert ("Call", "CALLING", "CANCELLED") not in reached
    before = set(reached)
    net = Net()
    net.pbx.cancel(net.pbx.invite())
    assert reached == before
