"""Rules that look at more than the call at hand, with several workers: the earlier calls were another's."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

from tests.e2e.peers import Lab
from tests.e2e.several import LIMIT, Phone, metrics, owned_by, start, until, workers_of

pytestmark = pytest.mark.e2e

WORKERS = 2
ENOUGH = 6
DEAD_AIR = f"""\
version = 1
[[rule]]
name = "nobody-there"
when.status = 603
when.number.declined = ">={ENOUGH} in 1h"
then.status = 404
"""
ELSE = DEAD_AIR.replace("404", "410").replace("1h", "2h")
CANARY = """\
version = 1
[[rule]]
name = "say-busy"
when.status = 603
then.status = 486
share = 0.3
stop_when = "retries > 2x in 15m"
"""


class Callers:
    """Calls to one number, which a carrier declines; each is the call of the worker that is asked for."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.made = 0
        lab.carrier("uas_rejected", calls=10_000, limit=60, ANSWER="603 Decline")

    def call(self, worker: int, caller: str = "alice") -> str:
        """Make one call and return the status that the caller hears."""
        self.made += 1
        phone = Phone(self.lab, owned_by(worker, WORKERS, f"call-{self.made}"), caller)
        heard = phone.ask("INVITE", 1)
        phone.ask("ACK", 1)
        return heard

    def call_until(self, worker: int, wanted: str, at_most: int) -> list[str]:
        """Call once a second until the caller hears this; return all that it heard."""
        heard: list[str] = []
        while len(heard) < at_most and wanted not in heard:
            time.sleep(1)
            heard.append(self.call(worker))
        return heard


def test_a_rule_counts_the_earlier_calls_of_all_workers(lab: Lab) -> None:
    """One worker's calls make the rule match in the other; also in one that was started anew, which asks the
    ledger; and under a rule that comes later.
    """
    gateway = start(lab, WORKERS, rules=DEAD_AIR)
    callers = Callers(lab)
    assert [callers.call(0) for _ in range(ENOUGH)] == ["603"] * ENOUGH
    time.sleep(0.5)
    assert callers.call(1) == "404"
    assert callers.call(0) == "404"
    os.kill(workers_of(gateway)[1], signal.SIGKILL)
    gateway.says("worker 1 serves again")
    # Had it not read them, it would have to see as many calls for itself.
    assert callers.call_until(1, "404", at_most=ENOUGH)[-1] == "404"
    heard = gateway.errors.stat().st_size
    gateway.rules.write_text(ELSE)
    gateway.says("are in force", heard)
    for worker in range(WORKERS):
        assert callers.call_until(worker, "410", at_most=ENOUGH)[-1] == "410"


def test_callers_who_try_again_at_any_worker_stop_a_canary_in_all(lab: Lab) -> None:
    gateway = start(lab, WORKERS, rules=CANARY)
    callers = Callers(lab)
    heard = {f"caller-{number}": callers.call(number % 2, f"caller-{number}") for number in range(100)}
    time.sleep(0.5)
    believed = [caller for caller, status in heard.items() if status == "486"]
    assert set(heard.values()) == {"486", "603"}
    for number, caller in enumerate(believed):
        callers.call((number + 1) % 2, caller)
    said = gateway.says('canary "say-busy" IS STOPPED')
    assert said.count("IS STOPPED") == 1
    time.sleep(1)
    assert {callers.call(worker, caller) for caller in believed[:5] for worker in range(2)} == {"603"}
    found = until(gateway, lambda series: series[trials("calls", "rest")] == 100 - len(believed) + 10)
    assert found['sip_gateway_canary_stopped{rule="say-busy"}'] == 1
    assert found[trials("retries", "canary")] >= 20


def trials(what: str, group: str) -> str:
    return f'sip_gateway_canary_{what}_total{{group="{group}",rule="say-busy"}}'


def test_rules_that_change_while_the_first_worker_is_away_are_put_to_work_when_it_is_back(lab: Lab) -> None:
    """It is the first worker that watches the files."""
    gateway = start(lab, WORKERS, rules=DEAD_AIR)

    def versions() -> set[str]:
        return set(re.findall(r'worker_info\{rules="(\w+)"', "\n".join(metrics(gateway))))

    for turn in range(3):
        before = versions()
        heard = gateway.errors.stat().st_size
        os.kill(workers_of(gateway)[-1 if turn else 0], signal.SIGKILL)  # the oldest comes first
        gateway.says("worker 0 has died", heard)
        gateway.rules.write_text(f"{ELSE}# {turn}\n")
        gateway.says("are in force", heard)
        deadline = time.monotonic() + LIMIT
        while (len(versions()) != 1 or versions() == before) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(versions()) == 1
        assert versions() != before


def test_rules_that_wait_for_a_list_go_on_waiting_when_the_first_worker_has_died(lab: Lab) -> None:
    """It is the first worker that watches for the list."""
    gateway = start(lab, WORKERS, rules=DEAD_AIR)
    heard = gateway.errors.stat().st_size
    waiting = DEAD_AIR.replace(f'number.declined = ">={ENOUGH} in 1h"', 'called.list = "dead.txt"')
    gateway.rules.write_text(waiting)
    gateway.says("in force stay as they are", heard)
    time.sleep(1.5)
    heard = gateway.errors.stat().st_size
    os.kill(workers_of(gateway)[0], signal.SIGKILL)
    gateway.says("worker 0 serves again", heard)
    gateway.says("in force stay as they are", heard)
    time.sleep(1.5)
    gateway.rules.with_name("dead.txt").write_text("+1777\n")
    gateway.says("are in force", heard)
