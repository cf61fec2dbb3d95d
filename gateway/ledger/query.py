"""Reading the ledger: recent calls, one call, and how many there are.

Every question walks back through time from the call that ended last and stops when it has enough, along the
index that has the fewest calls to walk over: those of the trunk, those that were rewritten, or all. So what
is recent is found quickly, and a number that nobody has called for a month takes its time.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from gateway.b2bua.record import CallRecord

from .schema import FIELDS, REWRITTEN, calls, to_record

_COLUMNS = [calls.c[name] for name in FIELDS]
_NEWEST_FIRST = (calls.c.ended_at.desc(), calls.c.seq.desc())


Condition = sa.ColumnElement[bool] | sa.TextClause


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls are meant; what is left out selects nothing away.

    `number` is the end of the caller's or the called number, with or without a leading "+"; `trunk` is the
    caller's or the callee's trunk; `since` is when the call ended at the earliest, in seconds since the
    epoch. A call was `rewritten` when the caller got another status, phrase or cause than the far end said.
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
            end = self.number.lstrip("+")
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
