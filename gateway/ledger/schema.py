"""The ledger's tables.

`calls` has one column for each field of :class:`~gateway.b2bua.record.CallRecord`, under the same name, and
`seq`, the order of arrival; `rule_versions` has a row for each rule file that was applied, `canary_events`
one for each time that a canary was stopped or enabled, `unwanted` one for each word about a caller. The
tables are made by the files in `migrations`; here they are described for those who read and write them.

An index on values that arrive in no order (numbers, random ids) costs SQLite about 18 microseconds a record
once it holds half a million, because each row dirties a page of its own; an index on values that rise costs
0.3. So every index here begins with a value that rises: `ended_at`, since a record is written when its call
ends, `id`, whose first digits are the time, or one of the few trunks and then the time. A search by number
walks back through time in an index that holds the numbers, too, so that it reads a tenth of what is there.

`id` is unique: a batch that is written again, because the answer to its commit was lost, adds nothing.
"""

from __future__ import annotations

import sqlalchemy as sa

from gateway.b2bua.record import CallRecord

REVISION = "0004"
"""The version of this schema: the number of the last file in `migrations`."""

metadata = sa.MetaData()

# Byte order, so that a range of the index is a prefix search on every database (SQLite has it by default).
_Id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_Seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _time(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


REWRITTEN = sa.text(
    "original_status > 0 AND emitted_status > 0 AND (original_status <> emitted_status"
    " OR original_phrase <> emitted_phrase OR original_q850 <> emitted_q850)"
)
"""Whether the caller got another status, phrase or cause than the far end said. An index is made of such
calls, which databases use only for a condition that has these very words.
"""

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
    sa.Index("calls_id", "id", unique=True),
    sa.Index("calls_numbers", "ended_at", "caller", "called"),
    sa.Index("calls_caller_trunk", "caller_trunk", "ended_at"),
    sa.Index("calls_callee_trunk", "callee_trunk", "ended_at"),
    sa.Index("calls_rewritten", "ended_at", sqlite_where=REWRITTEN, postgresql_where=REWRITTEN),
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

canary_events = sa.Table(
    "canary_events",
    metadata,
    sa.Column("seq", _Seq, primary_key=True),
    _time("at"),
    *map(_text, ("event", "rule", "canary", "hash", "author", "why")),
)

unwanted = sa.Table(
    "unwanted",
    metadata,
    sa.Column("seq", _Seq, primary_key=True),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("identity", sa.Text, nullable=False, index=True),
    _text("role"),
    _text("callee"),
    _text("stage"),
    sa.Column("attested", sa.Boolean, nullable=False),
    _text("trunk"),
)

COLUMNS: tuple[str, ...] = tuple(str(column.name) for column in calls.columns if column.name != "seq")
"""What the writer fills: the fields of a CallRecord, in the order of the columns."""

FIELDS: tuple[str, ...] = COLUMNS[:-1]
"""All of them but the evidence, which is packed."""


def to_record(row: sa.Row[tuple[object, ...]]) -> CallRecord:
    """Return the record in a row that holds the columns of `FIELDS`."""
    return CallRecord(**row._mapping)


def empty_value(column: sa.Column[object]) -> object:
    """Return what stands in a column for a record that was made before there was such a column."""
    if column.nullable:
        return None
    return "" if isinstance(column.type, sa.Text) else 0
