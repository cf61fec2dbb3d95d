"""Real peers for the system tests: the gateway, SIPp and Kamailio as processes on loopback.

A test holds a `Lab`: it starts processes on ports chosen free, waits for their exit codes, and reads from
SIPp's message log what each end sent and received. Every SIPp process is bounded by a call count and a time
limit. The lab ends what it started, by process, when the test is over.
"""

from __future__ import annotations

import os
import random
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import pytest

ROOT = Path(__file__).parents[2]
SCENARIOS = Path(__file__).parent / "scenarios"
PACKAGES = {
    "sipp": "sip-tester",
    "kamailio": "kamailio",
    "baresip": "baresip-core",
    "dnsmasq": "dnsmasq-base",
    "twinkle-console": "twinkle-console",
    "sipsak": "sipsak",
    "ip": "iproute2",
}
_PORTS = (10_240, 32_768)  # below those that Linux gives to clients
START_LIMIT = 15.0
STOP_LIMIT = 20.0
# What a scenario file says between @ signs when a test does not: see the files.
DEFAULTS = {
    "LINGER": "200",
    "UP": "100",
    "BYE": "200",
    "HEADERS": "Server: carrier",
    "CONTACT": "carrier@[local_ip]:[local_port]",
    "CALLER": "Subject: a word the gateway does not know",
    "CALL_ID": "Call-ID",
}

DEAD_NUMBER_RULE = """\
version = 1

[[rule]]
name = "dead-number"
when.from = ["kind:carrier"]
when.to = ["kind:pbx"]
when.status = 603
when.q850 = [1, 2, 3, 26]
then.status = 404
"""
NO_RULES = "version = 1\n"
WORKERS = os.environ.get("GATEWAY_TEST_WORKERS", "")
"""How many workers serve where a test does not say; "" leaves it at one. So all tests try several, too."""


@dataclass(frozen=True)
class Message:
    """One SIP message as a peer saw it: start line, header lines in order, body."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def read(cls, text: str) -> Self:
        head, _, body = text.partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(start, tuple((name.strip(), value.strip()) for name, _, value in pairs), body)

    def all(self, name: str) -> list[str]:
        """The values of every header line called `name`, in order."""
        return [value for own, value in self.headers if own.lower() == name.lower()]

    def one(self, name: str) -> str:
        """The value of the only header line called `name`."""
        (value,) = self.all(name)
        return value

    @property
    def method(self) -> str:
        """The method of the transaction this message belongs to."""
        return self.one("CSeq").split()[1]


class Peer:
    """A process that the lab started, with its output kept in files for the report of a failure."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        read_stdout: bool = False,
        steered: bool = False,
    ) -> None:
        """`steered`: it takes commands on its standard input."""
        self.name = name
        self.errors = folder / f"{name}.stderr"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if steered else subprocess.DEVNULL,
                stdout=subprocess.PIPE if read_stdout else errors,
                stderr=errors,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def exit_code(self, limit: float) -> int:
        """Wait for the process to end by itself, at most `limit` seconds."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} did not end within {limit:.0f} s")

    def stop(self) -> int:
        """Ask it to end with SIGTERM, insist after STOP_LIMIT seconds; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.returncode

    def evidence(self) -> str:
        """What it reported, for the report of a failed test."""
        return f"--- {self.name} (exit code {self.process.poll()})\n{tail(self.errors)}"


