"""What is known of a call beside its messages, in the words in which commands and pages show it."""

from __future__ import annotations

from datetime import datetime

from gateway.b2bua.record import CallRecord
from gateway.rules.causes import cause_name


def facts(record: CallRecord) -> list[tuple[str, str]]:
    """Return name and value of everything that may be known of a call; what is not known has an empty value.
    Numbers and phrases are as the network wrote them.
    """
    start = record.invited_at
    invited = f"{datetime.fromtimestamp(start):%Y-%m-%d %H:%M:%S}.{int(start % 1 * 1000):03}"
    ended_by = f"by {record.ended_by}" if record.ended_by else ""
    why = f"({record.end_reason})" if record.end_reason else ""
    guard = f"guard {record.guard}" if record.guard else ""
    rule = f"rule {record.rule}" if record.rule else ""
    shadow = f"rule {record.shadow_rule} would have sent {record.shadow_status}" if record.shadow_rule else ""
    said = (record.original_status, record.original_phrase, record.original_q850)
    got = (record.emitted_status, record.emitted_phrase, record.emitted_q850)
    return [
        ("caller", f"{record.caller or '-'} on {record.caller_trunk or '-'}"),
        ("called", f"{record.called or '-'} on {record.callee_trunk or '-'}"),
        ("INVITE", invited),
        ("rang", _after(start, record.ringing_at)),
        ("answered", _after(start, record.answered_at)),
        ("ended", " ".join(filter(None, (_after(start, record.ended_at), ended_by, why)))),
        ("targets tried", str(record.attempts)),
        ("gateway said" if record.origin == "local" else "far end said", _in_full(*said)),
        (CALLER_GOT, _in_full(*got)),
        (DECIDED_BY, ", ".join(filter(None, (rule, guard))) or "no rule"),
        ("in shadow", shadow),
        ("label", record.label),
        ("rules", record.rules_hash),
        ("caller's Call-ID", record.caller_call_id),
        ("callee's Call-ID", record.callee_call_id),
    ]


CALLER_GOT, DECIDED_BY = "caller got", "decided by"


def answer(status: int, phrase: str, q850: int) -> str:
    """Return an answer in short, such as "603/1 Decline": the status, its Q.850 cause if any, the phrase."""
    if not status:
        return "no answer"
    return f"{status}/{q850} {phrase}".rstrip() if q850 else f"{status} {phrase}".rstrip()


def duration(seconds: float) -> str:
    """Return a time of a call's as people read it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _after(start: float, at: float) -> str:
    return f"after {duration(at - start)}" if at else ""


def _in_full(status: int, phrase: str, q850: int) -> str:
    if not q850:
        return answer(status, phrase, 0)
    name = cause_name(q850)
    return f"{answer(status, phrase, 0)}, Q.850 cause {q850}" + (f" ({name})" if name else "")
