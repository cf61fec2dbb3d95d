"""A rule that decides only a share of the calls that it matches: `share = 0.1`, so that the rest shows by
comparison whether it does good.

Which calls these are follows from caller and called number, so that a pair is always treated alike and a
replay finds the same calls; and from the rule's name, so that one canary's share has nothing to do with
another's. A canary that is paused decides nothing. A pause belongs to what the rule says: while not a letter
of it changes, a pause holds, whatever else of the file changes and however often the gateway starts anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b, sha256
from math import inf
from typing import Any, NamedTuple

from gateway.patterns import BadValue, parse_duration
from gateway.rules.facts import Facts
from gateway.settings_table import words_of

_FORM = re.compile(r"\s*retries\s*>\s*([0-9]+(?:\.[0-9]+)?)\s*x\s+in\s+(\S.*?)\s*")
_EXAMPLE = 'write "retries > 1.5x in 15m"'
_MOST = 100.0  # times as many retries
_SHORTEST, _LONGEST = 60.0, 86400.0
_POINTS = 2**64


class StopWhen(NamedTuple):
    """Stop when callers of the canary's calls try again more than `factor` times as often as the others, by
    the counts of the last `window` seconds; `written` is what the file says.
    """

    factor: float
    window: float
    written: str


class Pause(NamedTuple):
    """A time in which a canary decides nothing: after `begun`, up to and with `ended`; and why."""

    begun: float
    ended: float = inf
    why: str = ""


def read_stop_when(text: str) -> StopWhen:
    """Read `stop_when`. Raises BadValue."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadValue(f'"{text}" is not a reason to stop', _EXAMPLE)
    factor, window = float(match[1]), parse_duration(match[2])
    if not 1 <= factor <= _MOST:
        raise BadValue(f"{match[1]}x is not possible", f"write a factor from 1x to {_MOST:.0f}x")
    if not _SHORTEST <= window <= _LONGEST:
        raise BadValue(f'"{match[2]}" is not possible', 'write a time from "1m" to "24h"')
    return StopWhen(factor, window, text)


def canary_of(name: str, share: float, stop_when: StopWhen | None, words: Any) -> Canary:
    """Return the canary of the rule of this name; `words` is all that the file says of it."""
    salt = blake2b(name.encode(), digest_size=32).digest()
    return Canary(share, stop_when, sha256(words_of(words).encode()).hexdigest()[:16], salt)


@dataclass(slots=True, eq=False)
class Canary:
    """The share of calls, from 0 to 1, that a rule decides. `id` names what the rule says, to the letter."""

    share: float
    stop_when: StopWhen | None
    id: str
    salt: bytes
    pauses: tuple[Pause, ...] = ()
    """When it was stopped; of several the last counts that has begun."""

    def takes(self, facts: Facts) -> bool:
        """Tell whether the rule decides about this call, if it matches."""
        if self.pauses and self.pause_at(facts.now) is not None:
            return False
        numbers = f"{facts.caller}\n{facts.called}".encode("utf-8", "replace")
        point = int.from_bytes(blake2b(numbers, digest_size=8, key=self.salt).digest(), "big")
        return point < self.share * _POINTS

    def pause_at(self, now: float | None) -> Pause | None:
        """Return the pause at a time, in seconds since the epoch; without a time, the one that lasts."""
        for pause in self.pauses:
            if pause.ended == inf if now is None else pause.begun < now <= pause.ended:
                return pause
        return None

    def told(self, facts: Facts) -> str:
        """Say which calls the rule decides, and whether this is one, for people."""
        pause = self.pause_at(facts.now)
        if pause is not None:
            return f"stopped: {pause.why}"
        if not (facts.caller or facts.called):
            return f"its share of {self.share:g} is drawn by caller and called number, and neither is known"
        whose = "in" if self.takes(facts) else "not in"
        return f"this call is {whose} its share of {self.share:g}"
