"""The writer: takes call records on the loop, puts them into the database in a thread.

Theory of operation. `record` appends the record to a list, so a call never waits for a disk; of a few dozen
records, rows are made on the loop, encoded. One row at a time would cost a multiple, for the code would have
to come into the processor's cache for each; and so it would half a second later, and on another core, for
then the data has left it. Ten times a second `run` hands what has gathered, in batches, to a worker thread,
one transaction a batch; `table.py` tells how that gets into which database. A batch leaves the list only when
it is committed, so neither a failure nor a cancellation loses it. What comes meanwhile waits for the next
time: more at once would cost a little less, and be in the way of calls for longer.

Two kinds of failure are told apart. When the *database* fails (locked, read-only, full, gone, of another
version), records go to a file, the spool, and from there into the database when it is back, in order; a
record that gets there twice is kept once. It is tried again each half second, on a fresh connection. What
the spool does not take, since it is full or there is none, stays in the list; the list is bounded, and when
it is full new records are dropped and counted. When the *data* is refused (text that nothing can hold, or not
this database), waiting does not help: such a record is lost, alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from gateway.b2bua.record import CallRecord
from gateway.wall import Wall

from . import database
from .packing import Row, RowMaker
from .patience import Patience
from .spool import LIMIT, Spool
from .table import Table

_PAUSE = 0.1  # seconds between two looks at the list,
_AGAIN = 0.5  # and while the database fails
_ROWS_AT_ONCE = 32  # records whose rows are made together, on the loop
_BATCH = 2000  # records a transaction
_EXPIRY_PAUSE = 60.0  # seconds between two looks for records that are too old
_CLOSE = 5.0  # seconds that close may take
_PATIENCE = 10  # one part of so many of the records that may wait do so before the writer hurries
_CATCH_UP = 10  # batches out of the spool at a time, before new records get their turn
_DAMAGED = "damaged in the spool"

T = TypeVar("T")


class Ledger:
    """A RecordSink that writes to a database.

    `url` is an SQLAlchemy URL; `spool_path` is the file of the spool, if there is to be one, of at most
    `spool_limit` bytes, and `left` finds those that nobody else will read any more; `keep` is how long a
    record is kept after its call ended, in seconds; `limit` is how many records may wait; `rows` makes each
    record's row; `log` gets one line when the database fails and one when it is back; `clock` tells the time
    in seconds since the epoch, as records have it, and `wall` what the ledger makes of it. Raises LedgerError
    when `url` is no URL; a database that cannot be opened raises nothing.
    """

    written: int  # records in the database
    missing: int  # records that the process before this one held when it was killed, at most
    dropped: int  # records that came when the list was full
    failed: int  # records that the database refused, or that were left when it was closed

    def __init__(
        self,
        url: str,
        keep: float,
        *,
        spool_path: Path | None = None,
        spool_limit: int = LIMIT,
        left: Callable[[], Sequence[Path]] = tuple,
        limit: int = 100_000,
        rows: RowMaker | None = None,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        wall: Wall | None = None,
    ) -> None:
        self.written = 0
        self.dropped = 0
        self.failed = 0
        self.missing = 0
        self._spool_path = spool_path
        self._spool_limit = spool_limit
        self._spool: Spool | None = None
        self._left = left
        self._inherited: list[Spool] = []  # that were left, and are removed when they are empty
        self._spool_failing = False
        self._told = 0  # records that, by what the spool was told, are in our hands alone
        self._url = database.parse_url(url)
        self._keep = keep
        self._limit = limit
        self._row_of = (rows or RowMaker()).encoded
        self._log = log
        self._clock = clock
        self._wall = wall or Wall()
        self._fresh: list[CallRecord] = []  # those whose rows are still to be made
        self._queue: list[Row] = []
        self._table = Table(self._url, self._hurries)
        self._failing_since: float | None = None
        self._lost_before = 0
        self._refusal_told = False
        self._patience = Patience()
        self._next_expiry = 0.0
        self._closing = False

    @property
    def waiting(self) -> int:
        """How many records are not yet in the database."""
        return self._held + self.spooled

    @property
    def _held(self) -> int:
        """How many of these are in memory."""
        return len(self._fresh) + len(self._queue)

    @property
    def spooled(self) -> int:
        """How many of these are in the spool."""
        return sum(spool.records for spool in self._spools)

    @property
    def _spools(self) -> list[Spool]:
        """All of which records come, in the order in which they are read."""
        return self._inherited if self._spool is None else [*self._inherited, self._spool]

    @property
    def lag(self) -> float:
        """How many seconds ago the call ended whose record has waited longest; 0 when none waits."""
        if self.spooled:
            oldest = min(spool.oldest for spool in self._spools if spool.records) - self._wall.ahead
        elif self._queue:
            oldest = self._queue[0][0] - self._wall.ahead
        elif self._fresh:
            oldest = self._fresh[0].ended_at
        else:
            return 0.0
        return max(self._clock() - oldest, 0.0)

    def record(self, record: CallRecord) -> None:
        """Take the record of a call that has just ended. Returns at once and never raises."""
        held = self._held + 1
        if held > self._limit:
            self.dropped += 1
            record.evidence = None
            return
        self._fresh.append(record)
        if held > self._told:
            self._tell_unsettled(held + held // 4)  # somewhat ahead, so that not each call costs a write
        if len(self._fresh) >= _ROWS_AT_ONCE:
            self._make_rows()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; started when the database has been opened, or has been found to fail."""
        await self.open()
        task_status.started()
        while True:
            await trio.sleep(_PAUSE if self._failing_since is None else _AGAIN)
            await self.flush()
            await self._expire()

    async def open(self) -> None:
        """Open the spool and the database, or find out that they fail."""
        if self._spool_path is not None and not self._spools:
            self._spool = await self._open_spool(self._spool_path)
            self._tell_unsettled(self._held)
            for path in await trio.to_thread.run_sync(self._left):
                spool = await self._open_spool(path)
                if spool is not None:
                    self._inherited.append(spool)
            await self._let_go_of_empty()
        if self.missing:
            self._log(f"ledger: at most {self.missing} records were lost when the gateway was killed")
        await self._attempt(lambda: self._store([]))

    async def _open_spool(self, path: Path) -> Spool | None:
        """Open a spool, and take note of what was lost with the process before; None if it cannot be used."""
        try:
            spool = await trio.to_thread.run_sync(Spool, path, self._spool_limit)
        except (OSError, ValueError) as error:
            self._log(f"ledger: the spool {path} cannot be used ({database.reason(error)})")
            return None
        self.missing += spool.lost
        self._count_refused([_DAMAGED] * spool.damaged)
        return spool

    async def _let_go_of_empty(self) -> None:
        """Remove the spools of others that have been read to the end."""
        for spool in [each for each in self._inherited if not each.records]:
            self._inherited.remove(spool)
            try:
                await trio.to_thread.run_sync(spool.remove)
            except OSError as error:
                self._log(f"ledger: the spool {spool.path} cannot be removed ({database.reason(error)})")

    async def flush(self, *, abandon_on_cancel: bool = False) -> bool:
        """Write what waits now, and not what comes meanwhile. Returns whether it is out of the way, in the
        database or in the spool.

        A cancellation waits a while for the batch under way, or leaves it to its fate (`abandon_on_cancel`).
        """
        self._make_rows()
        if self.spooled or (self._spool is not None and self._failing_since is not None):
            await self._put_by(abandon_on_cancel)
            if not await self._catch_up(abandon_on_cancel):
                return not self._queue
        left = len(self._queue)
        while left > 0:
            batch = self._queue[: min(left, _BATCH)]
            refused = await self._attempt(partial(self._store, batch), abandon_on_cancel)
            if refused is None:
                await self._put_by(abandon_on_cancel)
                return not self._queue
            self.written += len(batch) - len(refused)
            self._settle(len(batch), refused)
            left -= len(batch)
        return True

    def _make_rows(self) -> None:
        """Make the rows of the records that have come."""
        fresh, self._fresh = self._fresh, []
        for record in fresh:
            try:
                self._queue.append(self._row_of(record))
            except (TypeError, ValueError, OverflowError) as error:
                self._count_refused([database.reason(error)])
            record.evidence = None  # others may keep the record, but not the messages of a call

    async def close(self) -> None:
        """Write what is left and close the database, in at most 5 seconds. Call it once `run` has ended."""
        self._closing, is_done = True, False
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE):
            while not await self.flush(abandon_on_cancel=True):
                await trio.sleep(_AGAIN)
            is_done = True  # else a thread may still be at the spools
        if self.spooled:
            where = ", ".join(str(spool.path) for spool in self._spools if spool.records)
            self._log(f"ledger: {self.spooled} records wait in {where} for the next start")
        self._make_rows()  # of what came while the last batch was written
        if self._queue:
            self.failed += len(self._queue)
            self._log(f"ledger: {len(self._queue)} records were lost at the end; free or repair the database")
            self._queue.clear()
            self._tell_unsettled(0)  # they have been told of
        if is_done:
            for spool in self._spools:
                spool.close()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._table.close)

    async def _put_by(self, abandon_on_cancel: bool) -> None:
        """Move what waits now from the list to the spool, as many records as it takes."""
        left = len(self._queue)
        while left > 0 and self._spool is not None:
            batch = self._queue[: min(left, _BATCH)]
            try:
                is_kept = await trio.to_thread.run_sync(
                    self._spool.append, batch, abandon_on_cancel=abandon_on_cancel
                )
            except OSError as error:
                is_kept = False
                if not self._spool_failing:
                    self._log(
                        f"ledger: the spool {self._spool_path} cannot be written ({database.reason(error)}); "
                        f"up to {self._limit} records wait in memory"
                    )
            self._spool_failing = not is_kept
            if not is_kept:
                return
            self._settle(len(batch), [])
            left -= len(batch)

    async def _catch_up(self, abandon_on_cancel: bool) -> bool:
        """Write some of what is in the spool. Returns whether the spool is empty and the database at work."""
        for _ in range(_CATCH_UP):
            if not self.spooled:
                break
            before = self.spooled
            spool = next(each for each in self._spools if each.records)
            refused = await self._attempt(partial(self._store_spooled, spool), abandon_on_cancel)
            if refused is None:
                return False
            self.written += before - self.spooled - len(refused)
            self._count_refused(refused)
            await self._let_go_of_empty()
        return not self.spooled

    async def _attempt(
        self, store: Callable[[], list[str]], abandon_on_cancel: bool = False
    ) -> list[str] | None:
        """Store a batch in a thread. Returns why records of it were refused; None when all must wait."""
        try:
            refused = await self._in_thread(store, abandon_on_cancel)
        except Exception as error:  # whatever a driver raises costs records, never calls
            self._table.disconnect()
            self._note_failure(error)
            return None
        self._note_success()
        return refused

    async def _in_thread(self, work: Callable[[], T], abandon_on_cancel: bool = False) -> T:
        """Have a thread use the database. Raises what it raises, and TimeoutError when it takes too long: a
        server that keeps the connection and says nothing. The thread is left to its fate then, and the
        table to it; what it commits in the end is there twice and kept once.
        """
        try:
            return await self._patience.run(work, grace=0.0 if abandon_on_cancel else _CLOSE)
        except TimeoutError:
            self._table.abandon()
            self._table = Table(self._url, self._hurries)
            raise

    def _settle(self, count: int, refused: Sequence[str]) -> None:
        """Let go of the first records of the list: they are in other hands, or cannot be stored."""
        del self._queue[:count]
        self._tell_unsettled(self._held)
        self._count_refused(refused)

    def _tell_unsettled(self, count: int) -> None:
        """Have the spool say to the next process how many records, at most, are lost with this one."""
        self._told = count
        if self._spool is not None:
            self._spool.note_unsettled(count)

    def _count_refused(self, refused: Sequence[str]) -> None:
        self.failed += len(refused)
        if refused and not self._refusal_told:
            self._refusal_told = True
            self._log(f"ledger: a record was refused ({refused[0]}); more like it are only counted")

    async def _expire(self) -> None:
        """Delete, now and then, a small batch of records that are too old; at once again if more are left."""
        now = self._clock()
        if now < self._next_expiry or not self._table.is_open:
            return
        self._next_expiry = now + _EXPIRY_PAUSE
        try:
            oldest = self._wall.least(now) - self._keep
            deleted = await self._in_thread(partial(self._table.delete_before, oldest, _BATCH))
        except Exception as error:
            self._table.disconnect()
            self._note_failure(error)
            return
        if deleted == _BATCH:
            self._next_expiry = now

    def _hurries(self) -> bool:
        """Tell whether records come faster than they are written at leisure, or it is time to close."""
        return self._closing or len(self._queue) > self._limit // _PATIENCE

    # -- in the worker thread ----------------------------------------------------------------------

    def _store(self, batch: Sequence[Row]) -> list[str]:
        """Write a batch; return why records of it were refused. Raises when the database fails."""
        return self._table.insert([values for _, values in batch])

    def _store_spooled(self, spool: Spool) -> list[str]:
        """Write the batch that has waited longest in a spool, as `_store` does."""
        table, turn = self._table, self._patience.turn
        table.open()
        damaged = spool.damaged
        rows = spool.first()
        refused = [_DAMAGED] * (spool.damaged - damaged) + table.insert(rows)
        if rows and self._patience.is_awaited(turn):  # else somebody else does it by now
            spool.forget_first(len(rows))
        return refused

    # -- what people are told ----------------------------------------------------------------------

    def _note_failure(self, error: Exception) -> None:
        if self._failing_since is not None:
            return
        self._failing_since = self._clock()
        self._lost_before = self.dropped + self.failed
        problem = str(error)
        if not isinstance(error, database.LedgerError):
            problem = f"{database.shown(self._url)} cannot be written ({database.reason(error)})"
        where = f"up to {self._limit} records wait"
        if self._spool is not None:
            where = f"records wait in {self._spool_path}"
        self._log(f"ledger: {problem}; calls go on, and {where}")

    def _note_success(self) -> None:
        if self._failing_since is None:
            return
        lasted = self._clock() - self._failing_since
        lost = self.dropped + self.failed - self._lost_before
        self._failing_since = None
        shown = database.shown(self._url)
        self._log(f"ledger: {shown} is written again after {lasted:.0f} s; {lost} records were lost")
