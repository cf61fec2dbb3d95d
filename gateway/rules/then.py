"""Reads the `then` table of a rule into its actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.patterns import BadValue
from gateway.rules import values
from gateway.rules.causes import PROTOCOL
from gateway.rules.rule import COHERENT, DROP, FROM_Q850, KEEP, REMOVE, Actions
from gateway.settings_table import Table
from gateway.sip.rows import Row, header_key

LEG_OWNED = frozenset(
    b"Via From To Call-ID CSeq Contact Route Record-Route Content-Length Max-Forwards".split()
)
"""Headers that belong to one leg and its dialog; the call writes them."""

_Q850_WORDS = {"coherent": COHERENT, "keep": KEEP, "drop": DROP}
_ELSEWHERE = {b"Reason": "then.q850 and then.original", b"Retry-After": "then.retry_after"}


def read_then(table: Table) -> Actions:
    """Read a `then` table. Mistakes go to the table's errors; what they spoil is left out."""
    read: dict[str, Any] = {}
    for key, reader in _READERS.items():
        value = table.value(key)
        if value is not None:
            try:
                read[key] = reader(value)
            except BadValue as error:
                table.fail(key, str(error), error.remedy)
    read["set"] = _read_set(table)
    read["remove"] = frozenset(_read_remove(table))
    table.done()
    read["passes"] = read.pop("pass", False)
    if read["passes"]:
        for key in (*_REWRITES, "set", "remove"):
            if key in table:
                table.fail(key, "a rule with then.pass = true changes nothing", "remove one of the two")
    elif table.data.keys() <= {"original", "pass"}:
        table.fail((), "the rule does nothing", "write then.status, another action, or then.pass = true")
    if "q850" not in read and "status" in read:
        read["q850"] = COHERENT
    return Actions(**read)


def _status(value: Any) -> int:
    if isinstance(value, str):
        if value == "from-q850":
            return FROM_Q850
        remedy = 'write a whole number from 400 to 699, or "from-q850"'
        raise BadValue(f"{values.as_written(value)} is not possible", remedy)
    status = values.whole(400, 699)(value)
    if status in PROTOCOL or status == 608:
        meaning = "is for machines alone (RFC 8688)" if status == 608 else "steers the protocol"
        raise BadValue(f"{status} {meaning}", "write another status from 400 to 699")
    return status


def _q850(value: Any) -> int:
    if isinstance(value, str) and value in _Q850_WORDS:
        return _Q850_WORDS[value]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 127:
        return value
    remedy = 'write a cause from 1 to 127, "coherent", "keep" or "drop"'
    raise BadValue(f"{values.as_written(value)} is not possible", remedy)


def _retry_after(value: Any) -> int:
    if value is False:
        return REMOVE
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32:
        return value
    raise BadValue(
        f"{values.as_written(value)} is not possible", "write seconds, or false to remove the header"
    )


_REWRITES: dict[str, Callable[[Any], Any]] = {
    "status": _status,
    "phrase": values.line_of_text,
    "q850": _q850,
    "original": values.choice(("reason", "header", "none")),
    "retry_after": _retry_after,
}
_READERS = _REWRITES | {
    "hunt": values.choice(("continue", "stop")),
    "pass": values.flag,
    "label": values.text,
}


def _read_set(table: Table) -> tuple[Row, ...]:
    value = table.value("set")
    if value is None:
        return ()
    if not isinstance(value, dict):
        table.fail("set", f"{values.as_written(value)} names no header", 'write set.NAME = "value"')
        return ()
    rows = []
    for name, word in value.items():
        try:
            rows.append((_editable(name), name.encode() + b": " + values.line_of_text(word)))
        except BadValue as error:
            table.fail(("set", name), str(error), error.remedy)
    return tuple(rows)


def _read_remove(table: Table) -> list[bytes]:
    value = table.value("remove")
    if value is None:
        return []
    return values.each(table, ("remove",), value, lambda name: _editable(values.text(name))) or []


def _editable(name: str) -> bytes:
    """Return the key of a header that rules may set and remove."""
    key = header_key(values.header_name(name).encode())
    if key in LEG_OWNED:
        raise BadValue(f"{key.decode()} belongs to one side of the call", "leave it to the gateway")
    if key in _ELSEWHERE:
        raise BadValue(f"{key.decode()} cannot be edited here", f"use {_ELSEWHERE[key]}")
    return key
