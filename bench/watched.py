"""What telemetry costs a call in machine instructions, which do not wander with the load of the machine.

A whole gateway is made from its configuration, once with telemetry off, once with traces of no call and once
of every call, and is handed the datagrams of calls without sockets; callgrind counts, as in gate.py. What
traces of 1 % cost follows from these. Neither the ledger's writer nor what sends traces runs, so that a call
is cheaper here than with all that surrounds it, and the shares told are rather too large. A reading of the
metrics is counted as text made, without the HTTP around it, and shared among the calls of a second.

    python bench/watched.py
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import gate
from engine import FLOWS, Engine
from middle import Shape, gateway_toml, generated_rules

from gateway.app import Gateway
from gateway.config import load

SHAPES = {
    "off": Shape(),
    "0 %": Shape(otlp="http://127.0.0.1:9", sample=0.0, console=True),
    "100 %": Shape(otlp="http://127.0.0.1:9", sample=1.0, console=True),
}
RATE = 1_000  # calls a second, among which a reading is shared
WARM_UP = 200  # calls: by then trunks have their counters
FEW, MANY = 10, 110


class Whole(Engine):
    """A whole gateway in place of the bare endpoint and B2BUA."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        super().__init__()
        path = folder / f"{len(list(folder.iterdir()))}.toml"
        path.write_text(gateway_toml(0, 5070, 5080, folder / "ledger.db", shape))
        (folder / "rules.toml").write_text(generated_rules())
        self.gateway = Gateway(load(path), path)
        self.flows, self.endpoint, self.core = self.gateway.flows, self.gateway.endpoint, self.gateway.b2bua
        (local,) = self.gateway.ports.locals
        self.caller = self.flows.get(local, ("127.0.0.1", 5070))
        self.callee = self.flows.get(local, ("127.0.0.1", 5080))
        self.core.begin(self.now)


def calls(flow: Callable[[Engine], int], engine: Engine) -> gate.Job:
    """Calls of one flow, with the ticker that frees what has lingered."""

    def run(turns: int) -> None:
        for turn in range(turns):
            flow(engine)
            if turn % 10 == 9:
                engine.pass_time(0.01)

    run(WARM_UP)
    return run


def readings(engine: Whole) -> gate.Job:
    """Readings of the metrics."""

    def run(turns: int) -> None:
        for _ in range(turns):
            engine.gateway.telemetry.reading()()

    run(WARM_UP // 10)
    return run


def jobs(folder: Path) -> dict[str, gate.Job]:
    """All that is counted."""
    made: dict[str, gate.Job] = {}
    for flow, play in FLOWS.items():
        for kind, shape in SHAPES.items():
            engine = Whole(shape, folder)
            made[f"{flow} {kind}"] = calls(play, engine)
    made["reading"] = readings(engine)
    return made


def main(argv: list[str] | None = None) -> int:
    """Count and print; 2 when it cannot be counted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.count:
        with tempfile.TemporaryDirectory(prefix="watched-") as name:
            gate.count_children(options.count, jobs(Path(name)), (FEW, MANY))
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed; install the Debian package valgrind", file=sys.stderr)
        return 2
    found = gate.instructions("pure" if gate.why_not_native() else "native", Path(__file__), (FEW, MANY))
    reading = found["reading"] / RATE
    print(f"{'call':<10}{'telemetry':<10}{'instructions':>13}{'reading':>9}{'ratio':>8}")
    for flow in FLOWS:
        off, none, all_ = (found[f"{flow} {kind}"] for kind in SHAPES)
        rows = {"off": (off, 0.0), "0 %": (none, reading)}
        rows |= {"1 %": (none + (all_ - none) / 100, reading), "100 %": (all_, reading)}
        for kind, (call, share) in rows.items():
            print(f"{flow:<10}{kind:<10}{call:>13,.0f}{share:>9,.0f}{(call + share) / off:>8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
