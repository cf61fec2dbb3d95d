"""Call records as the core would leave them, for the tests of the ledger and of the commands that read it."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from gateway.b2bua.record import CallRecord
from gateway.ledger.packing import RowMaker
from gateway.ledger.schema import COLUMNS, calls
from gateway.rules import Decision, Facts
from gateway.sip.rows import Rows

NOON = 1_800_000_000.0  # seconds since the epoch, when the calls of these tests take place


class Judged(NamedTuple):
    """Evidence: what a decision was made by, the decision, and the headers that left."""

    facts: Facts
    decision: Decision
    rows: Rows


def rewritten(number: int = 1, **changes: Any) -> CallRecord:
    """A call to a dead number: the carrier said 603, the PBX got 404."""
    facts: dict[str, Any] = {
        "id": f"call-{number:06}",
        "caller_call_id": f"a{number}@pbx.example",
        "callee_call_id": f"b{number}@gw1",
        "caller_trunk": "pbx",
        "callee_trunk": "carrier",
        "caller": "1001",
        "called": "+12155551212",
        "invited_at": NOON + number,
        "ended_at": NOON + number + 0.25,
        "original_status": 603,
        "original_phrase": "Decline",
        "original_q850": 1,
        "emitted_status": 404,
        "emitted_phrase": "Not Found",
        "emitted_q850": 1,
        "origin": "peer",
        "rule": "carrier-dead-number",
        "mode": "enforce",
        "attempts": 1,
        "ended_by": "callee",
        "end_reason": "rejected",
    }
    return CallRecord(**(facts | changes))


def answered(number: int = 1, **changes: Any) -> CallRecord:
    """A call that was answered after 2.5 s and hung up by its caller 65 s later."""
    facts: dict[str, Any] = {
        "ringing_at": NOON + number + 1,
        "answered_at": NOON + number + 2.5,
        "ended_at": NOON + number + 67.5,
        "original_status": 200,
        "original_phrase": "OK",
        "original_q850": 0,
        "emitted_status": 200,
        "emitted_phrase": "OK",
        "emitted_q850": 0,
        "rule": "",
        "mode": "",
        "ended_by": "caller",
        "end_reason": "bye",
    }
    return rewritten(number, **(facts | changes))


def store(connection: sa.Connection, *records: CallRecord) -> None:
    """Put records into a ledger, as its writer would."""
    rows = [dict(zip(COLUMNS, RowMaker()(record), strict=True)) for record in records]
    connection.execute(sa.insert(calls), rows)
