"""Calls to be traced, played in a box, and an exporter that sends them."""

from __future__ import annotations

from gateway.config import parse as parse_config
from gateway.telemetry.exporter import Exporter
from gateway.telemetry.feed import Hello, TracedCall
from gateway.telemetry.service import Telemetry
from tests.helpers import CONFIG, HUNTING, RULES, Net
from tests.telemetry.collector import Collector

DEAD = 'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"'


class Traced:
    """A network in a box, and what its gateway would hand to the exporter."""

    def __init__(
        self, config: str = CONFIG, rules: str = RULES, numbers: str = "last4", sample: float = 1.0
    ) -> None:
        settings = f'[telemetry]\notlp = "http://127.0.0.1:9"\nsample = {sample}\nnumbers = "{numbers}"\n'
        self.net = Net(config, rules)
        self.telemetry = Telemetry(parse_config(settings + config, "t.toml"), lambda: self.net.now, False)
        self.calls: list[TracedCall] = []
        assert self.telemetry.exporter is not None
        self.telemetry.exporter.trace = self.calls.append  # type: ignore[method-assign]
        core = self.net.core
        core._sinks = (self.net, self.telemetry)
        core.notes_branches = core.keeps_evidence = True
        core.on_answer = self.telemetry.answered
        core.tracing = self.telemetry.tracing

    @property
    def only_call(self) -> TracedCall:
        (call,) = self.calls
        return call


def hunted_call(numbers: str = "last4", rules: str = RULES) -> TracedCall:
    """A call that one carrier could not take, and that the next one says is to a dead number."""
    traced = Traced(HUNTING, rules, numbers)
    net = traced.net
    net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 100)
    net.run(1)
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    offer = net.backup.take_request("INVITE")
    net.backup.reply(offer, 100)
    net.run(1)
    net.backup.reply(offer, 180)
    net.run(1)
    net.backup.reply(offer, 603, headers=DEAD)
    net.backup.take("ACK")
    net.assert_all_freed()
    return traced.only_call


def hello(url: str) -> Hello:
    return Hello(url, "gw1", 1_000_000.0)


def export(calls: list[TracedCall], collector: Collector, lines: list[str] | None = None) -> Exporter:
    """Send calls to a collector; what went wrong stands in `lines`."""
    exporter = Exporter(hello(collector.url), (lines if lines is not None else []).append)
    exporter.start()
    for call in calls:
        exporter.trace(call)
    exporter.close(10.0)
    return exporter
