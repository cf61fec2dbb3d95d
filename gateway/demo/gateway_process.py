"""The gateway of the demonstration: `gateway run` itself, in a process and a directory of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .phone import HOST

_START = 15.0  # seconds
_STOP = 15.0
_READY = re.compile(rb"ready sip=udp:127\.0\.0\.1:(\d+) ")

# The rule file is left out, so that the shipped rules serve.
_CONFIG = """\
[gateway]
name = "demo"
listen = ["udp:{host}:0"]

[console]
listen = ""

[ledger]
url = "sqlite:///calls.db"

[[trunk]]
name = "pbx"
kind = "pbx"
source = ["{host}:{pbx}"]
target = ["sip:{host}:{pbx}"]
trusted = true

[[trunk]]
name = "carrier"
kind = "carrier"
source = ["{host}:{carrier}"]
target = ["sip:{host}:{carrier}"]

[[trunk]]
name = "backup"
kind = "carrier"
source = ["{host}:{backup}"]
target = ["sip:{host}:{backup}"]

[[route]]
from = ["pbx"]
to = ["carrier", "backup"]

[[route]]
from = ["kind:carrier"]
to = ["pbx"]
"""


class GatewayProcessError(Exception):
    """The gateway did not start, or did not end well; `str()` is a sentence for a person."""


def config_text(ports: Mapping[str, int]) -> str:
    """Return the configuration for trunks "pbx", "carrier" and "backup" that have these UDP ports."""
    return _CONFIG.format(host=HOST, **ports)


@asynccontextmanager
async def running_gateway(config: Path) -> AsyncIterator[int]:
    """Run a gateway with this configuration while the block lasts, and yield its UDP port.

    When the block is over the gateway has written its ledger and ended. Raises GatewayProcessError.
    """
    log = config.with_name("gateway.log")
    command = [sys.executable, "-m", "gateway", "run", "--config", str(config)]
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=stderr, cwd=config.parent
        )
    try:
        yield await _port(process, log)
        process.terminate()
        with trio.move_on_after(_STOP):
            await process.wait()
        if process.returncode != 0:
            raise GatewayProcessError(f"the gateway did not end well: {_last_words(log)}")
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


async def _port(process: trio.Process, log: Path) -> int:
    """Wait for the line that says which port was bound."""
    assert process.stdout is not None, "asked for a pipe"
    said = b""
    with trio.move_on_after(_START):
        while b"\n" not in said:
            more = await process.stdout.receive_some()
            if not more:
                break
            said += more
    found = _READY.match(said)
    if found is None:
        raise GatewayProcessError(f"the gateway did not start: {_last_words(log)}")
    return int(found[1])


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
