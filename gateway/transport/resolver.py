"""The locator of a running gateway: answers from memory, and asks in tasks of its own.

Whoever wants a target's addresses gets at once what is known. What is not known is asked for once, however
many wait for it, and no call waits for another's name. The names of the configuration are looked up when it
is read, and again before their answers run out, so that calls find them known; other names (of Contacts and
Record-Routes) when they are needed. While nobody answers, an answer that has run out goes on being used for
an hour: where the peer was is the best guess of where it is.

Everything is bounded: how long a search takes, the names asked for and remembered, and who waits.
"""

from __future__ import annotations

import logging
import math
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

import trio

from gateway.addresses import parse_ip
from gateway.routing.locate import RETRY, Address, Draw, Found, Reach, Waiter, order, search
from gateway.routing.records import Answer, Question
from gateway.routing.trunk import Target

log = logging.getLogger("gateway")

MAX_NAMES = 2_000  # remembered, beside those of the configuration
MAX_ASKING = 64  # searches at a time, but that a call to a name of the configuration is never refused one
MAX_WAITERS = 10_000
STALE = 3600.0  # seconds that an answer is used after it ran out, while nobody answers
_AHEAD = 10.0  # seconds before an answer runs out that it is asked for again, but at most a fifth of its time
_AT_ONCE = 4  # questions of one search that are out together
_TOLD = 64  # waiters told before others have their turn

Ask = Callable[[Question], Awaitable[Answer]]
_BROKEN = Found((), RETRY, is_broken=True)


class _Entry:
    """A target, what is known of it, and who waits for it."""

    __slots__ = ("found", "is_asked", "is_stale", "ordered", "refresh_at", "target", "until", "waiters")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.found: Found | None = None
        self.ordered: tuple[Address, ...] | None = None  # where no draw is needed
        self.until = 0.0  # found counts until then
        self.refresh_at = 0.0  # when to ask again, so that the next answer is there in time
        self.is_asked = False
        self.is_stale = False  # nobody answered when found ran out
        self.waiters: list[Waiter] = []

    def is_known(self, now: float) -> bool:
        """Tell whether there is an answer to give."""
        return now < self.until or (self.is_stale and now < self.until + STALE)

    def addresses(self, draw: Draw) -> tuple[Address, ...]:
        """Return the addresses in an order of trying."""
        if self.ordered is not None:
            return self.ordered
        return order(self.found, draw) if self.found is not None else ()

    def learn(self, found: Found, now: float) -> None:
        """Take what a search has come to. While nobody answers, what was found before stands."""
        before = self.found
        if found.is_broken and before is not None and before.services and now < self.until + STALE:
            self.is_stale = True
            self.refresh_at = now + RETRY
            return
        self.found = found
        self.ordered = None if found.is_drawn else order(found, random.random)
        self.is_stale = False
        self.until = now + found.ttl
        self.refresh_at = self.until - min(_AHEAD, found.ttl / 5)

    @property
    def state(self) -> str:
        """How things stand, in a word for the log and the counters."""
        if self.is_stale:
            return "stale"
        if self.found is None or self.found.services:
            return "found"
        return "broken" if self.found.is_broken else "nowhere"


