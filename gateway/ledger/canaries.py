"""The stops of canaries, kept in the ledger's database: so that a canary that did harm stays off over
restarts, and anybody sees when it was stopped, why, and who let it go on.

`CanaryKeeper` owns the `Trials` of the loaded rules. A canary that stops does so at once; the event is
written within a second or so. Events that others write, `gateway rules enable` first of all, are read every
few seconds. They say from when on they hold, a little ahead, so that a replay puts each decision on the same
side of them.

Of several workers the first alone judges, writes and logs. A stop is said to all at once, a little ahead,
too; each remembers it until it has read it from the database, so that whoever is started anew hears of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec
import sqlalchemy as sa
import trio

from gateway.rules import RuleSet
from gateway.rules.canary import Pause
from gateway.rules.trials import News, Stop, Trials
from gateway.wall import Wall

from . import database
from .patience import Patience
from .schema import canary_events

STOPPED, ENABLED = "stopped", "enabled"
NOTICE = 10.0
"""Seconds from when a canary is enabled until it decides again; by then every gateway has read of it."""
STOP_NOTICE = 0.5
"""Seconds from when a canary is stopped until it decides no more, where there are several workers."""
MOST = 1000
"""Events that are read, the newest."""
_PAUSE = 1.0  # seconds between two looks at what is to be written
_CLOSE = 2.0  # seconds that the end may take
_LOOK = 4.0  # seconds between two looks at what others have written


class CanaryEvent(msgspec.Struct, frozen=True):
    """A canary was stopped, or enabled again, from `at` on. `canary` is its id, `hash` that of the file."""

    at: float
    event: str
    rule: str
    canary: str
    hash: str
    author: str
    why: str


def keep(connection: sa.Connection, event: CanaryEvent) -> None:
    """Write an event."""
    connection.execute(sa.insert(canary_events).values(msgspec.structs.asdict(event)))


def history(connection: sa.Connection, limit: int = MOST) -> list[CanaryEvent]:
    """Return at most `limit` events, the last one first."""
    fields = [canary_events.c[name] for name in CanaryEvent.__struct_fields__]
    query = sa.select(*fields).order_by(canary_events.c.seq.desc()).limit(limit)
    return [CanaryEvent(*row) for row in connection.execute(query)]


def pauses(events: list[CanaryEvent], ahead: float = 0.0) -> dict[str, tuple[Pause, ...]]:
    """Return when each canary was stopped, by its id, from events of which the last comes first. Times of
    events are `ahead` of those of the pauses by so many seconds.
    """
    found: dict[str, list[Pause]] = {}
    for event in reversed(events):
        stops = found.setdefault(event.canary, [])
        if event.event == STOPPED:
            stops.append(_pause_of(event, ahead))
        elif stops:
            stops[:] = [pause._replace(ended=min(pause.ended, event.at - ahead)) for pause in stops]
    return {canary: tuple(stops) for canary, stops in found.items()}


def _pause_of(event: CanaryEvent, ahead: float) -> Pause:
    return Pause(event.at - ahead, why=event.why)


def apply_pauses(rules: RuleSet, events: list[CanaryEvent], ahead: float = 0.0) -> None:
    """Have the canaries of some rules paused as these events say, whose times are `ahead` of their calls'."""
    found = pauses(events, ahead)
    for rule in rules.rules:
        if rule.canary is not None:
            rule.canary.pauses = found.get(rule.canary.id, ())


def _be_silent(_line: str) -> None:
    """Leave the log to the first worker."""


