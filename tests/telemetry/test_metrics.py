"""Metrics: that what happens is counted, and that Prometheus and a collector read the same of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import Gateway
from gateway.config import parse as parse_config
from gateway.histogram import Histogram
from gateway.ledger.writer import Ledger
from gateway.rules.canary import Pause
from gateway.rules.trials import CANARY, REST, Trials
from gateway.sip.traffic import Counts
from gateway.telemetry.collect import Sources, collect
from gateway.telemetry.metric import MAX_SERIES, counter
from tests.helpers import Net, establish
from tests.rules.support import facts, rules
from tests.telemetry.collector import Collector, attributes

CONFIG = """
[gateway]
name = "gw1"
listen = ["udp:127.0.0.1:0"]
[console]
listen = ""
[ledger]
url = ""
[telemetry]
otlp = "{url}"
[[trunk]]
name = "pbx"
source = ["127.0.0.1"]
target = ["sip:127.0.0.1:5070"]
"""
DEAD = 'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"'


class Samples(dict[tuple[str, tuple[str, ...]], float]):
    """What Prometheus reads, by name and label values, in any order of the labels."""

    def __getitem__(self, key: tuple[str, tuple[str, ...]]) -> float:
        return super().__getitem__((key[0], tuple(sorted(key[1]))))


class Watched:
    """A gateway's telemetry over a network in a box."""

    def __init__(self, url: str = "", ledger: bool = False) -> None:
        self.net = Net()
        self.gateway = Gateway(parse_config(CONFIG.replace("{url}", url)), None)
        self.telemetry = self.gateway.telemetry
        self.net.core._sinks = (self.telemetry,)
        self.net.core.on_answer = self.telemetry.answered
        ports, resolver = self.gateway.ports, self.gateway.resolver
        times = self.telemetry.times
        records = Ledger("sqlite://", 60.0, log=print) if ledger else None
        self.sources = Sources(
            self.net.core, ports, resolver, records, times, self.telemetry.loop_lag, self.telemetry.traces
        )
        self.telemetry.collect = lambda: collect(self.sources)

    def samples(self) -> Samples:
        text = self.telemetry.reading()().decode()
        return Samples(
            ((sample.name, tuple(sorted(sample.labels.values()))), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )


@pytest.fixture
def watched() -> Iterator[Watched]:
    found = Watched()
    yield found
    found.gateway.ports.close()


def reject(net: Net, status: int = 603) -> None:
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.run(0.2)
    net.carrier.reply(net.carrier.take_request("INVITE"), status, headers=DEAD)
    net.carrier.take("ACK")
    response = net.pbx.take_response(404)
    net.pbx.ack(invite, response)


def test_a_rewritten_rejection_is_counted_on_both_sides(watched: Watched) -> None:
    reject(watched.net)
    found = watched.samples()
    assert found["sip_requests_total", ("pbx", "in", "INVITE")] == 1
    assert found["sip_requests_total", ("carrier", "out", "INVITE")] == 1
    assert found["sip_responses_total", ("pbx", "out", "INVITE", "100")] == 1
    assert found["sip_responses_total", ("carrier", "in", "INVITE", "603")] == 1
    assert found["sip_responses_total", ("pbx", "out", "INVITE", "404")] == 1
    rewrite = ("dead-number", "carrier", "pbx", "603", "404")
    assert found["sip_gateway_rewrites_total", rewrite] == 1
    assert found["sip_gateway_calls_total", ()] == 1
    assert found["sip_gateway_calls_active", ("pbx",)] == 0
    assert found["sip_gateway_call_rejection_seconds_count", ("carrier",)] == 1
    assert found["sip_gateway_call_rejection_seconds_bucket", ("carrier", "0.1")] == 0
    assert found["sip_gateway_call_rejection_seconds_bucket", ("carrier", "0.25")] == 1
    assert found["sip_gateway_call_rejection_seconds_sum", ("carrier",)] == pytest.approx(0.2)


def test_both_groups_of_a_canary_and_its_stop_are_counted(watched: Watched) -> None:
    ruleset = rules('share = 0.5\nstop_when = "retries > 2x in 15m"\nthen.status = 404')
    trials = watched.net.core.trials = Trials(ruleset.rules, lambda stop: None)
    for number in range(20):
        known = facts("603 Decline", caller=str(number), called="1", now=1.0)
        trials.told(known, ruleset.decide(known))
        trials.begun(str(number), "1", 2.0)
    found = watched.samples()
    for name in ("calls", "retries"):
        groups = [found[f"sip_gateway_canary_{name}_total", ("it", group)] for group in (CANARY, REST)]
        assert sum(groups) == 20
        assert min(groups) > 0
    assert found["sip_gateway_canary_stopped", ("it",)] == 0
    trials.canaries["it"].pauses = (Pause(3.0),)
    assert watched.samples()["sip_gateway_canary_stopped", ("it",)] == 1


def test_a_retransmitted_request_counts_once(watched: Watched) -> None:
    net = watched.net
    net.pbx.again(net.pbx.invite())
    net.run(0.6)
    found = watched.samples()
    assert found["sip_requests_total", ("pbx", "in", "INVITE")] == 1
    assert found["sip_requests_total", ("carrier", "out", "INVITE")] == 1
    assert found["sip_gateway_calls_active", ("pbx",)] == 1


def test_an_answered_call_counts_its_ack_and_the_time_to_its_answer(watched: Watched) -> None:
    net = watched.net
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.run(0.4)
    net.carrier.reply(net.carrier.take_request("INVITE"), 200)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    tags = {"from_": answer.lines(b"From")[0][6:].decode(), "to": answer.lines(b"To")[0][4:].decode()}
    net.pbx.request("BYE", uri="sip:192.0.2.1", call_id=invite.call_id.decode(), seq=2, **tags)  # type: ignore[arg-type]
    net.carrier.take("ACK")
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    found = watched.samples()
    for method in ("INVITE", "ACK", "BYE"):
        assert found["sip_requests_total", ("pbx", "in", method)] == 1
        assert found["sip_requests_total", ("carrier", "out", method)] == 1
    assert found["sip_gateway_call_setup_seconds_bucket", ("carrier", "0.25")] == 0
    assert found["sip_gateway_call_setup_seconds_bucket", ("carrier", "0.5")] == 1


def test_what_strangers_send_and_what_cannot_be_read_is_counted_with_its_trunk(watched: Watched) -> None:
    net = watched.net
    stranger = net.peer(("198.51.100.7", 5060), "stranger")
    stranger.invite()
    stranger.take(403)
    net.pbx.send(b"INVITE sip:x SIP/2.0\r\nnonsense\r\n\r\n")
    found = watched.samples()
    assert found["sip_requests_total", ("", "in", "INVITE")] == 1
    assert found["sip_responses_total", ("", "out", "INVITE", "403")] == 1
    assert found["sip_gateway_dropped_total", ("unknown source",)] == 1
    malformed = [labels for name, labels in found if name == "sip_gateway_malformed_total"]
    assert ["pbx" in labels for labels in malformed] == [True]


def test_invented_methods_cannot_make_the_table_grow() -> None:
    counts = Counts()
    for number in range(5_000):
        counts.add(b"METHOD%d" % number, 0)
    counts.add(b"INVITE", 0)
    assert dict(counts.items()) == {(b"other", 0): 5_000, (b"INVITE", 0): 1}


def test_label_sets_are_bounded_and_nothing_is_lost() -> None:
    metric = counter("x_total", "", ("why",), {f"reason {n}": 1 for n in range(MAX_SERIES + 5)})
    assert len(metric.samples) == MAX_SERIES + 1
    assert metric.samples[-1] == (("other",), 5)


def test_a_value_on_a_bound_belongs_to_the_bucket_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 1, 1], 6.0)


