"""What callees said of unwanted callers, which stood beside the schema before; and the stops of canaries."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    """Make the tables; the one of unwanted callers is there already where a gateway has heard of one."""
    if not sa.inspect(op.get_bind()).has_table("unwanted"):
        op.create_table(
            "unwanted",
            sa.Column("seq", _SEQ, primary_key=True),
            sa.Column("at", sa.Double(), nullable=False),
            *map(_text, ("identity", "role", "callee", "stage")),
            sa.Column("attested", sa.Boolean(), nullable=False),
            _text("trunk"),
        )
        op.create_index("ix_unwanted_at", "unwanted", ["at"])
        op.create_index("ix_unwanted_identity", "unwanted", ["identity"])
    op.create_table(
        "canary_events",
        sa.Column("seq", _SEQ, primary_key=True),
        sa.Column("at", sa.Double(), nullable=False),
        *map(_text, ("event", "rule", "canary", "hash", "author", "why")),
    )
