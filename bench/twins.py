"""What telemetry costs a call, told on a machine that is busy: two gateways in the same seconds.

One run after another compares two moments of a machine more than two gateways. So here two of them stand side
by side, each between its own SIPp, and carry the same load at the same time; whatever else the machine does
slows both. Each round gives a ratio of CPU a call of the processes that carry calls, and the median of many
rounds is told with an interval that holds it with 95 % (from the order of the rounds, whatever their
distribution). After some rounds both are started anew, and the other one comes first, because two processes
of one program differ by where their memory lies.

    python bench/twins.py                    1 % of traces and a reading each second over telemetry off;
                                             and, as a control, telemetry off over telemetry off
    python bench/twins.py --kind "100 %" --turns 12
    python bench/twins.py --against DIR      this version over the one that is checked out in DIR, both off
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from statistics import median

from middle import Middle, Shape
from procstat import ProcessGoneError, Usage, sample
from sipp import PeerError, Sipp, caller, carrier, free_port
from telemetry import KINDS, collector, scraped, shape_of

FLOWS = ("rejected", "answered")
WARM_UP_SECONDS = 4
BASE = "off"
THIS = "this version"


@dataclass(slots=True, frozen=True)
class Round:
    """What a call cost in one round: microseconds of CPU, of the gateway in question and of the base."""

    watched_us: float
    base_us: float
    sender_us: float
    failed: int

    @property
    def ratio(self) -> float:
        """The cost of the one over that of the other."""
        return self.watched_us / self.base_us


class Twin:
    """One gateway between its own caller and carrier."""

    def __init__(self, stack: ExitStack, flow: str, shape: Shape, calls: int, seconds: int) -> None:
        self._flow = flow
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twins-")))
        self._ports = [free_port() for _ in range(3)]
        self._peers = stack.enter_context(ExitStack())
        stack.enter_context(carrier(flow, self._ports[2], self._folder, calls=calls, seconds=seconds))
        self._server = stack.enter_context(Middle("gateway", *self._ports, self._folder, shape))
        stack.enter_context(scraped(self._server.console))

    def load(self, name: str, rate: int, seconds: int) -> Sipp:
        """Begin to place calls."""
        peer = caller(
            name,
            self._flow,
            self._ports[0],
            self._ports[1],
            self._folder,
            calls=rate * seconds,
            rate=rate,
            seconds=seconds + 30,
        )
        return self._peers.enter_context(peer)

    def used(self) -> Usage:
        """Sample it now."""
        return sample(self._server.group)

    def cost(self, before: Usage, after: Usage, calls: int) -> tuple[float, float]:
        """CPU microseconds a call between two samples: of the process that carries calls, and of others."""
        spent = {
            pid: now.total - (before.by_pid[pid].total if pid in before.by_pid else 0.0)
            for pid, now in after.by_pid.items()
        }
        own = spent.pop(self._server.group)
        return own * 1e6 / calls, sum(spent.values()) * 1e6 / calls


def turn(
    kind: str, kind_first: bool, flow: str, rate: int, seconds: int, rounds: int, against: Path | None
) -> list[Round]:
    """Start both, warm them up, and play that many rounds."""
    calls = rate * (WARM_UP_SECONDS + seconds * rounds)
    limit = WARM_UP_SECONDS + seconds * rounds + 90
    found = []
    with ExitStack() as stack:
        url = stack.enter_context(collector("works"))
        asked = shape_of(BASE if kind == THIS else kind, url)
        other = shape_of(BASE, url) if against is None else replace(asked, checkout=against)
        shapes = (asked, other) if kind_first else (other, asked)
        started = [Twin(stack, flow, each, calls, limit) for each in shapes]
        watched, base = started if kind_first else reversed(started)
        for number in range(rounds + 1):
            length = seconds if number else WARM_UP_SECONDS
            before = watched.used(), base.used()
            peers = [each.load(f"caller-{number}", rate, length) for each in (watched, base)]
            done = [peer.wait(length + 30) for peer in peers]
            after = watched.used(), base.used()
            if number:
                cost, sender = watched.cost(before[0], after[0], done[0].created)
                base_cost, _ = base.cost(before[1], after[1], done[1].created)
                found.append(Round(cost, base_cost, sender, sum(each.failed for each in done)))
                print(f"{kind} {found[-1].ratio:.3f} {found[-1]}", file=sys.stderr, flush=True)
    return found


def interval(values: list[float], sure: float = 0.95) -> tuple[float, float]:
    """The narrowest pair of values, alike far from either end, that has the median between it with `sure`."""
    ordered, count = sorted(values), len(values)
    outside, tail = 0, 0.0
    while (tail := tail + comb(count, outside) / 2**count) <= (1 - sure) / 2:
        outside += 1
    at = max(0, outside - 1)
    return ordered[at], ordered[count - 1 - at]


def told(kind: str, rounds: list[Round]) -> str:
    """One line of the report."""
    ratios = [each.ratio for each in rounds]
    low, high = interval(ratios)
    return (
        f"{kind:<13}{len(rounds):>6}{median(each.watched_us for each in rounds):>9.1f}"
        f"{median(each.base_us for each in rounds):>9.1f}{median(each.sender_us for each in rounds):>8.1f}"
        f"{median(ratios):>8.3f}  {low:.3f} to {high:.3f}{sum(each.failed for each in rounds):>8}"
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 0 when every call went well, 1 when some failed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", action="append", choices=KINDS, help="[1 %% and off]")
    parser.add_argument("--rate", type=int, default=500, help="calls a second through each [500]")
    parser.add_argument("--seconds", type=int, default=4, help="of a round [4]")
    parser.add_argument("--rounds", type=int, default=3, help="before both are started anew [3]")
    parser.add_argument("--turns", type=int, default=8, help="of that many rounds [8]")
    parser.add_argument("--flow", choices=FLOWS, default=FLOWS[0], help="of calls [rejected]")
    parser.add_argument("--against", type=Path, help="where another version of the project is checked out")
    options = parser.parse_args(argv)
    kinds = [THIS] if options.against else list(dict.fromkeys(options.kind or ["1 %", BASE]))
    results: dict[str, list[Round]] = {kind: [] for kind in kinds}
    try:
        for number in range(options.turns):
            for kind in kinds:
                results[kind] += turn(
                    kind,
                    number % 2 == 0,
                    options.flow,
                    options.rate,
                    options.seconds,
                    options.rounds,
                    options.against,
                )
    except (PeerError, ProcessGoneError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'':<13}{'rounds':>6}{'us/call':>9}{'base':>9}{'sender':>8}{'ratio':>8}  with 95 %{'failed':>12}")
    for kind, rounds in results.items():
        print(told(kind, rounds))
    return 1 if any(each.failed for rounds in results.values() for each in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
