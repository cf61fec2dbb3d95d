"""Where calls tell that they were unwanted (RFC 8197): a final, or the Reason of a CANCEL or BYE.

The caller's leg may get a CANCEL with `SIP;cause=607` from a proxy whose other branch said 607; a callee may
hang up with it. Both are rare, so nothing is prepared for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.rules import Facts
from gateway.rules.unwanted import (
    BEFORE_ANSWER,
    UNWANTED,
    Feedback,
    FeedbackSink,
    Identity,
    heard,
    is_number,
    says_unwanted,
)
from gateway.sip.message import Request
from gateway.sip.uri import parse_uri

if TYPE_CHECKING:
    from .call import Call


def note_final(sink: FeedbackSink, facts: Facts) -> None:
    """Tell of a final that says 607, or stands for one."""
    if facts.response.status != UNWANTED and not facts.reasons.unwanted:
        return
    if facts.local or facts.request is None or facts.now is None:
        return
    target, source = facts.target, facts.source
    found = heard(facts.request, target.trusted, facts.called, BEFORE_ANSWER, source.name, facts.now)
    if found is not None:
        sink.feedback(found)


def note_reason(sink: FeedbackSink, call: Call, request: Request, stage: str, now: float) -> None:
    """Tell of a CANCEL or BYE that says 607 in its Reason."""
    if not says_unwanted(request):
        return
    trunk, invite, record = call.caller.trunk, call.caller.invite.request, call.record
    who = record.caller_trunk if stage == BEFORE_ANSWER else record.callee_trunk
    found: Feedback | None = None
    if invite is not None:
        if trunk.numbers is not None:
            invite, _ = trunk.numbers.read(invite, parse_uri(invite.uri))
        found = heard(invite, trunk.trusted, record.called, stage, who, now)
    elif is_number(record.caller):  # the INVITE is no longer there, 64*T1 after the answer
        found = Feedback(now, (Identity(record.caller),), record.called, stage, False, who)
    if found is not None:
        sink.feedback(found)
