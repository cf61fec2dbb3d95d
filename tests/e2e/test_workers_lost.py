"""A worker that dies or hangs: what becomes of its calls, and that the others do not notice."""

from __future__ import annotations

import os
import re
import resource
import signal
import sqlite3
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from gateway.workers.ownership import owner_of_call
from tests.e2e.peers import Gateway, Lab
from tests.e2e.several import Phone, metrics, owned_by, records, start, until, workers_of

pytestmark = pytest.mark.e2e


def health(gateway: Gateway) -> str:
    found = re.search(r"console=(\S+)", gateway.ready)
    assert found is not None
    with urllib.request.urlopen(f"{found[1]}/healthz", timeout=10) as answer:
        assert answer.status == 200
        return answer.read().decode().strip()


def test_a_worker_that_hangs_is_replaced_and_no_other_call_fails(lab: Lab) -> None:
    """It is stopped in the midst of calls, and those are lost. Calls that come meanwhile go their way: what
    the system gives to the one that hangs the others get, and what it would own waits for the next one.
    (SIPp, having had to repeat a 2xx to a repeated INVITE, may be deaf to the BYE.)
    """
    gateway = start(lab, 2)
    carrier = lab.carrier("-sn uas", calls=10_000, limit=60)
    first = lab.caller("-sn uac", calls=40, rate=40, limit=60, extra=("-d", "12000"))
    until(gateway, lambda found: found.get('sip_gateway_calls_active{trunk="pbx"}', 0) == 40)
    assert health(gateway) == "alive"
    hung = workers_of(gateway)[1]
    os.kill(hung, signal.SIGSTOP)
    meanwhile = lab.caller("-sn uac", name="meanwhile", calls=40, rate=10, port=lab.free_port())
    said = gateway.says("worker 1 serves again", limit=20)
    assert said.index("worker 1 does not answer; it is killed") < said.index("worker 1 has died (signal 9)")
    assert hung not in workers_of(gateway)
    lost = re.search(r"worker 1 has died \(signal 9\) with about (\d+) calls", said)
    assert lost is not None
    assert 0 < int(lost[1]) < 40
    first.exit_code(65)
    meanwhile.exit_code(65)
    answers = [message for message in meanwhile.received() if message.start == "SIP/2.0 200 OK"]
    assert len({message.one("Call-ID") for message in answers if message.method == "INVITE"}) == 40
    hung_up = {message.one("Call-ID") for message in carrier.received() if message.start.startswith("BYE")}
    assert len(hung_up) == 80 - int(lost[1])
    found = metrics(gateway)
    assert found["sip_gateway_worker_hangs_total"] == found["sip_gateway_worker_restarts_total"] == 1
    lab.caller("-sn uac", name="next", calls=20, rate=40, port=lab.free_port()).succeeds()
    assert health(gateway) == "alive"
    assert gateway.stop() == 0
    ended = [end for _, end in records(lab)]
    assert ended.count("worker died") == int(lost[1])
    assert len(ended) == 100


def test_under_load_a_death_costs_no_call_of_another_worker(lab: Lab) -> None:
    """Short calls, a hundred a second, from one port to one port; one of two workers is killed, twice. What
    the other owns succeeds from INVITE to BYE, and without a record of any other end.
    """
    gateway = start(lab, 2)
    carrier = lab.carrier("-sn uas", calls=10_000, limit=60)
    bounded = ("-d", "500", "-recv_timeout", "8000")
    caller = lab.caller("-sn uac", calls=1_000, rate=100, limit=60, extra=bounded)
    for turn, calls in enumerate((300, 600)):
        until(gateway, lambda found, calls=calls: found["sip_gateway_calls_total"] > calls)  # type: ignore[misc]
        heard = gateway.errors.stat().st_size
        os.kill(workers_of(gateway)[1], signal.SIGKILL)
        gateway.says("worker 1 serves again", heard)
        assert metrics(gateway)["sip_gateway_worker_restarts_total"] == turn + 1
    caller.exit_code(65)
    begun = {message.one("Call-ID") for message in caller.sent() if message.start.startswith("INVITE")}
    over = [message for message in caller.received() if message.start == "SIP/2.0 200 OK"]
    ended = {message.one("Call-ID") for message in over if message.method == "BYE"}
    assert len(begun) == 1_000
    mine = {call_id for call_id in begun if owner_of_call(call_id.encode(), 2) == 0}
    assert 300 < len(mine) < 700
    assert mine <= ended
    lost = begun - ended
    assert 0 < len(lost) < 200, "those of the dead one that were under way"
    assert gateway.stop() == 0
    with closing(sqlite3.connect(lab.folder / "ledger.db")) as database:
        ends = dict(database.execute("SELECT caller_call_id, end_reason FROM calls").fetchall())
    assert {ends[call_id] for call_id in mine} == {"bye"}
    assert {ends.get(call_id, "") for call_id in lost} >= {"worker died"}
    assert {end for call_id, end in ends.items() if call_id not in lost} <= {"bye", "worker died"}
    del carrier


