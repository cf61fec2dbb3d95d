"""The servers that are compared: the gateway and Kamailio, each started fresh between a caller and a carrier.

Both listen on one loopback UDP port, send every call to one carrier and turn its 603 into 404: the gateway
by the last of 100 rules, with its ledger on; Kamailio as a transaction-stateful, record-routing proxy
(kamailio.cfg.in). Each leads a process group of its own, by which its cost is measured and its processes
are ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from sipp import HOST, PeerError, wait_bound

ROOT = Path(__file__).parent.parent
KINDS = ("gateway", "kamailio")
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
drain = "5s"

[console]
listen = ""

[ledger]
url = "{ledger}"

[[trunk]]
name = "pbx"
kind = "pbx"
source = ["{host}:{caller}"]
target = ["sip:{host}:{caller}"]

[[trunk]]
name = "carrier"
kind = "carrier"
source = ["{host}:{carrier}"]
target = ["sip:{host}:{carrier}"]

[[route]]
from = ["pbx"]
to = ["carrier"]

[[route]]
from = ["carrier"]
to = ["pbx"]
"""

RULE = """
[[rule]]
name = "{name}"
when.from = ["carrier*"]
when.status = {status}
{evidence}
then.status = {to}
"""


def generated_rules() -> str:
    """A file of RULES rules, of which only the last matches a 603 with Q.850 cause 1 and makes it a 404."""
    evidence = ("when.q850 = [22]", 'when.phrase = "moved|changed"', 'when.reason_text = "^retired"')
    statuses = (403, 404, 408, 410, 480, 486, 488, 500, 502, 503, 504, 600, 604, 606)
    others = [
        (f"other-status-{i}", statuses[i % len(statuses)], f"when.q850 = [{i + 1}]", 480)
        for i in range(RULES - 1 - NEAR_MISSES)
    ]
    near = [(f"near-miss-{i}", 603, evidence[i % len(evidence)], 410) for i in range(NEAR_MISSES)]
    match = ("dead-number", 603, "when.q850 = [1, 2, 3, 26]", 404)
    rules = (
        RULE.format(name=name, status=status, evidence=shown, to=to)
        for name, status, shown, to in (*others, *near, match)
    )
    return "version = 1\n" + "".join(rules)


class Middle:
    """One running server under measurement; a context manager that stops it and its whole process group."""

    def __init__(self, kind: str, port: int, caller: int, carrier: int, folder: Path) -> None:
        """Start `kind` (of KINDS) on `port` between the ports of caller and carrier; raises PeerError."""
        self.kind = kind
        self.port = port
        self._database = folder / "ledger.db"
        self._log = folder / f"{kind}.log"
        with self._log.open("wb") as log:
            command = (
                self._gateway(port, caller, carrier, folder)
                if kind == "gateway"
                else self._kamailio(port, carrier, folder)
            )
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )
        try:
            wait_bound(self.process, port, kind, START_LIMIT)
        except PeerError as error:
            self.stop()
            raise PeerError(f"{error}: {self.log_tail()}") from None

    def _gateway(self, port: int, caller: int, carrier: int, folder: Path) -> list[str]:
        (folder / "rules.toml").write_text(generated_rules())
        config = folder / "gateway.toml"
        config.write_text(
            GATEWAY_TOML.format(
                host=HOST, port=port, caller=caller, carrier=carrier, ledger=f"sqlite:///{self._database}"
            )
        )
        return [sys.executable, "-m", "gateway", "run", "--config", str(config)]

    def _kamailio(self, port: int, carrier: int, folder: Path) -> list[str]:
        text = (Path(__file__).parent / "kamailio.cfg.in").read_text()
        for mark, value in (("@PORT@", str(port)), ("@CARRIER@", f"{HOST}:{carrier}")):
            text = text.replace(mark, value)
        config = folder / "kamailio.cfg"
        config.write_text(text)
        # fm: the fast memory manager without debugging aids; -DD: in the foreground, with its workers.
        return [
            "kamailio",
            "-f",
            str(config),
            "-x",
            "fm",
            "-m",
            "512",
            "-M",
            "16",
            "-DD",
            "-E",
            "-Y",
            str(folder),
        ]

    @property
    def group(self) -> int:
        """The process group to sample."""
        return self.process.pid

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

    def log_tail(self) -> str:
        """The end of what it logged, on one line."""
        return " ".join(self._log.read_text(errors="replace")[-600:].split()) or "it logged nothing"

    def ledger_rows(self) -> int:
        """The calls recorded in the gateway's ledger; meaningful once it has stopped and so flushed."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])


def missing(kinds: list[str]) -> list[str]:
    """One sentence for each program that the benchmark needs and that is not installed."""
    packages = {"sipp": "sip-tester", "kamailio": "kamailio"}
    wanted = ["sipp", *(["kamailio"] if "kamailio" in kinds else [])]
    return [
        f"{program} is not installed; install the Debian package {packages[program]}"
        for program in wanted
        if shutil.which(program) is None
    ]
