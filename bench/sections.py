"""The questions that compare.py asks, one function each: what is varied, and the rows that come of it.

Each takes a plan and gives rows as they are measured, so that a run that is cut short keeps what it has.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

from middle import Shape
from sipp import HOST, free_port
from trial import QUANTILES, Plan, Trial, try_out

Row = dict[str, object]
Section = Callable[[Plan], Iterator[Row]]

RATES = {"rejected": 2_000, "answered": 1_000, "mixed": 1_500}
"""Calls a second at which costs are compared."""
SLOW_RATES = {"rejected": 200, "answered": 100}
"""What sippy can carry; the gateway is measured at these too, so that the two are compared at equal rates."""
FAST = ("gateway", "pure", "kamailio", "relay")
FAILED_SHARE = 0.001
"""A server that fails more of its calls is past its limit."""
PLACED_SHARE = 0.95
"""Where fewer are placed of the calls that were asked for, the load generator is past its own."""
DOUBLINGS = 4
STEPS = 4
SHARES = (0.3, 0.6, 0.9)
"""Of a server's saturated rate, for latency."""
SHARE_BESIDE = 0.6
"""... with very many calls up."""
RULE_COUNTS = (1, 10, 100, 1_000, 10_000)
LIVE_CALLS = (0, 1_000, 10_000, 100_000)
HELD_CALLS, HELD_SHORT, HELD_BY_SIPPY = 100_000, 10_000, 500
TRACED_RATES = {"rejected": 500, "answered": 250}
"""With all calls traced, the process that sends them takes as much as the calls."""
SAMPLES = {"off": 0.0, "1 %": 0.01, "100 %": 1.0}


def rows(trial: Trial | None) -> Iterator[Row]:
    """The row of a trial, if it could be made."""
    if trial is not None:
        yield trial.row()


def costs(plan: Plan) -> Iterator[Row]:
    """What a call costs each server, at equal rates, traces of 1 % on in the gateway."""
    with collector() as otlp:
        for flow, rate in RATES.items():
            if flow == "mixed" and plan.short:
                continue
            for kind in plan.turns(FAST):
                yield from rows(try_out(plan, kind, flow, rate, shape=Shape(otlp=otlp)))
        if "sippy" in plan.kinds and not plan.short:
            for flow, rate in SLOW_RATES.items():
                for kind in plan.turns(("sippy", "gateway")):
                    yield from rows(try_out(plan, kind, flow, rate, shape=Shape(otlp=otlp)))


def saturation(plan: Plan) -> Iterator[Row]:
    """The highest rate at which a server fails fewer than one call in a thousand."""
    for flow in SLOW_RATES:
        for kind in (*FAST, "sippy"):
            if kind in plan.kinds:
                yield from rows(limit(plan, kind, flow))


def limit(plan: Plan, kind: str, flow: str) -> Trial | None:
    """The trial at the highest rate that a server carries; None when it carries none.

    The rate is doubled from what a short trial's cost suggests until it is not carried, then halved in.
    """
    if (kind, flow) not in plan.limits:
        plan.limits[kind, flow] = search(plan, kind, flow)
    return plan.limits[kind, flow]


def search(plan: Plan, kind: str, flow: str) -> Trial | None:
    """Search for the limit of a server."""
    first = try_out(plan, kind, flow, SLOW_RATES[flow], seconds=2.0)
    if first is None:
        return None
    low, best = 0.0, first if carried(first) else None
    high = first.outcome.rate / max(first.load.total / first.outcome.seconds, 1e-4)
    for _ in range(DOUBLINGS):
        trial = probe(plan, kind, flow, high)
        if trial is None or not carried(trial):
            break
        low, high, best = high, 2 * high, trial
    for _ in range(STEPS):
        rate = (low + high) / 2
        trial = probe(plan, kind, flow, rate)
        if trial is not None and carried(trial):
            low, best = rate, trial
        else:
            high = rate
    return best


def probe(plan: Plan, kind: str, flow: str, rate: float) -> Trial | None:
    """A short trial: long enough to see whether a rate is carried."""
    return try_out(plan, kind, flow, rate, seconds=3.0, warm_up=2.0, patience=3.0)


def carried(trial: Trial) -> bool:
    """Whether a server carried a load: nearly no call failed, and calls were placed as fast as asked for, but
    for what chance makes of the number of arrivals.
    """
    outcome = trial.outcome
    wanted = outcome.asked * outcome.seconds
    return outcome.failed_share < FAILED_SHARE and outcome.placed > PLACED_SHARE * wanted - 3 * sqrt(wanted)


