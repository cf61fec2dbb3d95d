"""What a group of processes costs: CPU time and resident memory, read from outside while it runs.

A server under measurement is started as the leader of a process group of its own, so that everything it forks
(Kamailio's workers and timers, the gateway's worker processes) is found by that group's number and summed.

CPU time comes from the kernel's process clock, clock_getcpuclockid(3), which counts nanoseconds and includes
threads that have ended. utime and stime of /proc/PID/stat are sampled at clock ticks and serve only to split
that time into user and system, roughly. A process that ends between two samples would spoil the difference,
so `Usage.since` refuses it.

How long its threads were ready to run and had no CPU (schedstat) is summed too: it tells when the machine,
not the server, was the limit.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


class ProcessGoneError(RuntimeError):
    """A measured process ended between two samples, so their difference means nothing."""


@dataclass(slots=True, frozen=True)
class Cpu:
    """CPU seconds used by one process since it started."""

    total: float
    user_ticks: int
    system_ticks: int
    waited: float


@dataclass(slots=True, frozen=True)
class Load:
    """CPU seconds used between two samples of a group."""

    total: float
    user: float
    system: float
    waited: float
    """Seconds that threads were ready to run and others had the CPU."""


@dataclass(slots=True, frozen=True)
class Usage:
    """One sample of a process group: CPU by process, and the group's resident bytes."""

    by_pid: dict[int, Cpu]
    rss: int

    def since(self, earlier: Usage) -> Load:
        """CPU time used from `earlier` to this sample; raises ProcessGoneError when a process vanished."""
        gone = earlier.by_pid.keys() - self.by_pid.keys()
        if gone:
            raise ProcessGoneError(f"process {min(gone)} ended while it was being measured")
        total, user, system, waited = 0.0, 0, 0, 0.0
        for pid, now in self.by_pid.items():
            was = earlier.by_pid.get(pid, Cpu(0.0, 0, 0, 0.0))
            total += now.total - was.total
            user += now.user_ticks - was.user_ticks
            system += now.system_ticks - was.system_ticks
            waited += now.waited - was.waited
        share = user / (user + system) if user + system else 1.0
        return Load(total, total * share, total * (1.0 - share), max(0.0, waited))


def group_members(group: int) -> list[int]:
    """The process ids whose process group is `group`."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.getpgid(int(entry)) == group:
                    members.append(int(entry))
            except ProcessLookupError:
                continue
    return members


def sample(group: int) -> Usage:
    """Sample every process of `group` now; raises ProcessGoneError when none is left."""
    by_pid, private, shared = {}, 0, 0
    for pid in group_members(group):
        try:
            by_pid[pid] = _cpu(pid)
            memory = _status_kib(pid)
        except (ProcessLookupError, FileNotFoundError, OSError):
            by_pid.pop(pid, None)
            continue
        # Kamailio's workers map one shared segment: it counts once, what is each one's own counts each time.
        private += memory["RssAnon"] + memory["RssFile"]
        shared = max(shared, memory["RssShmem"])
    if not by_pid:
        raise ProcessGoneError(f"no process of group {group} is left")
    return Usage(by_pid, (private + shared) * 1024)


def _cpu(pid: int) -> Cpu:
    # The clock id that clock_getcpuclockid(3) computes: the complement of the pid over CPUCLOCK_SCHED (2).
    total = time.clock_gettime((~pid << 3) | 2)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    waited = sum(int(thread.read_text().split()[1]) for thread in threads) / 1e9
    return Cpu(total, int(fields[11]), int(fields[12]), waited)


def _status_kib(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = {
        key: int(rest.split()[0])
        for key, _, rest in (line.partition(":") for line in lines)
        if key.startswith("Rss")
    }
    if not values:
        raise ProcessLookupError(pid)
    return values
