"""A trace of a call, made from its record when it has ended.

The root span is the caller's leg, from its INVITE to the end of the call; each target that was called is a
child of it, from its INVITE until it answered, refused or was given up. A call that is still up a while
after its answer is told of then, with a root that ends at the answer; what comes afterwards is one more child
of it, `CALL <trunk>`. Attribute names are those that OpenSIPS has, there being no convention yet
(open-telemetry/semantic-conventions #1114), and ours under `sip.gateway`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from gateway import __version__
from gateway.b2bua.record import Branch, CallRecord, TraceContext
from gateway.b2bua.tracing import span_id

from .feed import Grounds, MessageNote, TracedCall, Value
from .noted import branch_messages, root_messages

SCOPE = InstrumentationScope("gateway", __version__)


def resource_of(name: str) -> Resource:
    """Return what tells this gateway from others in traces, metrics and logs."""
    return Resource(
        {"service.name": "sip-truth-gateway", "service.version": __version__, "service.instance.id": name}
    )


class SpanMaker:
    """Makes the spans of calls of the gateway that ``resource`` names."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def spans(self, call: TracedCall) -> list[ReadableSpan]:
        """Return the spans of a call, the root first."""
        record = call.record
        state = record.trace.state if record.trace is not None else ""
        trace = _Trace(int(call.trace_id, 16), TraceState.from_header([state]) if state else TraceState())
        root = trace.span(record.id)
        if call.part == "rest":
            return [self._rest(record, trace.span(f"rest of {record.id}"), root)]
        branches = record.branches or []
        messages = root_messages(record) if call.messages is None else call.messages
        on_branches = {id(message) for branch in branches for message in _within(branch, messages)}
        own = [message for message in messages if id(message) not in on_branches]
        spans = [self._root(call, root, trace.parent(record.trace), own)]
        for number, branch in enumerate(branches):
            told = branch_messages(branch) if call.messages is None else _within(branch, messages)
            context = trace.span(branch.call_id or f"{number} of {record.id}")
            spans.append(self._branch(branch, context, root, told))
        return spans

    def _root(
        self, call: TracedCall, context: SpanContext, parent: SpanContext | None, messages: list[MessageNote]
    ) -> ReadableSpan:
        record = call.record
        status = record.emitted_status
        attributes: dict[str, Value] = {
            "sip.request.method": "INVITE",
            "sip.call_id": record.caller_call_id,
            "sip.gateway.call.id": record.id,
            "sip.gateway.trunk": record.caller_trunk,
            "sip.gateway.caller": record.caller,
            "sip.gateway.called": record.called,
            "sip.gateway.attempts": record.attempts,
            **_answer(status, record.emitted_phrase),
        }
        if call.part == "whole":
            attributes |= _end(record)
        failed = 500 <= status < 600  # a caller's 4xx is no failure of ours
        if failed:
            attributes["error.type"] = str(status)
        events = [*_marks(record, call.grounds), *map(_event, messages)]
        events.sort(key=lambda event: event.timestamp)
        return ReadableSpan(
            name=f"INVITE {record.caller_trunk}",
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=events,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=_nanoseconds(record.invited_at),
            end_time=_nanoseconds(record.answered_at if call.part == "opening" else record.ended_at),
            instrumentation_scope=SCOPE,
        )

    def _branch(
        self, branch: Branch, context: SpanContext, root: SpanContext, messages: Iterable[MessageNote]
    ) -> ReadableSpan:
        attributes: dict[str, Value] = {
            "sip.request.method": "INVITE",
            "sip.call_id": branch.call_id,
            "sip.gateway.trunk": branch.trunk,
            "sip.gateway.cancelled": branch.status == 0,
            "network.transport": branch.transport,
            "network.peer.address": branch.address,
            **_answer(branch.status, branch.phrase),
        }
        failed = branch.status >= 400
        if failed:
            attributes["sip.gateway.origin"] = branch.origin
            attributes["error.type"] = str(branch.status)
        rang = [Event("ringing", timestamp=_nanoseconds(branch.rang_at))] if branch.rang_at else []
        return ReadableSpan(
            name=f"INVITE {branch.trunk}",
            context=context,
            parent=root,
            resource=self._resource,
            attributes=attributes,
            events=sorted([*rang, *map(_event, messages)], key=lambda event: event.timestamp),
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=_nanoseconds(branch.invited_at),
            end_time=_nanoseconds(branch.ended_at),
            instrumentation_scope=SCOPE,
        )

    def _rest(self, record: CallRecord, context: SpanContext, root: SpanContext) -> ReadableSpan:
        """Return what a long call was after its answer."""
        hung_up = [message for message in root_messages(record) if message.at > record.answered_at]
        return ReadableSpan(
            name=f"CALL {record.caller_trunk}",
            context=context,
            parent=root,
            resource=self._resource,
            attributes={
                "sip.call_id": record.caller_call_id,
                "sip.gateway.call.id": record.id,
                "sip.gateway.trunk": record.caller_trunk,
                **_end(record),
            },
            events=list(map(_event, hung_up)),
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.UNSET),
            start_time=_nanoseconds(record.answered_at),
            end_time=_nanoseconds(record.ended_at),
            instrumentation_scope=SCOPE,
        )


