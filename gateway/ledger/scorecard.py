"""How each trunk did in a time: what it said how often, how many calls it completed, and who tried again.

Calls are read once, in the order in which they ended. A call counts for the trunk that was tried last. It is
a *retry* when the same caller calls the same number again within a minute after a final response; so the
retry rate of a final tells whether callers believed it. The answer-seizure ratio is the share of calls that
were answered; the network effectiveness ratio (ITU-T E.425) the share that the network brought to the called
party: answered, ringing, or busy.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.b2bua.record import CallRecord
from gateway.rules.chance import deviation
from gateway.rules.facts import reasons_of
from gateway.rules.network_blocked import is_near_miss
from gateway.rules.trials import RETRY

from .evidence import Unpacker

_DELAYS = ((0.3, "<300ms"), (1.0, "<1s"), (5.0, "<5s"), (20.0, "<20s"), (float("inf"), ">=20s"))
_PAIRS = 200_000  # of caller and called whose last final is remembered
_KINDS = 5_000  # of finals of one trunk; phrases come from the network
_BUSY = (486, 600)
_USER_BUSY = 17
_CANCELLED, _ANSWERED = "cancelled", "answered"
_LEAST_CALLS = 20
_NOTABLE = 3.3  # standard deviations; by chance, a thousandth of what did not change would pass for changed
_LEAST_SHARE = 0.01


class Final(NamedTuple):
    """One kind of final response of a trunk."""

    status: int
    phrase: str
    q850: int
    location: str
    rang: bool
    delay: str


_OTHERS = Final(0, "others", 0, "", False, "")


@dataclass(slots=True)
class Score:
    """What one trunk did."""

    calls: int = 0
    answered: int = 0
    delivered: int = 0
    near_misses: int = 0
    finals: Counter[Final] = field(default_factory=Counter)
    retries: Counter[Final] = field(default_factory=Counter)

    @property
    def asr(self) -> float:
        """The answer-seizure ratio, from 0 to 1."""
        return self.answered / self.calls if self.calls else 0.0

    @property
    def ner(self) -> float:
        """The network effectiveness ratio, from 0 to 1."""
        return self.delivered / self.calls if self.calls else 0.0

    def shares(self) -> dict[str, int]:
        """Return how many calls had which answer, in few kinds: "answered", "603/21" ..., "cancelled"."""
        counts: Counter[str] = Counter()
        for final, count in self.finals.items():
            if final == _OTHERS:
                counts[final.phrase] += count
            else:
                counts[kind_of(final.status, final.q850, False)] += count
        counts[kind_of(0, 0, True)] = self.answered
        return dict(counts)

    def as_dict(self) -> dict[str, Any]:
        """Return the score as plain values, the most frequent finals first."""
        return {
            "calls": self.calls,
            "asr": round(self.asr, 4),
            "ner": round(self.ner, 4),
            "near_misses": self.near_misses,
            "finals": [
                {
                    **final._asdict(),
                    "count": count,
                    "retries": self.retries[final],
                    "retry_rate": round(self.retries[final] / count, 4),
                }
                for final, count in self.finals.most_common()
            ],
        }


def scores(calls: Iterable[tuple[CallRecord, bytes | None]]) -> dict[str, Score]:
    """Return the score of each trunk, of calls in the order in which they ended."""
    unpack = Unpacker().unpack
    found: dict[str, Score] = {}
    last: OrderedDict[tuple[str, str], tuple[float, str, Final]] = OrderedDict()
    for record, blob in calls:
        pair = record.caller, record.called
        before = last.get(pair)
        if before is not None and 0 <= record.invited_at - before[0] <= RETRY:
            found[before[1]].retries[before[2]] += 1
            del last[pair]
        if not record.callee_trunk:
            continue
        score = found.setdefault(record.callee_trunk, Score())
        score.calls += 1
        rang, status = bool(record.ringing_at), record.original_status
        busy = status in _BUSY or record.original_q850 == _USER_BUSY
        score.delivered += bool(record.answered_at) or rang or busy
        if record.answered_at:
            score.answered += 1
            continue
        location = ""
        if blob is not None:
            facts, _ = unpack(blob, record)
            location = ",".join(each.decode() for each in reasons_of(facts.response).locations)
            score.near_misses += is_near_miss(facts)
        final = Final(
            status,
            record.original_phrase if status else _CANCELLED,
            record.original_q850,
            location,
            rang,
            _delay(record.ended_at - record.invited_at),
        )
        if final not in score.finals and len(score.finals) >= _KINDS:
            final = _OTHERS
        score.finals[final] += 1
        if status:
            last[pair] = record.ended_at, record.callee_trunk, final
            if len(last) > _PAIRS:
                last.popitem(last=False)
    return found


def _delay(seconds: float) -> str:
    return next(name for bound, name in _DELAYS if seconds < bound)


class Shift(NamedTuple):
    """A share of a trunk's calls that is not what it was; shares from 0 to 1."""

    what: str
    was: float
    now: float


def kind_of(status: int, q850: int, answered: bool) -> str:
    """Return what became of a call, in few words: "answered", "603/21", "486", "cancelled"."""
    if answered:
        return _ANSWERED
    return f"{status}{f'/{q850}' if q850 else ''}" if status else _CANCELLED


def shifts(before: Score, now: Score) -> Iterator[Shift]:
    """Yield what changed more than chance explains, the greatest change first."""
    return shifts_of(before.shares(), now.shares())


def shifts_of(old: Mapping[str, int], new: Mapping[str, int]) -> Iterator[Shift]:
    """Yield which shares of calls, by what became of them, changed more than chance explains."""
    calls_before, calls_now = sum(old.values()), sum(new.values())
    if min(calls_before, calls_now) < _LEAST_CALLS:
        return
    found = []
    for what in old.keys() | new.keys():
        was, is_ = old.get(what, 0) / calls_before, new.get(what, 0) / calls_now
        by_chance = deviation(old.get(what, 0), calls_before, new.get(what, 0), calls_now)
        if abs(is_ - was) >= max(_LEAST_SHARE, _NOTABLE * by_chance):
            found.append(Shift(what, was, is_))
    yield from sorted(found, key=lambda shift: (-round(abs(shift.now - shift.was), 6), shift.what))
