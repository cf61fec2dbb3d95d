"""A PostgreSQL server for a test run: a fresh cluster, reached only by a socket in its directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

_STARTED = 60.0  # seconds that a busy machine may take
_USER = "nobody"  # PostgreSQL refuses to be run by root


class Server:
    """A cluster in a new directory; `start` and `stop` may be called again and again."""

    def __init__(self) -> None:
        self._programs = programs()
        self.directory = Path(tempfile.mkdtemp(prefix="pg"))  # a short path: a socket's has 107 bytes at most
        self._user = _USER if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.directory, self._user)
        self._data = self.directory / "data"
        self._run(
            "initdb", "-D", self._data, "-U", "gateway", "-A", "trust", "-N", "-E", "UTF8", "--no-locale"
        )
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "gateway") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.directory}"

    def start(self) -> None:
        settings = ("listen_addresses=", f"unix_socket_directories={self.directory}", "fsync=off")
        options = [part for setting in settings for part in ("-c", setting)]
        self._server = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, *options],
            user=self._user,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _STARTED
        ready = [self._programs / "pg_isready", "-q", "-h", self.directory, "-d", "postgres"]
        while subprocess.run(ready, check=False).returncode:
            assert self._server.poll() is None, "the server ended as it started"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once, as a crash would, and wait for the end."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(_STARTED)
            self._server = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def sql(self, statement: str) -> None:
        self._run("psql", "-q", "-h", self.directory, "-U", "gateway", "-d", "postgres", "-c", statement)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._programs / program, *arguments]
        subprocess.run(command, user=self._user, cwd=self.directory, check=True, stdout=subprocess.DEVNULL)


def programs() -> Path:
    """Return the directory of PostgreSQL's programs, or skip the test: Debian keeps them out of PATH."""
    found = [Path(path).resolve().parent for path in [shutil.which("postgres")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for directory in found:
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            return directory
    pytest.skip("PostgreSQL is not installed (tests/peers.txt)")
