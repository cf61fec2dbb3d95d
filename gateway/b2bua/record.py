"""What a call leaves behind: the only thing that ledger, telemetry and console see of it.

The core fills one :class:`CallRecord` a call and hands it to every :class:`RecordSink` when the call ends.
Times are seconds since the epoch, taken from the ``now`` that the core was given; 0.0 means "did not happen".
Who tells them outside of the process moves them to what the clock on the wall shows (`gateway/wall.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec

from gateway.rules.decision import Decision
from gateway.rules.facts import Facts, TrunkView
from gateway.sip.rows import Rows


class TrunkNote(msgspec.Struct, array_like=True, eq=False):
    """What rules could see of a trunk (a `TrunkView`), as it was when the call was decided on."""

    name: str
    kind: str
    supports: frozenset[int] = frozenset()
    rewrite_network_blocked: bool = False
    q850: dict[int, int] = {}
    trusted: bool = False

    @classmethod
    def of(cls, trunk: TrunkView) -> TrunkNote:
        """Note what rules see of a trunk."""
        causes = dict(trunk.q850)
        return cls(
            trunk.name, trunk.kind, trunk.supports, trunk.rewrite_network_blocked, causes, trunk.trusted
        )


class Evidence(Protocol):
    """What guards and rules could see of the final response that a call was decided by, what they decided,
    and the headers that left: enough to decide again (`gateway replay`). A `hunting.Verdict` is that.

    It is what the call had at hand anyway, so it costs nothing; whoever keeps it for long packs it first
    (`ledger/packing.py`).
    """

    @property
    def facts(self) -> Facts:
        """What could be seen; the response, too, as it came."""

    @property
    def decision(self) -> Decision:
        """What was decided."""

    @property
    def rows(self) -> Rows:
        """The headers as they left the rules: those of the response itself when nothing was changed."""


class TraceContext(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The trace that a caller says its call belongs to (W3C Trace Context)."""

    trace_id: str  # 32 hexadecimal digits
    parent_id: str  # 16 hexadecimal digits
    sampled: bool
    state: str  # tracestate, "" for none


class Branch(msgspec.Struct):
    """One target of a call, from the INVITE to it until it answered, rejected or was given up."""

    trunk: str
    address: str  # HOST:PORT that the INVITE went to; "" when it went nowhere
    transport: str
    call_id: str
    invited_at: float
    rang_at: float
    ended_at: float
    status: int  # what it said; 0 when it was cancelled
    phrase: str
    origin: str  # who said so: "peer" | "local"


class CallRecord(msgspec.Struct, gc=False):
    """One call, from its INVITE to its end.

    The *original triple* (``original_status``, ``original_phrase``, ``original_q850``) is what the far end,
    or the gateway itself when ``origin`` is "local", said last; the *emitted triple* is what the caller got.
    A ``q850`` of 0 means that no Q.850 cause was there.
    """

    id: str  # of the call, unique in the ledger
    caller_call_id: str  # Call-ID of the caller's leg
    callee_call_id: str  # Call-ID of the last callee's leg; "" when none was tried
    caller_trunk: str  # trunk that the call came from
    callee_trunk: str  # trunk that was tried last; "" when none was
    caller: str  # number or user of From
    called: str  # number or user of the Request-URI
    invited_at: float
    ringing_at: float = 0.0  # first 18x
    answered_at: float = 0.0
    ended_at: float = 0.0
    original_status: int = 0  # final response before any rule; 0 when the call was cancelled first
    original_phrase: str = ""
    original_q850: int = 0
    emitted_status: int = 0  # final response that the caller got
    emitted_phrase: str = ""
    emitted_q850: int = 0
    origin: str = ""  # who made the original: "peer" | "local"
    rule: str = ""  # rule that decided, in mode enforce
    guard: str = ""  # guard that decided before any rule
    mode: str = ""  # "enforce" | "canary" (it decides a share) | "shadow" | "" when no rule matched
    shadow_rule: str = ""  # first rule that matched, but did not decide, and what it would have sent
    shadow_status: int = 0
    label: str = ""  # the rule's label
    attempts: int = 0  # targets tried
    ended_by: str = ""  # "caller" | "callee" | "gateway"
    end_reason: str = ""  # "rejected", "cancelled", "bye", "no answer", "unreachable", "no ACK" ...
    rules_hash: str = ""  # version of the rules that decided; "" when none were asked
    evidence: Evidence | None = None  # when guards and rules decided
    trace: TraceContext | None = None  # from a trunk with `trace_context`
    branches: list[Branch] | None = None  # noted where somebody wants to know (`B2bua.notes_branches`)


def moved(record: CallRecord, by: float) -> CallRecord:
    """Return a record with its times moved by so many seconds; the record itself where that is none."""
    if not by:
        return record
    branches = record.branches
    if branches is not None:
        branches = [_moved(branch, _BRANCH_TIMES, by) for branch in branches]
    return msgspec.structs.replace(_moved(record, _TIMES, by), branches=branches)


_TIMES = ("invited_at", "ringing_at", "answered_at", "ended_at")
_BRANCH_TIMES = ("invited_at", "rang_at", "ended_at")
_T = TypeVar("_T", CallRecord, Branch)


def _moved(noted: _T, names: Iterable[str], by: float) -> _T:
    times = {name: at + by for name in names if (at := getattr(noted, name))}
    return msgspec.structs.replace(noted, **times)


class RecordSink(Protocol):
    """Somebody who wants call records. Must return at once and never raise."""

    def record(self, record: CallRecord) -> None:
        """Take the record of a call that has just ended."""
