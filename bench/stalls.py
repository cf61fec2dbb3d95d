"""How long does everybody wait while the gateway does something long, with very many calls up?

A gateway as compare.py starts it, with its console, carries calls that stay up. A pinger asks it for a sign
of life every few milliseconds, over a socket and as a stranger, whom it refuses at once: an answer that comes
late says that nothing else was answered either. Meanwhile the gateway is made to do, one after the other,
what takes time: bring calls up, let their transactions expire, have its metrics read, a call looked for among
all, rules applied, its configuration read, and play calls, with their records, beside those that are up.

    python bench/stalls.py                      100,000 calls, four minutes
    python bench/stalls.py --calls 10000

`late` is the pinger's own worst delay: what the machine makes everybody wait. Where that is not small, or
`waited`, wait for a quiet machine. Exit code 0: no wait over 20 ms; 1: there was one, or calls failed; 2: it
could not be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from generator import Generator, Outcome, Pinger, build
from middle import ROOT, START_LIMIT, Middle, Shape, generated_rules
from procstat import ProcessGoneError, sample
from sipp import PeerError, free_port

RESULT = ROOT / "bench" / "results" / "stalls.json"
LIMIT_MS = 20.0
EVERY_MS = 5.0
EXPIRY = 34.0
"""Seconds after which the transactions of an answered call are gone: 64*T1, and a little more."""
SETTLE = 2.0
RATES = {"rejected": 500, "answered": 250}
HEAD = f"{'while':<34}{'pings':>8}{'lost':>6}{'p50 ms':>9}{'p99 ms':>9}{'longest':>9}{'late':>8}"
HEAD += f"{'core':>7}{'waited':>8}{'MB':>8}"


@dataclass(slots=True, frozen=True)
class Row:
    """What pings met during one activity; times in milliseconds."""

    during: str
    pings: int
    lost: int
    p50: float
    p99: float
    longest: float
    late: float
    core: float
    waited: float
    """How long the gateway's threads were ready to run while others had the CPU, as a share of the time."""
    mb: float
    failed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.during:<34}{self.pings:>8}{self.lost:>6}{self.p50:>9.2f}{self.p99:>9.2f}"
            f"{self.longest:>9.1f}{self.late:>8.1f}{self.core:>7.0%}{self.waited:>8.0%}{self.mb:>8.1f}"
        )


class Site:
    """A gateway, the ports around it, and what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.caller, self.callee = (free_port() for _ in range(3))
        shape = Shape(console=True)
        self.server = Middle("gateway", self.port, self.caller, self.callee, folder, shape)

    def wait_ready(self) -> None:
        """Wait until it has said where its console is, which comes last; raises PeerError."""
        deadline = time.monotonic() + START_LIMIT
        while not self.server.console:
            if time.monotonic() > deadline:
                raise PeerError(f"the gateway did not become ready: {self.server.log_tail()}")
            time.sleep(0.05)

    def watch(self, during: str, seconds: float, act: Callable[[], Outcome | None]) -> Row:
        """Ping for `seconds` while `act` is done, which ends before."""
        before, begun = sample(self.server.group), time.monotonic()
        with Pinger(port=free_port(), middle=self.port, every=EVERY_MS, seconds=seconds) as pinger:
            outcome = act()
            pings = pinger.pings()
        after, took = sample(self.server.group), time.monotonic() - begun
        load = after.since(before)
        return Row(
            during,
            pings.sent,
            pings.sent - pings.answered,
            round(pings.took.quantile(0.5) / 1e3, 3),
            round(pings.took.quantile(0.99) / 1e3, 3),
            round(pings.took.quantile(1.0) / 1e3, 2),
            round(pings.lateness.quantile(1.0) / 1e3, 2),
            round(load.total / took, 3),
            round(load.waited / took, 3),
            round(after.rss / 1e6, 1),
            outcome.failed if outcome else 0,
        )

    def bring_up(self, calls: int, rate: float) -> None:
        """Set calls up that stay up; raises PeerError when some do not come up."""
        with self._generator(
            calls / rate + 60, live=calls, live_rate=rate, rate=1, warm_up=0, seconds=0
        ) as run:
            up = int(run.reach("live").split()[1])
        if up < calls:
            raise PeerError(f"only {up} of {calls} calls came up")

    def play(self, flow: str, seconds: float) -> Outcome:
        """Play calls that end."""
        rate = RATES[flow]
        with self._generator(seconds + 30, flow=flow, rate=rate, warm_up=0, seconds=seconds) as run:
            for phase in ("measuring", "measured"):
                run.reach(phase)
            return run.outcome()

    def _generator(self, limit: float, **options: float | str) -> Generator:
        ports = {"middle": self.port, "caller": self.caller, "callee": self.callee}
        return Generator(limit=limit, **ports, **options)

    def read(self, path: str) -> None:
        """Read a page of the console."""
        url = f"{self.server.console}{path}"
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=30) as page:
            page.read()

    def apply(self, rules: int) -> None:
        """Put another rules file in the place of the one in force."""
        fresh = self.folder / "fresh.toml"
        fresh.write_text(generated_rules(rules))
        fresh.replace(self.folder / "rules.toml")


def activities(site: Site, calls: int, live_rate: float) -> Iterator[Row]:
    """Do everything, one after the other."""

    def rest() -> None:
        """Do nothing."""

    def read_metrics() -> None:
        for _ in range(4):
            site.read("/metrics")
            time.sleep(0.5)

    def look_for_calls() -> None:
        for _ in range(4):
            site.read("/api/calls/nobody")
            time.sleep(0.5)

    def reload() -> None:
        site.server.hang_up()

    yield site.watch("nothing is going on, no calls", 3.0, rest)
    rise = calls / live_rate
    yield site.watch(f"{calls:,} calls come up", rise + 2.0, lambda: site.bring_up(calls, live_rate))
    yield site.watch("transactions expire", EXPIRY, rest)
    yield site.watch("nothing is going on", 5.0, rest)
    yield site.watch("metrics are read", 4.0, read_metrics)
    yield site.watch("a call is looked for", 4.0, look_for_calls)
    for count in (100, 1_000, 10_000):
        yield site.watch(f"{count:,} rules are applied", 3.0 + count / 2_000, lambda: site.apply(count))  # noqa: B023
    yield site.watch("the configuration is read", 6.0, reload)
    for flow in RATES:
        yield site.watch(f"{RATES[flow]} {flow} calls a second", 12.0, lambda: site.play(flow, 10.0))  # noqa: B023


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=100_000, help="calls that are up [100000]")
    parser.add_argument("--rate", type=float, default=1_000.0, help="calls that come up a second [1000]")
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write [%(default)s]")
    options = parser.parse_args(argv)
    if why := build():
        print(why, file=sys.stderr)
        return 2
    rows: list[Row] = []
    options.json.parent.mkdir(parents=True, exist_ok=True)
    print(HEAD, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            site = Site(Path(name))
            with site.server:
                site.wait_ready()
                for row in activities(site, options.calls, options.rate):
                    rows.append(row)
                    print(row, flush=True)
                    document = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
                    options.json.write_text(json.dumps(document, indent=2) + "\n")
    except (PeerError, ProcessGoneError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    well = all(row.longest <= LIMIT_MS and not row.lost and not row.failed for row in rows)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
