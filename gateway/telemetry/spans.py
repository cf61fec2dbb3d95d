"""A trace of a call, made from its record when it has ended.

The root span is the caller's leg, from its INVITE to the end of the call; each target that was called is a
child of it. Attribute names are those that OpenSIPS has, there being no convention yet
(open-telemetry/semantic-conventions #1114), and ours under `sip.gateway`. Ids follow from the call's id, so
that whoever knows a call finds its trace.
"""

from __future__ import annotations

from hashlib import blake2b

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from gateway import __version__
from gateway.b2bua.record import Branch, CallRecord

from .numbers import Mask

SCOPE = InstrumentationScope("gateway", __version__)
Value = str | int | float | bool


def resource_of(name: str) -> Resource:
    """Return what tells this gateway from others in traces and metrics."""
    return Resource(
        {"service.name": "sip-truth-gateway", "service.version": __version__, "service.instance.id": name}
    )


class SpanMaker:
    """Makes the spans of calls. ``name`` is the gateway's; ``mask`` is applied to numbers."""

    def __init__(self, name: str, mask: Mask) -> None:
        self._name = name.encode()
        self._mask = mask
        self._resource = resource_of(name)

    def trace_id(self, call_id: str) -> int:
        """Return the trace id of the call with this id in the ledger."""
        return int.from_bytes(blake2b(call_id.encode(), key=self._name[:64], digest_size=16).digest())

    def spans(self, record: CallRecord) -> list[ReadableSpan]:
        """Return the spans of a call, the root first."""
        trace_id = self.trace_id(record.id)
        root = _context(trace_id, record.id, 0)
        spans = [self._root(record, root)]
        for number, branch in enumerate(record.branches or (), 1):
            spans.append(self._branch(branch, _context(trace_id, record.id, number), root))
        return spans

    def _root(self, record: CallRecord, context: SpanContext) -> ReadableSpan:
        status = record.emitted_status
        attributes: dict[str, Value] = {
            "sip.request.method": "INVITE",
            "sip.call_id": record.caller_call_id,
            "sip.gateway.call.id": record.id,
            "sip.gateway.trunk": record.caller_trunk,
            "sip.gateway.caller": self._mask(record.caller),
            "sip.gateway.called": self._mask(record.called),
            "sip.gateway.attempts": record.attempts,
            "sip.gateway.ended_by": record.ended_by,
            "sip.gateway.end_reason": record.end_reason,
            **_answer(status, record.emitted_phrase),
        }
        failed = 500 <= status < 600  # a caller's 4xx is no failure of ours
        if failed:
            attributes["error.type"] = str(status)
        return ReadableSpan(
            name=f"INVITE {record.caller_trunk}",
            context=context,
            resource=self._resource,
            attributes=attributes,
            events=_events(record),
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=_nanoseconds(record.invited_at),
            end_time=_nanoseconds(record.ended_at),
            instrumentation_scope=SCOPE,
        )

    def _branch(self, branch: Branch, context: SpanContext, root: SpanContext) -> ReadableSpan:
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
            events=rang,
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=_nanoseconds(branch.invited_at),
            end_time=_nanoseconds(branch.ended_at),
            instrumentation_scope=SCOPE,
        )


def _events(record: CallRecord) -> list[Event]:
    """Return what happened, in order of time; a decision stands where the final response was."""
    events = []
    if record.ringing_at:
        events.append(Event("ringing", timestamp=_nanoseconds(record.ringing_at)))
    if record.answered_at:
        events.append(Event("answered", timestamp=_nanoseconds(record.answered_at)))
    if record.original_status >= 300:
        events.append(Event("sip.gateway.decision", _decision(record), _nanoseconds(record.ended_at)))
    return events


def _decision(record: CallRecord) -> dict[str, Value]:
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
    ):
        if value:
            decision[f"sip.gateway.{name}"] = value
    return decision


def _answer(status: int, phrase: str) -> dict[str, Value]:
    return {"sip.response.status_code": status, "sip.response.reason": phrase} if status else {}


def _context(trace_id: int, call_id: str, number: int) -> SpanContext:
    digest = blake2b(b"%d %b" % (number, call_id.encode()), digest_size=8).digest()
    return SpanContext(trace_id, int.from_bytes(digest), False, TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
