"""Several workers as one gateway: whoever receives what, calls go on; a death costs what it must, no more."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.peers import DEAD_NUMBER_RULE, Gateway, Lab
from tests.e2e.several import LIMIT, Phone, Series, metrics, records, start, until, workers_of

pytestmark = pytest.mark.e2e

WORKERS = (2, 3)


def hashes(found: Series) -> set[str]:
    """The versions of the rules that workers say they run."""
    said = [re.fullmatch(r'sip_gateway_worker_info\{rules="(\w+)",worker="\d+"\}', name) for name in found]
    return {match[1] for match in said if match}


@pytest.mark.parametrize("workers", WORKERS)
def test_calls_of_one_port_are_carried_by_all_workers_and_counted_as_one(lab: Lab, workers: int) -> None:
    """The system does not read short names of headers, so it gives all such messages of one port to one
    worker; others own most of them.
    """
    gateway = start(lab, workers)
    carrier = lab.carrier("uas_reinvited", calls=60)
    lab.caller("uac_reinvited", calls=60, rate=30, CALL_ID="i").succeeds()
    carrier.succeeds()

    def byes(found: Series) -> float:
        ways = [f'direction="in",method="BYE",trunk="{trunk}"' for trunk in ("pbx", "carrier")]
        return sum(found.get(f"sip_requests_total{{{way}}}", 0) for way in ways)

    found = until(gateway, lambda found: byes(found) == 60)
    assert byes(found) == found["sip_gateway_calls_total"] == 60
    assert found['sip_gateway_handed_over_total{outcome="taken"}'] > 60
    assert found['sip_gateway_handed_over_total{outcome="dropped"}'] == 0
    assert gateway.stop() == 0
    ids = [id_ for id_, _ in records(lab)]
    assert len(ids) == len(set(ids)) == 60
    assert len({id_[16:] for id_ in ids}) == workers, "each worker has a mark of its own in its ids"


def test_each_request_of_a_call_may_come_from_a_port_of_its_own(lab: Lab) -> None:
    gateway = start(lab, 3)
    carrier = lab.carrier("-sn uas", calls=12)
    for number in range(12):
        phone = Phone(lab, f"ports-{number}@phone")
        phone.ask("INVITE", 1, "200")
        phone.ask("ACK", 1)
        phone.ask("BYE", 2, "200")
    carrier.succeeds()
    assert gateway.stop() == 0
    assert [end for _, end in records(lab)] == ["bye"] * 12


def test_a_worker_that_is_killed_is_replaced_and_the_calls_of_the_others_go_on(lab: Lab) -> None:
    """Half of the calls are the dead one's, and end for their peers by 481; all others end in order."""
    gateway = start(lab, 2)
    calls = 200
    carrier = lab.carrier("-sn uas", calls=10_000, limit=60, extra=("-rtcheck", "loose"))
    caller = lab.caller("-sn uac", calls=calls, rate=100, limit=60, extra=("-d", "4000", "-nd"))
    up = until(gateway, lambda found: found.get('sip_gateway_calls_active{trunk="pbx"}', 0) >= calls)
    assert up['sip_gateway_calls_active{trunk="pbx"}'] == calls
    before = workers_of(gateway)
    os.kill(before[1], signal.SIGKILL)
    said = gateway.says("worker 1 serves again")
    lost = re.search(r"worker 1 has died \(signal 9\) with about (\d+) calls", said)
    assert lost is not None
    after = workers_of(gateway)
    assert len(after) == 2
    assert before[0] in after
    caller.exit_code(65)
    found = until(gateway, lambda found: found['sip_gateway_calls_active{trunk="pbx"}'] == 0)
    assert found["sip_gateway_worker_restarts_total"] == 1
    assert found["sip_gateway_calls_lost_total"] == int(lost[1])
    assert 0 < int(lost[1]) < calls
    # The next calls are carried by both again.
    lab.caller("-sn uac", name="next", calls=40, rate=40).succeeds()
    assert gateway.stop() == 0
    ended = [end for _, end in records(lab)]
    assert sorted(ended) == ["bye"] * (calls - int(lost[1]) + 40) + ["worker died"] * int(lost[1])
    del carrier


