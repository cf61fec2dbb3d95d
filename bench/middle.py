"""The servers that are compared, each started fresh between a caller and a carrier.

All listen on one loopback UDP port and send every call to one carrier; all but the relay turn its 603 into
404: the gateway by the last of 100 rules, with its ledger on; Kamailio as a transaction-stateful,
record-routing proxy (peers/kamailio.cfg.in); sippy as a B2BUA with two legs (peers/sippy_b2bua.py). The relay
copies datagrams and nothing else: the kernel's part of any server's cost. Each leads a process group of its
own, by which its cost is measured and its processes are ended.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from generator import BINARY
from sipp import HOST, PeerError, wait_bound

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
KINDS = ("gateway", "kamailio")
"""Those that SIPp measures; the load generator of our own measures all."""
RIVALS = {"kamailio": "the Debian package kamailio", "sippy": "pip install sippy"}
RULES = 100
# Rules about 603 that look at the evidence and do not match; the others are about other statuses.
NEAR_MISSES = 9
START_LIMIT = 15.0
STOP_LIMIT = 45.0

GATEWAY_TOML = """\
[gateway]
name = "bench"
listen = ["udp:{host}:{port}"]
rules = "rules.toml"
workers = {workers}
drain = "5s"

[console]
listen = "{console}"

[ledger]
url = "{ledger}"

[telemetry]
otlp = "{otlp}"
sample = {sample}
sample_rewritten = {sample}
max_traces_per_second = 100000
"""

TRUNKS_TOML = """
[[trunk]]
name = "pbx{number}"
kind = "pbx"
source = ["{host}:{caller}"]
target = ["sip:{host}:{caller}"]

[[trunk]]
name = "carrier{number}"
kind = "carrier"
source = ["{host}:{carrier}"]
target = ["sip:{host}:{carrier}"]

[[route]]
from = ["pbx{number}"]
to = ["carrier{number}"]

[[route]]
from = ["carrier{number}"]
to = ["pbx{number}"]
"""

RULE = """
[[rule]]
name = "{name}"
when.from = ["carrier*"]
when.status = {status}
{evidence}
then.status = {to}
"""


@dataclass(slots=True, frozen=True)
class Shape:
    """How the gateway is set up; the other servers have no such choices."""

    rules: int = RULES
    workers: int = 1
    otlp: str = ""
    """Where traces go; "" is nowhere."""
    sample: float = 0.01
    """The share of calls that are traced, rewritten or not."""
    ledger: bool = True
    console: bool = False
    """Whether metrics can be read."""
    further: tuple[tuple[int, int], ...] = ()
    """Ports of further callers, each with its own carrier."""
    checkout: Path = ROOT
    """Where the gateway's code is: another version of it, for comparisons."""


USUAL = Shape()


def generated_rules(count: int = RULES) -> str:
    """A file of `count` rules, of which only the last matches a 603 with Q.850 cause 1 and makes it a 404."""
    evidence = ("when.q850 = [22]", 'when.phrase = "moved|changed"', 'when.reason_text = "^retired"')
    near_misses = min(NEAR_MISSES, count - 1)
    statuses = (403, 404, 408, 410, 480, 486, 488, 500, 502, 503, 504, 600, 604, 606)
    others = [
        (f"other-status-{i}", statuses[i % len(statuses)], f"when.q850 = [{i % 127 + 1}]", 480)
        for i in range(count - 1 - near_misses)
    ]
    near = [(f"near-miss-{i}", 603, evidence[i % len(evidence)], 410) for i in range(near_misses)]
    match = ("dead-number", 603, "when.q850 = [1, 2, 3, 26]", 404)
    rules = (
        RULE.format(name=name, status=status, evidence=shown, to=to)
        for name, status, shown, to in (*others, *near, match)
    )
    return "version = 1\n" + "".join(rules)


def gateway_toml(port: int, caller: int, carrier: int, database: Path, shape: Shape) -> str:
    """The configuration of a gateway on `port` between caller and carrier, with its ledger in `database`."""
    pairs = (("", caller, carrier), *((n, *each) for n, each in enumerate(shape.further, 2)))
    trunks = (TRUNKS_TOML.format(host=HOST, number=n, caller=a, carrier=b) for n, a, b in pairs)
    return "".join([_general_toml(port, database, shape), *trunks])


def _general_toml(port: int, database: Path, shape: Shape) -> str:
    return GATEWAY_TOML.format(
        host=HOST,
        port=port,
        ledger=f"sqlite:///{database}" if shape.ledger else "",
        workers=shape.workers,
        console=f"{HOST}:0" if shape.console else "",
        otlp=shape.otlp,
        sample=shape.sample,
    )


