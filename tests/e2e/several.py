"""What the system tests of several workers share: a gateway of many processes, and what it tells of them."""

from __future__ import annotations

import re
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gateway.workers.ownership import owner_of_call
from tests.e2e.peers import NO_RULES, Gateway, Lab

LIMIT = 20.0  # seconds for what must happen soon

Series = dict[str, float]


def start(lab: Lab, workers: int, keys: str = "", listen: str = "", rules: str = NO_RULES) -> Gateway:
    """Start a gateway of so many workers, with a ledger and a console. The PBX may speak from any port of its
    address; the carrier has one.
    """
    at = lab.at(lab.gateway_port)
    return lab.gateway_from(
        f'[gateway]\nname = "e2e"\nlisten = ["udp:{at}"{listen}]\nrules = "rules.toml"\ndrain = "5s"\n'
        f'workers = {workers}\n[console]\nlisten = "127.0.0.1:0"\n[ledger]\nurl = "sqlite:///ledger.db"\n'
        f'[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["{lab.host}"]\n'
        f'target = ["sip:{lab.at(lab.pbx_port)}"]\n{keys}\n'
        f'[[trunk]]\nname = "carrier"\nkind = "carrier"\nsource = ["{lab.at(lab.carrier_port)}"]\n'
        f'target = ["sip:{lab.at(lab.carrier_port)}"]\n'
        '[[route]]\nfrom = ["pbx"]\nto = ["carrier"]\n[[route]]\nfrom = ["carrier"]\nto = ["pbx"]\n',
        rules,
    )


def metrics(gateway: Gateway) -> Series:
    """Scrape the gateway; the value of each series by its name with labels."""
    found = re.search(r"console=(\S+)", gateway.ready)
    assert found is not None
    with urllib.request.urlopen(f"{found[1]}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def until(gateway: Gateway, holds: Callable[[Series], bool]) -> Series:
    """Scrape until something holds: the first worker is told of the others' counts once a second."""
    deadline = time.monotonic() + LIMIT
    while True:
        found = metrics(gateway)
        if holds(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def workers_of(gateway: Gateway) -> list[int]:
    """The process ids of its workers."""
    pid = gateway.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def records(lab: Lab) -> list[tuple[str, str]]:
    """The id and the end of each call in the ledger."""
    with closing(sqlite3.connect(lab.folder / "ledger.db")) as database:
        return database.execute("SELECT id, end_reason FROM calls").fetchall()


def owned_by(worker: int, workers: int, name: str) -> str:
    """A Call-ID whose calls this worker carries."""
    found = (f"{name}-{number}@phone" for number in range(10_000))
    return next(each for each in found if owner_of_call(each.encode(), workers) == worker)


class Phone:
    """A caller that speaks from a new port each time, and is answered where it asked."""

    def __init__(self, lab: Lab, call_id: str, user: str = "alice") -> None:
        self._lab = lab
        self._call_id = call_id
        self._user = user
        self._to = "<sip:+49301@example.org>"

    def ask(self, method: str, cseq: int, wanted: str = "") -> str:
        """Send a request from a port nobody has seen, and return the status of the final response, which is
        `wanted`; "" to an ACK.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((self._lab.host, 0))
            sock.settimeout(5)
            port = sock.getsockname()[1]
            number = int(method == "ACK") * 7 + cseq
            lines = [
                f"{method} sip:+49301@{self._lab.at(self._lab.gateway_port)} SIP/2.0",
                f"Via: SIP/2.0/UDP {self._lab.at(port)};rport;branch=z9hG4bK{self._call_id}{method}{number}",
                "Max-Forwards: 70",
                f"From: <sip:{self._user}@example.org>;tag=alice",
                f"To: {self._to}",
                f"Call-ID: {self._call_id}",
                f"CSeq: {cseq} {method}",
                f"Contact: <sip:{self._user}@{self._lab.at(port)}>",
                "Content-Length: 0",
            ]
            sock.sendto("\r\n".join([*lines, "", ""]).encode(), (self._lab.host, self._lab.gateway_port))
            while method != "ACK":
                answer = sock.recv(65_535).decode()
                if not answer.startswith("SIP/2.0 1"):
                    assert answer.startswith(f"SIP/2.0 {wanted}"), answer
                    to = re.search(r"^To: (.*?)\r$", answer, re.MULTILINE)
                    assert to is not None
                    self._to = to[1]
                    return answer.split()[1]
        return ""
