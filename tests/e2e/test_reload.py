"""Rules and configuration that change while real phones talk."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.baresip import Baresip
from tests.e2e.peers import DEAD_NUMBER_RULE, Gateway, Lab
from tests.e2e.several import Phone

pytestmark = pytest.mark.e2e


def test_a_call_goes_on_over_sighup_and_the_next_one_takes_the_new_route(lab: Lab) -> None:
    """The route to bob goes while alice talks to him: they hold and hang up, and the next call is carol's."""
    ports = {"bob": lab.free_port(), "carol": lab.free_port()}
    gateway = lab.gateway(carriers=ports)
    alice = Baresip(lab, "alice", lab.pbx_port)
    bob = Baresip(lab, "bob", ports["bob"])
    carol = lab.carrier("uas_answered", name="carol", port=ports["carol"])
    callee = f"sip:bob@{lab.at(lab.gateway_port)}"
    alice.do("dial", callee)
    bob.waits_for("CALL_INCOMING")
    bob.do("accept")
    bob.waits_for("CALL_ESTABLISHED")
    alice.waits_for("CALL_ESTABLISHED")

    config = lab.folder / "gateway.toml"
    old = config.read_text()
    new = old.replace('to = ["bob", "carol"]', 'to = ["carol"]')
    assert new != old
    config.write_text(new)
    gateway.new_rules(DEAD_NUMBER_RULE)
    config.write_text("this is no configuration\n")
    heard = gateway.errors.stat().st_size
    gateway.process.send_signal(signal.SIGHUP)
    assert "gateway.toml:1: " in gateway.says("gateway.toml:1: ", heard)  # and the one before stays

    alice.do("hold")
    alice.do("resume")
    bob.do("hangup")
    alice.waits_for("CALL_CLOSED")
    alice.do("dial", callee)
    alice.waits_for("CALL_ESTABLISHED")
    alice.do("hangup")
    carol.succeeds()


def test_rules_that_cannot_be_read_to_their_end_do_not_keep_the_gateway_from_ending(lab: Lab) -> None:
    """A pipe that nobody writes to, in place of a file on a server that has gone."""
    gateway = lab.gateway(carriers={"bob": lab.free_port()})
    gateway.rules.unlink()
    os.mkfifo(gateway.rules)
    gateway.process.send_signal(signal.SIGHUP)
    writing = opened(gateway.rules)
    try:
        assert gateway.stop() == 0
    finally:
        os.close(writing)


def opened(pipe: Path) -> int:
    """Open a pipe to write to, once somebody reads."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    pytest.fail("nobody reads the pipe")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signals_are_heeded_from_the_first_answer_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The answer comes before the gateway says that it is ready."""
    monkeypatch.setattr(Gateway, "wait_ready", lambda gateway: lab.wait_bound(gateway, lab.gateway_port))
    gateway = lab.gateway()
    Phone(lab, "early@phone").ask("INVITE", 1, "403")
    gateway.process.send_signal(number)
    if number == signal.SIGHUP:
        gateway.says("are in force")
    assert gateway.stop() == 0
