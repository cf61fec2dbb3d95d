"""The messages of a call as its record tells of them, for where nobody has kept the messages themselves.

Those are the ones that decide what becomes of a call: INVITE, its final response, CANCEL and BYE.
"""

from __future__ import annotations

from gateway.b2bua.record import Branch, CallRecord

from .feed import MessageNote


def root_messages(record: CallRecord) -> list[MessageNote]:
    """Return what passed between the caller and the gateway."""
    leg = record.caller_call_id
    notes = [MessageNote(record.invited_at, True, leg, "INVITE")]
    final_at = record.answered_at or record.ended_at
    if record.end_reason == "cancelled":
        notes.append(MessageNote(final_at, True, leg, "CANCEL"))
    if record.emitted_status:
        notes.append(
            MessageNote(final_at, False, leg, "INVITE", record.emitted_status, record.emitted_phrase)
        )
    if record.answered_at and record.ended_at:
        notes.append(MessageNote(record.ended_at, record.ended_by == "caller", leg, "BYE"))
    return notes


def branch_messages(branch: Branch) -> list[MessageNote]:
    """Return what passed between the gateway and a target, until this answered, refused or was given up."""
    notes = [MessageNote(branch.invited_at, False, branch.call_id, "INVITE")]
    if not branch.status:
        notes.append(MessageNote(branch.ended_at, False, branch.call_id, "CANCEL"))
    elif branch.origin == "peer":
        notes.append(
            MessageNote(branch.ended_at, True, branch.call_id, "INVITE", branch.status, branch.phrase)
        )
    return notes
