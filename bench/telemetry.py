"""What telemetry costs a call, and what a collector that misbehaves costs: nothing, or this says so.

The gateway plays the same load with telemetry off and on, turn about (A B C A B C ...), each time started
fresh. "off" has the ledger, and no console and no collector; from "0 %" on there are both, and the metrics
are read each second. Reported are CPU microseconds a call of the process that carries calls and of the one
that sends telemetry, the mean time from INVITE to final response that the caller saw, failed calls and
retransmissions, and the ratio of the carrying process to that with telemetry off.

    python bench/telemetry.py                                what tracing no, 1 % and all calls costs
    python bench/telemetry.py --rate 500 --repeats 5
    python bench/telemetry.py --collectors --seconds 60      collectors that work, hang, refuse and answer 500
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from middle import Middle, Shape
from procstat import ProcessGoneError, sample
from sipp import PeerError, caller, carrier, free_port

WARM_UP_SECONDS = 4
SHARES = {"0 %": 0.0, "1 %": 0.01, "100 %": 1.0}
KINDS = ("no ledger", "off", *SHARES)
COLLECTORS = ("off", "works", "hangs", "refuses", "500")


def shape_of(kind: str, url: str) -> Shape:
    """The gateway whose telemetry is of this kind, with a collector at `url`."""
    if kind in ("no ledger", "off"):
        return Shape(ledger=kind == "off")
    return Shape(otlp=url, sample=SHARES[kind], console=True)


@contextmanager
def collector(kind: str) -> Iterator[str]:
    """Serve as a collector that "works", "hangs", "refuses" connections or answers "500"; yield its URL."""
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if kind == "hangs":
                done.wait(120)
            self.send_response(500 if kind == "500" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_args: object) -> None:
            pass

    if kind == "refuses":
        yield "http://127.0.0.1:9"
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def scraped(console: str) -> Iterator[None]:
    """Read the metrics once a second, as Prometheus would, where there is a console."""
    done = threading.Event()

    def scrape() -> None:
        while console and not done.wait(1.0):
            urllib.request.urlopen(f"{console}/metrics", timeout=10).read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@dataclass(slots=True, frozen=True)
class Run:
    """One load under one kind of telemetry. Times are microseconds a call."""

    kind: str
    rate: float
    calls_us: float
    sender_us: float
    response_us: float
    failed: int
    retransmissions: int


def play(kind: str, share: str, faults: str, flow: str, rate: int, seconds: int) -> Run:
    """Measure a fresh gateway under `rate` calls a second for `seconds`, after a warm-up."""
    warm, calls = rate * WARM_UP_SECONDS, rate * seconds
    limit = seconds + WARM_UP_SECONDS + 60
    with tempfile.TemporaryDirectory(prefix="bench-") as name, collector(faults) as url:
        folder = Path(name)
        ports = [free_port() for _ in range(3)]
        with (
            carrier(flow, ports[2], folder, calls=warm + calls, seconds=limit),
            Middle("gateway", ports[0], ports[1], ports[2], folder, shape_of(share, url)) as server,
        ):
            with caller(
                "warm", flow, ports[0], ports[1], folder, calls=warm, rate=rate, seconds=limit
            ) as peer:
                peer.wait(limit)
            before = sample(server.group)
            with (
                scraped(server.console),
                caller(
                    "caller", flow, ports[0], ports[1], folder, calls=calls, rate=rate, seconds=limit
                ) as peer,
            ):
                stats = peer.wait(limit)
            after = sample(server.group)
            response = _response_time(folder / "caller.csv")
        used = {
            pid: now.total - (before.by_pid[pid].total if pid in before.by_pid else 0.0)
            for pid, now in after.by_pid.items()
        }
        own = used.pop(server.group)
    each = 1e6 / max(1, stats.created)
    return Run(
        kind, stats.rate, own * each, sum(used.values()) * each, response, stats.failed, stats.retransmissions
    )


def _response_time(statistics_file: Path) -> float:
    """The mean time from INVITE to final response, in microseconds."""
    with statistics_file.open(newline="") as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    hours, minutes, seconds, microseconds = map(int, last["ResponseTime1(C)"].split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1e6 + microseconds


def summary(runs: list[Run]) -> Run:
    """Several runs as one: medians of what was measured, and the sum of what went wrong."""

    def median(name: str) -> float:
        return statistics.median(getattr(run, name) for run in runs)

    return Run(
        runs[0].kind,
        median("rate"),
        median("calls_us"),
        median("sender_us"),
        median("response_us"),
        sum(run.failed for run in runs),
        sum(run.retransmissions for run in runs),
    )


def table(runs: list[Run]) -> str:
    """The report."""
    kinds = [
        summary([run for run in runs if run.kind == kind]) for kind in dict.fromkeys(r.kind for r in runs)
    ]
    (off,) = [run for run in kinds if run.kind == "off"]
    lines = [
        f"{'telemetry':<10}{'calls/s':>8}{'us/call':>9}{'sender':>8}{'answer us':>11}{'failed':>8}"
        f"{'retrans':>9}{'ratio':>7}"
    ]
    lines += [
        f"{run.kind:<10}{run.rate:>8.0f}{run.calls_us:>9.1f}{run.sender_us:>8.1f}{run.response_us:>11.0f}"
        f"{run.failed:>8}{run.retransmissions:>9}{run.calls_us / off.calls_us:>7.3f}"
        for run in kinds
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 when every call went well, 1 when some failed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--collectors", action="store_true", help="collectors that misbehave instead")
    parser.add_argument("--flow", choices=("rejected", "answered"), default="rejected")
    parser.add_argument("--rate", type=int, default=1000, help="calls a second [1000]")
    parser.add_argument("--seconds", type=int, default=10, help="seconds of load [10]")
    parser.add_argument("--repeats", type=int, default=3, help="turns [3]")
    options = parser.parse_args(argv)
    try:
        runs = measured(options)
    except (PeerError, ProcessGoneError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(runs))
    return 1 if any(run.failed for run in runs) else 0


def measured(options: argparse.Namespace) -> list[Run]:
    """Play every kind, turn about, telling each result as it comes."""
    runs = []
    for _ in range(options.repeats):
        for kind in COLLECTORS if options.collectors else KINDS:
            share, faults = (
                ("100 %" if kind != "off" else kind, kind) if options.collectors else (kind, "works")
            )
            run = play(kind, share, faults, options.flow, options.rate, options.seconds)
            print(run, file=sys.stderr, flush=True)
            runs.append(run)
    return runs


if __name__ == "__main__":
    sys.exit(main())
