"""A gateway whose lines nobody can take: what it is for are calls."""

from __future__ import annotations

import sys
import time

import pytest

from tests.e2e.peers import NO_RULES, Lab, Peer
from tests.e2e.several import LIMIT, Phone

pytestmark = pytest.mark.e2e

COMPLAINT = "cannot be written to stdout (No space left on device)"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("outputs", [">/dev/full", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_calls_are_served_without_a_stdout_or_a_stderr(lab: Lab, outputs: str, workers: int) -> None:
    (lab.folder / "rules.toml").write_text(NO_RULES)
    config = lab.folder / "gateway.toml"
    config.write_text(
        f'[gateway]\nlisten = ["udp:{lab.at(lab.gateway_port)}"]\nrules = "rules.toml"\nworkers = {workers}\n'
        f'[console]\nlisten = ""\n[ledger]\nurl = ""\n'
        f'[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["{lab.host}"]\n'
        f'[[trunk]]\nname = "carrier"\nkind = "carrier"\nsource = ["{lab.at(lab.carrier_port)}"]\n'
        f'target = ["sip:{lab.at(lab.carrier_port)}"]\n[[route]]\nfrom = ["pbx"]\nto = ["carrier"]\n'
    )
    lab.carrier("uas_rejected", ANSWER="603 Decline")
    command = ("sh", "-c", f'exec "$@" {outputs}', "sh", sys.executable, "-m", "gateway", "run", "--config")
    gateway = Peer("gateway", (*command, str(config)), lab.folder, read_stdout=True)
    lab.peers.append(gateway)
    lab.wait_bound(gateway, lab.gateway_port)
    phone = Phone(lab, "unheard@phone")
    phone.ask("INVITE", 1, "603")
    phone.ask("ACK", 1)
    deadline = time.monotonic() + LIMIT
    while outputs == ">/dev/full" and COMPLAINT not in gateway.evidence():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert gateway.stop() == 0
