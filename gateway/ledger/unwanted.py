"""The table of unwanted calls: a row for each identity that a callee's word was about (`rules/unwanted.py`).

It is written by the gateway and by `gateway unwanted remove`; whoever keeps counts of it looks at its
`stamp` to see that somebody else has changed it.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from gateway.rules.unwanted import Entry
from gateway.sip.uri import dialled

from .schema import unwanted as _table

MOST = 200_000
"""Rows that are kept; beyond them the oldest go."""

Stamp = tuple[int, int]
"""The number of rows, and the highest `seq`."""

_COLUMNS = [_table.c[name] for name in Entry.__struct_fields__]


def add(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    """Keep entries."""
    rows = [{name: getattr(entry, name) for name in Entry.__struct_fields__} for entry in entries]
    connection.execute(sa.insert(_table), rows)


def read(connection: sa.Connection, since: float, identity: str = "", callee: str = "") -> list[Entry]:
    """Return entries from `since` on, the oldest first; of one identity, or by one callee, if it is given.
    Numbers may be given with separators.
    """
    query = sa.select(*_COLUMNS).where(_table.c.at >= since).order_by(_table.c.at, _table.c.seq)
    for column, wanted in ((_table.c.identity, identity), (_table.c.callee, callee)):
        if wanted:
            query = query.where(column == _kept_as(wanted))
    return [Entry(**row._mapping) for row in connection.execute(query)]


def remove(connection: sa.Connection, identity: str, callee: str = "") -> int:
    """Forget what was said of an identity, by one callee or by all; return how many entries that was."""
    query = sa.delete(_table).where(_table.c.identity == _kept_as(identity))
    if callee:
        query = query.where(_table.c.callee == _kept_as(callee))
    return connection.execute(query).rowcount


def _kept_as(name: str) -> str:
    """Return a number or user@host as it is kept."""
    return dialled(name.encode()).decode()


def expire(connection: sa.Connection, before: float) -> None:
    """Delete entries from before a time, and the oldest of more than `MOST`."""
    connection.execute(sa.delete(_table).where(_table.c.at < before))
    too_old = sa.select(_table.c.seq).order_by(_table.c.seq.desc()).offset(MOST).limit(1).scalar_subquery()
    connection.execute(sa.delete(_table).where(_table.c.seq <= too_old))


def stamp(connection: sa.Connection) -> Stamp:
    """Return what changes whenever the table does."""
    rows, last = connection.execute(sa.select(sa.func.count(), sa.func.max(_table.c.seq))).one()
    return int(rows), int(last or 0)
