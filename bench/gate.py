"""Has a call become dearer? Compares what a call costs the engine with a committed baseline.

A cost is a ratio: what a call costs the whole engine without sockets (engine.py) over what one turn of a
calibrating loop costs, a fixed piece of Python that does the same kinds of thing. So the baseline serves on
another machine and, roughly, another Python. Where valgrind is at hand, cost is machine instructions counted
by callgrind, which do not wander with the load of the machine; else it is CPU time, the best of many rounds,
and rougher.

Each job is counted for two numbers of turns and the difference taken, so that what comes before and after,
the interpreter's start among it, falls out. With callgrind one process starts and forks one child for each
count: a child's counter begins where its parent's stood.

    python bench/gate.py            compare; exit code 1 when something costs 10 % more than the baseline
    python bench/gate.py --write    make the figures of this machine the baseline
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine import FLOWS, Engine

BASELINE = Path(__file__).parent / "baseline.json"
LOSS = 0.10
WARM_UP, FEW, MANY = 20, 10, 60
ROUNDS = 40
CORES = ("native", "pure")

Job = Callable[[int], None]
"""A job does its turns and returns nothing; the number of turns is given."""


class _Thing:
    """What the calibrating loop makes and reads."""

    __slots__ = ("index", "name", "next")

    def __init__(self, name: bytes, index: dict[bytes, bytes]) -> None:
        self.name = name
        self.index = index
        self.next: _Thing | None = None

    def value(self, name: bytes) -> bytes:
        return self.index.get(name, b"")


_TEXT = b"\r\n".join(b"Header-%d: value %d;tag=x%d" % (n, n, n) for n in range(20))


def calibrate(turns: int) -> None:
    """Take a text apart, file it, make and read small objects, put a text together."""
    table: dict[bytes, _Thing] = {}
    for turn in range(turns):
        for _ in range(10):
            index = dict(line.split(b": ", 1) for line in _TEXT.split(b"\r\n"))
            thing = _Thing(b"%d" % turn, index)
            thing.next = table.get(thing.name)
            table[thing.name] = thing
            parts = [thing.value(name).partition(b";")[0].strip() for name in index]
            if b"\r\n".join(parts).find(b"value 19") < 0:
                raise AssertionError(parts)


def flow_job(name: str) -> Job:
    """Calls of one flow through a new engine, with the ticker that frees what has lingered."""
    engine, flow = Engine(), FLOWS[name]

    def run(turns: int) -> None:
        for turn in range(turns):
            flow(engine)
            if turn % 10 == 9:
                engine.pass_time(0.01)

    return run


def jobs() -> dict[str, Job]:
    """All that is measured; the first is the calibrating loop. Each has been warmed up."""
    made: dict[str, Job] = {"calibrate": calibrate, **{name: flow_job(name) for name in FLOWS}}
    for job in made.values():
        job(WARM_UP)
    return made


def without_collector(made: dict[str, Job]) -> dict[str, Job]:
    """Return the jobs. The garbage collector is off: it runs by how much was allocated before, by chance."""
    gc.collect()
    gc.disable()
    return made


def count_children(folder: Path, made: dict[str, Job], often: tuple[int, int] = (FEW, MANY)) -> None:
    """Under callgrind: fork a child for each count; each leaves its job and turns beside its counter."""
    for name, job in without_collector(made).items():
        children = []
        for turns in often:
            child = os.fork()
            if child == 0:
                (folder / f"{os.getpid()}.job").write_text(f"{name} {turns}")
                job(turns)
                os._exit(0)
            children.append(child)
        for child in children:
            if os.waitpid(child, 0)[1] != 0:
                raise SystemExit(f"{name} could not be counted")


def instructions(
    core: str, script: Path = Path(__file__), often: tuple[int, int] = (FEW, MANY)
) -> dict[str, float]:
    """Machine instructions a turn of each job of `script`, by callgrind; `often` are the turns it takes."""
    few, many = often
    with tempfile.TemporaryDirectory(prefix="gate-") as name:
        folder = Path(name)
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        command += [f"--log-file={folder}/%p.log", sys.executable, str(script), "--count", name]
        subprocess.run(command, env=environment(core), check=True, stdout=subprocess.DEVNULL)
        counts: dict[tuple[str, int], int] = {}
        for mark in folder.glob("*.job"):
            job, _, turns = mark.read_text().rpartition(" ")
            match = re.search(r"Collected\s*:\s*(\d+)", mark.with_suffix(".log").read_text())
            if match is None:
                raise SystemExit(f"callgrind counted nothing for {job}")
            counts[job, int(turns)] = int(match[1])
    return {job: (counts[job, many] - counts[job, few]) / (many - few) for job, _ in counts}


def best_times() -> dict[str, float]:
    """CPU seconds a turn of each job, the best of ROUNDS rounds, turn about."""
    made = without_collector(jobs())
    best = dict.fromkeys(made, float("inf"))
    for _ in range(ROUNDS):
        for name, job in made.items():
            start = time.process_time()
            job(MANY)
            best[name] = min(best[name], (time.process_time() - start) / MANY)
    return best


def environment(core: str) -> dict[str, str]:
    """For the process that measures: the core it is to use, and one order of sets and dictionaries."""
    chosen = {"PYTHONHASHSEED": "0", "GATEWAY_PURE": "1" if core == "pure" else ""}
    return os.environ | chosen


def seconds(core: str) -> dict[str, float]:
    """CPU seconds a turn of each job, measured by a process of its own."""
    command = [sys.executable, __file__, "--time"]
    done = subprocess.run(command, env=environment(core), check=True, capture_output=True, text=True)
    return {str(name): float(cost) for name, cost in json.loads(done.stdout).items()}


def why_not_native() -> str:
    """Why the native core and the compiled call logic cannot be measured; "" when they can."""
    from gateway import speedups

    return speedups.WHY_PURE or speedups.WHY_INTERPRETED


def measure(method: str) -> dict[str, dict[str, float]]:
    """For each core that is there, what a call of each flow costs in turns of the calibrating loop."""
    reason = why_not_native()
    if reason:
        print(f"native: not measured: {reason}")
    cores = CORES[1:] if reason else CORES
    if method == "instructions":
        with ThreadPoolExecutor() as together:
            counted = list(together.map(instructions, cores))
    else:
        counted = [seconds(core) for core in cores]
    ratios = {}
    for core, costs in zip(cores, counted, strict=True):
        loop = costs.pop("calibrate")
        ratios[core] = {name: round(costs[name] / loop, 4) for name in FLOWS}
    return ratios


def compare(measured: dict[str, dict[str, float]], baseline: dict[str, dict[str, float]]) -> list[str]:
    """Print each cost beside its baseline; one sentence for each that has grown by more than LOSS."""
    losses = []
    print(f"{'core':<8}{'call':<10}{'baseline':>10}{'now':>10}{'change':>9}")
    for core, costs in measured.items():
        for name, cost in costs.items():
            was = baseline.get(core, {}).get(name)
            if was is None:
                losses.append(f"{core} {name}: the baseline has no figure; run bench/gate.py --write")
                continue
            print(f"{core:<8}{name:<10}{was:>10.3f}{cost:>10.3f}{cost / was - 1:>+9.1%}")
            if cost > was * (1 + LOSS):
                losses.append(f"{core}: a call {name} costs {cost / was - 1:.0%} more than the baseline")
    return losses


def main(argv: list[str] | None = None) -> int:
    """Compare or write the baseline; 1 when a call has become dearer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="make this machine's figures the baseline")
    parser.add_argument("--method", choices=("instructions", "time"), help="instead of the best at hand")
    parser.add_argument("--count", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--time", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.count:
        count_children(options.count, jobs())
        return 0
    if options.time:
        print(json.dumps(best_times()))
        return 0
    method = options.method or ("instructions" if shutil.which("valgrind") else "time")
    measured = measure(method)
    document = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if options.write:
        document[method] = measured
        BASELINE.write_text(json.dumps(document, indent=2) + "\n")
        return 0
    print(f"a call in turns of the calibrating loop, by {method}")
    losses = compare(measured, document.get(method, {}))
    print("\n".join(losses) if losses else "no call costs more than it may")
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