def test_a_call_that_was_lost_is_in_the_ledger_and_its_bye_gets_481(lab: Lab) -> None:
    """Two calls are up, one a worker; one worker is killed, and serves again before both callers hang up."""
    gateway = start(lab, 2)
    carrier = lab.carrier("-sn uas", calls=2)
    callers = [
        lab.caller(
            "uac_answered",
            name=f"caller-{worker}",
            port=lab.free_port(),
            extra=("-cid_str", owned_by(worker, 2, "call")),
            UP="5000",
            BYE=bye,
        )
        for worker, bye in enumerate(("200", "481"))
    ]
    until(gateway, lambda found: found.get('sip_gateway_calls_active{trunk="pbx"}', 0) == 2)
    killed_at = time.time()
    os.kill(workers_of(gateway)[1], signal.SIGKILL)
    said = gateway.says("worker 1 serves again")
    assert "worker 1 has died (signal 9) with about 1 calls" in said
    for caller in callers:
        caller.succeeds()
    assert metrics(gateway)["sip_gateway_calls_lost_total"] == 1
    assert gateway.stop() == 0
    with closing(sqlite3.connect(lab.folder / "ledger.db")) as database:
        rows = database.execute(
            "SELECT caller_call_id, end_reason, ended_by, emitted_status, called, ended_at FROM calls"
            " ORDER BY end_reason DESC"
        ).fetchall()
    lost, kept = rows
    assert lost[:5] == (owned_by(1, 2, "call"), "worker died", "gateway", 200, "+4930123456")
    assert abs(lost[5] - killed_at) < 5
    assert kept[:3] == (owned_by(0, 2, "call"), "bye", "caller")
    del carrier


def test_health_tells_of_a_worker_that_does_not_answer_and_a_pause_of_all_costs_none(lab: Lab) -> None:
    gateway = start(lab, 2)
    before = workers_of(gateway)
    os.kill(before[1], signal.SIGSTOP)
    said = {health(gateway)}
    while "worker 1 serves again" not in gateway.errors.read_text():
        said.add(health(gateway))
    assert {"alive", "alive; without worker 1"} <= said
    assert health(gateway) == "alive"
    # The whole machine sleeps; the supervisor is the first to wake, and has time to look before the others.
    after = workers_of(gateway)
    everybody = [*after, gateway.process.pid]
    for _ in range(3):
        for pid in reversed(everybody):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        for pid in reversed(everybody):
            os.kill(pid, signal.SIGCONT)
        time.sleep(1.5)
    assert workers_of(gateway) == after
    assert metrics(gateway)["sip_gateway_worker_hangs_total"] == 1


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later_and_the_other_serves_on(lab: Lab) -> None:
    """The system has no descriptors to spare when one dies. Calls that come meanwhile go their way."""
    gateway = start(lab, 2)
    lab.carrier("uas_rejected", calls=10_000, limit=60, ANSWER="603 Decline")
    supervisor = gateway.process.pid
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))
    first, second = workers_of(gateway)
    os.kill(second, signal.SIGKILL)
    gateway.says("worker 1 cannot be started ([Errno 24] Too many open files); tried again in 0.1 s")
    for number in range(8):
        Phone(lab, owned_by(0, 2, f"meanwhile-{number}")).ask("INVITE", 1, "603")
    assert workers_of(gateway) == [first]
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    gateway.says("worker 1 serves again", limit=40)
    Phone(lab, owned_by(1, 2, "after")).ask("INVITE", 1, "603")
    assert gateway.stop() == 0


def test_a_worker_is_replaced_while_rules_cannot_be_read_to_their_end(lab: Lab) -> None:
    """Who reads a pipe waits for its writer, as who reads on a file server that is gone. What was asked for
    last is in force in the end, and a stop does not wait.
    """
    gateway = start(lab, 2)
    rules = gateway.rules.read_text()
    pipe = _as_pipe(gateway.rules)
    gateway.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    heard = gateway.errors.stat().st_size
    os.kill(workers_of(gateway)[1], signal.SIGKILL)
    gateway.says("worker 1 serves again", heard)
    newest = lab.folder / "newest.toml"
    newest.write_text(f"{rules}# the newest\n")
    newest.replace(gateway.rules)
    gateway.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    os.write(pipe, b"this is no rule file\n")
    os.close(pipe)
    said = gateway.says("are in force", heard)
    assert said.index("stay as they are") < said.index("are in force")
    pipe = _as_pipe(gateway.rules)
    gateway.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert gateway.stop() == 0
    os.close(pipe)


def _as_pipe(path: Path) -> int:
    """Put a pipe in the place of a file; return an end of it that writes."""
    path.unlink()
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)