class Sipp(Peer):
    """SIPp playing one scenario."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, limit: float) -> None:
        self._messages = folder / f"{name}.messages"
        self._complaints = folder / f"{name}.errors"
        self._limit = limit
        files = (
            "-trace_msg",
            "-message_file",
            str(self._messages),
            "-trace_err",
            "-error_file",
            str(self._complaints),
        )
        bounds = ("-nostdin", "-timeout", f"{limit:.0f}s", "-timeout_error")
        super().__init__(name, ("sipp", *command, *bounds, *files), folder)

    def succeeds(self) -> Self:
        """Wait for its end; every one of its calls went as its scenario says."""
        code = self.exit_code(self._limit + 5)
        assert code == 0, f"{self.name}: SIPp ended with {code}, so a call left its scenario"
        return self

    def received(self) -> list[Message]:
        """The messages it received so far, in order, retransmissions included."""
        return self._log("received")

    def sent(self) -> list[Message]:
        """The messages it sent so far, in order, retransmissions included."""
        return self._log("sent")

    def _log(self, direction: str) -> list[Message]:
        text = self._messages.read_bytes().decode(errors="surrogateescape") if self._messages.exists() else ""
        entries = re.split(r"^-{20,} \S+ \S+\n", text, flags=re.MULTILINE)
        heading = re.compile(rf"\w+ message {direction} [^\n]*\n\n")
        return [
            Message.read(entry[found.end() :].removesuffix("\n"))
            for entry in entries
            if (found := heading.match(entry))
        ]

    def evidence(self) -> str:
        return f"{super().evidence()}\n{tail(self._complaints)}\n{tail(self._messages)}"


class Gateway(Peer):
    """The gateway under test."""

    def __init__(self, folder: Path, options: Sequence[str], within: Sequence[str] = ()) -> None:
        """`within`: the beginning of a command that runs others somewhere, such as in another network."""
        command = (*within, sys.executable, "-m", "gateway", "run", *options)
        super().__init__("gateway", command, folder, read_stdout=True)
        self.rules = folder / "rules.toml"
        self.ready = ""

    def wait_ready(self) -> None:
        """Wait for its ready line; the test fails when something else comes, or nothing."""
        assert self.process.stdout is not None
        self.ready = read_line(self.process.stdout, START_LIMIT)
        if not self.ready.startswith("ready "):
            pytest.fail(f"the gateway did not get ready, it said {self.ready!r}:\n{tail(self.errors)}")

    def new_rules(self, text: str) -> str:
        """Replace the rule file, send SIGHUP, and return what the gateway then says about it on stderr."""
        heard = self.errors.stat().st_size
        self.rules.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        return self.says("in force", heard)

    def says(self, words: str, heard: int = 0, limit: float = 10.0) -> str:
        """Wait until the gateway said `words` on stderr, past the first `heard` bytes; return all of that."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            said = self.errors.read_bytes()[heard:].decode()
            if words in said and said.endswith("\n"):
                return said
            time.sleep(0.02)
        pytest.fail(f"the gateway did not say {words!r} within {limit:.0f} s")


