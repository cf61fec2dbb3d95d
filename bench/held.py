"""Memory over time: many calls held at once, and one long load.

`hold_calls` ramps up calls that stay established, samples the server's resident memory while all of them
stand, again when they have ended, and once more when every transaction timer (64*T1 = 32 s) has run out:
what is left then is what the server keeps or its allocator has not given back. `soak` plays answered calls
for a minute and compares memory along the way and the ledger with the calls.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from middle import Middle
from procstat import sample
from sipp import PeerError, Sipp, Stats, caller, carrier, free_port

WARM_UP_CALLS = 500
# A little more than 64*T1, after which no transaction of an ended call may be left.
SETTLE_SECONDS = 36.0


@dataclass(slots=True, frozen=True)
class HeldRun:
    """Resident bytes of a server before, under, and after `calls` established calls."""

    middle: str
    calls: int
    established: int
    failed: int
    before: int
    top: int
    ended: int
    settled: int

    @property
    def well(self) -> bool:
        """Whether all calls stood at once and none failed."""
        return self.failed == 0 and self.established == self.calls

    def text(self) -> str:
        """One paragraph for people."""
        each = (self.top - self.before) / max(1, self.established)
        return (
            f"{self.middle}: {self.established} of {self.calls} calls established at once, "
            f"{self.failed} failed; resident {self.before / 1e6:.1f} MB before, "
            f"{self.top / 1e6:.1f} MB at the top ({each:,.0f} bytes a call), "
            f"{self.ended / 1e6:.1f} MB when they had ended, "
            f"{self.settled / 1e6:.1f} MB {SETTLE_SECONDS:.0f} s later"
        )


@dataclass(slots=True, frozen=True)
class SoakRun:
    """One long load: failures, resident bytes along the way, and the calls found in the ledger."""

    middle: str
    rate: int
    achieved: float
    calls: int
    failed: int
    retransmissions: int
    start: int
    halfway: int
    end: int
    recorded: int | None
    """Calls in the gateway's ledger, warm-up included; None for a server without one."""
    complaint: str
    """What the caller reported about its failed calls; "" when there were none."""

    @property
    def well(self) -> bool:
        """Whether no call failed and no record is missing."""
        return self.failed == 0 and self.recorded in (None, self.calls + WARM_UP_CALLS)

    def text(self) -> str:
        """One paragraph for people."""
        ledger = (
            "" if self.recorded is None else f"; ledger {self.recorded} of {self.calls + WARM_UP_CALLS} calls"
        )
        said = f"; {self.complaint}" if self.complaint else ""
        return (
            f"{self.middle}: {self.calls} calls at {self.achieved:.0f} a second (asked {self.rate}), "
            f"{self.failed} failed, {self.retransmissions} retransmissions; "
            f"resident {self.start / 1e6:.1f} MB at the start, {self.halfway / 1e6:.1f} MB halfway, "
            f"{self.end / 1e6:.1f} MB at the end{ledger}{said}"
        )


def hold_calls(kind: str, calls: int, rate: int) -> HeldRun:
    """Establish `calls` calls through `kind`, `rate` a second, and sample its memory; raises PeerError."""
    ramp = calls / rate
    hold = ramp + 6.0
    limit = ramp + 2 * hold + 60.0
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ports = [free_port() for _ in range(3)]
        with (
            carrier("answered", ports[2], folder, calls=calls + WARM_UP_CALLS, seconds=limit),
            Middle(kind, ports[0], ports[1], ports[2], folder) as server,
        ):
            _warm_up(ports, folder)
            before = sample(server.group).rss
            with caller(
                "caller",
                "answered",
                ports[0],
                ports[1],
                folder,
                calls=calls,
                rate=rate,
                seconds=limit,
                hold=hold,
            ) as peer:
                established = _wait_created(peer, calls, ramp + 5.0)
                time.sleep(1.0)
                top = sample(server.group).rss
                stats = peer.wait(limit)
            ended = sample(server.group).rss
            time.sleep(SETTLE_SECONDS)
            settled = sample(server.group).rss
    return HeldRun(kind, calls, established, stats.failed, before, top, ended, settled)


def soak(kind: str, rate: int, seconds: int) -> SoakRun:
    """Play answered calls through `kind` for `seconds` seconds and watch it; raises PeerError."""
    calls = rate * seconds
    limit = seconds + 90.0
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ports = [free_port() for _ in range(3)]
        with carrier("answered", ports[2], folder, calls=calls + WARM_UP_CALLS, seconds=limit):
            with Middle(kind, ports[0], ports[1], ports[2], folder) as server:
                _warm_up(ports, folder)
                start = sample(server.group).rss
                with caller(
                    "caller", "answered", ports[0], ports[1], folder, calls=calls, rate=rate, seconds=limit
                ) as peer:
                    time.sleep(seconds / 2)
                    halfway = sample(server.group).rss
                    stats = peer.wait(limit)
                    complaint = peer.complaint() if stats.failed else ""
                end = sample(server.group).rss
            recorded = _recorded(server) if kind == "gateway" else None
    return SoakRun(
        kind,
        rate,
        stats.rate,
        stats.created,
        stats.failed,
        stats.retransmissions,
        start,
        halfway,
        end,
        recorded,
        complaint,
    )


def _warm_up(ports: list[int], folder: Path) -> Stats:
    with caller(
        "warm-up", "answered", ports[0], ports[1], folder, calls=WARM_UP_CALLS, rate=500, seconds=30
    ) as peer:
        stats = peer.wait(30)
        if stats.failed:
            raise PeerError(f"{stats.failed} of {WARM_UP_CALLS} warm-up calls failed: {peer.complaint()}")
        return stats


def _wait_created(peer: Sipp, calls: int, seconds: float) -> int:
    """Wait until the caller has placed all its calls; the number that stands then."""
    deadline = time.monotonic() + seconds
    current = 0
    while time.monotonic() < deadline and peer.process.poll() is None:
        time.sleep(0.2)
        stats = peer.stats()
        current = stats.current
        if stats.created >= calls:
            break
    return current


def _recorded(server: Middle) -> int:
    try:
        return server.ledger_rows()
    except sqlite3.Error as error:
        raise PeerError(f"the ledger could not be read: {error}") from None
