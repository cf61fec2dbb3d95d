"""The gateway beside others: what a call costs, how many a second, how late, how much memory.

Caller and callee are the load generator of our own; the servers take turns, each started fresh, and the
warm-up is left out. Without cargo there is no such generator, and cps.py measures with SIPp instead.

    python bench/compare.py                 all sections, at most an hour
    python bench/compare.py --short         costs and memory, three minutes
    python bench/compare.py --section rules --section tracing

It prints a table, and on stderr what it is about to do. After each row bench/results/compare.json and the
table beside it are written, at the end the pictures; whoever interrupts it keeps what there is. Exit code 0:
measured; 1: calls failed where none should, or something could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import NoReturn

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
    """By flow and other server: the gateway's mean cost of a call over the other's, at equal rates. Trials in
    which calls failed are left out: they were not given the same work.
    """
    costs: dict[tuple[str, object], dict[str, list[float]]] = {}
    for row in rows:
        if not row["failed"]:
            servers = costs.setdefault((str(row["flow"]), row["asked"]), {})
            servers.setdefault(str(row["server"]), []).append(float(str(row["us"])))
    result: dict[str, dict[str, float]] = {}
    for (flow, _), servers in costs.items():
        ours = servers.pop("gateway", None)
        for server, theirs in servers.items():
            if ours:
                result.setdefault(flow, {})[server] = round(fmean(ours) / fmean(theirs), 3)
    return result


class Report:
    """What has been measured so far: printed at once, and on disk after each row."""

    def __init__(self, path: Path, document: dict[str, object]) -> None:
        self._path = path
        self._document = document
        self._lines: list[str] = []
        self._begun = time.monotonic()
        self.sections: dict[str, list[Row]] = {}
        self.cut_short: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        """Print lines, which belong to the table, too."""
        print(text, flush=True)
        self._lines.append(text)

    def add(self, section: str, row: Row) -> None:
        """Take a row of a section."""
        self.sections[section].append(row)
        self.say(line(row))
        self.write()

    def write(self, **more: object) -> None:
        """Write what there is: the figures as JSON, the table as text."""
        minutes = round((time.monotonic() - self._begun) / 60, 1)
        said = {"minutes": minutes, "sections": self.sections, "cut_short": self.cut_short}
        self._document |= said | more
        for path, text in (
            (self._path, json.dumps(self._document, indent=2)),
            (self._path.with_suffix(".txt"), "\n".join(self._lines)),
        ):
            fresh = path.with_name(f"{path.name}.new")
            fresh.write_text(text + "\n")
            fresh.replace(path)


def measure(plan: Plan, names: list[str], report: Report) -> bool:
    """Measure sections; whether all could be, and no call failed at the compared rates. What there is of a
    section stays when it is cut short: when the time is over, or on KeyboardInterrupt.
    """
    for name in names:
        report.sections[name] = []
        report.say(f"\n{name}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}\n{header()}")
        try:
            for row in SECTIONS[name](plan):
                report.add(name, row)
        except OutOfTimeError:
            report.cut_short.append(name)
            report.say("cut short: the time is over")
        except KeyboardInterrupt:
            report.cut_short += names[names.index(name) :]
            report.say("cut short: interrupted")
            break
        except (PeerError, ProcessGoneError, OSError) as error:
            plan.problems.append(f"{name}: {error}")
            report.say(str(error))
        if name == "costs":
            ratio = ratios(report.sections[name])
            report.say(f"the gateway's cost over theirs: {ratio}")
            report.write(ratio=ratio)
    report.write(not_measured=plan.problems)
    return not plan.problems and not any(row["failed"] for row in report.sections.get("costs", []))


def interrupt(*_: object) -> NoReturn:
    """Take SIGTERM as Ctrl-C: what was started is ended, what was measured is kept."""
    raise KeyboardInterrupt


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
        begun=time.monotonic(),
        deadline=time.monotonic() + options.minutes * 60,
        kinds=tuple(kinds),
        short=options.short,
    )
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    report = Report(options.json, {"machine": machine, "rates": RATES, "without": lacking})
    names = options.section or list(SHORT if options.short else SECTIONS)
    signal.signal(signal.SIGTERM, interrupt)
    well = measure(plan, names, report)
    print(f"\n{options.json} and .txt", flush=True)
    pictures.draw(options.json)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
