"""The load generator of our own (load/, in Rust): built on demand, run as a bounded process, its report read.

It calls and is called in one process, with arrivals like those of many callers (open loop, Poisson), and
checks every message. See load/src/main.rs for its options and for the lines it prints when a phase begins.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from sipp import PeerError

LOAD = Path(__file__).parent / "load"
BINARY = LOAD / "target" / "release" / "load"
BUILD_LIMIT = 300.0
PING_SPARE = 10.0


def build() -> str:
    """Build it if need be; return why it cannot be, one sentence, or ""."""
    if shutil.which("cargo") is None:
        return "cargo is not at hand: the load generator cannot be built"
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    try:
        done = subprocess.run(command, cwd=LOAD, capture_output=True, text=True, timeout=BUILD_LIMIT)
    except subprocess.TimeoutExpired:
        return f"the load generator was not built within {BUILD_LIMIT:.0f} s"
    return f"the load generator was not built: {done.stderr[-300:]}" if done.returncode else ""


@dataclass(slots=True, frozen=True)
class Histogram:
    """How often a time was measured: greatest nanoseconds of a bucket, and count."""

    counts: Mapping[int, int]

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        """Several as one."""
        counts: Counter[int] = Counter()
        for part in parts:
            counts.update(part.counts)
        return cls(counts)

    def quantile(self, share: float) -> float:
        """The microseconds that `share` (0 to 1) of all values do not exceed; 0 when there are none."""
        wanted = sum(self.counts.values()) * share
        seen = 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= wanted:
                return value / 1e3
        return 0.0


@dataclass(slots=True, frozen=True)
class Outcome:
    """What became of the calls that were placed after the warm-up."""

    asked: float
    seconds: float
    placed: int
    succeeded: int
    failed: int
    failures: Mapping[str, int]
    """Failed calls by what was wrong first."""
    live: int
    retransmissions: int
    strays: int
    dropped: int
    """Datagrams that the generator's own sockets lost: it was too slow to read them."""
    cpu: float
    """CPU seconds of the generator itself while it placed those calls."""
    setup: Histogram
    """From INVITE to final response."""
    lateness: Histogram
    """How much later than planned calls were placed."""

    @property
    def rate(self) -> float:
        """Calls placed a second."""
        return self.placed / self.seconds if self.seconds else 0.0

    @property
    def failed_share(self) -> float:
        """Failed calls of those placed, 0 to 1."""
        return self.failed / self.placed if self.placed else 0.0


def _histogram(said: dict[str, Any]) -> Histogram:
    return Histogram({int(value): int(count) for value, count in said["buckets"]})


def _outcome(line: str) -> Outcome:
    said: dict[str, Any] = json.loads(line)
    histograms = {name: _histogram(said[name]) for name in ("setup", "lateness")}
    plain = {field.name: said[field.name] for field in fields(Outcome)}
    return Outcome(**plain | histograms)


@dataclass(slots=True, frozen=True)
class Pings:
    """What became of pings that were sent on a fixed beat."""

    sent: int
    answered: int
    took: Histogram
    """From each ping to its answer."""
    lateness: Histogram
    """How much later than planned they were sent: what the machine makes everybody wait."""


class Program:
    """One bounded run of the program; a context manager that ends it."""

    def __init__(self, command: str, limit: float, options: Mapping[str, float | str]) -> None:
        """Start `command` of it with options such as `rate=1000`, for at most `limit` seconds."""
        words = [
            word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        # coreutils' timeout ends it even when nobody is left to do so.
        self._process = subprocess.Popen(
            ["timeout", f"{limit:.0f}", str(BINARY), command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            assert self._process.stderr is not None
            said = self._process.stderr.read().strip() or "it said nothing"
            raise PeerError(f"the load generator ended early, or was too slow: {said}")
        return line


class Generator(Program):
    """Caller and callee of many calls."""

    def __init__(self, *, limit: float, **options: float | str) -> None:
        """Start it with options such as `rate=1000` and `warm_up=2`, for at most `limit` seconds."""
        super().__init__("run", limit, options)

    def reach(self, phase: str) -> str:
        """Wait for the line that says that a phase begins, and return it; raises PeerError."""
        line = self._line()
        if not line.startswith(phase):
            raise PeerError(f"the load generator said {line!r} instead of {phase!r}")
        return line

    def outcome(self) -> Outcome:
        """Wait for its report; raises PeerError."""
        return _outcome(self._line())


class Pinger(Program):
    """Asks a server for a sign of life every few milliseconds, and times its answers."""

    def __init__(self, *, port: int, middle: int, every: float, seconds: float) -> None:
        """Ping the server at `middle` from `port`, each `every` milliseconds."""
        options = {"port": port, "middle": middle, "every": every, "seconds": seconds}
        super().__init__("ping", seconds + PING_SPARE, options)

    def pings(self) -> Pings:
        """Wait for its report; raises PeerError."""
        said: dict[str, Any] = json.loads(self._line())
        return Pings(said["sent"], said["answered"], _histogram(said["took"]), _histogram(said["lateness"]))