class _Trace:
    """Makes the contexts of the spans of one trace."""

    def __init__(self, trace_id: int, state: TraceState) -> None:
        self._trace_id = trace_id
        self._state = state

    def span(self, name: str) -> SpanContext:
        return self._context(span_id(name), False)

    def parent(self, trace: TraceContext | None) -> SpanContext | None:
        """Return the caller's span, None where it told of none."""
        return None if trace is None else self._context(trace.parent_id, True)

    def _context(self, hexadecimal: str, is_remote: bool) -> SpanContext:
        sampled = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(self._trace_id, int(hexadecimal, 16), is_remote, sampled, self._state)


def _within(branch: Branch, messages: Iterable[MessageNote]) -> Iterator[MessageNote]:
    """Yield what was said on a branch while it lasted; what comes later belongs to the call."""
    for message in messages:
        if message.call_id == branch.call_id and message.at <= branch.ended_at:
            yield message


def _event(message: MessageNote) -> Event:
    attributes: dict[str, Value] = {
        "sip.gateway.direction": "received" if message.received else "sent",
        "sip.call_id": message.call_id,
        "sip.request.method": message.method,
        **_answer(message.status, message.phrase),
    }
    return Event("sip.message", attributes, _nanoseconds(message.at))


def _marks(record: CallRecord, grounds: Grounds | None) -> Iterator[Event]:
    """Yield what happened to the call; a decision stands where the final response was."""
    if record.ringing_at:
        yield Event("ringing", timestamp=_nanoseconds(record.ringing_at))
    if record.answered_at:
        yield Event("answered", timestamp=_nanoseconds(record.answered_at))
    if record.original_status >= 300:
        yield Event("sip.gateway.decision", _decision(record, grounds), _nanoseconds(record.ended_at))


def _decision(record: CallRecord, grounds: Grounds | None) -> dict[str, Value]:
    """Return what was decided about the final response, by whom, and on what."""
    decision: dict[str, Value] = {
        "sip.gateway.original.status_code": record.original_status,
        "sip.gateway.original.reason": record.original_phrase,
        "sip.gateway.original.q850": record.original_q850,
        "sip.gateway.emitted.status_code": record.emitted_status,
        "sip.gateway.emitted.reason": record.emitted_phrase,
        "sip.gateway.emitted.q850": record.emitted_q850,
        "sip.gateway.origin": record.origin,
        "sip.gateway.answering_trunk": record.callee_trunk,
    }
    for name, value in (
        ("rule", record.rule),
        ("guard", record.guard),
        ("mode", record.mode),
        ("label", record.label),
        ("shadow_rule", record.shadow_rule),
        ("shadow_status_code", record.shadow_status),
        ("rules.hash", record.rules_hash),
    ):
        if value:
            decision[f"sip.gateway.{name}"] = value
    return decision if grounds is None else decision | _evidence(grounds)


def _evidence(grounds: Grounds) -> dict[str, Value]:
    """Return what guards and rules went by; what was not known, or nobody asked for, is left out."""
    evidence: dict[str, Value] = {
        "sip.gateway.evidence.rang": grounds.rang,
        "sip.gateway.evidence.pending": grounds.pending,
        "sip.gateway.evidence.finals": " ".join(map(str, grounds.finals)),
    }
    for name, value in (
        ("after_seconds", grounds.after),
        ("ringing_seconds", grounds.ringing),
        ("attestation", grounds.attested),
        ("history", grounds.saw or None),
    ):
        if value is not None:
            evidence[f"sip.gateway.evidence.{name}"] = value
    return evidence


def _end(record: CallRecord) -> dict[str, Value]:
    return {"sip.gateway.ended_by": record.ended_by, "sip.gateway.end_reason": record.end_reason}


def _answer(status: int, phrase: str) -> dict[str, Value]:
    return {"sip.response.status_code": status, "sip.response.reason": phrase} if status else {}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
