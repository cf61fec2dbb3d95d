"""Telemetry under load, with collectors that misbehave: no call may notice."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.peers import DEAD_NUMBER_RULE, Gateway, Lab
from tests.e2e.several import Phone, metrics, records, until
from tests.telemetry.collector import Collector

CALLS, RATE = 600, 150
CONSOLE = '[console]\nlisten = "127.0.0.1:0"\n'


def start(lab: Lab, otlp: str, workers: int = 1, ledger: str = "") -> Gateway:
    """Start a gateway that traces every call, as many as come."""
    name = f"127.0.0.1:{lab.gateway_port}"
    return lab.gateway_from(
        f'[gateway]\nname = "e2e"\nlisten = ["udp:{name}"]\nrules = "rules.toml"\ndrain = "2s"\n'
        f"workers = {workers}\n{CONSOLE}"
        f'[ledger]\nurl = "{ledger}"\n[telemetry]\notlp = "{otlp}"\nsample = 1\n'
        "max_traces_per_second = 1000\n"
        f'[[trunk]]\nname = "pbx"\nkind = "pbx"\nsource = ["{lab.host}"]\n'
        f'[[trunk]]\nname = "carrier"\nkind = "carrier"\nsource = ["{lab.at(lab.carrier_port)}"]\n'
        f'target = ["sip:{lab.at(lab.carrier_port)}"]\n'
        '[[route]]\nfrom = ["pbx"]\nto = ["carrier"]\n',
        DEAD_NUMBER_RULE,
    )


def play(lab: Lab) -> None:
    """Have SIPp play stock calls; each must go as its scenario says."""
    carrier = lab.carrier("-sn uas", calls=CALLS, limit=60)
    lab.caller("-sn uac", calls=CALLS, rate=RATE, limit=60, extra=("-d", "100")).succeeds()
    carrier.succeeds()


@pytest.mark.parametrize(
    ("status", "hangs"), [(200, False), (500, False), (200, True)], ids=["good", "fails", "hangs"]
)
def test_no_call_notices_a_collector(lab: Lab, status: int, hangs: bool) -> None:
    """One that hangs answers nothing until all calls are over: so none of them has waited for it; and the
    stop has not, either, for it would have been killed.
    """
    with Collector(status, hangs) as collector:
        gateway = start(lab, collector.url)
        play(lab)
        found = metrics(gateway)
        assert gateway.stop() == 0
    assert found["sip_gateway_calls_total"] == CALLS
    assert found['sip_responses_total{direction="out",method="INVITE",response="200",trunk="pbx"}'] == CALLS
    assert found['sip_requests_total{direction="out",method="BYE",trunk="carrier"}'] == CALLS
    assert collector.requests
    if not hangs and status == 200:
        roots = [span for span in collector.spans if not span.parent_span_id]
        assert len(roots) == len({span.trace_id for span in roots}) == CALLS
        assert len(collector.spans) == 2 * CALLS
        assert any(line.body.string_value.startswith("message core: ") for line in collector.lines)
        assert collector.last("sip_gateway_calls_total") == [CALLS]  # though the next reading was not due yet


def test_no_call_notices_that_nobody_collects(lab: Lab) -> None:
    gateway = start(lab, f"http://127.0.0.1:{lab.free_port()}")
    play(lab)
    assert metrics(gateway)["sip_gateway_calls_total"] == CALLS
    assert gateway.stop() == 0


def test_each_call_of_several_workers_is_traced_once(lab: Lab) -> None:
    """Each worker sends what it carried; to the collector it is one gateway."""
    with Collector() as collector:
        gateway = start(lab, collector.url, workers=2)
        play(lab)
        until(gateway, lambda found: found["sip_gateway_calls_total"] == CALLS)
        assert gateway.stop() == 0
    roots = [span for span in collector.spans if not span.parent_span_id]
    assert len(roots) == len({span.trace_id for span in roots}) == CALLS
    assert len(collector.spans) == len({span.span_id for span in collector.spans}) == 2 * CALLS
    # One reading is sent at the start and one at the end, by the first worker only, for all.
    assert len(collector.metrics) == 2
    assert collector.last("sip_gateway_calls_total") == [CALLS]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_costs_no_record_while_the_end_waits_for_a_collector(
    lab: Lab, number: signal.Signals
) -> None:
    with Collector(200, hangs=True) as collector:
        gateway = start(lab, collector.url, ledger="sqlite:///ledger.db")
        lab.carrier("uas_rejected", calls=10_000, ANSWER="603 Decline")
        for call in range(20):
            phone = Phone(lab, f"call-{call}@phone")
            phone.ask("INVITE", 1)
            phone.ask("ACK", 1)
        for _ in range(3):
            gateway.process.send_signal(number)
            time.sleep(0.5)
        assert gateway.exit_code(15) == 0
    assert len(records(lab)) == 20