class Resolver:
    """The gateway's :class:`gateway.routing.locate.Locator`.

    ``ask`` answers one question, ``flush`` sends what waiters want sent, ``on_bug`` is told what they raise;
    ``timeout`` is how many seconds a search may take. ``searches`` counts them by their outcome: found,
    nowhere, broken (nobody answered) or stale (nobody did, and what was known before serves on); and
    under refused those that there was no room for.
    """

    def __init__(
        self,
        reach: Reach,
        ask: Ask,
        clock: Callable[[], float],
        flush: Callable[[], None],
        on_bug: Callable[[Exception], None],
        timeout: float = 5.0,
        draw: Draw = random.random,
    ) -> None:
        self.searches: defaultdict[str, int] = defaultdict(int)
        self._reach = reach
        self._ask = ask
        self._clock = clock
        self._flush = flush
        self._on_bug = on_bug
        self._timeout = timeout
        self._draw = draw
        self._configured: dict[object, _Entry] = {}
        self._others: dict[object, _Entry] = {}
        self._nursery: trio.Nursery | None = None
        self._awake = trio.Event()
        self._asking = 0
        self._waiting = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the names of the configuration known, and search for others, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_ahead)
            task_status.started()

    def configure(self, targets: Iterable[Target]) -> None:
        """Keep these targets known from now on, and ask for each of them anew; forget what else was known."""
        known = self._others | self._configured
        wanted = {_key(target): target for target in targets if parse_ip(target.host) is None}
        self._configured = {key: known.get(key) or _Entry(target) for key, target in wanted.items()}
        self._others = {}
        for entry in self._configured.values():
            entry.refresh_at = 0.0
        self._awake.set()

    def locate(self, target: Target, waiter: Waiter, now: float) -> tuple[Address, ...] | None:
        """Return the addresses of a target, () when it leads nowhere; None when ``waiter`` is told later."""
        if not target.srv and parse_ip(target.host) is not None:
            return (Address(target.host, target.port, target.transport),)
        entry = self._entry(target)
        if entry.is_known(now):
            if now >= entry.refresh_at:
                self._begin(entry)
            return entry.addresses(self._draw)
        if self._waiting >= MAX_WAITERS or not self._begin(entry):
            self.searches["refused"] += 1
            return ()
        self._waiting += 1
        entry.waiters.append(waiter)
        return None

    # -- in private -------------------------------------------------------------------------------------

    def _entry(self, target: Target) -> _Entry:
        key = _key(target)
        entry = self._configured.get(key) or self._others.get(key)
        if entry is None:
            if len(self._others) >= MAX_NAMES:
                del self._others[next(old for old, entry in self._others.items() if not entry.is_asked)]
            entry = self._others[key] = _Entry(target)
        return entry

    def _begin(self, entry: _Entry) -> bool:
        """Search for a target unless somebody does already; False when too many searches go on."""
        if entry.is_asked:
            return True
        if self._asking >= MAX_ASKING and _key(entry.target) not in self._configured:
            return False
        assert self._nursery is not None, "run() comes before locate()"
        entry.is_asked = True
        self._asking += 1
        self._nursery.start_soon(self._look_up, entry)
        return True

    async def _keep_ahead(self) -> None:
        """Ask for each name of the configuration before its answer runs out."""
        while True:
            self._awake = trio.Event()
            now = self._clock()
            due = math.inf
            for entry in self._configured.values():
                if entry.is_asked:
                    continue
                if entry.refresh_at > now:
                    due = min(due, entry.refresh_at)
                elif self._asking < MAX_ASKING // 2:  # the rest is for calls
                    self._begin(entry)
            with trio.move_on_after(due - now):
                await self._awake.wait()

    async def _look_up(self, entry: _Entry) -> None:
        """Search for a target, and tell who waits for it."""
        found = _BROKEN
        try:
            found = await find(entry.target, self._reach, self._ask, self._timeout)
        except Exception as bug:
            self._on_bug(bug)
        before = entry.state
        entry.learn(found, self._clock())
        entry.is_asked = False
        self._asking -= 1
        self.searches[entry.state] += 1
        if entry.state != before and _key(entry.target) in self._configured:
            _log_change(entry.target, entry.state)
        self._awake.set()
        await self._tell(entry)

    async def _tell(self, entry: _Entry) -> None:
        """Tell the waiters, each with a draw of its own, and send what they want sent."""
        waiters, entry.waiters = entry.waiters, []
        self._waiting -= len(waiters)
        for at in range(0, len(waiters), _TOLD):
            now = self._clock()
            for waiter in waiters[at : at + _TOLD]:
                try:
                    waiter.on_located(entry.addresses(self._draw), now)
                except Exception as bug:
                    self._on_bug(bug)
            self._flush()
            await trio.lowlevel.checkpoint()


async def find(target: Target, reach: Reach, ask: Ask, timeout: float) -> Found:
    """Search for a target whose host is a name, for at most ``timeout`` seconds; what nobody has answered by
    then has failed.
    """
    deadline = trio.current_time() + timeout
    steps = search(target, reach)
    try:
        questions = next(steps)
        while True:
            questions = steps.send(await _ask_all(questions, ask, deadline))
    except StopIteration as end:
        found: Found = end.value
        return found


async def _ask_all(questions: tuple[Question, ...], ask: Ask, deadline: float) -> dict[Question, Answer]:
    """Return the answers that came in time."""
    answers: dict[Question, Answer] = {}
    room = trio.CapacityLimiter(_AT_ONCE)

    async def ask_one(question: Question) -> None:
        async with room:
            answers[question] = await ask(question)

    with trio.move_on_at(deadline):
        async with trio.open_nursery() as nursery:
            for question in questions:
                nursery.start_soon(ask_one, question)
    return answers


def _key(target: Target) -> object:
    """Return what two targets have in common that lead to the same addresses."""
    return (target.host.lower(), target.port, target.transport, target.srv, target.naptr)


def _log_change(target: Target, state: str) -> None:
    name = target.uri.decode("utf-8", "replace")
    if state == "found":
        log.info("target %s is found", name)
    elif state == "nowhere":
        log.warning("target %s leads nowhere: no address that the gateway can send to", name)
    elif state == "stale":
        log.warning("no name server answers for target %s; its last known addresses serve on", name)
    else:
        log.warning("no name server answers for target %s", name)