class Middle:
    """One running server under measurement; a context manager that stops it and its whole process group."""

    def __init__(
        self, kind: str, port: int, caller: int, carrier: int, folder: Path, shape: Shape = USUAL
    ) -> None:
        """Start `kind` on `port` between the ports of caller and carrier; raises PeerError.

        A kind is one of KINDS; or "pure", the gateway without its native core; "sippy"; or "relay".
        """
        self.kind = kind
        self.port = port
        self._database = folder / "ledger.db"
        self._log = folder / f"{kind}.log"
        with self._log.open("wb") as log:
            command = self._command(kind, caller, carrier, folder, shape)
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=shape.checkout,
                env=os.environ | {"GATEWAY_PURE": "1" if kind == "pure" else ""},
                start_new_session=True,
            )
        try:
            wait_bound(self.process, port, kind, START_LIMIT)
        except PeerError as error:
            self.stop()
            raise PeerError(f"{error}: {self.log_tail()}") from None

    def _command(self, kind: str, caller: int, carrier: int, folder: Path, shape: Shape) -> list[str]:
        port = str(self.port)
        if kind == "relay":
            return [str(BINARY), "relay", "--port", port, "--caller", str(caller), "--callee", str(carrier)]
        if kind == "sippy":
            return [sys.executable, str(PEERS / "sippy_b2bua.py"), port, str(carrier)]
        if kind == "kamailio":
            return self._kamailio(carrier, folder)
        return self._gateway(caller, carrier, folder, shape)

    def _gateway(self, caller: int, carrier: int, folder: Path, shape: Shape) -> list[str]:
        (folder / "rules.toml").write_text(generated_rules(shape.rules))
        config = folder / "gateway.toml"
        config.write_text(gateway_toml(self.port, caller, carrier, self._database, shape))
        return [sys.executable, "-m", "gateway", "run", "--config", str(config)]

    def _kamailio(self, carrier: int, folder: Path) -> list[str]:
        text = (PEERS / "kamailio.cfg.in").read_text()
        for mark, value in (("@PORT@", str(self.port)), ("@CARRIER@", f"{HOST}:{carrier}")):
            text = text.replace(mark, value)
        config = folder / "kamailio.cfg"
        config.write_text(text)
        # fm: the fast memory manager without debugging aids; -DD: in the foreground, with its workers.
        memory = ["-x", "fm", "-m", "512", "-M", "16"]
        return ["kamailio", "-f", str(config), *memory, "-DD", "-E", "-Y", str(folder)]

    @property
    def group(self) -> int:
        """The process group to sample."""
        return self.process.pid

    @property
    def console(self) -> str:
        """Where the gateway's console is, "" when it has none."""
        found = re.search(r"console=(http\S+)", self._log.read_text(errors="replace"))
        return found[1] if found else ""

    def __enter__(self) -> Middle:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and end what is left of its group after STOP_LIMIT seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                os.killpg(self.group, signal.SIGKILL)
                self.process.wait()

    def hang_up(self) -> None:
        """Have it read its configuration anew (SIGHUP)."""
        self.process.send_signal(signal.SIGHUP)

    def log_tail(self) -> str:
        """The end of what it logged, on one line."""
        return " ".join(self._log.read_text(errors="replace")[-600:].split()) or "it logged nothing"

    def ledger_rows(self) -> int:
        """The calls recorded in the gateway's ledger; meaningful once it has stopped and so flushed."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])


def available() -> tuple[list[str], list[str]]:
    """The kinds that the load generator can measure here; one sentence for each rival that is not there."""
    found = {
        "kamailio": shutil.which("kamailio") is not None,
        "sippy": importlib.util.find_spec("sippy") is not None,
    }
    kinds = ["gateway", "pure", *(kind for kind in RIVALS if found[kind]), "relay"]
    return kinds, [f"{kind} is not installed ({RIVALS[kind]})" for kind in RIVALS if not found[kind]]


def missing(kinds: list[str]) -> list[str]:
    """One sentence for each program that the benchmark needs and that is not installed."""
    packages = {"sipp": "sip-tester", "kamailio": "kamailio"}
    wanted = ["sipp", *(["kamailio"] if "kamailio" in kinds else [])]
    return [
        f"{program} is not installed; install the Debian package {packages[program]}"
        for program in wanted
        if shutil.which(program) is None
    ]
