"""What two workers carry beside one, at the wire, on two cores that the load generator has a share of, too.

    .venv/bin/python bench/scaling.py [--turns 10] [--flow rejected] [--seconds 3]

Two gateways of one worker each, which share nothing, carry exactly twice what one carries. So one gateway of
two workers is measured against two gateways of one worker, turn about, under the same calls a second in all:
both have two processes on two cores, beside generators that cost the same, and differ only in what workers
do for one another. Two workers carry 2 / `dearer` times what one does, where `dearer` is the gateway's CPU
for a call in the one case over that in the other (`ratio`).

    receives the share of all messages that each worker received from the network
    handed   the share that a worker received for another
    lost     datagrams that the system lost because a worker was slow to take them
    free     cores that the generators leave of two; the rate is chosen, by what the trial before has cost,
             such that the gateways use 80 % of them: near their limit, where batches are large

A machine is not always equally fast, so trials are short and take turns (A B B A); each pair gives a ratio,
and their median is told with an interval that holds it with 95 %. A pair in which more than one call in a
thousand failed is left out, and the next is given less. On a machine with other work to do, `chrt -r 5`
before the command (for root) keeps that away.

Two generators, each with a caller and a callee of its own, give half of the calls each: to both gateways, or
both to the one; all begin together.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from generator import Generator, build
from middle import ROOT, Middle, Shape
from procstat import ProcessGoneError, sample
from sipp import PeerError, free_port
from twins import interval

RESULT = ROOT / "bench" / "results" / "scaling.json"
FIRST_RATES = {"rejected": 3_000.0, "answered": 1_600.0}
"""Calls a second of the first trial."""
FAILED_SHARE = 0.001
BUSY = 0.8
"""The share of the free cores that the gateways are to use."""
WARM_UP, PATIENCE = 2.0, 3.0
TOLD = 1.2
"""Seconds after which the first worker knows what the others have counted."""
HEAD = "flow      kind            rate  us/call   used  generator  failed  lost  receives  handed"
ALONE, SHARED = "two gateways", "two workers"


@dataclass(slots=True, frozen=True)
class Spread:
    """Where messages went: the share of all that each worker received, by number; the share that were another
    worker's; how many the system lost.
    """

    receives: list[float]
    handed: float
    lost: float


@dataclass(slots=True, frozen=True)
class Trial:
    """What was measured: calls a second in all, cores used by the gateways, and by the generator."""

    flow: str
    kind: str
    rate: float
    used: float
    generator: float
    failed_share: float
    spread: list[Spread]
    """Of each gateway."""

    @property
    def cost(self) -> float:
        """CPU microseconds of the gateways for a call."""
        return self.used / self.rate * 1e6


def spread_of(gateway: Middle) -> Spread:
    """Ask a gateway where messages went since its start."""
    with urllib.request.urlopen(f"{gateway.console}/metrics", timeout=10) as answer:
        return spread(answer.read().decode())


def spread(text: str) -> Spread:
    """Read out of a gateway's metrics where messages went."""
    series = r'^sip_gateway_worker_messages_total\{owner="(\w+)",worker="(\d+)"\} (\S+)'
    counted = re.findall(series, text, re.M)
    lost = re.search(r'^sip_gateway_dropped_total\{why="receive buffer full"\} (\S+)', text, re.M)
    received: dict[int, float] = {}
    for _, worker, value in counted:
        received[int(worker)] = received.get(int(worker), 0.0) + float(value)
    handed = sum(float(value) for owner, _, value in counted if owner == "another")
    total = sum(received.values()) or 1.0
    return Spread(
        [received[worker] / total for worker in sorted(received)],
        handed / total,
        float(lost[1]) if lost else 0.0,
    )


