"""The first ledger: one table of calls, found by time and by id."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

_TEXT = sa.Text()
_ID = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS: dict[str, TypeEngine[Any]] = {
    "id": _ID,
    "caller_call_id": _TEXT,
    "callee_call_id": _TEXT,
    "caller_trunk": _TEXT,
    "callee_trunk": _TEXT,
    "caller": _TEXT,
    "called": _TEXT,
    "invited_at": sa.Double(),
    "ringing_at": sa.Double(),
    "answered_at": sa.Double(),
    "ended_at": sa.Double(),
    "original_status": sa.Integer(),
    "original_phrase": _TEXT,
    "original_q850": sa.Integer(),
    "emitted_status": sa.Integer(),
    "emitted_phrase": _TEXT,
    "emitted_q850": sa.Integer(),
    "origin": _TEXT,
    "rule": _TEXT,
    "guard": _TEXT,
    "mode": _TEXT,
    "shadow_rule": _TEXT,
    "shadow_status": sa.Integer(),
    "label": _TEXT,
    "attempts": sa.Integer(),
    "ended_by": _TEXT,
    "end_reason": _TEXT,
}


def upgrade() -> None:
    """Make the table."""
    columns = [sa.Column(name, kind, nullable=False) for name, kind in _COLUMNS.items()]
    op.create_table("calls", sa.Column("seq", _SEQ, primary_key=True), *columns)
    op.create_index("calls_ended_at", "calls", ["ended_at"])
    op.create_index("calls_id", "calls", ["id"])
