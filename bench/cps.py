"""Calls a second, compared: what one call costs the gateway and what it costs Kamailio, in one run.

SIPp (caller) -> server -> SIPp (carrier) over loopback UDP. Per flow the servers take turns (A B A B ...),
each started fresh with its carrier; a warm-up is played first and not counted. Reported are medians over
the repeats: CPU microseconds a call with its user and system parts, share of a core, resident memory,
failed calls and retransmissions seen by the caller, and the ratio gateway / Kamailio. Everything is bounded
and ends by itself.

    python bench/cps.py                       both flows, both servers
    python bench/cps.py --flow rejected --rate 3000 --seconds 20 --repeats 3
    python bench/cps.py --concurrent 20000    memory of established calls
    python bench/cps.py --soak                60 s at 1,000 calls a second, and the ledger counted
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from held import HeldRun, SoakRun, hold_calls, soak
from middle import KINDS, ROOT, Middle, missing
from procstat import ProcessGoneError, sample
from sipp import PeerError, caller, carrier, free_port

FLOWS = {"rejected": 2000, "answered": 1000}
# Longer than the 5 s that Kamailio keeps a finished transaction (wt_timer): its memory no longer grows then.
WARM_UP_SECONDS = 6
# Below this share of the asked rate the load generator or the machine was the limit, and the row says so.
FULL_RATE = 0.97


@dataclass(slots=True, frozen=True)
class Run:
    """One flow played once through one freshly started server."""

    flow: str
    middle: str
    asked: int
    achieved: float
    calls: int
    failed: int
    retransmissions: int
    cpu_us: float
    user_us: float
    system_us: float
    core: float
    rss: int


def play(flow: str, kind: str, rate: int, seconds: float) -> Run:
    """Measure a freshly started `kind` under `rate` calls a second for `seconds`, after a warm-up."""
    warm, calls = rate * WARM_UP_SECONDS, int(rate * seconds)
    limit = seconds + WARM_UP_SECONDS + 60
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ports = [free_port() for _ in range(3)]
        with (
            carrier(flow, ports[2], folder, calls=warm + calls, seconds=limit),
            Middle(kind, ports[0], ports[1], ports[2], folder) as server,
        ):
            with caller(
                "warm-up", flow, ports[0], ports[1], folder, calls=warm, rate=rate, seconds=limit
            ) as peer:
                warmed = peer.wait(limit)
                if warmed.successful == 0:
                    raise PeerError(
                        f"no {flow} call got through {kind}: {peer.complaint()}; {server.log_tail()}"
                    )
            before = sample(server.group)
            with caller(
                "caller", flow, ports[0], ports[1], folder, calls=calls, rate=rate, seconds=limit
            ) as peer:
                stats = peer.wait(limit)
            after = sample(server.group)
    load = after.since(before)
    each = 1e6 / max(1, stats.created)
    return Run(
        flow,
        kind,
        rate,
        stats.rate,
        stats.created,
        stats.failed + warmed.failed,
        stats.retransmissions,
        load.total * each,
        load.user * each,
        load.system * each,
        load.total * stats.rate / max(1, stats.created),
        after.rss,
    )


def compare(flows: list[str], kinds: list[str], rate: int | None, seconds: float, repeats: int) -> list[Run]:
    """Play every flow `repeats` times through every server, turn about, telling each result as it comes."""
    runs = []
    for flow in flows:
        for turn in range(repeats):
            for kind in kinds:
                run = play(flow, kind, rate or FLOWS[flow], seconds)
                runs.append(run)
                told = f"{run.cpu_us:.1f} us a call at {run.achieved:.0f} calls a second"
                print(f"{flow} {turn + 1}/{repeats} {kind}: {told}", file=sys.stderr, flush=True)
    return runs


def summary(runs: list[Run]) -> Run:
    """Several runs as one: medians of what was measured, the lowest rate, and the sum of what went wrong."""
    measured = ("cpu_us", "user_us", "system_us", "core", "rss")
    changed = {name: statistics.median(getattr(run, name) for run in runs) for name in measured}
    changed["achieved"] = min(run.achieved for run in runs)
    for name in ("calls", "failed", "retransmissions"):
        changed[name] = sum(getattr(run, name) for run in runs)
    return Run(**(asdict(runs[0]) | changed))


def table(runs: list[Run]) -> tuple[str, dict[str, float]]:
    """The report as text, and the ratio gateway / Kamailio of each flow where both were measured."""
    header = (
        f"{'flow':<10}{'server':<10}{'asked/s':>8}{'got/s':>8}{'us/call':>9}{'user':>7}{'system':>8}"
        f"{'core':>6}{'MB':>7}{'failed':>8}{'retrans':>9}{'ratio':>7}"
    )
    lines, ratios, notes = [header, "-" * len(header)], {}, []
    for flow in dict.fromkeys(run.flow for run in runs):
        rows = {
            kind: summary(mine)
            for kind in KINDS
            if (mine := [run for run in runs if run.flow == flow and run.middle == kind])
        }
        if len(rows) == len(KINDS):
            ratios[flow] = rows["gateway"].cpu_us / rows["kamailio"].cpu_us
        for kind, run in rows.items():
            ratio = f"{ratios[flow]:.2f}" if kind == "gateway" and flow in ratios else ""
            short = run.achieved < FULL_RATE * run.asked
            lines.append(
                f"{flow:<10}{kind:<10}{run.asked:>8}{run.achieved:>7.0f}{'!' if short else ' '}"
                f"{run.cpu_us:>9.1f}{run.user_us:>7.1f}{run.system_us:>8.1f}{run.core:>6.0%}"
                f"{run.rss / 1e6:>7.1f}{run.failed:>8}{run.retransmissions:>9}{ratio:>7}"
            )
            if short:
                notes.append(
                    f"! {flow} through {kind} reached {run.achieved:.0f} of {run.asked} calls a second: "
                    "SIPp or the machine was the limit, so the cost is that of the lower rate."
                )
    return "\n".join(lines + notes), ratios


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    return {"cores": os.cpu_count() or 0, "kernel": platform.release(), "python": platform.python_version()}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options, each with its default in brackets in the help."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=KINDS, help="measure one server alone")
    parser.add_argument("--flow", choices=tuple(FLOWS), action="append", help="one flow instead of both")
    parser.add_argument(
        "--rate",
        type=_positive,
        help="calls a second [" + ", ".join(f"{flow} {rate}" for flow, rate in FLOWS.items()) + "]",
    )
    parser.add_argument("--seconds", type=_positive, help="seconds of load [10, soak 60]")
    parser.add_argument("--repeats", type=_positive, default=2, help="turns of each server [2]")
    parser.add_argument(
        "--concurrent",
        type=_positive,
        metavar="N",
        help="hold N calls and measure memory instead [server: gateway]",
    )
    parser.add_argument(
        "--soak", action="store_true", help="one long load instead; counts the ledger [server: gateway]"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=ROOT / "bench" / "results" / "cps.json",
        help="where to write the result [bench/results/cps.json]",
    )
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def report(options: argparse.Namespace, kinds: list[str]) -> tuple[dict[str, object], bool]:
    """Measure what was asked for and print it; the JSON document, and whether every call went well."""
    held: HeldRun | SoakRun
    if options.concurrent:
        held = hold_calls(kinds[0], options.concurrent, options.rate or 1000)
        print(held.text())
        return {"concurrent": asdict(held)}, held.well
    if options.soak:
        held = soak(kinds[0], options.rate or 1000, options.seconds or 60)
        print(held.text())
        return {"soak": asdict(held)}, held.well
    runs = compare(options.flow or list(FLOWS), kinds, options.rate, options.seconds or 10, options.repeats)
    text, ratios = table(runs)
    print(text)
    return {"runs": [asdict(run) for run in runs], "ratio": ratios}, not any(run.failed for run in runs)


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 when every call went well, 1 when some failed, 2 when it could not be measured."""
    options = arguments(argv)
    alone = ["gateway"] if options.concurrent or options.soak else list(KINDS)
    kinds = [options.only] if options.only else alone
    if lacking := missing(kinds):
        print("\n".join(lacking), file=sys.stderr)
        return 2
    try:
        document, well = report(options, kinds)
    except (PeerError, ProcessGoneError) as error:
        print(error, file=sys.stderr)
        return 2
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": machine(), **document}, indent=2) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