def attempt(flow: str, kind: str, rate: float, seconds: float) -> Trial:
    """Put so many calls a second through what is started for it, half of them from each of two generators."""
    middles = [free_port() for _ in range(1 if kind == SHARED else 2)]
    pairs = [(free_port(), free_port()) for _ in range(2)]
    with ExitStack() as stack:
        gateways = []
        for number, middle in enumerate(middles):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            shape = Shape(console=True)
            if kind == SHARED:
                shape = Shape(console=True, workers=2, further=(pairs[1],))
            gateways.append(stack.enter_context(Middle("gateway", middle, *pairs[number], folder, shape)))
        loads = []
        for number, (caller, callee) in enumerate(pairs):
            load = Generator(
                limit=WARM_UP + seconds + PATIENCE + 30,
                middle=middles[number % len(middles)],
                caller=caller,
                callee=callee,
                flow=flow,
                rate=rate / 2,
                seconds=seconds,
                expected=404,
                warm_up=WARM_UP,
                patience=PATIENCE,
            )
            loads.append(stack.enter_context(load))
        for load in loads:
            load.reach("measuring")
        before = [sample(gateway.group) for gateway in gateways]
        for load in loads:
            load.reach("measured")
        after = [sample(gateway.group) for gateway in gateways]
        outcomes = [load.outcome() for load in loads]
        time.sleep(TOLD)
        spreads = [spread_of(gateway) for gateway in gateways]
    placed = sum(each.placed for each in outcomes)
    return Trial(
        flow,
        kind,
        placed / seconds,
        sum(late.since(early).total for early, late in zip(before, after, strict=True)) / seconds,
        sum(each.cpu for each in outcomes) / seconds,
        sum(each.failed for each in outcomes) / max(placed, 1),
        spreads,
    )


def next_rate(rate: float, trial: Trial) -> float:
    """Return the calls a second for the next trial; never far from the last."""
    if trial.failed_share >= FAILED_SHARE:
        return 0.85 * rate
    free = 2 - trial.generator
    return min(max(BUSY * free / trial.cost * 1e6, 0.8 * rate), 1.25 * rate)


def line(trial: Trial) -> str:
    """A trial as it is printed."""
    shares = [f"{share:.0%}" for each in trial.spread for share in each.receives]
    handed = f"{trial.spread[0].handed:.1%}" if shares else ""
    return (
        f"{trial.flow:<10}{trial.kind:<14}{trial.rate:6.0f}{trial.cost:9.1f}{trial.used:7.2f}"
        f"{trial.generator:11.3f}{trial.failed_share:8.2%}{sum(each.lost for each in trial.spread):6.0f}"
        f"  {'/'.join(shares):<9}{handed:>7}"
    )


def pairs(flow: str, turns: int, seconds: float, trials: list[Trial]) -> list[float]:
    """Measure both kinds turn about, and return what two workers carry over one, by pair."""
    rate, ratios = FIRST_RATES[flow], []
    for turn in range(turns):
        pair = {}
        for kind in (ALONE, SHARED) if turn % 2 == 0 else (SHARED, ALONE):
            try:
                pair[kind] = attempt(flow, kind, rate, seconds)
            except (PeerError, ProcessGoneError) as error:
                print(error, file=sys.stderr, flush=True)
                break
            print(line(pair[kind]), flush=True)
        if len(pair) < 2:
            continue
        trials += pair.values()
        if all(each.failed_share < FAILED_SHARE for each in pair.values()):
            ratios.append(2 * pair[ALONE].cost / pair[SHARED].cost)
            print(f"{flow}: {ratios[-1]:.2f}", flush=True)
        rate = min(next_rate(rate, each) for each in pair.values())
    return ratios


def main(argv: list[str] | None = None) -> int:
    """Measure, print each trial and the ratios, and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=10, help="of either kind [10]")
    parser.add_argument("--flow", choices=tuple(FIRST_RATES), action="append", help="only this one [both]")
    parser.add_argument("--seconds", type=float, default=3.0, help="of load in a trial [3]")
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write [%(default)s]")
    options = parser.parse_args(argv)
    why = build() if len(os.sched_getaffinity(0)) > 1 else "this needs two cores"
    if why:
        print(why, file=sys.stderr)
        return 2
    options.json.parent.mkdir(parents=True, exist_ok=True)
    trials: list[Trial] = []
    ratios: dict[str, list[float]] = {}
    print(
        "flow      kind            rate  us/call   used  generator  failed  lost  receives  handed",
        flush=True,
    )
    for flow in options.flow or FIRST_RATES:
        found = ratios[flow] = pairs(flow, options.turns, options.seconds, trials)
        document = {"trials": [asdict(each) for each in trials], "ratios": ratios}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
        if found:
            low, high = interval(found)
            told = f"{statistics.median(found):.2f}, with 95 % {low:.2f} to {high:.2f}"
            print(f"{flow}: two workers over one, median of {len(found)} pairs: {told}", flush=True)
    return 0 if any(ratios.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
