"""One trial: a freshly started server, a warm-up, a load, and what it cost the server and the calls."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from generator import Generator, Outcome
from middle import USUAL, Middle, Shape
from procstat import Load, ProcessGoneError, sample
from sipp import PeerError, free_port

LIVE_RATES = {"sippy": 50}
"""Calls a second while calls that stay up are set up, where it is not FAST_LIVE_RATE."""
FAST_LIVE_RATE = 1_000
SPARE_SECONDS = 30.0
TRIES = 2


class OutOfTimeError(RuntimeError):
    """The time that a run of the benchmark may take is over."""


@dataclass(slots=True, frozen=True)
class Plan:
    """How long and how often to measure, and until when."""

    seconds: float
    warm_up: float
    repeats: int
    begun: float
    """By time.monotonic()."""
    deadline: float
    """Likewise."""
    kinds: tuple[str, ...]
    """The servers that are there."""
    shape: Shape = USUAL
    """The gateway's, where a section does not choose another."""
    short: bool = False
    """Whether only what takes a few minutes is wanted."""
    limits: dict[tuple[str, str], Trial | None] = field(default_factory=dict)
    """The trial at a server's limit, by server and flow, once it has been searched for."""
    problems: list[str] = field(default_factory=list)
    """What could not be measured, and why: a sentence each."""

    def check(self, what: str, seconds: float) -> None:
        """Say what comes, a trial of that length; raise OutOfTimeError if it would end too late."""
        now = time.monotonic()
        if now + seconds > self.deadline:
            raise OutOfTimeError
        passed, allowed = (now - self.begun) / 60, (self.deadline - self.begun) / 60
        print(f"[{passed:4.1f} of {allowed:.0f} min] {what}: {seconds:.0f} s", file=sys.stderr, flush=True)

    def turns(self, kinds: tuple[str, ...]) -> Iterator[str]:
        """Those of `kinds` that are there, turn about: A B A B."""
        for _ in range(self.repeats):
            yield from (kind for kind in kinds if kind in self.kinds)


@dataclass(slots=True, frozen=True)
class Trial:
    """What was measured; `kind` "direct" is no server at all: caller and callee face to face."""

    kind: str
    flow: str
    outcome: Outcome
    load: Load
    """CPU seconds of the server while calls were placed."""
    rss_before: int
    """Resident bytes of the server before the first call."""
    rss_live: int
    """... with all calls up that stay up."""
    rss: int
    """... after the last call was placed."""
    note: dict[str, object] = field(default_factory=dict)
    """What was varied, for the row."""

    def row(self) -> dict[str, object]:
        """The figures as they go into the result: costs and latencies in microseconds, memory in MB."""
        outcome = self.outcome
        each = 1e6 / max(1, outcome.placed)
        quantiles = {name: outcome.setup.quantile(share) for name, share in QUANTILES.items()}
        return {
            "server": self.kind,
            "flow": self.flow,
            **self.note,
            "asked": outcome.asked,
            "rate": round(outcome.rate, 1),
            "us": round(self.load.total * each, 2),
            "user_us": round(self.load.user * each, 2),
            "system_us": round(self.load.system * each, 2),
            "core": round(self.load.total / outcome.seconds, 4),
            "waited": round(self.load.waited / outcome.seconds, 4),
            **{name: round(value, 1) for name, value in quantiles.items()},
            "mb": round(self.rss / 1e6, 1),
            "placed": outcome.placed,
            "failed": outcome.failed,
            "failures": dict(outcome.failures),
            "retransmissions": outcome.retransmissions,
            "generator_us": round(outcome.cpu * each, 2),
            "generator_late_p99": round(outcome.lateness.quantile(0.99), 1),
            "generator_dropped": outcome.dropped,
        }


QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


def try_out(
    plan: Plan,
    kind: str,
    flow: str,
    rate: float,
    *,
    seconds: float | None = None,
    warm_up: float | None = None,
    shape: Shape | None = None,
    live: int = 0,
    patience: float = 6.0,
    **note: object,
) -> Trial | None:
    """Measure `kind` under `rate` calls a second of `flow`, with `live` other calls up.

    What fails for a reason that lies around the server, such as a port that somebody else took just then, is
    tried once more; None, and a sentence in `plan.problems`, when that fails, too. Raises OutOfTimeError when
    there is no time left for it.
    """
    seconds = plan.seconds if seconds is None else seconds
    warm_up = plan.warm_up if warm_up is None else warm_up
    live_rate = LIVE_RATES.get(kind, FAST_LIVE_RATE)
    length = live / live_rate + warm_up + seconds
    standing = f", {live:,} others up" if live else ""
    what = f"{kind}, {flow}, {rate:,.0f} a second{standing}"
    load = {"flow": flow, "rate": rate, "seconds": seconds, "warm_up": warm_up, "patience": patience}
    load |= {"live": live, "live_rate": live_rate}
    why = ""
    for _ in range(TRIES):
        plan.check(what, length)
        try:
            return _measure(kind, shape or plan.shape, load, 2 * length + SPARE_SECONDS, note)
        except (PeerError, ProcessGoneError, OSError) as error:
            why = f"{what}: {error}"
            print(why, file=sys.stderr, flush=True)
    plan.problems.append(why)
    return None


def _measure(
    kind: str, shape: Shape, load: dict[str, str | float], limit: float, note: dict[str, object]
) -> Trial:
    """Start a server and put a load on it for at most `limit` seconds; raises PeerError, ProcessGoneError."""
    port, caller, callee = (free_port() for _ in range(3))
    with ExitStack() as stack:
        group = None
        if kind == "direct":
            port = callee
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            server = Middle(kind, port, caller, callee, folder, shape)
            group = stack.enter_context(server).group
        start = _rss(group)
        expected = 603 if kind in ("direct", "relay") else 404
        ports = {"middle": port, "caller": caller, "callee": callee}
        generator = stack.enter_context(Generator(limit=limit, expected=expected, **ports, **load))
        if live := load["live"]:
            up = int(generator.reach("live").split()[1])
            if up < int(live):
                raise PeerError(f"only {up} of {live} calls came up")
        standing = _rss(group)
        generator.reach("measuring")
        before = sample(group) if group else None
        generator.reach("measured")
        after = sample(group) if group else None
        outcome = generator.outcome()
    used = after.since(before) if after and before else Load(0.0, 0.0, 0.0, 0.0)
    rss = after.rss if after else 0
    return Trial(kind, str(load["flow"]), outcome, used, start, standing, rss, note)


def _rss(group: int | None) -> int:
    return sample(group).rss if group else 0
