"""What can be seen of real calls: ladders and captures from a running gateway, copies in Homer's form; read
by tshark and sngrep, which know nothing of us.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.peers import DEAD_NUMBER_RULE, ROOT, Gateway, Lab, Sipp
from tests.tap.hep3 import decode

pytestmark = pytest.mark.e2e

UNALLOCATED = 'Reason: Q.850;cause=1;text="Unallocated number"'
ON_THE_WIRE = ["INVITE", "100", "INVITE", "603", "ACK", "404", "ACK"]
PAYLOAD, CORRELATION = 0x000F, 0x0011  # chunks of HEPv3


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: {program})")


@dataclass
class Watched:
    """A gateway with a console and the rule for dead numbers."""

    lab: Lab
    gateway: Gateway

    @classmethod
    def start(cls, lab: Lab, hep: str = "", carrier_keys: str = "") -> Self:
        more = f'[console]\nlisten = "127.0.0.1:0"\n[ledger]\nurl = ""\n[telemetry]\nhep = "{hep}"\n'
        more = f'rules = "rules.toml"\ndrain = "2s"\n{more}'
        name = f"127.0.0.1:{lab.gateway_port}"
        return cls(
            lab,
            lab.gateway_from(
                f'[gateway]\nname = "e2e"\nlisten = ["udp:{name}"]\n{more}'
                f'[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["{lab.at(lab.pbx_port)}"]\n'
                f'[[trunk]]\nname = "carrier"\nkind = "carrier"\nsource = ["{lab.at(lab.carrier_port)}"]\n'
                f'target = ["sip:{lab.at(lab.carrier_port)}"]\n{carrier_keys}'
                '[[route]]\nfrom = ["pbx"]\nto = ["carrier"]\n',
                DEAD_NUMBER_RULE,
            ),
        )

    @property
    def console(self) -> str:
        found = re.search(r"console=(\S+)", self.gateway.ready)
        assert found is not None
        return found[1]

    def call(self) -> Sipp:
        """Place a call that the carrier refuses and the rule rewrites; the caller."""
        carrier = self.lab.carrier("uas_rejected", ANSWER="603 Decline", HEADERS=UNALLOCATED)
        caller = self.lab.caller("uac_rejected", STATUS="404").succeeds()
        carrier.succeeds()
        return caller

    def show(self, call_id: str, *options: str) -> str:
        return run("calls", "show", call_id, "--console", self.console, *options)


def command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", "gateway", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"},
    )


def run(*words: str) -> str:
    with command(*words) as process:
        said, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    return said


def tshark(path: Path, fields: Sequence[str], *options: str) -> list[list[str]]:
    """What tshark reads in a capture, a row a packet."""
    words = ["tshark", "-r", str(path), "-T", "fields", *options]
    for field in fields:
        words += ["-e", field]
    read = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return [line.split("\t") for line in read.stdout.splitlines()]


def test_a_call_is_shown_as_a_ladder_by_another_process(lab: Lab) -> None:
    watched = Watched.start(lab)
    call_id = watched.call().received()[-1].one("Call-ID")
    text = watched.show(call_id)
    rungs = re.findall(r"^ +[0-9.]+ s .*?([0-9]{3} |INVITE|ACK)", text, re.MULTILINE)
    assert [rung.strip() for rung in rungs] == ON_THE_WIRE
    assert "◆ rule dead-number: 603 Decline → 404 Not Found" in text
    assert "decided by        rule dead-number" in text

    page = lab.folder / "call.html"
    watched.show(call_id, "--out", str(page))
    assert "404 Not Found" in page.read_text()
    shown = json.loads(watched.show(call_id, "--json"))
    assert [each["name"] for each in shown["ladder"]["participants"]] == ["pbx", "e2e", "carrier"]


def test_what_a_capture_writes_is_read_by_tshark(lab: Lab) -> None:
    need("tshark")
    watched = Watched.start(lab)
    path = lab.folder / "out.pcap"
    words = ("--number", "30123456", "--seconds", "20", "--console", watched.console)
    with command("capture", str(path), *words) as process:
        until(lambda: path.exists() and path.stat().st_size >= 24)
        watched.call()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert said == f"7 messages in {path}; interrupted\n"
    assert process.returncode == 0
    options = ("-o", "udp.check_checksum:TRUE", "-d", f"udp.port=={lab.gateway_port},sip")
    rows = tshark(path, ("sip.Method", "sip.Status-Code", "udp.checksum.status", "udp.dstport"), *options)
    assert [method or status for method, status, _, _ in rows] == ON_THE_WIRE
    assert {status for _, _, status, _ in rows} == {"1"}
    assert rows[0][3] == str(lab.gateway_port) and rows[2][3] == str(lab.carrier_port)


@pytest.mark.parametrize("keys", ["", "x_cid = false\n"], ids=["named", "hidden"])
def test_copies_for_homer_join_the_legs_of_a_call(lab: Lab, keys: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as homer:
        homer.settimeout(10)
        homer.bind(("127.0.0.1", 0))
        watched = Watched.start(lab, f"udp:127.0.0.1:{homer.getsockname()[1]}", keys)
        call_id = watched.call().received()[-1].one("Call-ID")
        copies = [decode(homer.recv(65_535)) for _ in ON_THE_WIRE]
    assert [copy[CORRELATION].decode() for copy in copies] == [call_id] * len(ON_THE_WIRE)
    legs = [copy[PAYLOAD].count(call_id.encode() + b"\r\n") for copy in copies]
    assert legs == [1, 1, 0 if keys else 1, 0, 0, 1, 1]  # the carrier may not know it, if so told


def test_sngrep_takes_the_copies(lab: Lab) -> None:
    need("sngrep")
    need("tshark")
    port, path = lab.free_port(), lab.folder / "sngrep.pcap"
    words = ("sngrep", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", str(path))
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet) as sngrep:
        try:
            until(lambda: f":{port:04X} " in Path("/proc/net/udp").read_text())
            watched = Watched.start(lab, f"udp:127.0.0.1:{port}")
            watched.call()
            time.sleep(1)
        finally:
            sngrep.send_signal(signal.SIGINT)
            sngrep.wait(20)
    fields = ("sip.Method", "sip.Status-Code", "udp.srcport", "udp.dstport", "frame.time_epoch")
    rows = tshark(path, fields, "-d", f"udp.port=={lab.gateway_port},sip")
    assert [method or status for method, status, *_ in rows] == ON_THE_WIRE
    assert [int(port) for port in rows[0][2:4]] == [lab.pbx_port, lab.gateway_port]
    assert [int(port) for port in rows[3][2:4]] == [lab.carrier_port, lab.gateway_port]
    assert all(0 <= time.time() - float(at) < 60 for *_, at in rows)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
