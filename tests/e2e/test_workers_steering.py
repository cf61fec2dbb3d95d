"""Where the system can, it gives each message to the worker that owns it: nothing is left to hand over."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections import Counter

import pytest

from gateway.transport.udp import open_socket
from gateway.workers.steering import steer
from tests.e2e.peers import Gateway, Lab
from tests.e2e.several import Series, start, until, workers_of

pytestmark = pytest.mark.e2e

WORKERS = 3


@pytest.fixture(autouse=True)
def _steers() -> None:
    sock = open_socket("127.0.0.1", 0, shared=True)
    steered = steer([sock])
    sock.close()
    if steered is None:
        pytest.skip("this system takes no program")


def received(found: Series) -> dict[str, Counter[int]]:
    """How many messages each worker received from the network, by whose they are."""
    counts: dict[str, Counter[int]] = {"itself": Counter(), "another": Counter()}
    for name, value in found.items():
        said = re.fullmatch(r'sip_gateway_worker_messages_total\{owner="(\w+)",worker="(\d+)"\}', name)
        if said is not None:
            counts[said[1]][int(said[2])] += int(value)
    return counts


def carry(lab: Lab, gateway: Gateway, name: str, total: int) -> dict[str, Counter[int]]:
    """Have 60 calls carried; return what the workers have received since the start, `total` or more."""
    carrier = lab.carrier("uas_reinvited", name=f"{name}-carrier", calls=60)
    lab.caller("uac_reinvited", name=name, calls=60, rate=30).succeeds()
    carrier.succeeds()
    return received(until(gateway, lambda found: received(found)["itself"].total() >= total))


# INVITE, ACK, re-INVITE, ACK, 200, BYE; 180, 200, 200, re-INVITE, ACK, 200
OF_A_CALL = 12


def test_each_message_comes_to_its_owner_also_after_a_worker_has_died(lab: Lab) -> None:
    gateway = start(lab, WORKERS)
    counts = carry(lab, gateway, "first", 60 * OF_A_CALL)
    assert counts["itself"].total() >= 60 * OF_A_CALL
    assert counts["another"].total() == 0
    assert all(counts["itself"][worker] >= OF_A_CALL for worker in range(WORKERS))

    os.kill(workers_of(gateway)[1], signal.SIGKILL)
    gateway.says("worker 1 serves again")
    before = counts["itself"].total()
    counts = carry(lab, gateway, "second", before + 60 * OF_A_CALL)
    assert counts["itself"].total() >= before + 60 * OF_A_CALL
    assert counts["another"].total() == 0
    assert gateway.stop() == 0


def test_what_is_sent_at_once_about_one_call_is_served_in_order(lab: Lab) -> None:
    """A CANCEL right behind its INVITE finds it: 200 and never 481, for calls of all workers."""
    start(lab, WORKERS)
    calls = 60
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind((lab.host, 0))
        phone.settimeout(5)
        at = lab.at(phone.getsockname()[1])
        for number in range(calls):
            for method in ("INVITE", "CANCEL"):
                lines = [
                    f"{method} sip:+49301@{lab.at(lab.gateway_port)} SIP/2.0",
                    f"Via: SIP/2.0/UDP {at};branch=z9hG4bKorder{number}",
                    "Max-Forwards: 70",
                    "From: <sip:alice@example.org>;tag=alice",
                    "To: <sip:+49301@example.org>",
                    f"Call-ID: order-{number}@phone",
                    f"CSeq: 1 {method}",
                    f"Contact: <sip:alice@{at}>",
                    "Content-Length: 0",
                ]
                phone.sendto("\r\n".join([*lines, "", ""]).encode(), (lab.host, lab.gateway_port))
        answers: dict[str, str] = {}
        while len(answers) < calls:
            answer = phone.recv(65_535).decode()
            branch = re.search(r"z9hG4bKorder\d+", answer)
            if "CSeq: 1 CANCEL" in answer and branch is not None:
                answers[branch[0]] = answer.split()[1]
    assert Counter(answers.values()) == {"200": calls}