def test_every_metric_has_its_help_and_type(watched: Watched) -> None:
    text = watched.telemetry.reading()().decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")


def test_the_names_that_users_hold_on_to_are_there_with_their_labels(watched: Watched) -> None:
    found = {metric.name: (metric.kind, metric.labels) for metric in watched.telemetry.collect()}
    promised = {
        "sip_requests_total": ("counter", ("trunk", "direction", "method")),
        "sip_responses_total": ("counter", ("trunk", "direction", "method", "response")),
        "sip_gateway_rewrites_total": ("counter", ("rule", "from", "to", "original", "emitted")),
        "sip_gateway_guard_total": ("counter", ("guard",)),
        "sip_gateway_calls_active": ("gauge", ("trunk",)),
        "sip_gateway_call_setup_seconds": ("histogram", ("trunk",)),
        "sip_gateway_malformed_total": ("counter", ("trunk", "why")),
        "sip_gateway_loop_lag_seconds": ("histogram", ()),
        "sip_gateway_added_latency_seconds": ("histogram", ()),
        "sip_gateway_dropped_total": ("counter", ("why",)),
    }
    assert {name: found[name] for name in promised} == promised


def test_a_call_that_is_up_has_its_setup_time_counted(watched: Watched) -> None:
    establish(watched.net)
    assert watched.samples()["sip_gateway_call_setup_seconds_count", ("carrier",)] == 1


def test_the_collector_reads_what_prometheus_reads() -> None:
    with Collector() as collector:
        watched = Watched(collector.url)
        watched.net.core.notes_branches = True
        reject(watched.net)

        async def serve_and_stop() -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(watched.telemetry.run)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await watched.telemetry.close()

        trio.run(serve_and_stop)
        watched.gateway.ports.close()
    metrics = {
        metric.name: metric
        for request in collector.metrics
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    (point,) = metrics["sip_gateway_rewrites_total"].sum.data_points
    assert attributes(point) == {
        "rule": "dead-number", "from": "carrier", "to": "pbx", "original": "603", "emitted": "404"
    }  # fmt: skip
    assert (point.as_int, metrics["sip_gateway_rewrites_total"].sum.is_monotonic) == (1, True)
    (spread,) = metrics["sip_gateway_call_rejection_seconds"].histogram.data_points
    assert (spread.count, sum(spread.bucket_counts)) == (1, 1)
    assert len(spread.explicit_bounds) + 1 == len(spread.bucket_counts)
    assert len(collector.spans) == 2  # a rewritten call is traced by default