def test_rules_are_reloaded_by_all_workers_or_by_none(lab: Lab) -> None:
    gateway = start(lab, 3)
    carrier = lab.carrier("-sn uas", calls=300, limit=60)
    caller = lab.caller("-sn uac", calls=300, rate=60, limit=60)
    old = hashes(until(gateway, lambda found: len(hashes(found)) == 1))
    gateway.new_rules(DEAD_NUMBER_RULE)
    new = hashes(until(gateway, lambda found: not hashes(found) & old))
    assert len(old) == len(new) == 1
    assert old != new
    heard = gateway.errors.stat().st_size
    gateway.rules.write_text("this is no rule file\n")
    gateway.process.send_signal(signal.SIGHUP)
    said = gateway.says("stay as they are", heard)
    # Once for the signal, once for the file's change: by the supervisor, not by each worker.
    assert said.count("rules.toml:1: ") in (1, 2)
    assert hashes(metrics(gateway)) == new
    # A worker that comes later has what is in force, not what lies there.
    os.kill(workers_of(gateway)[2], signal.SIGKILL)
    gateway.says("worker 2 serves again")
    time.sleep(2)
    assert hashes(metrics(gateway)) == new
    caller.exit_code(65)
    del carrier


def test_max_calls_is_shared_by_all_workers(lab: Lab) -> None:
    gateway = start(lab, 3, keys="max_calls = 10")
    lab.carrier("-sn uas", calls=100, limit=30)
    caller = lab.caller("-sn uac", calls=60, rate=60, extra=("-d", "3000"))
    assert caller.exit_code(40) == 1, "calls beyond the limit were refused"
    found = until(gateway, lambda found: found['sip_gateway_refused_total{why="trunk limit"}'] == 50)
    assert found["sip_gateway_calls_total"] == 10
    assert found['sip_gateway_refused_total{why="trunk limit"}'] == 50


def test_calls_come_and_go_over_tcp_which_one_worker_holds(lab: Lab) -> None:
    gateway = start(lab, 3, listen=f', "tcp:{lab.at(lab.gateway_port)}"')
    carrier = lab.carrier("-sn uas", calls=30)
    lab.caller("-sn uac", calls=30, rate=30, over="t1").succeeds()
    carrier.succeeds()
    assert gateway.stop() == 0
    assert [end for _, end in records(lab)] == ["bye"] * 30


def test_a_second_gateway_does_not_get_the_same_address(lab: Lab) -> None:
    start(lab, 2)
    second = Gateway(lab.folder, ("--config", str(lab.folder / "gateway.toml")))
    lab.peers.append(second)
    assert second.exit_code(LIMIT) == 2
    assert "cannot be bound (address already in use)" in second.errors.read_text()


