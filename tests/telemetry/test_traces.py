"""Traces: one a call, made of its record, decoded from what a collector got over HTTP."""

from __future__ import annotations

import pytest

from gateway.b2bua.record import CallRecord
from gateway.telemetry.exporter import QUEUE, Exporter
from gateway.telemetry.numbers import mask_for
from gateway.telemetry.spans import SpanMaker
from tests.helpers import HUNTING, Net
from tests.telemetry.collector import Collector, attributes

DEAD = 'Reason: Q.850;cause=1;text="Unallocated (unassigned) number"'
MAKER = SpanMaker("gw1", mask_for("last4"))


def hunted_record() -> CallRecord:
    """A call that one carrier could not take, and that the next one says is to a dead number."""
    net = Net(HUNTING)
    net.core.notes_branches = True
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
    return net.only_record


def export(records: list[CallRecord], collector: Collector, lines: list[str] | None = None) -> Exporter:
    exporter = Exporter(collector.url, MAKER, (lines if lines is not None else []).append)
    exporter.start()
    for record in records:
        exporter.trace(record)
    exporter.close(5.0)
    return exporter


def test_a_call_is_one_trace_with_a_child_for_each_branch() -> None:
    record = hunted_record()
    with Collector() as collector:
        exporter = export([record], collector)
    root, first, second = collector.spans
    assert (exporter.exported, exporter.failed, exporter.dropped) == (1, 0, 0)
    assert (root.name, first.name, second.name) == ("INVITE pbx", "INVITE carrier", "INVITE backup")
    assert (root.kind, first.kind) == (root.SPAN_KIND_SERVER, root.SPAN_KIND_CLIENT)
    assert root.parent_span_id == b""
    assert first.parent_span_id == second.parent_span_id == root.span_id
    assert len({root.span_id, first.span_id, second.span_id}) == 3
    assert root.trace_id == first.trace_id == second.trace_id == MAKER.trace_id(record.id).to_bytes(16)


def test_times_are_those_of_the_call() -> None:
    with Collector() as collector:
        export([hunted_record()], collector)
    root, first, second = collector.spans
    begun = 1_000_000 * 10**9
    second_ns = 10**9
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (begun, begun + 3 * second_ns)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (begun, begun + second_ns)
    assert (second.start_time_unix_nano, second.end_time_unix_nano) == (
        begun + second_ns,
        begun + 3 * second_ns,
    )
    assert [(event.name, event.time_unix_nano) for event in second.events] == [
        ("ringing", begun + 2 * second_ns)
    ]


def test_the_decision_tells_what_came_what_left_and_who_decided() -> None:
    with Collector() as collector:
        export([hunted_record()], collector)
    root, first, second = collector.spans
    ringing, decision = root.events
    assert (ringing.name, decision.name) == ("ringing", "sip.gateway.decision")
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


def test_an_answered_call_has_its_answer_as_an_event_and_no_decision() -> None:
    net = Net()
    net.core.notes_branches = True
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 200)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.run(60)
    net.pbx.request(
        "BYE",
        uri="sip:192.0.2.1",
        call_id=invite.call_id.decode(),
        seq=2,
        from_=answer.lines(b"From")[0][6:].decode(),
        to=answer.lines(b"To")[0][4:].decode(),
    )
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    root, branch = MAKER.spans(net.only_record)
    assert [event.name for event in root.events] == ["answered"]
    assert root.attributes is not None
    assert root.attributes["sip.response.status_code"] == 200
    assert root.end_time is not None
    assert root.end_time - root.start_time == 60 * 10**9  # type: ignore[operator]
    assert branch.end_time == branch.start_time


def test_a_branch_that_was_given_up_is_cancelled_and_no_error() -> None:
    net = Net()
    net.core.notes_branches = True
    invite = net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 180)
    net.pbx.take(180)
    net.pbx.cancel(invite)
    (_, branch) = MAKER.spans(net.only_record)
    assert branch.attributes is not None
    assert branch.attributes["sip.gateway.cancelled"] is True
    assert "error.type" not in branch.attributes


def test_calls_at_once_are_traces_of_their_own() -> None:
    net = Net()
    net.core.notes_branches = True
    offers = [net.pbx.invite() and net.carrier.take_request("INVITE") for _ in range(100)]
    for offer in reversed(offers):
        net.carrier.reply(offer, 486)
    with Collector() as collector:
        export(net.records, collector)
    roots = {span.trace_id: span for span in collector.spans if not span.parent_span_id}
    children = [span for span in collector.spans if span.parent_span_id]
    assert len(roots) == len(children) == 100
    assert all(span.parent_span_id == roots[span.trace_id].span_id for span in children)


@pytest.mark.parametrize(("form", "shown"), [("clear", "1001"), ("last4", "…"), ("hash", None)])
def test_numbers_appear_as_the_settings_say(form: str, shown: str | None) -> None:
    record = hunted_record()
    (root, *_) = SpanMaker("gw1", mask_for(form)).spans(record)
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


def test_a_queue_that_is_full_drops_and_counts() -> None:
    exporter = Exporter("http://127.0.0.1:9", MAKER, [].append)
    record = hunted_record()
    for _ in range(QUEUE + 7):
        exporter.trace(record)
    assert exporter.dropped == 7


def test_a_collector_that_refuses_costs_traces_only() -> None:
    with Collector(status=400) as collector:
        lines: list[str] = []
        exporter = export([hunted_record()], collector, lines)
    assert (exporter.exported, exporter.failed) == (0, 1)
    assert lines == [f"collector {collector.url} does not take telemetry; calls go on"]


def test_a_collector_that_hangs_holds_a_stop_up_no_longer_than_it_may() -> None:
    with Collector(hangs=True) as collector:
        exporter = Exporter(collector.url, MAKER, [].append)
        exporter.start()
        exporter.trace(hunted_record())
        assert collector.asked.wait(10)
        exporter.trace(hunted_record())
        exporter.close(0.2)
        assert exporter.exported == 0
        assert exporter.dropped == 1
