"""How long does the garbage collector stop the gateway while very many calls are up?

Calls are set up in the engine without sockets and stay up, in a process that is prepared as the gateway's is
(gateway/garbage.py); then calls are played beside them, for longer than a transaction lasts: when as many
end as begin the pauses are longest. Every collection is timed by gc.callbacks, in CPU time, which other work
on the machine does not lengthen: what it takes is what each message waits that comes meanwhile. `--threshold`
tries other thresholds, one process each.

    python bench/pauses.py                          100,000 calls, as the gateway is set up
    python bench/pauses.py --threshold 700,10,10 --threshold 50000,50,100
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from engine import FLOWS, Engine, establish

from gateway import garbage
from gateway.garbage import THRESHOLDS

RESULT = Path(__file__).parent / "results" / "pauses.json"
LIMIT_MS = 20.0
A_SECOND = 1_000
"""Calls in a second of the engine's time, which passes in steps of ten calls."""
STEP = 10
A_TICK = 50
"""Calls in a tick of the gateway, with which it looks for garbage."""


class Watch:
    """Times collections, by generation."""

    def __init__(self) -> None:
        self.pauses: dict[int, list[float]] = defaultdict(list)
        self._begun = 0.0
        gc.callbacks.append(self._hear)

    def _hear(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.thread_time()
        else:
            self.pauses[info["generation"]].append(time.thread_time() - self._begun)

    def take(self) -> dict[str, float]:
        """The figures since the last time: for each generation how many, the longest, and their sum."""
        figures: dict[str, float] = {}
        for generation in range(3):
            pauses = self.pauses.pop(generation, [])
            figures[f"count{generation}"] = len(pauses)
            figures[f"longest{generation}_ms"] = round(max(pauses, default=0.0) * 1e3, 2)
            figures[f"total{generation}_ms"] = round(sum(pauses) * 1e3, 1)
        return figures


def resident() -> int:
    """This process's resident bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(calls: int, beside: int, threshold: tuple[int, int, int]) -> dict[str, object]:
    """Set up `calls` calls, then play `beside` calls that end, half of them rejected."""
    engine, watch = Engine(), Watch()
    for flow in FLOWS.values():
        flow(engine)
    garbage.tame(threshold)
    watch.take()
    before = resident()
    for number in range(calls):
        establish(engine)
        pass_time(engine, number)
    top = resident()
    growing = watch.take()
    begun = time.process_time()
    for number in range(beside):
        FLOWS["rejected" if number % 2 else "answered"](engine)
        pass_time(engine, number)
    took = time.process_time() - begun
    return {
        "thresholds": threshold,
        "calls": calls,
        "mb": round(top / 1e6, 1),
        "bytes_a_call": round((top - before) / max(1, calls)),
        "growing": growing,
        "beside": watch.take(),
        "us_a_call_beside": round(took / beside * 1e6, 1),
    }


def pass_time(engine: Engine, number: int) -> None:
    """Let the time of a call go by, with what the gateway does meanwhile."""
    if number % STEP == 0:
        engine.pass_time(STEP / A_SECOND)
    if number % A_TICK == 0:
        garbage.look()


def longest(row: dict[str, object]) -> float:
    """The longest pause of a row, in milliseconds."""
    return max(
        float(value)
        for phase in ("growing", "beside")
        for name, value in row[phase].items()  # type: ignore[attr-defined]
        if name.startswith("longest")
    )


def thresholds(text: str) -> tuple[int, int, int]:
    """Three numbers with commas between them."""
    first, second, third = (int(part) for part in text.split(","))
    return first, second, third


def main(argv: list[str] | None = None) -> int:
    """Measure each choice in a process of its own; 1 when the gateway's own has a pause over LIMIT_MS."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=100_000, help="calls that are up [100000]")
    parser.add_argument("--beside", type=int, default=60_000, help="calls played beside them [60000]")
    parser.add_argument("--threshold", type=thresholds, action="append", help="three numbers [the gateway's]")
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write [%(default)s]")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    choices = options.threshold or [THRESHOLDS]
    if options.one:
        print(json.dumps(measure(options.calls, options.beside, choices[0])))
        return 0
    rows = []
    for choice in choices:
        numbers = ["--calls", str(options.calls), "--beside", str(options.beside)]
        numbers += ["--threshold", ",".join(map(str, choice))]
        command = [sys.executable, __file__, "--one", *numbers]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout)
        rows.append(row)
        print(f"thresholds {choice}: longest pause {longest(row):.1f} ms, {row['mb']} MB, ", end="")
        print(f"{row['bytes_a_call']} bytes a call\n  while calls come up: {row['growing']}")
        print(f"  beside them: {row['beside']}, {row['us_a_call_beside']} us a call", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 1 if not options.threshold and longest(rows[0]) > LIMIT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
