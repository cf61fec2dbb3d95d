"""Reads every counter of the gateway, when somebody asks.

The parts count in plain attributes; here they get their names, labels and explanations. Everything is read on
the loop, between two messages, so that what is read belongs together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from gateway import __version__
from gateway.b2bua.core import B2bua
from gateway.histogram import Histogram
from gateway.ledger.writer import Ledger
from gateway.rules.trials import Trials
from gateway.sip.endpoint import Endpoint
from gateway.sip.traffic import Counts
from gateway.transport.ports import Ports
from gateway.transport.resolver import Resolver

from .call_times import CallTimes
from .metric import Metric, counter, gauge, histogram


@dataclass(slots=True)
class Sources:
    """Where the counters are. ``traces`` and ``copies`` count traces, and messages for Homer, by what became
    of them; ``drift`` tells by trunk and window how far finals are from the week before; ``console_failures``
    counts connections to the console that broke HTTP.
    """

    b2bua: B2bua
    ports: Ports
    resolver: Resolver
    ledger: Ledger | None
    times: CallTimes
    loop_lag: Histogram
    traces: Callable[[], dict[str, int]]
    copies: Callable[[], dict[str, int]] = dict
    drift: Callable[[], Mapping[tuple[str, str], float]] = dict
    console_failures: Callable[[], int] = int


def collect(sources: Sources) -> list[Metric]:
    """Return every metric as it is now."""
    b2bua = sources.b2bua
    return [
        *_traffic(b2bua.endpoint),
        *_decisions(b2bua),
        *_calls(b2bua),
        *_times(sources),
        *_transport(sources),
        *_parts(sources),
    ]


def _traffic(endpoint: Endpoint) -> Iterator[Metric]:
    requests: list[tuple[object, int]] = []
    responses: list[tuple[object, int]] = []
    malformed: list[tuple[object, int]] = []
    for trunk, tally in endpoint.traffic.by_trunk.items():
        ways: tuple[tuple[str, Counts], ...] = (("in", tally.received), ("out", tally.sent))
        for direction, counts in ways:
            for (method, status), count in counts.items():
                key = (trunk, direction, method.decode())
                if status:
                    responses.append(((*key, status), count))
                else:
                    requests.append((key, count))
        malformed += [((trunk, why), count) for why, count in tally.malformed.items()]
    labels = ("trunk", "direction", "method")
    yield counter("sip_requests_total", "SIP requests, without retransmissions", labels, requests)
    yield counter("sip_responses_total", "SIP responses", (*labels, "response"), responses)
    yield counter(
        "sip_gateway_malformed_total", "Messages that could not be read", ("trunk", "why"), malformed
    )


def _decisions(b2bua: B2bua) -> Iterator[Metric]:
    yield counter(
        "sip_gateway_rewrites_total",
        "Final responses that were rewritten",
        ("rule", "from", "to", "original", "emitted"),
        b2bua.rewrites,
    )
    yield counter("sip_gateway_guard_total", "Final responses that a guard decided", ("guard",), b2bua.guards)
    yield counter(
        "sip_gateway_network_blocked_near_miss_total",
        "603 responses that are nearly a 603+ (ATIS-1000099)",
        ("trunk",),
        b2bua.near_misses,
    )
    yield counter(
        "sip_gateway_network_blocked_defect_total",
        "What was wrong with a 603+ or a near miss",
        ("trunk", "defect"),
        b2bua.defects,
    )
    yield from _canaries(b2bua)


def _canaries(b2bua: B2bua) -> Iterator[Metric]:
    trials = b2bua.trials or Trials((), lambda stop: None)
    labels = ("rule", "group")
    yield counter(
        "sip_gateway_canary_calls_total",
        "Rejected calls that a rule with a share matched: decided by it (canary), or not (rest)",
        labels,
        trials.calls,
    )
    yield counter(
        "sip_gateway_canary_retries_total",
        "Of these, those that the same caller tried again within a minute",
        labels,
        trials.retries,
    )
    stopped = {name: int(canary.pause_at(None) is not None) for name, canary in trials.canaries.items()}
    yield gauge("sip_gateway_canary_stopped", "1 while a rule with a share is stopped", ("rule",), stopped)


def _calls(b2bua: B2bua) -> Iterator[Metric]:
    endpoint = b2bua.endpoint
    yield counter("sip_gateway_calls_total", "Calls since the start", (), {(): b2bua.begun})
    yield gauge("sip_gateway_calls_active", "Calls that are up, by who called", ("trunk",), b2bua.active)
    yield counter(
        "sip_gateway_refused_total", "Requests that the gateway itself refused", ("why",), b2bua.refused
    )
    yield gauge(
        "sip_gateway_transactions",
        "Transactions in memory",
        ("side",),
        {"server": len(endpoint.servers), "client": len(endpoint.clients)},
    )
    yield gauge("sip_gateway_dialogs", "Dialogs in memory", (), {(): len(endpoint.dialogs)})
    yield gauge("sip_gateway_subscriptions", "Subscriptions in memory", (), {(): len(b2bua.subscriptions)})
    yield gauge("sip_gateway_draining", "1 while new calls are refused", (), {(): int(b2bua.draining)})


def _times(sources: Sources) -> Iterator[Metric]:
    times = sources.times
    yield histogram(
        "sip_gateway_call_setup_seconds",
        "From INVITE to answer, by the trunk that answered; counted when the call ends",
        "trunk",
        times.setup,
    )
    yield histogram(
        "sip_gateway_call_rejection_seconds",
        "From INVITE to the final rejection, by the trunk that was called last",
        "trunk",
        times.final,
    )
    for name, help_, found in (
        (
            "sip_gateway_added_latency_seconds",
            "From reading a batch of datagrams to having sent what follows from it, 20 samples a second",
            sources.ports.udp.latency,
        ),
        ("sip_gateway_loop_lag_seconds", "How late the timer's tick came", sources.loop_lag),
    ):
        yield Metric(name, help_, "histogram", (), [((), found.copy())])


def _transport(sources: Sources) -> Iterator[Metric]:
    streams = sources.ports.streams
    dropped = chain(sources.b2bua.endpoint.dropped.items(), sources.ports.udp.dropped.items())
    yield counter("sip_gateway_dropped_total", "Messages that were dropped", ("why",), list(dropped))
    yield gauge("sip_gateway_connections", "TCP and TLS connections", (), {(): len(streams.connections)})
    yield counter("sip_gateway_connections_closed_total", "Connections that ended", ("why",), streams.closed)
    yield counter(
        "sip_gateway_connections_refused_total",
        "Connections not accepted",
        ("why",),
        streams.refused,
    )


def _parts(sources: Sources) -> Iterator[Metric]:
    b2bua, ledger = sources.b2bua, sources.ledger
    up = {key: int(target.is_up) for key, target in b2bua.health.targets.items()}
    yield gauge(
        "sip_gateway_target_up",
        "Whether a pinged target is up",
        ("trunk", "target"),
        [((trunk, uri.decode()), value) for (trunk, uri), value in up.items()],
    )
    yield counter(
        "sip_gateway_dns_searches_total", "Searches for a target", ("outcome",), sources.resolver.searches
    )
    if ledger is not None:
        outcomes = {
            "written": ledger.written,
            "dropped": ledger.dropped,
            "failed": ledger.failed,
            "missing": ledger.missing,
        }
        yield counter(
            "sip_gateway_ledger_records_total", "Call records, by what became of them", ("outcome",), outcomes
        )
        yield gauge("sip_gateway_ledger_waiting", "Call records not yet written", (), {(): ledger.waiting})
        help_text = "Seconds since the call ended whose record has waited longest"
        yield gauge("sip_gateway_ledger_lag_seconds", help_text, (), {(): round(ledger.lag)})
    yield counter(
        "sip_gateway_traces_total", "Traces, by what became of them", ("outcome",), sources.traces()
    )
    help_text = "Copies of messages for the capture server, by what became of them"
    yield counter("sip_gateway_hep_messages_total", help_text, ("outcome",), sources.copies())
    help_text = "Connections to the console that ended because the peer broke HTTP"
    yield counter("sip_gateway_console_failures_total", help_text, (), {(): sources.console_failures()})
    yield gauge(
        "sip_gateway_drift_ratio",
        "Share of a trunk's calls that ended otherwise than in the week before",
        ("trunk", "window"),
        sources.drift(),
    )
    build = (__version__, b2bua.setup.rules.version_hash)
    yield gauge("sip_gateway_info", "What is running", ("version", "rules"), {build: 1})
