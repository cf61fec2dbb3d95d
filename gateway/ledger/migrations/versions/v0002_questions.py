"""Each record once, and an index for each question of the console."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_REWRITTEN = (
    "original_status > 0 AND emitted_status > 0 AND (original_status <> emitted_status"
    " OR original_phrase <> emitted_phrase OR original_q850 <> emitted_q850)"
)


def upgrade() -> None:
    """Remove doubles, let none come again, and replace the indexes."""
    op.execute("DELETE FROM calls WHERE seq NOT IN (SELECT MIN(seq) FROM calls GROUP BY id)")
    op.drop_index("calls_id", "calls")
    op.create_index("calls_id", "calls", ["id"], unique=True)
    op.drop_index("calls_ended_at", "calls")
    op.create_index("calls_numbers", "calls", ["ended_at", "caller", "called"])
    op.create_index("calls_caller_trunk", "calls", ["caller_trunk", "ended_at"])
    op.create_index("calls_callee_trunk", "calls", ["callee_trunk", "ended_at"])
    where = sa.text(_REWRITTEN)
    op.create_index("calls_rewritten", "calls", ["ended_at"], sqlite_where=where, postgresql_where=where)
    op.execute("DROP TABLE IF EXISTS ledger_version")