def test_what_keeps_a_worker_from_starting_ends_the_gateway(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        start(lab, 2).stop()
        config = lab.folder / "gateway.toml"
        config.write_text(config.read_text().replace('"127.0.0.1:0"', f'"127.0.0.1:{port}"'))
        gateway = Gateway(lab.folder, ("--config", str(config)))
        lab.peers.append(gateway)
        assert gateway.exit_code(LIMIT) == 2
    assert f"127.0.0.1:{port} cannot be bound" in gateway.errors.read_text()


def test_the_console_shows_the_calls_of_every_worker(lab: Lab) -> None:
    gateway = start(lab, 3, rules=DEAD_NUMBER_RULE)
    found = re.search(r"console=(\S+)", gateway.ready)
    assert found is not None
    lab.carrier("-sn uas", calls=12)
    caller = lab.caller("-sn uac", calls=12, rate=12, extra=("-d", "3000"))
    until(gateway, lambda series: series.get('sip_gateway_calls_active{trunk="pbx"}', 0) == 12)
    call_ids = {message.one("Call-ID") for message in caller.sent()}
    for when, methods in (("up", {"INVITE", "ACK"}), ("over", {"INVITE", "ACK", "BYE"})):
        for call_id in call_ids:
            with urllib.request.urlopen(f"{found[1]}/api/calls/{call_id}", timeout=10) as answer:
                view = json.load(answer)
            assert view["call"]["caller_call_id"] == call_id, when
            texts = [message["text"] for message in view["messages"]]
            assert {text.split()[0] for text in texts} >= methods, when
            assert sum(text.startswith("INVITE") for text in texts) >= 2, "both legs are shown"
        if when == "up":
            caller.succeeds()


def test_a_capture_sees_the_messages_of_every_worker(lab: Lab) -> None:
    gateway = start(lab, 3)
    found = re.search(r"console=(\S+)", gateway.ready)
    assert found is not None
    lab.carrier("-sn uas", calls=30)
    order = urllib.request.Request(
        f"{found[1]}/api/capture", b'{"seconds": 4}', {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(order, timeout=20) as answer:
        caller = lab.caller("-sn uac", calls=30, rate=30).succeeds()
        captured = answer.read()
    sent = [message.start for message in caller.sent() if message.start.startswith("BYE ")]
    assert len(sent) == 30
    assert captured.count(b"BYE sip:") == 60, "each was received and sent on"


def test_the_first_worker_may_die_too_and_the_calls_of_the_others_go_on(lab: Lab) -> None:
    gateway = start(lab, 3, listen=f', "tcp:{lab.at(lab.gateway_port)}"')
    carrier = lab.carrier("-sn uas", calls=10_000, limit=60)
    caller = lab.caller("-sn uac", calls=60, rate=60, limit=60, extra=("-d", "4000"))
    until(gateway, lambda found: found.get('sip_gateway_calls_active{trunk="pbx"}', 0) == 60)
    os.kill(workers_of(gateway)[0], signal.SIGKILL)
    said = gateway.says("worker 0 serves again")
    lost = re.search(r"worker 0 has died \(signal 9\) with about (\d+) calls", said)
    assert lost is not None
    assert 0 < int(lost[1]) < 60
    caller.exit_code(65)
    # Console and TCP are there again, at their old addresses.
    lab.caller("-sn uac", name="next", calls=5, over="t1", port=lab.free_port()).succeeds()
    assert metrics(gateway)["sip_gateway_worker_restarts_total"] == 1
    assert gateway.stop() == 0
    ended = [end for _, end in records(lab)]
    assert sorted(ended) == ["bye"] * (60 - int(lost[1]) + 5) + ["worker died"] * int(lost[1])
    del carrier


def test_workers_end_when_their_supervisor_is_killed(lab: Lab) -> None:
    gateway = start(lab, 2)
    workers = workers_of(gateway)
    gateway.process.kill()
    gateway.process.wait()
    deadline = time.monotonic() + LIMIT
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_stop_waits_for_the_calls_of_all_workers_and_takes_no_new_ones(lab: Lab) -> None:
    gateway = start(lab, 2)
    carrier = lab.carrier("-sn uas", calls=20)
    caller = lab.caller("-sn uac", calls=20, rate=50, extra=("-d", "4000"))
    until(gateway, lambda found: found.get('sip_gateway_calls_active{trunk="pbx"}', 0) == 20)
    gateway.process.terminate()
    gateway.says("draining")
    late = lab.caller("uac_rejected", name="late", port=lab.free_port(), STATUS="503")
    caller.succeeds()
    carrier.succeeds()
    assert gateway.exit_code(LIMIT) == 0
    late.exit_code(LIMIT)
    assert late.received()[-1].start.startswith("SIP/2.0 503")
    assert [end for _, end in records(lab)].count("bye") == 20
