"""What the ledger knows of the past, for rules that count earlier calls; and the keeping of unwanted calls.

`Historian` owns the `History` of the loaded rules. It counts from the moment on when the rules are loaded,
and at leisure, in a thread, reads what was before out of the ledger. Until that is done rules that need the
whole window do not match. Feedback about unwanted calls is counted at once and written every few seconds.

Of several workers each has a `Historian`, which is told what the others see; the first one alone writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

import msgspec
import sqlalchemy as sa
import trio

from gateway.rules.history import FinishedCall, Hide, History, Watch
from gateway.rules.unwanted import CALLER, Entry, Feedback, entries
from gateway.wall import Wall

from . import database, unwanted
from .hiding import is_hidden
from .patience import READING, Patience
from .query import MOST_CALLS, begin_of_newest
from .schema import calls

_SETTLES = 2.0  # seconds until what has ended before is in the database
_PAUSE = 5.0  # seconds between two looks
_EXPIRY_PAUSE = 3600.0
_MOST_WAITING = 10_000  # entries
_CLOSE = 2.0
_ROWS = 500  # read at a time; then the loop gets its turn

_FIELDS = (
    "caller", "called", "callee_trunk", "ringing_at", "answered_at", "original_status", "origin", "attempts",
)  # fmt: skip


def read_history(
    connection: sa.Connection,
    watches: Iterable[Watch],
    until: float,
    *,
    ahead: float = 0.0,
    pause: float = 0.0,
    hide: Hide | None = None,
    as_kept: bool = False,
) -> History:
    """Return what the ledger knows of the time before `until`, pausing so many seconds now and then. Times
    of the ledger are `ahead` of those of the caller by so many seconds.

    `hide` is how the ledger hides numbers, None where it keeps them. Numbers that it has hidden before say
    nothing to whoever comes with a number; so of the time until the last of these nothing is known, unless
    the numbers are asked for `as_kept`, as they stand in the ledger.
    """
    wanted = tuple(watches)
    begin = until - max(watch.window for watch in wanted) * 1.1
    ended = calls.c.ended_at
    first = connection.execute(sa.select(sa.func.min(ended))).scalar()
    begin = max(begin, begin_of_newest(connection, MOST_CALLS, until + ahead) - ahead)
    history = History(wanted, until if first is None else max(first - ahead, begin), hide=hide)
    hidden_until = 0.0
    if any(watch.what == "calls" or watch.subject != "caller" for watch in wanted):
        rows = (
            sa.select(*(calls.c[name] for name in _FIELDS), (ended - ahead).label("ended_at"))
            .where(ended >= begin + ahead, ended < until + ahead)
            .order_by(ended)
        )
        with connection.execution_options(yield_per=_ROWS).execute(rows) as result:
            for part in result.partitions():
                for row in part:
                    call: FinishedCall = row  # its columns are these fields, and `ended_at`
                    history.record(call)
                    if hide is None and (is_hidden(call.called) or is_hidden(call.caller)):
                        hidden_until = call.ended_at
                time.sleep(pause)
    if hidden_until and not as_kept:
        history.forget_numbers_before(hidden_until)
    for entry in unwanted.read(connection, begin + ahead):
        if entry.role == CALLER and entry.at - ahead < until:
            history.unwanted((entry.identity,), entry.callee, entry.attested, entry.at - ahead)
    return history


class Historian:
    """Keeps the history that rules ask for, and what callees say of callers.

    `url` is the ledger's; "" keeps both in memory only. `keep` is how long feedback is kept, in seconds;
    `lists` tells whether it is kept for each callee. `hide` is how the ledger hides numbers, None where it
    keeps them. `log` gets one line when the database fails and when it is back. `writes` is False where
    another process keeps feedback; `on_change` is called where somebody else has changed what is kept of it.
    `clock` is that of calls; the ledger goes by `wall`.
    """

    dropped: int  # entries that came when too many waited

    def __init__(
        self,
        url: str,
        keep: float,
        lists: bool,
        *,
        clock: Callable[[], float],
        log: Callable[[str], None],
        hide: Hide | None = None,
        writes: bool = True,
        wall: Wall | None = None,
    ) -> None:
        self.history: History | None = None
        self.dropped = 0
        self.on_change: Callable[[], None] = lambda: None
        self._writes = writes
        self._url = url
        self._keep = keep
        self._lists = lists
        self._clock = clock
        self._log = log
        self._hide = hide
        self._wall = wall or Wall()
        self._told_of_hidden = False
        self._waiting: list[Entry] = []
        self._unread: frozenset[Watch] = frozenset()  # what the ledger has still to be asked about
        self._begun = 0.0  # when these began to be counted
        self._engine: sa.Engine | None = None
        self._patience = Patience()
        self._stamp: unwanted.Stamp | None = None
        self._expires_at = 0.0
        self._is_failing = False

    def configure(self, watches: frozenset[Watch]) -> History | None:
        """Count what these rules ask for from now on; None when they ask for nothing."""
        older, now = self.history, self._clock()
        known = {} if older is None else dict(older.series)
        for watch in self._unread:
            known.pop(watch, None)
        self.history = History(watches, now, known, self._hide, late=True) if watches else None
        self._unread = frozenset() if self.history is None else frozenset(self.history.series.keys() - known)
        self._begun = now
        return self.history

    def feedback(self, feedback: Feedback) -> None:
        """Take one callee's word: count it now, and keep it for later."""
        callee = feedback.callee if self._lists else ""
        if self.history is not None:
            self.history.unwanted(feedback.callers, callee, feedback.attested, feedback.at)
        if not self._url or not self._writes:
            return
        told = msgspec.structs.replace(feedback, at=self._wall.shows(feedback.at))
        for entry in entries(told, callee):
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append(entry)
            else:
                self.dropped += 1

    def read_feedback_anew(self) -> None:
        """Forget what callees said, and read it again: what is kept of it has been changed."""
        if self.history is not None:
            self._read_anew(self.history.on_feedback)

    def missed(self) -> None:
        """Take note that calls have ended of which nothing will be heard: read them, where they are kept."""
        if self.history is None:
            return
        if self._url:
            self._read_anew(frozenset(self.history.series))
        else:
            self.history.miss(self._clock())

    async def run(self) -> None:
        """Read and write until cancelled."""
        while self._url:
            await trio.sleep(_SETTLES if self._unread else _PAUSE)
            await self.work()
        await trio.sleep_forever()

    async def work(self) -> None:
        """Write what waits, and read what has to be read. A database that fails is asked again later."""
        try:
            if self._writes:
                await self._write()
            await self._read()
        except Exception as error:  # whatever a driver raises costs counts, never calls
            self._disconnect()
            if not self._is_failing:
                self._is_failing = True
                self._log(f"history: the ledger fails ({database.reason(error)}); rules go by what was seen")
            return
        if self._is_failing:
            self._is_failing = False
            self._log("history: the ledger is there again")

    async def close(self) -> None:
        """Write what waits, in at most 2 seconds. Call it once `run` has ended."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE):
            if self._url:
                await self.work()
        self._disconnect()

    async def _write(self) -> None:
        batch = tuple(self._waiting)
        changed = await self._patience.run(partial(self._store, batch))
        del self._waiting[: len(batch)]
        if changed:
            self.read_feedback_anew()
            self.on_change()

    def _read_anew(self, watches: frozenset[Watch]) -> None:
        assert self.history is not None, "it has these watches"
        self._begun = self._clock()
        self._unread |= watches
        self.history.begin_anew(self._unread, self._begun)

    async def _read(self) -> None:
        unread, history, begun = self._unread, self.history, self._begun
        if not unread or history is None:
            return
        # What callees have said is in the database only when the writer's next turn is over.
        waits = _SETTLES if self._writes or not unread & history.on_feedback else _SETTLES + _PAUSE
        if self._clock() < begun + waits:
            return
        past = await self._patience.run(partial(self._read_past, unread, begun), READING, grace=0.0)
        if self.history is history and self._unread == unread and self._begun == begun:
            history.adopt(past)
            self._unread = frozenset()
            if past.hidden_until and not self._told_of_hidden:
                self._told_of_hidden = True
                until = self._wall.shows(past.hidden_until)
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(until))
                self._log(
                    f"history: the ledger has hidden numbers up to {at}, which say nothing without [ledger]"
                    f' numbers = "hash"; rules that count by number know only the calls since'
                )

    # -- in the worker thread ----------------------------------------------------------------------

    def _connected(self) -> sa.Engine:
        if self._engine is None:
            self._engine = database.open_for_writing(database.parse_url(self._url))
        return self._engine

    def _store(self, batch: tuple[Entry, ...]) -> bool:
        """Keep a batch; tell whether somebody else has changed the table since the last time."""
        now, turn = self._clock(), self._patience.turn
        with self._connected().begin() as connection:
            before = unwanted.stamp(connection)
            changed = self._stamp is not None and before != self._stamp
            if batch:
                unwanted.add(connection, batch)
            if now >= self._expires_at:
                unwanted.expire(connection, self._wall.least(now) - self._keep)
                self._expires_at = now + _EXPIRY_PAUSE
            after = unwanted.stamp(connection)
            self._patience.check(turn)
        self._stamp = after
        return changed

    def _read_past(self, watches: frozenset[Watch], until: float) -> History:
        with self._connected().connect() as connection:
            ahead = self._wall.ahead
            return read_history(connection, watches, until, ahead=ahead, pause=0.001, hide=self._hide)

    def _disconnect(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
