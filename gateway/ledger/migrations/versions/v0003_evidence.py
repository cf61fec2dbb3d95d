"""What decisions were made by, under which rules; and the rule files that were applied."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns, which records of before leave empty, and the table of the rules."""
    op.add_column("calls", sa.Column("rules_hash", sa.Text(), nullable=False, server_default=""))
    op.add_column("calls", sa.Column("evidence", sa.LargeBinary()))
    op.create_table(
        "rule_versions",
        sa.Column("seq", _SEQ, primary_key=True),
        sa.Column("applied_at", sa.Double(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("hash", "author", "comment", "text")),
    )
