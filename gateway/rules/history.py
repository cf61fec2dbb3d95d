"""What became of earlier calls, counted for the rules that ask: by called number, by caller, by trunk.

A `Watch` is one question of a rule file, such as how many calls to a number were answered in 30 days. For
each there is a `Series`: for each number, caller or trunk its calls, by buckets of a thirtieth of the window.
Only what the loaded rules ask for is counted, and a rule sees the counts before the call at hand.

Counts are not exact, and how they err is decided. A window reaches up to one bucket further back than it
says. A series holds a bounded number of keys; the one that was heard of longest ago is forgotten, and
`complete_since` says from when on nothing is missing. It also says where the ledger begins. So a count is
never too high for what was forgotten, and whoever needs that there were *no more* calls than so asks
`is_complete` first: what was forgotten makes no rule match.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

BUCKETS = 30
"""A window is counted in so many parts."""
LONGEST = 64
"""Characters of a key; a longer one is not counted."""
LEAST_FINALS = 20
"""A share of fewer finals than these is not known."""
_MOST_KEYS = 100_000  # of one series


class Watch(NamedTuple):
    """What is counted: of which `subject` ("number", "caller", "trunk") which calls, over which seconds."""

    subject: str
    what: str
    window: float


class FinishedCall(Protocol):
    """What is read of the record of a call; rows of the ledger have it too."""

    @property
    def caller(self) -> str:
        """The number or user of From."""

    @property
    def called(self) -> str:
        """The number or user of the Request-URI."""

    @property
    def callee_trunk(self) -> str:
        """The trunk that was tried last."""

    @property
    def ringing_at(self) -> float:
        """When it rang, 0.0 when it did not."""

    @property
    def answered_at(self) -> float:
        """When it was answered, 0.0 when it was not."""

    @property
    def ended_at(self) -> float:
        """When it ended, in seconds since the epoch."""

    @property
    def original_status(self) -> int:
        """The final response before any rule, 0 when there was none."""

    @property
    def origin(self) -> str:
        """Who made it: "peer" or "local"."""

    @property
    def attempts(self) -> int:
        """How many targets were tried."""


NUMBER_COUNTS = ("calls", "answered", "declined", "declined_before_ringing", "not_found", "busy")
"""What is counted of a called number."""
CALLER_COUNTS = ("calls", "unwanted", "unwanted_attested", "unwanted_by_called")
"""What is counted of a caller; all but the first is what callees said by 607 (`unwanted.py`)."""
FINALS = "finals"
"""Counted of a trunk, besides each status: all final responses that it gave."""

Hide = Callable[[str], str]
"""Makes of a number what stands for it; of what stands for one already, the same."""
_Outcome = tuple[str, ...]
_ANSWERED, _OTHER = ("calls", "answered"), ("calls",)
_DECLINED, _AT_ONCE = ("calls", "declined"), ("calls", "declined", "declined_before_ringing")
_NOT_FOUND, _BUSY = ("calls", "not_found"), ("calls", "busy")
_OUTCOMES: tuple[_Outcome, ...] = (_ANSWERED, _OTHER, _DECLINED, _AT_ONCE, _NOT_FOUND, _BUSY)
_REJECTIONS: dict[int, _Outcome] = {
    603: _DECLINED,
    607: _DECLINED,
    404: _NOT_FOUND,
    410: _NOT_FOUND,
    604: _NOT_FOUND,
    486: _BUSY,
    600: _BUSY,
}


class Series:
    """The counts of one watch. `complete_since` is the time from which on no call is missing, `limit` how
    many keys there may be. Calls from before `since` are counted elsewhere, and not here: news of them may
    come late. Times rise, but for small steps back.
    """

    __slots__ = ("_entries", "_limit", "_newest", "_width", "complete_since", "since", "window")

    def __init__(
        self, window: float, complete_since: float, limit: int = _MOST_KEYS, since: float = 0.0
    ) -> None:
        self.window = window
        self.complete_since = complete_since
        self.since = since
        self._width = window / BUCKETS
        self._limit = limit
        self._newest = 0
        # The sum, then the number of a bucket and its count, and so on, the oldest first.
        self._entries: OrderedDict[str, list[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: str, at: float, count: int = 1) -> None:
        """Count calls of `key` that ended at `at`."""
        if at < self.since:
            return
        bucket = int(at / self._width)
        if bucket == self._newest:
            bucket = self._newest  # one number in memory for all keys
        else:
            self._newest = bucket
        entries = self._entries
        entry = entries.get(key)
        if entry is None:
            if len(entries) >= self._limit:
                self._forget_oldest()
            entries[key] = [count, bucket, count]
            return
        entry[0] += count
        if entry[-2] >= bucket:
            entry[-1] += count
        else:
            entry += (bucket, count)
            _expire(entry, bucket - BUCKETS)
        entries.move_to_end(key)

    def count(self, key: str, now: float) -> int:
        """Return how many calls of `key` ended within the window before `now`."""
        entry = self._entries.get(key)
        if entry is None:
            return 0
        oldest = int(now / self._width) - BUCKETS
        if entry[1] < oldest:
            _expire(entry, oldest)
            if not entry[0]:
                del self._entries[key]
                return 0
        return entry[0]

    def is_complete(self, now: float) -> bool:
        """Tell whether nothing of the window before `now` is missing, but for one bucket at its beginning."""
        return self.complete_since <= now - self.window + self._width

    def absorb(self, later: Series) -> None:
        """Take over what was counted since this series was, and go on from there."""
        for key, entry in later._entries.items():
            for at in range(1, len(entry), 2):
                self.add(key, entry[at] * self._width, entry[at + 1])
        self.since = later.since

    def _forget_oldest(self) -> None:
        _, entry = self._entries.popitem(last=False)
        # Its newest call may be as late as the end of its bucket; `is_complete` leaves one bucket out.
        self.complete_since = max(self.complete_since, (entry[-2] + 2) * self._width)


def _expire(entry: list[int], oldest: int) -> None:
    """Take out the buckets before `oldest`."""
    at = 1
    while at < len(entry) and entry[at] < oldest:
        entry[0] -= entry[at + 1]
        at += 2
    del entry[1:at]


class History:
    """The series that rules ask for. `now` is the time from which on it will be told of every call. Where
    `late` is set it is told by others, too, also of calls from before, which it leaves out.
    """

    def __init__(
        self,
        watches: Iterable[Watch],
        now: float,
        known: Mapping[Watch, Series] | None = None,
        hide: Hide | None = None,
        *,
        late: bool = False,
    ) -> None:
        """`known` are series of the rules before, which go on where they are still asked for. `hide` makes of
        a number what the ledger keeps of it, where that is not the number; feedback is kept as it is.
        """
        self.hide = hide
        self.hidden_until = 0.0
        """Until when what was read has numbers in a form that tells nothing; 0.0 where it has none."""
        self.series: dict[Watch, Series] = {}
        for watch in watches:
            for counted in _counted(watch):
                series = None if known is None else known.get(counted)
                if series is None:
                    series = Series(counted.window, now, since=now if late else 0.0)
                self.series[counted] = series
        self._index()

    @property
    def on_feedback(self) -> frozenset[Watch]:
        """What is counted of what callees said of callers."""
        return frozenset(watch for watch, _ in self._feedback)

    def begin_anew(self, watches: Iterable[Watch], now: float) -> None:
        """Forget these counts."""
        for watch in watches:
            self.series[watch] = Series(watch.window, now, since=now)
        self._index()

    def miss(self, now: float) -> None:
        """Take note that something from before `now` was missed: no window that reaches back is complete."""
        for series in self.series.values():
            series.complete_since = max(series.complete_since, now)

    def adopt(self, past: History) -> None:
        """Put what was read of the past before what has been counted since."""
        for watch, series in past.series.items():
            if watch in self.series:
                series.absorb(self.series[watch])
                self.series[watch] = series
        self._index()

    def record(self, call: FinishedCall) -> None:
        """Count a call that has ended."""
        if not call.attempts:
            return
        at, status = call.ended_at, call.original_status
        if self._numbers and 0 < len(call.called) <= LONGEST:
            called = self.key(call.called)
            for series in self._numbers[_outcome(call)]:
                series.add(called, at)
        if self._callers and 0 < len(call.caller) <= LONGEST:
            caller = self.key(call.caller)
            for series in self._callers:
                series.add(caller, at)
        if self._trunks and status:
            for series in self._trunks.get(FINALS, ()):
                series.add(call.callee_trunk, at)
            for series in self._trunks.get(str(status), ()):
                series.add(call.callee_trunk, at)

    def key(self, number: str) -> str:
        """Return what a number is counted by."""
        return number if self.hide is None else self.hide(number)

    def forget_numbers_before(self, at: float) -> None:
        """Know nothing of numbers before a time, since they were kept in a form that tells nothing."""
        self.hidden_until = at
        for watch, series in self.series.items():
            if watch.subject == "number" or watch.what == "calls":
                series.complete_since = max(series.complete_since, at)

    def unwanted(self, callers: Iterable[str], called: str, attested: bool, at: float) -> None:
        """Count that somebody did not want a call from these identities of one caller."""
        for watch, series in self._feedback:
            if watch.what == "unwanted_attested" and not attested:
                continue
            if watch.what == "unwanted_by_called" and not called:
                continue
            for caller in callers:
                series.add(pair(caller, called) if watch.what == "unwanted_by_called" else caller, at)

    def count(self, watch: Watch, key: str, now: float) -> int:
        """Return how many calls of `key` there were; 0 where nobody counts."""
        series = self.series.get(watch)
        return 0 if series is None else series.count(key, now)

    def share(self, watch: Watch, key: str, now: float) -> float | None:
        """Return the share of a status, in percent of a trunk's finals; None when these are too few."""
        part, whole = _counted(watch)
        finals = self.count(whole, key, now)
        return None if finals < LEAST_FINALS else 100 * self.count(part, key, now) / finals

    def complete_since(self, watch: Watch) -> float:
        """Return the time from which on nothing that the watch counts is missing."""
        return max(self.series[counted].complete_since for counted in _counted(watch))

    def is_complete(self, watch: Watch, now: float) -> bool:
        """Tell whether nothing of the window before `now` is missing."""
        return all(each in self.series and self.series[each].is_complete(now) for each in _counted(watch))

    def _index(self) -> None:
        numbers = self._of("number")
        self._numbers: dict[_Outcome, list[Series]] = {}
        if numbers:
            for outcome in _OUTCOMES:
                self._numbers[outcome] = [each for what in outcome for each in numbers.get(what, ())]
        self._trunks = self._of("trunk")
        self._callers = self._of("caller").get("calls", [])
        self._feedback = [
            (watch, series)
            for watch, series in self.series.items()
            if watch.subject == "caller" and watch.what != "calls"
        ]

    def _of(self, subject: str) -> dict[str, list[Series]]:
        found: dict[str, list[Series]] = {}
        for watch, series in self.series.items():
            if watch.subject == subject:
                found.setdefault(watch.what, []).append(series)
        return found


def pair(caller: str, called: str) -> str:
    """Return the key of what one callee said of one caller."""
    return f"{caller} {called}"


def _counted(watch: Watch) -> tuple[Watch, ...]:
    """Return what must be counted for a watch: for a share, the status and all finals."""
    if watch.what.startswith("share_"):
        return watch._replace(what=watch.what.removeprefix("share_")), watch._replace(what=FINALS)
    return (watch,)


def _outcome(call: FinishedCall) -> _Outcome:
    """Return what became of a call, in the words of `NUMBER_COUNTS`."""
    if call.answered_at:
        return _ANSWERED
    outcome = _REJECTIONS.get(call.original_status, _OTHER) if call.origin == "peer" else _OTHER
    return _AT_ONCE if outcome is _DECLINED and not call.ringing_at else outcome
