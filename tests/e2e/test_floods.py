"""Calls of real peers while strangers and a talkative trunk flood the gateway: bounded, and none is lost."""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.peers import Lab, Peer

pytestmark = pytest.mark.e2e

CALLS = 25
MESSAGES = 4_000
PER_SECOND = 1_500  # far from what the socket buffers and a busy machine would lose
MOST_GROWTH = 150 * 1024  # kilobytes of resident memory, for all that waits or lingers
_count = itertools.count(1)


def flood(lab: Lab, method: str, port: int, tag: str = "") -> tuple[int, int, int]:
    """Send such requests, each another one, from ``port``: bytes sent, and answers and bytes that came."""
    sent = answers = came = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        source.bind((lab.host, port))
        source.setblocking(False)
        begun = time.monotonic()
        for number in range(MESSAGES):
            unique = next(_count)
            data = (
                f"{method} sip:{number}@{lab.at(lab.gateway_port)} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {lab.at(port)};rport;branch=z9hG4bKflood{unique}\r\nMax-Forwards: 70\r\n"
                f"From: <sip:a@{lab.host}>;tag={unique}\r\nTo: <sip:b@{lab.host}>{tag}\r\n"
                f"Call-ID: flood-{unique}\r\nCSeq: 1 {method}\r\nContact: <sip:a@{lab.at(port)}>\r\n"
                "Content-Length: 0\r\n\r\n"
            ).encode()
            source.sendto(data, (lab.host, lab.gateway_port))
            sent += len(data)
            if number % 25 == 0:
                for answer in _heard(source):
                    answers, came = answers + 1, came + len(answer)
                time.sleep(max(0.0, begun + number / PER_SECOND - time.monotonic()))
        time.sleep(1.0)
        for answer in _heard(source):
            answers, came = answers + 1, came + len(answer)
    return sent, answers, came


def _heard(source: socket.socket) -> list[bytes]:
    heard = []
    while True:
        try:
            heard.append(source.recv(65_535))
        except BlockingIOError:
            return heard


def resident(peer: Peer) -> int:
    """Kilobytes of memory that a process has."""
    status = Path(f"/proc/{peer.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.parametrize(
    ("method", "tag", "answered"),
    [
        ("INVITE", "", True),
        ("OPTIONS", "", True),
        ("BYE", ";tag=guessed", True),
        ("ACK", ";tag=guessed", False),
    ],
)
def test_strangers_cost_no_call_and_hear_no_more_than_they_say(
    lab: Lab, method: str, tag: str, answered: bool
) -> None:
    carrier = lab.carrier("uas_answered", calls=CALLS)
    gateway = lab.gateway()
    before = resident(gateway)
    caller = lab.caller("uac_answered", calls=CALLS, rate=10)
    sent, answers, came = flood(lab, method, lab.free_port(), tag)
    caller.succeeds()
    carrier.succeeds()
    assert (answers > MESSAGES // 2) == answered
    assert answers <= MESSAGES
    assert came <= sent
    assert resident(gateway) - before < MOST_GROWTH
    assert "Traceback" not in gateway.errors.read_text()


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "PUBLISH", "CANCEL"])
def test_a_trunk_that_floods_costs_no_call_of_another(lab: Lab, method: str) -> None:
    """Its calls are bounded by max_calls; other requests go to a carrier that never answers them."""
    noisy, silent = lab.free_port(), lab.free_port()
    carrier = lab.carrier("uas_answered", calls=CALLS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((lab.host, silent))
        gateway = lab.gateway(
            carriers={"carrier": lab.carrier_port, "noisy": noisy, "silent": silent},
            route='[[route]]\nfrom = ["noisy"]\nto = ["silent"]',
            keys={"noisy": "max_calls = 5"},
        )
        before = resident(gateway)
        caller = lab.caller("uac_answered", calls=CALLS, rate=10)
        flood(lab, method, noisy)
        caller.succeeds()
        carrier.succeeds()
        assert resident(gateway) - before < MOST_GROWTH
    assert "Traceback" not in gateway.errors.read_text()
