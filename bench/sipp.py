"""SIPp as caller and carrier for the benchmarks: bounded foreground processes on loopback ports chosen free.

Every process has a call count (-m) and a time limit (-timeout), so it ends by itself even when whoever
started it is gone. What a caller achieved is read from its statistics file (-trace_stat), whose `(C)`
columns are cumulative.
"""

from __future__ import annotations

import csv
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
SCENARIOS = Path(__file__).parent / "sipp"
# Room for a burst while the other end has no CPU: the kernel grants twice this, net.core.rmem_max permitting.
SOCKET_BUFFER = 2_000_000


class PeerError(RuntimeError):
    """A peer did not start, did not end, or left nothing to read; the text is one sentence for people."""


@dataclass(slots=True, frozen=True)
class Stats:
    """What a SIPp caller counted up to one row of its statistics file."""

    created: int
    current: int
    successful: int
    failed: int
    retransmissions: int
    rate: float
    """Calls created a second since the caller started."""


def free_port() -> int:
    """A UDP port that nobody on loopback holds at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_bound(process: subprocess.Popen[bytes], port: int, what: str, limit: float = 10.0) -> None:
    """Return when UDP `port` is held; raises PeerError when `process` ends first or after `limit` seconds."""
    wanted = f":{port:04X}"
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PeerError(
                f"{what} ended with exit code {process.returncode} before it listened on port {port}"
            )
        if any(line.split()[1].endswith(wanted) for line in _udp_sockets()):
            return
        time.sleep(0.02)
    raise PeerError(f"{what} did not listen on port {port} within {limit:.0f} s")


def _udp_sockets() -> list[str]:
    return Path("/proc/net/udp").read_text().splitlines()[1:]


class Sipp:
    """One SIPp process; a context manager that ends it."""

    def __init__(
        self,
        name: str,
        scenario: str,
        port: int,
        folder: Path,
        *,
        calls: int,
        seconds: float,
        arguments: tuple[str, ...] = (),
    ) -> None:
        """Start `scenario` on `port` for at most `calls` calls or `seconds` seconds, files in `folder`."""
        self.name = name
        self._stats = folder / f"{name}.csv"
        self._errors = folder / f"{name}.err"
        self._screen = (folder / f"{name}.out").open("wb")
        command = [
            "sipp",
            "-sf",
            str(SCENARIOS / f"{scenario}.xml"),
            "-i",
            HOST,
            "-p",
            str(port),
            "-nostdin",
            "-m",
            str(calls),
            "-timeout",
            f"{seconds:.0f}s",
            "-buff_size",
            str(SOCKET_BUFFER),
            "-trace_stat",
            "-stf",
            str(self._stats),
            "-fd",
            "1",
            "-trace_err",
            "-error_file",
            str(self._errors),
            *arguments,
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._screen, stderr=self._screen, cwd=folder
        )

    def __enter__(self) -> Sipp:
        return self

    def __exit__(self, *_: object) -> None:
        # SIPp ends at once on the second SIGUSR1, and at the end of its calls on the first.
        for end in (signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(end)
                try:
                    self.process.wait(3.0)
                except subprocess.TimeoutExpired:
                    continue
        self._screen.close()

    def wait(self, seconds: float) -> Stats:
        """Wait until it ends and return what it counted; raises PeerError after `seconds` seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise PeerError(f"sipp ({self.name}) did not end within {seconds:.0f} s") from None
        return self.stats()

    def stats(self) -> Stats:
        """The newest row of its statistics file; raises PeerError when there is none."""
        try:
            with self._stats.open(newline="") as file:
                rows = list(csv.DictReader(file, delimiter=";"))
        except FileNotFoundError:
            rows = []
        # The last row may be half written while the process runs: it then lacks its last columns.
        whole = [row for row in rows if row.get("CallLengthStDev(C)")]
        if not whole:
            raise PeerError(f"sipp ({self.name}) wrote no statistics: {self.complaint()}")
        row = whole[-1]
        return Stats(
            int(row["TotalCallCreated"]),
            int(row["CurrentCall"]),
            int(row["SuccessfulCall(C)"]),
            int(row["FailedCall(C)"]),
            int(row["Retransmissions(C)"]),
            float(row["CallRate(C)"]),
        )

    def complaint(self) -> str:
        """The first lines of what it reported as wrong, for an error message."""
        for path in (self._errors, Path(self._screen.name)):
            if path.exists() and (text := path.read_text(errors="replace").strip()):
                return " ".join(text[:400].split())
        return "no error was reported"


def carrier(flow: str, port: int, folder: Path, *, calls: int, seconds: float) -> Sipp:
    """A carrier playing its part of `flow` ("rejected" or "answered") on `port`, once it listens."""
    peer = Sipp("carrier", f"uas_{flow}", port, folder, calls=calls, seconds=seconds)
    try:
        wait_bound(peer.process, port, "sipp (carrier)")
    except PeerError:
        peer.__exit__()
        raise
    return peer


def caller(
    name: str,
    flow: str,
    middle: int,
    port: int,
    folder: Path,
    *,
    calls: int,
    rate: int,
    seconds: float,
    hold: float = 0.0,
) -> Sipp:
    """A caller placing `calls` calls to port `middle`, `rate` a second, each held `hold` seconds."""
    # Calls open at once: those held, and as many as ten seconds of trouble leave behind.
    open_calls = min(calls, int(rate * (hold + 10)))
    arguments = (f"{HOST}:{middle}", "-r", str(rate), "-l", str(open_calls), "-d", f"{hold * 1000:.0f}")
    return Sipp(name, f"uac_{flow}", port, folder, calls=calls, seconds=seconds, arguments=arguments)
