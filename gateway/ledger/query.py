"""Reading the ledger: recent calls, one call, and how many there are.

Every question walks back through time from the call that ended last and stops when it has enough, along the
index that has the fewest calls to walk over: those of the trunk, those that were rewritten, or all. So what
is recent is found quickly, and a number that nobody has called for a month takes its time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.b2bua.record import CallRecord
from gateway.rules.trials import CANARY, REST
from gateway.sip.uri import dialled

from .schema import FIELDS, REWRITTEN, calls, to_record

MOST_CALLS = 1_000_000
"""Records that are read to learn of the past, the newest."""
_COLUMNS = [calls.c[name] for name in FIELDS]
_NEWEST_FIRST = (calls.c.ended_at.desc(), calls.c.seq.desc())


Condition = sa.ColumnElement[bool] | sa.TextClause


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls are meant; what is left out selects nothing away.

    `number` is the end of the caller's or the called number, with or without a leading "+" and separators
    between digits; `trunk` is the caller's or the callee's trunk; `since` is when the call ended at the
    earliest, in seconds since the epoch. A call was `rewritten` when the caller got another status, phrase
    or cause than the far end said.
    """

    rewritten: bool = False
    number: str = ""
    trunk: str = ""
    since: float = 0.0

    def conditions(self) -> list[Condition]:
        """Return the selection in SQL's terms; all of them must hold."""
        column = calls.c
        conditions = self._without_trunk()
        if self.trunk:
            conditions.append(sa.or_(column.caller_trunk == self.trunk, column.callee_trunk == self.trunk))
        return conditions

    def newest(self, limit: int) -> sa.Select[tuple[int]]:
        """Return the query for the `seq` of at most `limit` calls of the selection, and maybe more calls.

        The two sides of a call are asked for apart, because a database walks along one index at a time.
        """
        rest = self._without_trunk()
        if not self.trunk:
            return _walk(rest, limit)
        sides = (calls.c.caller_trunk, calls.c.callee_trunk)
        walks = (_walk([side == self.trunk, *rest], limit).subquery() for side in sides)
        both = sa.union(*(sa.select(walk.c.seq) for walk in walks)).subquery()
        return sa.select(both.c.seq)

    def _without_trunk(self) -> list[Condition]:
        conditions: list[Condition] = []
        if self.since:
            conditions.append(calls.c.ended_at >= self.since)
        if self.rewritten:
            conditions.append(REWRITTEN)
        if self.number:
            end = dialled(self.number.encode()).decode().lstrip("+")
            ends_so = (side.endswith(end, autoescape=True) for side in (calls.c.caller, calls.c.called))
            conditions.append(sa.or_(*ends_so))
        return conditions


def _walk(conditions: list[Condition], limit: int) -> sa.Select[tuple[int]]:
    return sa.select(calls.c.seq).where(*conditions).order_by(*_NEWEST_FIRST).limit(limit)


def recent(connection: sa.Connection, selection: Selection, limit: int) -> list[CallRecord]:
    """Return at most `limit` calls, the one that ended last first."""
    found = calls.c.seq.in_(selection.newest(limit))
    query = sa.select(*_COLUMNS).where(found).order_by(*_NEWEST_FIRST).limit(limit)
    return [to_record(row) for row in connection.execute(query)]


def count(connection: sa.Connection, selection: Selection) -> int:
    """Return how many calls are selected. Without `since` this reads the whole ledger."""
    query = sa.select(sa.func.count()).select_from(calls).where(*selection.conditions())
    return int(connection.execute(query).scalar_one())


def begin_of_newest(connection: sa.Connection, count: int, until: float = math.inf) -> float:
    """Return the time since when at most `count` calls have ended, of those that ended before `until`; 0.0
    where there are no more.
    """
    ended = calls.c.ended_at
    before = ended < until if until < math.inf else sa.true()
    newest = sa.select(ended).where(before).order_by(ended.desc()).offset(count).limit(1)
    return float(connection.execute(newest).scalar() or 0.0)


def by_id(connection: sa.Connection, start: str, limit: int = 10) -> list[CallRecord]:
    """Return the call whose id is `start`, alone; else the newest calls whose id begins so; else none."""
    exact = sa.select(*_COLUMNS).where(calls.c.id == start).order_by(*_NEWEST_FIRST).limit(1)
    found = connection.execute(exact).all()
    if not found and start:
        begins_so = sa.and_(calls.c.id >= start, calls.c.id < start[:-1] + chr(ord(start[-1]) + 1))
        query = sa.select(*_COLUMNS).where(begins_so).order_by(*_NEWEST_FIRST).limit(limit)
        found = connection.execute(query).all()
    return [to_record(row) for row in found]