class Lab:
    """One test's machine room: a gateway between a PBX and carriers on one loopback address."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.host = host
        self.peers: list[Peer] = []
        self._used: set[int] = set()
        self.gateway_port = self.free_port()
        self.pbx_port = self.free_port()
        self.carrier_port = self.free_port()

    def free_port(self) -> int:
        """A port nobody holds, over UDP or TCP, never given twice; and none that the kernel gives to clients,
        one of whose connections, even a minute after its end, would keep a peer from listening there.
        """
        while True:
            port = random.randrange(*_PORTS)
            if port not in self._used and self._is_free(port):
                self._used.add(port)
                return port

    def _is_free(self, port: int) -> bool:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
                try:
                    probe.bind((self.host, port))
                except OSError:
                    return False
        return True

    def need_free(self, port: int) -> None:
        """Skip the test when somebody holds `port`, over UDP or TCP."""
        if not self._is_free(port):
            pytest.skip(f"port {port}, which the embedded default uses, is taken on this machine")

    def at(self, port: int) -> str:
        """HOST:PORT as it stands in a URI, an IPv6 address in brackets."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    def gateway(
        self,
        *,
        rules: str = NO_RULES,
        carriers: Mapping[str, int] | None = None,
        pbx_port: int | None = None,
        route: str = "",
        targets: Mapping[str, str] | None = None,
        more: str = "",
        keys: Mapping[str, str] | None = None,
        every_trunk: str = "",
    ) -> Gateway:
        """Start the gateway between the PBX and `carriers` (port by trunk name), hunted in order unless
        `route`, further lines of the route to them, says otherwise.

        `targets` has the URIs of trunks whose calls go elsewhere, `more` what else the configuration says,
        `every_trunk` what it says of each trunk, `keys` what it says of a trunk by its name.
        """
        ports = carriers or {"carrier": self.carrier_port}
        settings = self._config(
            ports, pbx_port or self.pbx_port, route, targets or {}, every_trunk, keys or {}
        )
        config = self.folder / "gateway.toml"
        config.write_text(more + settings)
        (self.folder / "rules.toml").write_text(rules)
        return self._start_gateway("--config", str(config))

    def gateway_from(self, config: str, rules: str = NO_RULES) -> Gateway:
        """Start the gateway with a gateway.toml of the test's."""
        path = self.folder / "gateway.toml"
        path.write_text(config)
        (self.folder / "rules.toml").write_text(rules)
        return self._start_gateway("--config", str(path))

    def default_gateway(self) -> Gateway:
        """Start the gateway as it comes, without a configuration or rules of the test's."""
        return self._start_gateway()

    def _start_gateway(self, *options: str) -> Gateway:
        config = self.folder / "gateway.toml"
        if WORKERS and config.exists() and "\nworkers = " not in config.read_text():
            config.write_text(config.read_text().replace("[gateway]\n", f"[gateway]\nworkers = {WORKERS}\n"))
        gateway = Gateway(self.folder, options)
        self.peers.append(gateway)
        gateway.wait_ready()
        return gateway

    def _config(
        self,
        carriers: Mapping[str, int],
        pbx_port: int,
        route: str,
        targets: Mapping[str, str],
        every_trunk: str,
        keys: Mapping[str, str],
    ) -> str:
        trunks = [("pbx", "pbx", pbx_port), *((name, "carrier", port) for name, port in carriers.items())]
        names = ", ".join(f'"{name}"' for name in carriers)
        return "\n".join(
            [
                f'[gateway]\nname = "e2e"\nlisten = ["udp:{self.at(self.gateway_port)}"]',
                'rules = "rules.toml"\ndrain = "2s"\n[console]\nlisten = ""\n[ledger]\nurl = ""',
                *(
                    f'[[trunk]]\nname = "{name}"\nkind = "{kind}"\nsource = ["{self.at(port)}"]\n'
                    f'target = ["{targets.get(name) or "sip:" + self.at(port)}"]\n'
                    f"{every_trunk}\n{keys.get(name, '')}"
                    for name, kind, port in trunks
                ),
                f'[[route]]\nfrom = ["pbx"]\nto = [{names}]\n{route}\n'
                f'[[route]]\nfrom = [{names}]\nto = ["pbx"]\n',
            ]
        )

    def carrier(
        self,
        scenario: str,
        *,
        name: str = "carrier",
        port: int | None = None,
        calls: int = 1,
        limit: float = 30,
        over: str = "u1",
        extra: Sequence[str] = (),
        **marks: str,
    ) -> Sipp:
        """Start SIPp as the called side; returns when it listens. `scenario`: a file here, or "-sn uas";
        `over`: as SIPp names transports, t1 for one TCP connection.
        """
        port = port or self.carrier_port
        peer = self._sipp(name, scenario, (), port, calls, limit, ("-t", over, *extra), marks)
        self.wait_bound(peer, port, "udp" if over == "u1" else "tcp")
        return peer

    def caller(
        self,
        scenario: str,
        *,
        name: str = "caller",
        to: int | None = None,
        port: int | None = None,
        calls: int = 1,
        rate: int = 10,
        limit: float = 30,
        over: str = "u1",
        extra: Sequence[str] = (),
        **marks: str,
    ) -> Sipp:
        """Start SIPp as the PBX (or at `port`), calling the gateway (or port `to`)."""
        target = (self.at(to or self.gateway_port), "-r", str(rate), "-l", str(calls))
        bounds = ("-t", over, *extra)
        return self._sipp(name, scenario, target, port or self.pbx_port, calls, limit, bounds, marks)

    def _sipp(
        self,
        name: str,
        scenario: str,
        target: Sequence[str],
        port: int,
        calls: int,
        limit: float,
        extra: Sequence[str],
        marks: Mapping[str, str],
    ) -> Sipp:
        command = (
            *target,
            *self._scenario(name, scenario, marks),
            "-i",
            self.host,
            "-p",
            str(port),
            "-m",
            str(calls),
            *extra,
        )
        peer = Sipp(name, command, self.folder, limit)
        self.peers.append(peer)
        return peer

    def _scenario(self, name: str, scenario: str, marks: Mapping[str, str]) -> tuple[str, str]:
        if scenario.startswith("-sn "):
            return ("-sn", scenario.removeprefix("-sn "))
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        for mark, value in {**DEFAULTS, **marks}.items():
            text = text.replace(f"@{mark}@", value)
        path = self.folder / f"{name}.xml"
        path.write_text(text)
        return ("-sf", str(path))

    def kamailio(
        self,
        port: int,
        carrier_port: int,
        tls_port: int = 0,
        tls: str = "",
        scenario: str = "kamailio",
        **further: str,
    ) -> Peer:
        """Start Kamailio as a record-routing proxy on `port` that sends calls to `carrier_port`; with
        `tls_port`, also over TLS, with `tls` for further lines of its configuration. `scenario` is the file
        that says how, `further` what stands in it between @ signs.
        """
        need("kamailio")
        text = (SCENARIOS / f"{scenario}.cfg").read_text()
        marks = {"@LISTEN@": self.at(port), "@CARRIER@": self.at(carrier_port)}
        marks |= {f"@{mark}@": value for mark, value in further.items()}
        if tls_port:
            listen = f"listen=udp:@LISTEN@\nlisten=tls:{self.at(tls_port)}\nenable_tls=yes\n{tls}"
            marks = {"disable_tcp=yes": "tcp_children=1", "listen=udp:@LISTEN@": listen, **marks}
        for mark, value in marks.items():
            text = text.replace(mark, value)
        config = self.folder / "kamailio.cfg"
        config.write_text(text)
        peer = Peer(
            "kamailio", ("kamailio", "-f", str(config), "-DD", "-E", "-Y", str(self.folder)), self.folder
        )
        self.peers.append(peer)
        self.wait_bound(peer, port)
        return peer

    def wait_bound(self, peer: Peer, port: int, transport: str = "udp") -> None:
        """Return when some process holds UDP or TCP `port`; the test fails when `peer` ends before."""
        table = Path(f"/proc/net/{transport}6" if ":" in self.host else f"/proc/net/{transport}")
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if any(line.split()[1].endswith(f":{port:04X}") for line in table.read_text().splitlines()[1:]):
                return
            if peer.process.poll() is not None:
                break
            time.sleep(0.02)
        pytest.fail(f"{peer.name} does not listen on port {port}:\n{peer.evidence()}")

    def stop(self) -> None:
        """End everything that still runs, the latest first."""
        for peer in reversed(self.peers):
            peer.stop()

    def evidence(self) -> str:
        """What every peer reported, for the report of a failed test."""
        return "\n".join(peer.evidence() for peer in self.peers)


def need(program: str) -> None:
    """Skip the test where `program` is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian package {PACKAGES[program]}, see tests/peers.txt)")


def read_line(pipe: IO[bytes], limit: float) -> str:
    """The next line of `pipe`, or what came of it until it closed or `limit` seconds passed."""
    line = b""
    deadline = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(pipe.fileno(), 4096)
            if not piece:
                break
            line += piece
    return line.decode(errors="replace")


def tail(path: Path, size: int = 6000) -> str:
    """The end of a file, "" when there is none."""
    return path.read_text(errors="replace")[-size:] if path.exists() else ""
