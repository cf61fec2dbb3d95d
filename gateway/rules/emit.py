"""The headers that leave with a decision.

Only headers that pass from end to end are the rules' business; what each leg owns (Via, tags, Contact ...) is
stripped and added by the call afterwards. A row that is not spoken of here stays the very bytes that came.

The Reason is rebuilt when the decision says a Q.850 cause: at most one value of protocol Q.850 and one of
protocol SIP (RFC 3326 section 2), each on a line of its own because there are peers that read only the first
value of a line. Other protocols' values pass; values that nobody can read do not, since a lenient peer could
find in them the cause that was replaced.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.rules.causes import NAMES, is_location
from gateway.rules.decision import Decision
from gateway.rules.facts import Facts
from gateway.rules.rule import DROP, KEEP, REMOVE
from gateway.sip.headers import Reason, quote
from gateway.sip.phrases import phrase_for
from gateway.sip.rows import Row, Rows, header_key, replaced

ORIGINAL_HEADER = b"X-Original-Response"
"""Where `original = "header"` keeps what the far end said."""

_TEXT_LIMIT = 128  # bytes of a far end's phrase that are repeated in a header
_VALUE_LIMIT = 4096  # bytes of a Reason value that passes a rewrite; real ones have a few hundred
_Q850_VALUES = {
    cause: b"Q.850;cause=%d;text=%b" % (cause, quote(name.encode())) for cause, name in NAMES.items()
}
_CAUSE = re.compile(rb";\s*+cause\s*+=", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]+")


def emit(decision: Decision, facts: Facts) -> Rows:
    """Return the header rows that leave with `decision`: the list that came, itself, when nothing changes."""
    response = facts.response
    if not decision.changed:
        return response.rows
    rows = response.rows
    actions = decision.actions
    is_other = decision.status != response.status
    keep_as = "reason" if actions is None else actions.original
    if decision.q850 != KEEP or decision.fact:
        said = decision.reason_rows
        rows = replaced(rows, b"Reason", _reason_rows(decision, facts) if said is None else said)
    elif is_other and keep_as == "reason" and not any(r.kind == b"SIP" for r in facts.reasons.values):
        rows = _after_reasons(rows, _reason_row(_sip_value(response.status, response.phrase[:_TEXT_LIMIT])))
    if is_other and keep_as == "header":
        original = b"%d %b" % (response.status, _clean(response.phrase[:_TEXT_LIMIT]))
        key = header_key(ORIGINAL_HEADER)
        rows = replaced(rows, key, ((key, ORIGINAL_HEADER + b": " + original.rstrip()),))
    if actions is not None and actions.edits_headers:
        if actions.retry_after is not None and actions.retry_after != REMOVE:
            row = (b"Retry-After", b"Retry-After: %d" % actions.retry_after)
            rows = replaced(rows, b"Retry-After", (row,))
        elif actions.retry_after == REMOVE:
            rows = replaced(rows, b"Retry-After", ())
        if actions.remove:
            rows = [row for row in rows if row[0] not in actions.remove]
        for row in actions.set:
            rows = replaced(rows, row[0], (row,))
    return rows


def prepared(decision: Decision, facts: Facts) -> Decision:
    """Work out the Reason rows that leave with a new decision, for it will be used again and again."""
    if decision.q850 != KEEP or decision.fact:
        decision.reason_rows = _reason_rows(decision, facts)
    return decision


def _reason_rows(decision: Decision, facts: Facts) -> tuple[Row, ...]:
    """Return the Reason rows to say, Q.850 first."""
    actions = decision.actions
    is_other = decision.status != facts.response.status
    keep_original = is_other and (actions is None or actions.original == "reason")
    q850 = sip = None
    others: list[bytes] = []
    for value in facts.reasons.values:
        kind = value.kind
        if kind == b"Q.850":
            q850 = q850 or value
        elif kind == b"SIP":
            sip = sip or value
        else:
            others.append(value.raw)
    said: list[bytes] = []
    if decision.q850 == KEEP:
        said.extend([] if q850 is None else [q850.raw])
    elif decision.q850 != DROP:
        said.append(_q850_value(decision.q850, q850))
    if decision.fact and (sip is None or sip.cause != decision.fact):
        said.append(_sip_value(decision.fact, phrase_for(decision.fact)))
    elif sip is not None:
        said.append(sip.raw)
    elif keep_original:
        said.append(_sip_value(facts.response.status, facts.response.phrase[:_TEXT_LIMIT]))
    return tuple(_reason_row(value) for value in said + others if len(value) <= _VALUE_LIMIT)


def _q850_value(cause: int, original: Reason | None) -> bytes:
    """Return the value for a cause; where it came from (RFC 8606) stays as the far end said it.

    A value that says cause twice is written anew, or a peer could take the second one.
    """
    if original is not None and original.cause == cause and len(_CAUSE.findall(original.raw)) == 1:
        return original.raw
    value = _Q850_VALUES.get(cause) or b"Q.850;cause=%d" % cause
    if original is not None and is_location(original.location):
        value += b";location=" + original.location
    return value


@lru_cache(maxsize=1024)
def _sip_value(status: int, phrase: bytes) -> bytes:
    value = b"SIP;cause=%d" % status
    text = _clean(phrase)
    return value + b";text=" + quote(text) if text else value


def _clean(phrase: bytes) -> bytes:
    """Return a far end's phrase as it can stand in a header: one short line of UTF-8."""
    return _CONTROL.sub(b" ", phrase).decode("utf-8", "ignore").strip().encode()


def _reason_row(value: bytes) -> Row:
    return b"Reason", b"Reason: " + value


def _after_reasons(rows: Rows, row: Row) -> list[Row]:
    """Return the rows with one more Reason row, behind those that are there, or else at the end."""
    at = max((at for at, (key, _) in enumerate(rows, 1) if key == b"Reason"), default=len(rows))
    return [*rows[:at], row, *rows[at:]]