def by_call_id(connection: sa.Connection, call_id: str, limit: int = 10) -> list[CallRecord]:
    """Return the newest calls of which one leg has this Call-ID; how traces of either leg are joined."""
    either_leg = sa.or_(calls.c.caller_call_id == call_id, calls.c.callee_call_id == call_id)
    query = sa.select(*_COLUMNS).where(either_leg).order_by(*_NEWEST_FIRST).limit(limit)
    return [to_record(row) for row in connection.execute(query)]


def evidence_of(connection: sa.Connection, id_: str) -> bytes | None:
    """Return the blob of `evidence.py` of one call; None when rules were not asked about it."""
    return connection.execute(sa.select(calls.c.evidence).where(calls.c.id == id_)).scalar()


def canary_counts(connection: sa.Connection, since: float) -> dict[tuple[str, str], int]:
    """Return (rule, group) -> calls since then that a canary decided, or would have but for its share.

    Rules in shadow have a "rest", too, so ask for those of canaries only.
    """
    column = calls.c
    found: dict[tuple[str, str], int] = {}
    for group, name, is_it in (
        (CANARY, column.rule, column.mode == CANARY),
        (REST, column.shadow_rule, column.shadow_rule != ""),
    ):
        query = sa.select(name, sa.func.count()).where(column.ended_at >= since, is_it).group_by(name)
        found.update(((rule, group), count) for rule, count in connection.execute(query))
    return found


_DECIDED = (
    "id", "callee_trunk", "caller", "called", "ringing_at", "answered_at", "ended_at", "original_status",
    "emitted_status", "emitted_phrase", "emitted_q850", "origin", "rule", "guard", "shadow_rule",
    "shadow_status", "attempts", "evidence",
)  # fmt: skip


def evidence(
    connection: sa.Connection, selection: Selection, *, others: bool = False
) -> Iterator[tuple[CallRecord, bytes | None]]:
    """Yield each call that rules were asked about, as it arrived, with the blob of `evidence.py`.

    With `others`, all other calls, too, with None instead; rules that count earlier calls need them.
    """
    query = sa.select(*(calls.c[name] for name in _DECIDED)).where(*selection.conditions())
    if not others:
        query = query.where(calls.c.evidence.is_not(None))
    rows = connection.execution_options(yield_per=2000).execute(query.order_by(calls.c.seq))
    for (
        id_, callee, caller, called, ringing, answered, ended, original, status, phrase, q850, origin, rule,
        guard, shadow, said, attempts, blob,
    ) in rows:  # fmt: skip
        record = CallRecord(
            id_, "", "", "", callee, caller, called, 0.0, ringing, answered, ended, original_status=original,
            emitted_status=status, emitted_phrase=phrase, emitted_q850=q850, origin=origin, rule=rule,
            guard=guard, shadow_rule=shadow, shadow_status=said, attempts=attempts,
        )  # fmt: skip
        yield record, blob


def ended_between(
    connection: sa.Connection, start: float, end: float, trunk: str
) -> Iterator[tuple[CallRecord, bytes | None]]:
    """Yield the calls that ended from `start` to before `end`, in order, each with its evidence or None.

    With `trunk`, only those to this trunk. Reading costs about 15 microseconds a call.
    """
    column = calls.c
    names = ("id", "callee_trunk", "caller", "called", "invited_at", "ringing_at", "answered_at", "ended_at",
             "original_status", "original_phrase", "original_q850", "origin", "evidence")  # fmt: skip
    query = sa.select(*(column[name] for name in names))
    query = query.where(column.ended_at >= start, column.ended_at < end).order_by(column.ended_at, column.seq)
    if trunk:
        query = query.where(column.callee_trunk == trunk)
    for row in connection.execution_options(yield_per=2000).execute(query):
        (id_, callee, caller, called, invited, ringing, answered, ended, status, phrase, q850, origin,
         blob) = row  # fmt: skip
        record = CallRecord(
            id_, "", "", "", callee, caller, called, invited, ringing, answered, ended, status, phrase, q850,
            origin=origin,
        )  # fmt: skip
        yield record, blob
