"""The ledger's tables.

`calls` has one column for each field of :class:`~gateway.b2bua.record.CallRecord`, under the same name, and
`seq`, the order of arrival. `rule_versions` holds each rule file that was applied. Two things about `calls`
want a reason:

- An index on values that arrive in no order (numbers, random ids) costs SQLite about 18 microseconds a record
  once it holds half a million, because each row dirties a page of its own; an index on values that rise costs
  0.3. So there is one on `ended_at`, which rises since a record is written when its call ends, and one on
  `id`, which is cheap as long as ids rise too. A search by number walks back through time instead.
- No column is unique but `seq`: a batch that is written again, because the answer to its commit was lost,
  leaves a harmless double instead of an error for ever.

`ledger_version` holds one row, the version of this schema, so that a later gateway knows what it has found.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from gateway.b2bua.record import CallRecord

SCHEMA_VERSION = 2

metadata = sa.MetaData()

# Byte order, so that a range of the index is a prefix search on every database (SQLite has it by default).
_Id = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_Seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _time(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


calls = sa.Table(
    "calls",
    metadata,
    sa.Column("seq", _Seq, primary_key=True),
    sa.Column("id", _Id, nullable=False),
    _text("caller_call_id"),
    _text("callee_call_id"),
    _text("caller_trunk"),
    _text("callee_trunk"),
    _text("caller"),
    _text("called"),
    _time("invited_at"),
    _time("ringing_at"),
    _time("answered_at"),
    _time("ended_at"),
    _whole("original_status"),
    _text("original_phrase"),
    _whole("original_q850"),
    _whole("emitted_status"),
    _text("emitted_phrase"),
    _whole("emitted_q850"),
    _text("origin"),
    _text("rule"),
    _text("guard"),
    _text("mode"),
    _text("shadow_rule"),
    _whole("shadow_status"),
    _text("label"),
    _whole("attempts"),
    _text("ended_by"),
    _text("end_reason"),
    _text("rules_hash"),
    sa.Column("evidence", sa.LargeBinary),  # what the decision was made by (`evidence.py`); NULL without one
    sa.Index("calls_ended_at", "ended_at"),
    sa.Index("calls_id", "id"),
)

rule_versions = sa.Table(
    "rule_versions",
    metadata,
    sa.Column("seq", _Seq, primary_key=True),
    _time("applied_at"),
    _text("hash"),
    _text("author"),
    _text("comment"),
    _text("text"),
)

version = sa.Table("ledger_version", metadata, sa.Column("version", sa.Integer, nullable=False))

COLUMNS: tuple[str, ...] = tuple(column.name for column in calls.columns if column.name != "seq")
"""What the writer fills, in order."""

FIELDS: tuple[str, ...] = COLUMNS[:-1]
"""The fields of a CallRecord that stand in columns of their own; all but the evidence."""


def to_record(row: sa.Row[tuple[object, ...]]) -> CallRecord:
    """Return the record in a row that holds the columns of `FIELDS`."""
    return CallRecord(**row._mapping)
