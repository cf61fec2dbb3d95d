"""Every row of every state table is taken by a dialogue, not only by a test that feeds its input by hand."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.b2bua.call import Call
from gateway.sip.transaction import InviteClient, InviteServer, NonInviteClient, NonInviteServer
from tests.helpers import Net, establish, hang_up
from tests.tables import DIALOGUES, TABLES, Cell, noting, rows_of

FOLDERS = " or ".join(f"tests/{folder.name}" for folder in DIALOGUES)


@pytest.mark.parametrize("table", TABLES, ids=[table.__name__ for table in TABLES])
def test_dialogues_reach_every_row(table: Any, rows_reached: set[Cell]) -> None:
    missed = sorted(" ".join(row[1:]) for row in rows_of(table) - rows_reached)
    assert not missed, f"no dialogue in {FOLDERS} reaches these rows: {', '.join(missed)}"


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
