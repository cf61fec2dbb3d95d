"""A worker that dies or hangs: what becomes of its calls, and that the others do not notice."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.request

import pytest

from tests.e2e.peers import Gateway, Lab
from tests.e2e.several import metrics, records, start, until, workers_of

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
    meanwhile.succeeds()
    found = metrics(gateway)
    assert found["sip_gateway_worker_hangs_total"] == found["sip_gateway_worker_restarts_total"] == 1
    lab.caller("-sn uac", name="next", calls=20, rate=40, port=lab.free_port()).succeeds()
    assert health(gateway) == "alive"
    assert gateway.stop() == 0
    assert [end for _, end in records(lab)].count("bye") == 80 - int(lost[1]) + 20
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
