"""What `gateway analyze` costs: a generated capture of many calls, read in a process of its own.

The calls go through a B2BUA, some of them through a forking proxy: answered, rejected, and with faults. What
must hold is 100 MB in under 60 s with under 500 MB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import repository  # noqa: F401  # tests below

from tests.analysis.scene import CARRIER, PBX, PHONE_A, PHONE_B, PROXY, SDP, Scene
from tests.captures.writer import pcap

RESULTS = Path(__file__).parent / "results"
SECONDS, MEGABYTES = 60.0, 500.0


def call(scene: Scene, number: str) -> None:
    """Play one call, by its number in one of several ways."""
    up = scene.invite(PBX, PROXY, number, f"+1415{int(number[-6:]) % 50_000:07}")
    up.says("100 Trying")
    down = up.leg(CARRIER, f"X-CID: {up.call_id}")
    down.says("100 Trying")
    way = int(number[-3:]) % 20
    if way < 8:
        down.says("180 Ringing")
        up.says("180 Ringing")
        scene.wait(8)
        down.answered()
        up.answered()
        scene.wait(60)
        up.hung_up()
        down.hung_up()
    elif way < 19:
        line = ("486 Busy Here", "404 Not Found", "603 Decline")[way % 3]
        down.rejected(line, "Reason: Q.850;cause=17")
        up.rejected(line, "Reason: Q.850;cause=17")
    else:
        branches = [up.forward(phone) for phone in (PHONE_A, PHONE_B)]
        for branch in branches:
            branch.says("183 Session Progress", body=SDP)
        scene.wait(5)
        branches[0].rejected("603 Decline")
        up.rejected("603 Decline")


def write(path: Path, size: int, calls_a_second: float) -> int:
    """Write a capture of at least this many bytes; return how many calls are in it."""
    random, packets, count, written = Random(1), [], 0, 0
    while written < size:
        scene = Scene(at=1_800_000_000.0 + count / calls_a_second, count=count * 20)
        call(scene, f"+1215{random.randrange(10_000_000):07}")
        packets += scene.packets
        written += sum(len(packet.payload) + 58 for packet in scene.packets)
        count += 1
    packets.sort(key=lambda packet: packet.at)
    path.write_bytes(pcap(packets))
    return count


def analysed(path: Path) -> tuple[float, float, float, dict[str, object]]:
    """Analyse a capture; return seconds, CPU seconds, peak memory in MB, and the report."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        command = [sys.executable, "-m", "gateway", "analyze", "--json", str(path)]
        child = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 1, "the generated capture has faults in it"
        out.seek(0)
        report = json.load(out)
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, report


def main() -> int:
    """Measure, print, write results; exit code 1 when it takes too long or too much memory."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--megabytes", type=float, default=100)
    arguments.add_argument("--cps", type=float, default=200, help="calls a second in the capture")
    arguments.add_argument("--write", type=Path, help="only write the capture, to this file")
    options = arguments.parse_args()
    if options.write:
        print(f"{write(options.write, int(options.megabytes * 1e6), options.cps):,} calls")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "generated.pcap"
        # In a process of its own, because a new process begins with the memory of the one that makes it.
        subprocess.run([sys.executable, *sys.argv, "--write", str(path)], check=True)
        size = path.stat().st_size / 1e6
        seconds, cpu, peak, report = analysed(path)

    messages = int(str(report["messages"]))
    each = f"{cpu:.1f} s of CPU, {cpu / messages * 1e6:.0f} µs a message"
    print(f"{size:.0f} MB, {messages:,} messages: {seconds:.1f} s ({each}), at most {peak:.0f} MB of memory")
    row = {
        "megabytes": round(size),
        "messages": messages,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_mb": round(peak),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "analyze.json").write_text(json.dumps(row, indent=1) + "\n")
    return 1 if seconds > SECONDS * size / 100 or peak > MEGABYTES else 0


if __name__ == "__main__":
    sys.exit(main())
