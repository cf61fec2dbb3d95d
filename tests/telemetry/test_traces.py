"""Traces: one a call, made of its record, decoded from what a collector got over HTTP."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from gateway.telemetry.feed import TracedCall
from gateway.telemetry.long_calls import LONG
from gateway.telemetry.numbers import mask_for
from gateway.telemetry.spans import SpanMaker, resource_of
from tests.helpers import CONFIG, establish
from tests.telemetry.collector import Collector, attributes
from tests.telemetry.traced import Traced, export, hunted_call

MAKER = SpanMaker(resource_of("gw1"))
SECOND = 10**9
BEGUN = 1_000_000 * SECOND


def said(span: object) -> list[tuple[str, str, object]]:
    """The messages among the events of a decoded span: direction, method, status."""
    told = [attributes(event) for event in span.events if event.name == "sip.message"]  # type: ignore[attr-defined]
    return [
        (
            str(one["sip.gateway.direction"]),
            str(one["sip.request.method"]),
            one.get("sip.response.status_code"),
        )
        for one in told
    ]


def marks(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events if event.name != "sip.message"]


def test_a_call_is_one_trace_with_a_child_for_each_branch() -> None:
    call = hunted_call()
    with Collector() as collector:
        exporter = export([call], collector)
    root, first, second = collector.spans
    assert (exporter.exported, exporter.failed, exporter.dropped) == (1, 0, 0)
    assert (root.name, first.name, second.name) == ("INVITE pbx", "INVITE carrier", "INVITE backup")
    assert (root.kind, first.kind) == (root.SPAN_KIND_SERVER, root.SPAN_KIND_CLIENT)
    assert root.parent_span_id == b""
    assert first.parent_span_id == second.parent_span_id == root.span_id
    assert len({root.span_id, first.span_id, second.span_id}) == 3
    assert root.trace_id == first.trace_id == second.trace_id == bytes.fromhex(call.trace_id)


def test_times_are_those_of_the_call() -> None:
    with Collector() as collector:
        export([hunted_call()], collector)
    root, first, second = collector.spans
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (BEGUN, BEGUN + 3 * SECOND)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (BEGUN, BEGUN + SECOND)
    assert (second.start_time_unix_nano, second.end_time_unix_nano) == (BEGUN + SECOND, BEGUN + 3 * SECOND)
    assert [(event.name, event.time_unix_nano) for event in second.events] == [
        ("sip.message", BEGUN + SECOND),
        ("ringing", BEGUN + 2 * SECOND),
        ("sip.message", BEGUN + 3 * SECOND),
    ]


def test_each_leg_has_its_messages_as_events() -> None:
    with Collector() as collector:
        export([hunted_call()], collector)
    root, first, second = collector.spans
    assert said(root) == [("received", "INVITE", None), ("sent", "INVITE", 404)]
    assert said(first) == [("sent", "INVITE", None), ("received", "INVITE", 503)]
    assert said(second) == [("sent", "INVITE", None), ("received", "INVITE", 603)]


def test_the_decision_tells_what_came_what_left_and_who_decided() -> None:
    with Collector() as collector:
        export([hunted_call()], collector)
    root, first, second = collector.spans
    (decision,) = [event for event in root.events if event.name == "sip.gateway.decision"]
    told = attributes(decision)
    assert (told["sip.gateway.original.status_code"], told["sip.gateway.emitted.status_code"]) == (603, 404)
    assert (told["sip.gateway.original.reason"], told["sip.gateway.emitted.reason"]) == (
        "Decline",
        "Not Found",
    )
    assert (told["sip.gateway.original.q850"], told["sip.gateway.emitted.q850"]) == (1, 1)
    assert (told["sip.gateway.rule"], told["sip.gateway.mode"]) == ("dead-number", "enforce")
    assert told["sip.gateway.answering_trunk"] == "backup"
    whole = attributes(root)
    assert (whole["sip.request.method"], whole["sip.response.status_code"]) == ("INVITE", 404)
    assert (whole["sip.gateway.ended_by"], whole["sip.gateway.end_reason"]) == ("callee", "rejected")
    assert (attributes(first)["error.type"], attributes(second)["error.type"]) == ("503", "603")
    assert attributes(second)["network.peer.address"] == "192.0.2.4:5060"
    assert "error.type" not in whole  # that a number is dead is no failure of the gateway's


def test_the_decision_tells_by_which_rules_and_on_what_evidence() -> None:
    call = hunted_call()
    with Collector() as collector:
        export([call], collector)
    (told,) = [attributes(event) for event in collector.spans[0].events if event.name.endswith("decision")]
    assert told["sip.gateway.rules.hash"] == call.record.rules_hash != ""
    prefix = "sip.gateway.evidence."
    assert {key.removeprefix(prefix): told[key] for key in told if key.startswith(prefix)} == {
        "rang": True,
        "pending": 0,
        "finals": "503",
        "after_seconds": 2.0,
        "ringing_seconds": 1.0,
    }


def test_counts_of_earlier_calls_are_evidence() -> None:
    traced = Traced()
    evidence = hunted_call().grounds
    assert evidence is not None
    evidence.saw = "number.answered was 0 in 30d"
    with Collector() as collector:
        export([TracedCall(hunted_call().record, "ab" * 16, "whole", evidence)], collector)
    (told,) = [attributes(event) for event in collector.spans[0].events if event.name.endswith("decision")]
    assert told["sip.gateway.evidence.history"] == "number.answered was 0 in 30d"
    assert traced.calls == []


def test_the_messages_of_a_call_do_not_outlive_it_where_no_ledger_wants_them() -> None:
    traced = Traced()
    traced.net.pbx.invite()
    traced.net.pbx.take(100)
    traced.net.carrier.reply(traced.net.carrier.take_request("INVITE"), 486)
    assert traced.only_call.grounds is not None
    assert traced.only_call.record.evidence is None
    assert traced.net.only_record.evidence is None


def test_an_answered_call_has_its_answer_as_an_event_and_no_decision() -> None:
    traced = Traced()
    caller, callee = establish(traced.net)
    traced.net.run(59)
    caller.request("BYE")
    callee.peer.reply(callee.peer.take_request("BYE"), 200)
    root, branch = MAKER.spans(traced.only_call)
    assert marks(root) == ["answered"]
    assert root.attributes is not None
    assert root.attributes["sip.response.status_code"] == 200
    assert root.end_time is not None
    assert root.end_time - root.start_time == 59 * SECOND  # type: ignore[operator]
    assert branch.end_time == branch.start_time
    with Collector() as collector:
        export(traced.calls, collector)
    assert said(collector.spans[0]) == [
        ("received", "INVITE", None),
        ("sent", "INVITE", 200),
        ("received", "BYE", None),
    ]


def test_a_branch_that_was_given_up_is_cancelled_and_no_error() -> None:
    traced = Traced()
    net = traced.net
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 180)
    net.pbx.take(180)
    net.pbx.cancel(invite)
    with Collector() as collector:
        export(traced.calls, collector)
    root, branch = collector.spans
    assert attributes(branch)["sip.gateway.cancelled"] is True
    assert "error.type" not in attributes(branch)
    assert said(root) == [("received", "INVITE", None), ("received", "CANCEL", None), ("sent", "INVITE", 487)]
    assert said(branch) == [("sent", "INVITE", None), ("sent", "CANCEL", None)]


def test_a_long_call_is_told_of_before_it_ends_and_the_rest_when_it_has() -> None:
    traced = Traced()
    caller, callee = establish(traced.net)
    traced.net.run(LONG - 1)
    traced.telemetry.trace_long(traced.net.now)
    assert traced.calls == []
    traced.net.run(1)
    traced.telemetry.trace_long(traced.net.now)
    traced.telemetry.trace_long(traced.net.now)
    assert [call.part for call in traced.calls] == ["opening"]
    traced.net.run(600)
    callee.request("BYE")
    caller.peer.reply(caller.peer.take_request("BYE"), 200)
    assert [call.part for call in traced.calls] == ["opening", "rest"]
    with Collector() as collector:
        export(traced.calls, collector)
    root, branch, rest = collector.spans
    assert (root.end_time_unix_nano, rest.start_time_unix_nano) == (BEGUN, BEGUN)
    assert rest.end_time_unix_nano - rest.start_time_unix_nano == (LONG + 600) * SECOND
    assert (rest.name, rest.parent_span_id, rest.trace_id) == ("CALL pbx", root.span_id, root.trace_id)
    assert branch.parent_span_id == root.span_id
    assert "sip.gateway.ended_by" not in attributes(root)
    assert attributes(rest)["sip.gateway.ended_by"] == "callee"
    assert said(rest) == [("sent", "BYE", None)]


def test_calls_that_are_not_drawn_are_not_remembered_as_long() -> None:
    traced = Traced(sample=0.0)
    caller, callee = establish(traced.net)
    traced.net.run(LONG)
    traced.telemetry.trace_long(traced.net.now)
    caller.request("BYE")
    callee.peer.reply(callee.peer.take_request("BYE"), 200)
    assert traced.calls == []


def test_calls_at_once_are_traces_of_their_own() -> None:
    traced = Traced()
    net = traced.net
    offers = [net.pbx.invite() and net.carrier.take_request("INVITE") for _ in range(49)]
    for offer in reversed(offers):
        net.carrier.reply(offer, 486)
    with Collector() as collector:
        export(traced.calls, collector)
    roots = {span.trace_id: span for span in collector.spans if not span.parent_span_id}
    children = [span for span in collector.spans if span.parent_span_id]
    assert len(roots) == len(children) == 49
    assert all(span.parent_span_id == roots[span.trace_id].span_id for span in children)


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_call_becomes_part_of_the_trace_of_a_trusted_caller_and_the_callee_is_told() -> None:
    traced = Traced(CONFIG.replace("trusted = true", "trusted = true\ntrace_context = true"), sample=0.0)
    net = traced.net
    net.pbx.invite(headers=f"traceparent: 00-{TRACE}-{SPAN}-01\ntracestate: a=1")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486)
    with Collector() as collector:
        export(traced.calls, collector)
    root, branch = collector.spans
    assert (root.trace_id.hex(), root.parent_span_id.hex(), root.trace_state) == (TRACE, SPAN, "a=1")
    assert offer.get(b"traceparent") == f"00-{TRACE}-{branch.span_id.hex()}-01".encode()


@pytest.mark.parametrize(("form", "shown"), [("clear", "1001"), ("last4", "…"), ("hash", None)])
def test_numbers_appear_as_the_settings_say(form: str, shown: str | None) -> None:
    (root, *_) = MAKER.spans(hunted_call(form))
    assert root.attributes is not None
    called = root.attributes["sip.gateway.called"]
    if shown is None:
        assert len(str(called)) == 16
        assert "1001" not in str(root.to_json())
    else:
        assert called == shown


def test_the_hash_is_the_same_for_the_same_number_and_made_anew_each_time() -> None:
    mask, other = mask_for("hash"), mask_for("hash")
    assert mask("+4930123456") == mask("+4930123456") != mask("+4930123457")
    assert mask("+4930123456") != other("+4930123456")
    assert mask("") == ""