def latency(plan: Plan) -> Iterator[Row]:
    """How much later a final response comes than without a server, at shares of the server's limit.

    The relay does so little that what it adds is the machine's doing: it is loaded as the gateway is, so that
    its rows say how little a server could add there.
    """
    for flow in SLOW_RATES:
        for kind, measure in (("gateway", "gateway"), ("relay", "gateway"), ("kamailio", "kamailio")):
            best = limit(plan, measure, flow) if {kind, measure} <= set(plan.kinds) else None
            for share in SHARES if best is not None else ():
                yield from later(plan, kind, flow, best.outcome.asked * share, share=share)
        best = limit(plan, "gateway", flow)
        if best is not None:
            rate = best.outcome.asked * SHARE_BESIDE
            up = {"live": HELD_CALLS, "calls_up": HELD_CALLS}
            yield from later(plan, "gateway", flow, rate, share=SHARE_BESIDE, **up)


def later(plan: Plan, kind: str, flow: str, rate: float, **options: Any) -> Iterator[Row]:
    """A row about a server, with what it adds to what the same load takes without one."""
    bare = try_out(plan, "direct", flow, rate)
    trial = try_out(plan, kind, flow, rate, **options)
    if bare is not None and trial is not None:
        yield trial.row() | added(trial, bare)


def added(trial: Trial, bare: Trial) -> Row:
    """What a server adds to each quantile of the time to a final response, in microseconds."""
    with_it, without = trial.outcome.setup, bare.outcome.setup
    return {
        f"added_{name}": round(with_it.quantile(share) - without.quantile(share), 1)
        for name, share in QUANTILES.items()
    }


def memory(plan: Plan) -> Iterator[Row]:
    """What a call that is up holds."""
    many = HELD_SHORT if plan.short else HELD_CALLS
    for kind, calls in (("gateway", many), ("sippy", HELD_BY_SIPPY)):
        if kind in plan.kinds:
            trial = try_out(plan, kind, "answered", 50, seconds=2.0, live=calls, calls_up=calls)
            if trial is not None:
                yield held(trial, calls)


def held(trial: Trial, calls: int) -> Row:
    """A row about calls that are up, with what each holds."""
    each = (trial.rss_live - trial.rss_before) / calls
    return trial.row() | {
        "mb_before": round(trial.rss_before / 1e6, 1),
        "mb_live": round(trial.rss_live / 1e6, 1),
        "bytes_a_call": round(each),
    }


def rules(plan: Plan) -> Iterator[Row]:
    """Rejected calls with more and more rules, of which the last decides."""
    for count in RULE_COUNTS:
        yield from rows(try_out(plan, "gateway", "rejected", 1_000, shape=Shape(rules=count), rules=count))


def live(plan: Plan) -> Iterator[Row]:
    """Rejected calls beside more and more calls that are up."""
    for count in LIVE_CALLS:
        yield from rows(try_out(plan, "gateway", "rejected", 1_000, live=count, calls_up=count))


def workers(plan: Plan) -> Iterator[Row]:
    """The limit with one worker and with two."""
    for flow in SLOW_RATES:
        for count in (1, 2):
            best = limit(replace(plan, limits={}, shape=Shape(workers=count)), "gateway", flow)
            if best is not None:
                yield best.row() | {"workers": count}


def tracing(plan: Plan) -> Iterator[Row]:
    """Calls with no traces, traces of 1 %, and of all."""
    with collector() as otlp:
        for flow, rate in TRACED_RATES.items():
            for name, share in SAMPLES.items():
                shape = Shape(otlp=otlp if share else "", sample=share)
                yield from rows(try_out(plan, "gateway", flow, rate, shape=shape, traced=name))


SECTIONS: dict[str, Section] = {
    "costs": costs,
    "saturation": saturation,
    "latency": latency,
    "memory": memory,
    "rules": rules,
    "live": live,
    "workers": workers,
    "tracing": tracing,
}


@contextmanager
def collector() -> Iterator[str]:
    """A collector of traces that forgets them; its URL."""
    port = free_port()
    sink = [sys.executable, str(Path(__file__).parent / "sink.py"), str(port)]
    with subprocess.Popen(sink, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(0.3)
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()