class CanaryKeeper:
    """Keeps canaries stopped. `url` is the ledger's; with "" a stop is only remembered. `log` is told,
    loudly, of what stops and goes on, and once of a database that fails. `leads` is False of all but one of
    several workers. `clock` is that of calls; events go by `wall`.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float],
        log: Callable[[str], None],
        leads: bool = True,
        wall: Wall | None = None,
    ) -> None:
        self.trials: Trials | None = None
        self._url = url
        self._clock = clock
        self._wall = wall or Wall()
        self._log = log if leads else _be_silent
        self._leads = leads
        self._on_news: Callable[[News], None] | None = None
        self._on_stop: Callable[[], None] = lambda: None
        self._notice = 0.0
        self._rules: RuleSet | None = None
        self._events: list[CanaryEvent] = []  # all that is known, the last first
        self._waiting: list[CanaryEvent] = []  # those that are not in the database, the first first
        self._looked_at = 0.0
        self._engine: sa.Engine | None = None
        self._patience = Patience()
        self._is_failing = False

    def configure(self, rules: RuleSet) -> Trials | None:
        """Watch the canaries of these rules from now on; None when there are none."""
        self._rules = rules
        apply_pauses(rules, self._events, self._wall.ahead)
        older = self.trials
        self.trials = None
        if any(rule.canary is not None and rule.mode != "off" for rule in rules.rules):
            self.trials = Trials(
                rules.rules, self._stopped, self._on_news, judges=self._leads, notice=self._notice
            )
            if older is not None:
                self.trials.carry_on(older)
        return self.trials

    def share(self, rules: RuleSet, on_news: Callable[[News], None], on_stop: Callable[[], None]) -> None:
        """Have `on_news` hear of what the other workers must know, and `on_stop` of each stop."""
        self._on_news, self._on_stop = on_news, on_stop
        self._notice = STOP_NOTICE
        self.configure(rules)

    @property
    def unkept(self) -> list[CanaryEvent]:
        """The stops of canaries in force that are in no database yet."""
        if self._rules is None or not self._waiting:
            return []
        ids = {rule.canary.id for rule in self._rules.rules if rule.canary is not None}
        return [event for event in self._waiting if event.canary in ids]

    def hear(self, events: list[CanaryEvent]) -> None:
        """Take stops that another worker knows of and that may be in no database yet."""
        new = [event for event in events if event not in self._events]
        if new and self._rules is not None:
            self._wait_for(new)
            self._events = [*reversed(new), *self._events][:MOST]
            apply_pauses(self._rules, self._events, self._wall.ahead)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write and read until cancelled; started when it is known, if it can be, which are stopped."""
        if self.trials is not None:
            await self.work()
        task_status.started()
        while self._url:
            await trio.sleep(_PAUSE)
            is_due = self.trials is not None and self._clock() >= self._looked_at + _LOOK
            if is_due or (self._waiting and self._leads):
                await self.work()
        await trio.sleep_forever()

    async def work(self) -> None:
        """Write what waits, and read what is there. A database that fails is asked again later."""
        if not self._url:
            return
        self._looked_at = self._clock()
        batch = tuple(self._waiting) if self._leads else ()
        try:
            events = await self._patience.run(partial(self._exchange, batch))
        except Exception as error:  # whatever a driver raises must not stop calls
            self._disconnect()
            if not self._is_failing:
                self._is_failing = True
                self._log(
                    f"canaries: the ledger fails ({database.reason(error)}); stops are remembered until it"
                    " can be written"
                )
            return
        self._is_failing = False
        del self._waiting[: len(batch)]
        if not self._leads:
            self._waiting = [event for event in self._waiting if event not in events]
        self._adopt([*reversed(self._waiting), *events])

    async def close(self) -> None:
        """Write what waits, in at most 2 seconds. Call it once `run` has ended."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE):
            if self._waiting and self._leads:
                await self.work()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _stopped(self, stop: Stop) -> None:
        assert self._rules is not None, "only rules can have canaries"
        why, at = stop.pause.why, self._wall.shows(stop.pause.begun)
        self._log(
            f'canary "{stop.rule}" IS STOPPED: {why}. It changes no more answers until the rule is changed or'
            f' enabled: gateway rules enable "{stop.rule}"'
        )
        event = CanaryEvent(at, STOPPED, stop.rule, stop.canary.id, self._rules.version_hash, "gateway", why)
        self._events = [event, *self._events][:MOST]
        self._wait_for([event])
        self._on_stop()

    def _wait_for(self, events: list[CanaryEvent]) -> None:
        self._waiting += events
        del self._waiting[:-MOST]

    def _adopt(self, events: list[CanaryEvent]) -> None:
        """Go by these events from now on."""
        if events == self._events or self._rules is None:
            return
        known, ahead = set(self._events), self._wall.ahead
        self._events = events
        apply_pauses(self._rules, events, ahead)
        canaries = {} if self.trials is None else self.trials.canaries
        for event in reversed(events):
            canary = canaries.get(event.rule)
            if event in known or canary is None or canary.id != event.canary:
                continue
            if event.event == ENABLED:
                assert self.trials is not None, "its canary is watched"
                self.trials.begin_anew(event.rule)
                self._log(f'canary "{event.rule}" goes on; {event.author or "somebody"} enabled it')
            elif canary.pauses[-1] == _pause_of(event, ahead):
                since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
                self._log(f'canary "{event.rule}" has been stopped since {since}: {event.why}')

    # -- in the worker thread ----------------------------------------------------------------------

    def _exchange(self, batch: tuple[CanaryEvent, ...]) -> list[CanaryEvent]:
        """Write events; return all that are there."""
        turn = self._patience.turn
        if self._engine is None:
            self._engine = database.open_for_writing(database.parse_url(self._url))
        with self._engine.begin() as connection:
            for event in batch:
                keep(connection, event)
            events = history(connection)
            self._patience.check(turn)
        return events
