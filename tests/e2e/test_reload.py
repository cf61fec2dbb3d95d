"""Rules and configuration that change while real phones talk."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from tests.e2e.baresip import Baresip
from tests.e2e.peers import DEAD_NUMBER_RULE, Gateway, Lab
from tests.e2e.several import Phone, start
from tests.e2e.test_streams import write_signed

BY_LIST = """\
version = 1
[[rule]]
name = "dead"
when.called.list = "bad.txt"
then.status = 404
"""

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


@pytest.mark.parametrize("workers", [1, 2])
def test_rules_and_lists_that_came_with_sighup_are_put_to_work_when_they_change(
    lab: Lab, workers: int
) -> None:
    gateway = start(lab, workers)
    config = lab.folder / "gateway.toml"
    rules, numbers = lab.folder / "more" / "rules.toml", lab.folder / "more" / "bad.txt"
    rules.parent.mkdir()
    rules.write_text(BY_LIST)
    numbers.write_text("+4930111\n")
    config.write_text(config.read_text().replace('"rules.toml"', '"more/rules.toml"'))
    heard = gateway.errors.stat().st_size
    gateway.process.send_signal(signal.SIGHUP)
    gateway.says("configuration and rules ", heard)
    time.sleep(3)  # until they are watched
    heard = gateway.errors.stat().st_size
    numbers.write_text("+4930111\n+4930112\n")
    gateway.says("are in force", heard)
    time.sleep(1)
    heard = gateway.errors.stat().st_size
    rules.write_text(BY_LIST.replace("404", "410"))
    gateway.says("are in force", heard)


@pytest.mark.parametrize("workers", [1, 2])
def test_rules_that_were_refused_for_want_of_a_list_come_into_force_when_it_comes(
    lab: Lab, workers: int
) -> None:
    gateway = start(lab, workers)
    heard = gateway.errors.stat().st_size
    gateway.rules.write_text(BY_LIST)
    assert "bad.txt" in gateway.says("in force stay as they are", heard)
    time.sleep(3)  # until it is looked for
    heard = gateway.errors.stat().st_size
    (lab.folder / "bad.txt").write_text("+4930111\n")
    assert " are in force" in gateway.says("in force", heard)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_that_came_with_sighup_is_put_to_work_when_it_is_renewed(
    lab: Lab, workers: int
) -> None:
    ca = trustme.CA()
    gateway = start(lab, workers)
    write_signed(ca, lab.folder, "gateway", "gw.example")
    config = lab.folder / "gateway.toml"
    keys = '[gateway]\ntls_cert = "gateway.pem"\ntls_key = "gateway.key"\n'
    config.write_text(config.read_text().replace("[gateway]\n", keys))
    heard = gateway.errors.stat().st_size
    gateway.process.send_signal(signal.SIGHUP)
    gateway.says("configuration and rules ", heard)
    time.sleep(3)  # until it is watched
    heard = gateway.errors.stat().st_size
    write_signed(ca, lab.folder, "gateway", "gw.example")
    gateway.says("new certificates are in force", heard)


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


def test_rules_that_are_still_being_read_at_sighup_do_not_take_the_place_of_the_new_ones(lab: Lab) -> None:
    gateway = start(lab, 1)
    heard = gateway.errors.stat().st_size
    gateway.rules.unlink()
    os.mkfifo(gateway.rules)
    writing = opened(gateway.rules)
    (lab.folder / "more.toml").write_text(DEAD_NUMBER_RULE)
    config = lab.folder / "gateway.toml"
    config.write_text(config.read_text().replace('"rules.toml"', '"more.toml"'))
    gateway.process.send_signal(signal.SIGHUP)
    gateway.says("configuration and rules ", heard)
    os.write(writing, b"version = 1\n")
    os.close(writing)
    time.sleep(2)
    said = gateway.errors.read_text()[heard:]
    assert len(set(re.findall(r"rules (\w+) are in force", said))) == 1, said


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
