"""What `gateway replay` costs a call: a generated ledger of rejected calls, decided on again by one core.

The calls are played through the gateway's core on a virtual network, in all the ways that far ends reject,
and their records written over and over with other numbers. The time for a million is an extrapolation, and
is called so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import repository  # noqa: F401  # tests below
import sqlalchemy as sa
from rules import rule_file

from gateway.commands.replay import from_ledger
from gateway.ledger.database import open_for_reading, open_for_writing, parse_url
from gateway.ledger.packing import RowMaker, emitted_checksum
from gateway.ledger.query import Selection
from gateway.ledger.schema import COLUMNS, calls
from gateway.rules import RuleSet, compile_rules, shipped_rules
from gateway.rules.replay import Replay
from gateway.toml_source import TomlSource
from tests.helpers import Net
from tests.ledger.test_evidence import play

RESULTS = Path(__file__).parent / "results"
LIMIT = 60.0  # seconds for a million calls
PLAYED = 2_000


def write_ledger(path: Path, count: int) -> None:
    """Write a ledger of that many rejected calls."""
    net = Net(rules=shipped_rules().text)
    play(net, Random(1), PLAYED)
    values = [RowMaker()(record) for record in net.records if record.evidence is not None]
    at, called = COLUMNS.index("id"), COLUMNS.index("called")
    engine = open_for_writing(parse_url(f"sqlite:///{path}"))
    statement = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    with engine.begin() as connection:
        for begin in range(0, count, 10_000):
            rows = []
            for number in range(begin, min(begin + 10_000, count)):
                row = list(values[number % len(values)])
                row[at], row[called] = f"{number:016x}", f"+1215{number % 10_000_000:07}"
                rows.append(tuple(row))
            connection.exec_driver_sql(statement, rows)
        assert connection.execute(sa.select(sa.func.count()).select_from(calls)).scalar() == count
    engine.dispose()


def replayed(path: Path, rules: RuleSet) -> tuple[Replay, float, float]:
    """Replay the ledger; return what was found, CPU seconds and seconds."""
    engine = open_for_reading(f"sqlite:///{path}")
    replay = Replay(rules, emitted_checksum)
    cpu, begin = time.process_time(), time.perf_counter()
    with engine.connect() as connection:
        for facts, outcome, call in from_ledger(connection, Selection()):
            replay.judge(facts, outcome, call)
    spent = time.process_time() - cpu, time.perf_counter() - begin
    engine.dispose()
    return replay, *spent


def main() -> int:
    """Measure, print, write results; exit code 1 when a million calls would take too long."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=200_000)
    options = arguments.parse_args()
    os.sched_setaffinity(0, {0})
    candidates = {
        "the shipped rules": compile_rules(shipped_rules(), None),
        "1,000 rules": compile_rules(TomlSource.parse(rule_file(1_000), "rules.toml"), None),
    }
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        write_ledger(path, options.calls)
        size = path.stat().st_size / options.calls
        print(f"{options.calls:,} rejected calls, {size:.0f} bytes each")
        for name, rules in candidates.items():
            replay, cpu, seconds = replayed(path, rules)
            million = seconds / options.calls * 1e6
            rows.append({
                "rules": name,
                "calls": options.calls,
                "changed": replay.changed,
                "cpu_us_a_call": round(cpu / options.calls * 1e6, 1),
                "seconds": round(seconds, 2),
                "seconds_a_million_extrapolated": round(million, 1),
                "bytes_a_call": round(size),
            })  # fmt: skip
            print(f"{name}: {cpu / options.calls * 1e6:.1f} µs of CPU a call, {seconds:.1f} s in all")
            print(f"  {replay.changed:,} changed; a million would take {million:.0f} s (extrapolated)")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "replay.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["seconds_a_million_extrapolated"] > LIMIT for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
