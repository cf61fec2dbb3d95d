"""The gateway beside others: what a call costs, how many a second, how late, how much memory.

Caller and callee are the load generator of our own; the servers take turns, each started fresh, and the
warm-up is left out. Without cargo there is no such generator, and cps.py measures with SIPp instead.

    python bench/compare.py                 all sections, at most an hour
    python bench/compare.py --short         costs and memory, three minutes
    python bench/compare.py --section rules --section tracing

It prints a table and writes bench/results/compare.json and the pictures beside it. Exit code 0: measured;
1: calls failed where none should; 2: it could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import cps
import pictures
from generator import build
from middle import ROOT, available
from procstat import ProcessGoneError
from sections import RATES, SECTIONS, Row
from sipp import PeerError
from trial import OutOfTimeError, Plan

RESULT = ROOT / "bench" / "results" / "compare.json"
SHORT = ("costs", "memory")
COLUMNS = {
    "server": 10,
    "flow": 10,
    "varied": 34,
    "rate": 9,
    "us": 8,
    "user_us": 8,
    "system_us": 10,
    "core": 6,
    "waited": 8,
    "p50": 12,
    "p99": 12,
    "p999": 12,
    "mb": 7,
    "failed": 7,
    "generator_us": 13,
}
VARIED = ("share", "calls_up", "rules", "workers", "traced", "added_p99", "bytes_a_call")


def varied(row: Row) -> str:
    """What distinguishes a row from others of its section, and what it was measured for."""
    return " ".join(f"{name}={row[name]}" for name in VARIED if name in row)


def line(row: Row) -> str:
    """A row of the table."""
    shares = {name: f"{float(str(row[name])):.0%}" for name in ("core", "waited")}
    shown = row | {"varied": varied(row)} | shares
    first = "".join(f"{shown[name]!s:<{width}}" for name, width in list(COLUMNS.items())[:3])
    return first + "".join(f"{shown[name]!s:>{width}}" for name, width in list(COLUMNS.items())[3:])


def header() -> str:
    """The head of the table."""
    first = "".join(f"{name:<{width}}" for name, width in list(COLUMNS.items())[:3])
    return first + "".join(f"{name:>{width}}" for name, width in list(COLUMNS.items())[3:])


def ratios(rows: list[Row]) -> dict[str, dict[str, float]]:
    """By flow and other server: the gateway's cost of a call over the other's, at equal rates."""
    result: dict[str, dict[str, float]] = {}
    ours = {(row["flow"], row["asked"]): float(str(row["us"])) for row in rows if row["server"] == "gateway"}
    for row in rows:
        mine = ours.get((row["flow"], row["asked"]))
        theirs = float(str(row["us"]))
        if row["server"] != "gateway" and mine and theirs:
            result.setdefault(str(row["flow"]), {})[str(row["server"])] = round(mine / theirs, 3)
    return result


def measure(plan: Plan, names: list[str], document: dict[str, object], path: Path) -> bool:
    """Measure sections and write the document after each; whether no call failed at the compared rates."""
    done: dict[str, list[Row]] = {}
    cut, broken = [], []
    for name in names:
        rows = done[name] = []
        print(f"\n{name}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}\n{header()}", flush=True)
        try:
            for row in SECTIONS[name](plan):
                rows.append(row)
                print(line(row), flush=True)
        except OutOfTimeError:
            cut.append(name)
            print("cut short: the time is over", flush=True)
        except (PeerError, ProcessGoneError) as error:
            broken.append(f"{name}: {error}")
            print(error, file=sys.stderr, flush=True)
        document |= {"sections": done, "cut_short": cut, "not_measured": broken}
        if name == "costs":
            document["ratio"] = ratios(rows)
            print(f"the gateway's cost over theirs: {document['ratio']}")
        path.write_text(json.dumps(document, indent=2) + "\n")
    return not broken and not any(row["failed"] for row in done.get("costs", []))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options, each with its default in brackets in the help."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--section", choices=tuple(SECTIONS), action="append", help="only this one [all]")
    parser.add_argument("--short", action="store_true", help="the short form: " + " and ".join(SHORT))
    parser.add_argument("--seconds", type=float, help="seconds of load in a trial [10, short 4]")
    parser.add_argument(
        "--repeats", type=int, help="turns of each server when costs are compared [2, short 1]"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="at most this long [60]")
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write [%(default)s]")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked for, print it, write it, draw it."""
    options = arguments(argv)
    if why := build():
        print(f"{why}; SIPp is used instead", file=sys.stderr)
        return cps.main(["--seconds", "10"])
    kinds, lacking = available()
    if lacking:
        print("\n".join(lacking), file=sys.stderr)
    plan = Plan(
        seconds=options.seconds or (4.0 if options.short else 10.0),
        # Six seconds are longer than the five that Kamailio keeps a finished transaction.
        warm_up=3.0 if options.short else 6.0,
        repeats=options.repeats or (1 if options.short else 2),
        deadline=time.monotonic() + options.minutes * 60,
        kinds=tuple(kinds),
        short=options.short,
    )
    begun = time.monotonic()
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    document: dict[str, object] = {"machine": machine, "rates": RATES, "without": lacking}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    names = options.section or list(SHORT if options.short else SECTIONS)
    well = measure(plan, names, document, options.json)
    document["minutes"] = round((time.monotonic() - begun) / 60, 1)
    options.json.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\n{document['minutes']} minutes; {options.json}")
    pictures.draw(options.json)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
