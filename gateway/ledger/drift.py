"""Does a trunk still say what it used to? Its finals of the last hour and day against the week before.

Once a minute a thread counts what has come into the ledger since, by trunk, status and Q.850 cause, in
buckets of 15 minutes, and at the start what the last eight days hold. So each record is read once, calls pay
nothing, and a record that the spool gave late is left out.

The measure is the total variation distance: the share of calls that ended otherwise than they would have
before, 0 when nothing changed and 1 when nothing is as it was. It is told in the log once, when what changed
is more than chance explains, and again when the trunk is as it was, or its new way has become the usual one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa
import trio

from . import database
from .lasting import LastingEngine
from .patience import READING, Patience
from .schema import calls
from .scorecard import Shift, kind_of, shifts_of

BUCKET = 900.0
WEEK = 7 * 86400.0
WINDOWS = {"1h": 3600.0, "24h": 86400.0}
"""The times that are compared with the week before them."""
NOTABLE = 0.1
"""The distance from which on a drift is told; it is over below half of that."""
_LEAST_CALLS = 50  # in the window, and in the week before it
_MOST_KINDS = 100  # of one trunk in one bucket
_OTHERS = "others"
_PAUSE = 60.0  # seconds between two looks
_SETTLES = 5.0  # seconds until what has ended is in the database
_SHOWN = 3  # shifts in a line of the log
_BREATH = 0.005  # seconds between two queries, for whoever else wants the processor

Mix = Mapping[str, int]
"""Calls by what became of them."""


def distance(before: Mix, now: Mix) -> float:
    """Return the share of calls that end otherwise than before, from 0 to 1; 0 where one mix is empty."""
    old, new = sum(before.values()), sum(now.values())
    if not old or not new:
        return 0.0
    kinds = before.keys() | now.keys()
    return sum(abs(now.get(kind, 0) / new - before.get(kind, 0) / old) for kind in kinds) / 2


class Mixes:
    """The mixes of all trunks, by buckets of time, for as long as they are compared."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[str, Counter[str]]] = {}

    def add(self, at: float, trunk: str, kind: str, count: int) -> None:
        """Count calls of a trunk that ended so in the bucket of `at`."""
        mix = self._buckets.setdefault(int(at // BUCKET), {}).setdefault(trunk, Counter())
        mix[kind if kind in mix or len(mix) < _MOST_KINDS else _OTHERS] += count

    def forget_before(self, at: float) -> None:
        """Forget the buckets that end before a time."""
        for bucket in [each for each in self._buckets if each < int(at // BUCKET)]:
            del self._buckets[bucket]

    def trunks(self) -> set[str]:
        """Return the trunks that are known."""
        return {trunk for bucket in self._buckets.values() for trunk in bucket}

    def between(self, trunk: str, since: float, until: float) -> Counter[str]:
        """Return the mix of a trunk in a time, which is taken to whole buckets."""
        found: Counter[str] = Counter()
        for bucket in range(int(since // BUCKET), int(until // BUCKET)):
            found.update(self._buckets.get(bucket, {}).get(trunk, ()))
        return found


class Drift(NamedTuple):
    """How far a trunk is from its week before, and the shifts that are more than chance explains."""

    distance: float
    shifts: tuple[Shift, ...]


def drifts(mixes: Mixes, now: float) -> Iterator[tuple[tuple[str, str], Drift]]:
    """Yield the drift of each trunk and window that has enough calls."""
    for window, seconds in WINDOWS.items():
        end = now + BUCKET  # with the bucket that is being filled
        for trunk in sorted(mixes.trunks()):
            recent = mixes.between(trunk, end - seconds, end)
            before = mixes.between(trunk, end - seconds - WEEK, end - seconds)
            if min(recent.total(), before.total()) >= _LEAST_CALLS:
                yield (trunk, window), Drift(distance(before, recent), tuple(shifts_of(before, recent)))


class DriftWatch:
    """Looks for drift in the ledger at `url`. `log` hears when a trunk drifts, and when it is over."""

    def __init__(self, url: str, *, clock: Callable[[], float], log: Callable[[str], None]) -> None:
        self.distances: dict[tuple[str, str], float] = {}
        """(trunk, window) -> distance, of those with enough calls."""
        self._url = url
        self._database = LastingEngine(lambda: database.open_for_reading(url))
        self._clock = clock
        self._log = log
        self._patience = Patience()
        self._mixes = Mixes()
        self._read_until = 0.0
        self._drifting: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Look once a minute, until cancelled."""
        while self._url:
            await trio.sleep(_PAUSE)
            await self.look()
        await trio.sleep_forever()

    async def look(self) -> None:
        """Count what is new, and compare. A database that fails is asked again the next time."""
        try:
            found = await self._patience.run(partial(self._look, self._clock()), READING, grace=0.0)
        except (database.LedgerError, sa.exc.SQLAlchemyError, OSError):
            return  # the writer tells of a database that fails
        self.distances = {key: round(drift.distance, 4) for key, drift in found.items()}
        for key, drift in found.items():
            self._tell(key, drift)

    def _tell(self, key: tuple[str, str], drift: Drift) -> None:
        trunk, window = key
        if key not in self._drifting and drift.distance >= NOTABLE and drift.shifts:
            self._drifting.add(key)
            changes = drift.shifts[:_SHOWN]
            told = ", ".join(f"{each.what} {each.was:.1%} -> {each.now:.1%}" for each in changes)
            self._log(
                f"drift: {drift.distance:.0%} of the calls to trunk {trunk} in the last {window} ended"
                f" otherwise than in the week before: {told}; see gateway scorecard --trunk {trunk} --since"
                f" {window}"
            )
        elif key in self._drifting and drift.distance < NOTABLE / 2:
            self._drifting.discard(key)
            self._log(f"drift: trunk {trunk} ends calls as in the week before, over the last {window}")

    # -- in the worker thread ----------------------------------------------------------------------

    def _look(self, now: float) -> dict[tuple[str, str], Drift]:
        oldest = now - WEEK - max(WINDOWS.values()) - BUCKET
        since, until, turn = max(self._read_until, oldest), now - _SETTLES, self._patience.turn
        with self._database.begin() as connection:
            while since < until:
                end = min((since // BUCKET + 1) * BUCKET, until)
                counts = tuple(_counts(connection, since, end))
                self._patience.check(turn)
                for trunk, kind, count in counts:
                    self._mixes.add(since, trunk, kind, count)
                self._read_until = since = end
                time.sleep(_BREATH)
        self._mixes.forget_before(oldest)
        return dict(drifts(self._mixes, now))


def _counts(connection: sa.Connection, since: float, until: float) -> Iterator[tuple[str, str, int]]:
    """Yield trunk, kind and count of the calls that ended from `since` to before `until`."""
    column = calls.c
    is_answered = column.answered_at > sa.literal_column("0")  # PostgreSQL groups by no parameter
    fields = (column.callee_trunk, column.original_status, column.original_q850, is_answered)
    query = sa.select(*fields, sa.func.count()).group_by(*fields)
    query = query.where(column.ended_at >= since, column.ended_at < until, column.callee_trunk != "")
    for trunk, status, q850, answered, count in connection.execute(query):
        yield trunk, kind_of(status, q850, answered), count
