"""What callers do after the answers of canaries, against what they do after those that a canary let pass.

Somebody who was told what is not so tries again. So for each call that a canary matched, decided by it or
not, the pair of caller and called number is remembered for a minute after the final response; a call of the
same pair within it is a *retry*, and counts for the group of that call: "canary" or "rest". When the retries
of the canary pass what `stop_when` allows, by more than chance explains, the canary is stopped at once.

Nothing here hangs on an answer being rewritten: both groups are calls that the rule matches, so that they
differ in nothing but the rule.

Where several processes serve as one gateway, each tells the others its `News`, so that all know all pairs and
counts, and one of them judges.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.rules.canary import Canary, Pause
from gateway.rules.chance import deviation
from gateway.rules.decision import Decision
from gateway.rules.facts import Facts
from gateway.rules.history import LONGEST, Series
from gateway.rules.rule import Rule

RETRY = 60.0
"""Seconds after a final response in which another call of the same pair is a retry."""
LEAST_CALLS = 20
"""A group of fewer calls than these says nothing."""

CANARY, REST = "canary", "rest"
_MOST_PAIRS = 100_000
_NOTABLE = 3.0  # standard deviations; it is asked again and again, so this is not too many


class Stop(NamedTuple):
    """A canary was stopped: by what, for people."""

    rule: str
    canary: Canary
    pause: Pause


Groups = tuple[tuple[str, str], ...]
"""Of which canaries a call was in which group."""


class _Told(NamedTuple):
    at: float
    groups: Groups


class News(NamedTuple):
    """A caller was told a final response that canaries had to do with, or calls again after one."""

    caller: str
    called: str
    at: float
    groups: Groups
    is_retry: bool


class Trials:
    """Counts the calls and retries of the canaries among some rules. `on_stop` hears of each that stops;
    `on_news` of each that others have to know of. With `judges` unset it stops none. A stop holds from
    `notice` seconds on, in which others hear of it.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        on_stop: Callable[[Stop], None],
        on_news: Callable[[News], None] | None = None,
        *,
        judges: bool = True,
        notice: float = 0.0,
    ) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        """(rule, group) -> calls that were told a final response."""
        self.retries: Counter[tuple[str, str]] = Counter()
        """(rule, group) -> of these, those that were tried again."""
        self.canaries = {rule.name: rule.canary for rule in rules if rule.canary is not None}
        self._on_stop = on_stop
        self._on_news = on_news
        self._judges = judges
        self._notice = notice
        self._series = {name: _series_of(canary) for name, canary in self.canaries.items()}
        self._last: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def carry_on(self, older: Trials) -> None:
        """Go on counting where the trials of earlier rules stood, for canaries that have not changed."""
        for name, canary in self.canaries.items():
            before = older.canaries.get(name)
            if before is None or before.id != canary.id:
                continue
            self._series[name] = older._series[name]
            for group in (CANARY, REST):
                self.calls[name, group] = older.calls[name, group]
                self.retries[name, group] = older.retries[name, group]
        self._last = older._last

    def begin_anew(self, name: str) -> None:
        """Forget what a canary was stopped by, now that it may decide again."""
        self._series[name] = _series_of(self.canaries[name])

    def told(self, facts: Facts, decision: Decision) -> None:
        """Take the final response that a caller was told, if a canary had to do with it."""
        caller, called, now = facts.caller, facts.called, facts.now
        groups = tuple((name, REST) for name in decision.rest)
        if decision.mode == CANARY:
            groups += ((decision.rule, CANARY),)
        if not groups or now is None or facts.method != b"INVITE":
            return
        if not (0 < len(caller) <= LONGEST and 0 < len(called) <= LONGEST):
            return
        for group in groups:
            self.calls[group] += 1
        self._note_told(caller, called, now, groups)
        if self._on_news is not None:
            self._on_news(News(caller, called, now, groups, is_retry=False))

    def begun(self, caller: str, called: str, now: float) -> None:
        """Take a call that begins: is it a retry?"""
        told = self._last.pop((caller, called), None)
        if told is None or now - told.at > RETRY:
            return
        for name, group in told.groups:
            if name in self.canaries:  # else it went with a reload
                self.retries[name, group] += 1
        self._note_retry(told.groups, now)
        if self._on_news is not None:
            self._on_news(News(caller, called, now, told.groups, is_retry=True))

    def hear(self, news: News) -> None:
        """Take what another process says; `calls` and `retries` stay what was seen here."""
        if news.is_retry:
            self._last.pop((news.caller, news.called), None)
            self._note_retry(news.groups, news.at)
        else:
            self._note_told(news.caller, news.called, news.at, news.groups)

    def _note_told(self, caller: str, called: str, now: float, groups: Groups) -> None:
        for group in groups:
            self._add(group, "calls", now)
        self._last[caller, called] = _Told(now, groups)
        self._last.move_to_end((caller, called))
        oldest = next(iter(self._last.values()))
        while len(self._last) > _MOST_PAIRS or oldest.at < now - RETRY:
            self._last.popitem(last=False)
            oldest = next(iter(self._last.values()))

    def _note_retry(self, groups: Groups, now: float) -> None:
        for name, group in groups:
            self._add((name, group), "retries", now)
            canary = self.canaries.get(name)
            if group == CANARY and canary is not None and self._judges:
                self._judge(name, canary, now)

    def _add(self, group: tuple[str, str], what: str, now: float) -> None:
        series = self._series.get(group[0])
        if series is not None:
            series.add(f"{group[1]} {what}", now)

    def _judge(self, name: str, canary: Canary, now: float) -> None:
        """Stop a canary whose callers try again too often."""
        series, stop_when = self._series[name], canary.stop_when
        if series is None or stop_when is None or (canary.pauses and canary.pauses[-1].ended >= now):
            return
        calls, others = (series.count(f"{group} calls", now) for group in (CANARY, REST))
        if min(calls, others) < LEAST_CALLS:
            return
        retries = min(series.count(f"{CANARY} retries", now), calls)
        usual = min(series.count(f"{REST} retries", now), others)
        more = retries / calls - usual / others
        if retries / calls <= stop_when.factor * usual / others:
            return
        if more < _NOTABLE * deviation(retries, calls, usual, others):
            return
        why = (
            f"{retries} of {calls} callers tried again within {RETRY:.0f} s ({retries / calls:.1%}), of the"
            f" rest {usual} of {others} ({usual / others:.1%}); stop_when = {stop_when.written!r}"
        )
        pause = Pause(now + self._notice, why=why)
        canary.pauses = (*canary.pauses, pause)
        self._on_stop(Stop(name, canary, pause))


def _series_of(canary: Canary) -> Series | None:
    """Return the counts of the time that `stop_when` looks back over; None where nothing stops it."""
    return None if canary.stop_when is None else Series(canary.stop_when.window, 0.0)
