"""Which trace a call belongs to, and how SIP carries that: W3C Trace Context on trunks with `trace_context`.

Ids follow from the call's own, so that whoever knows a call finds its trace, and no part has to tell another.
A caller that sends `traceparent` has a trace already: the call's spans become part of it. What leaves names
the span of the leg that it leaves on. Other trunks' `traceparent` goes nowhere (`policy.OWNED`): they could
have any call traced, or read from it which calls belong together.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from zlib import crc32

from gateway.sip.message import Request

from .record import CallRecord, TraceContext

# Version 00 ends here; a later one may go on (W3C Trace Context 3.2.4).
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_TRACESTATE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e\t]{0,510}[\x21-\x7e])?")
_SAMPLED = 1  # of the flags
_LOTS = 1 << 32


def context_of(request: Request) -> TraceContext | None:
    """Return the trace that a request says it belongs to; None without one, and for one that is malformed or
    there twice, which is as good as none.
    """
    values = request.values(b"traceparent")
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or (match[1] == b"00" and match[5]):
        return None
    state = b",".join(request.values(b"tracestate"))
    if not _TRACESTATE.fullmatch(state):
        state = b""
    return TraceContext(
        match[2].decode(), match[3].decode(), bool(int(match[4], 16) & _SAMPLED), state.decode()
    )


def span_id(name: str) -> str:
    """Return the id of the span of a leg, 16 hexadecimal digits: the caller's by the id of the record, a
    callee's by its Call-ID.
    """
    return blake2b(name.encode(), digest_size=8).hexdigest()


def lot(call_id: str) -> float:
    """Return what a call has drawn, from 0 up to 1: it is traced when that is below the share of calls that
    are. By the call's id, so that it is settled at the INVITE and everybody who asks hears the same.
    """
    return crc32(call_id.encode()) / _LOTS


class Tracing:
    """Names traces for the gateway called ``name``. ``share`` is how many calls are sure to be traced; None
    where none is, so that contexts go on as they came.
    """

    def __init__(self, name: str, share: float | None) -> None:
        self._key = name.encode()[:64]
        self._share = share

    def trace_id(self, record: CallRecord) -> str:
        """Return the trace id of a call, 32 hexadecimal digits."""
        if record.trace is not None:
            return record.trace.trace_id
        return blake2b(record.id.encode(), key=self._key, digest_size=16).hexdigest()

    def lines(self, record: CallRecord, call_id: bytes) -> bytes:
        """Return the header lines of an INVITE that leaves on the leg with this Call-ID."""
        context = record.trace
        if self._share is None:
            if context is None:
                return b""
            parent, sampled = context.parent_id, context.sampled
        else:
            parent = span_id(call_id.decode())
            sampled = (context is not None and context.sampled) or lot(record.id) < self._share
        lines = f"traceparent: 00-{self.trace_id(record)}-{parent}-{sampled:02x}\r\n"
        if context is not None and context.state:
            lines += f"tracestate: {context.state}\r\n"
        return lines.encode()
