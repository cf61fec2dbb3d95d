"""How a call's record becomes a row of the ledger, and what it was decided by one small blob in it.

A row is encoded at once, on the loop, where its record is at hand. Whatever it then waits for, and goes
through, takes bytes from one place to another without looking into them.

Every call goes through here, so this is compiled, and the header lines are packed by the native core where it
is at hand. `evidence.py` tells what the blob is for, and reads it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, cast
from zlib import crc32

import msgspec
from msgspec.structs import astuple

from gateway import speedups
from gateway.b2bua.record import CallRecord, Evidence, TrunkNote, moved
from gateway.rules.facts import TrunkView
from gateway.rules.passport import UNATTESTED, attestation
from gateway.sip.rows import KeySet, Rows, key_set, lines_except
from gateway.wall import Wall

from .hiding import hidden
from .schema import FIELDS

FORM: Final = 1
"""The version of the blob."""

NOT_KEPT: Final = frozenset(
    b"Via Call-ID CSeq Contact Route Record-Route Content-Length Max-Forwards Authorization "
    b"Proxy-Authorization".split()
)
"""Keys of the headers that are not kept."""

WITH_NUMBERS: Final = frozenset(
    b"From To P-Asserted-Identity P-Preferred-Identity Remote-Party-ID P-Called-Party-ID Diversion "
    b"History-Info Referred-By Refer-To Reply-To P-Charge-Info Additional-Identity".split()
)
"""Keys of the headers that are not kept either where numbers are hidden."""

_LEFT_OUT: Final = key_set(NOT_KEPT | {b"Identity"})
_LEFT_OUT_HIDDEN: Final = key_set(NOT_KEPT | {b"Identity"} | WITH_NUMBERS)
_IDENTITY: Final = b"Identity: left out"  # rules may ask whether there was one

_encode: Final = msgspec.msgpack.Encoder().encode


def packed_lines_pure(rows: Rows, left_out: KeySet, added: bytes) -> bytes:
    """Return the lines whose key is not left out, and behind them what is added unless it is b"", as msgpack
    has a list of byte strings.
    """
    kept = lines_except(rows, left_out)
    if added:
        kept.append(added)
    return _encode(kept)


def joined_lines_pure(rows: Rows, left_out: KeySet) -> bytes:
    """Return the lines whose key is not left out, with LF between them."""
    return b"\n".join(lines_except(rows, left_out))


packed_lines: Final = speedups.native("packed_lines", packed_lines_pure)
joined_lines: Final = speedups.native("joined_lines", joined_lines_pure)


def pack(evidence: Evidence, hide_numbers: bool) -> bytes:
    """Return the blob of what a call was decided by; with `hide_numbers`, without headers that hold some."""
    left_out = _left_out(hide_numbers)
    facts = evidence.facts
    request = facts.request
    attested = facts.attested or UNATTESTED
    asked = b"\x90"  # an empty list
    if request is not None:
        signed = request.has(b"Identity")
        if signed:
            attested = attestation(request.values(b"Identity"))
        asked = packed_lines(request.rows, left_out, _IDENTITY if signed else b"")
    response = facts.response
    return _encode(
        (  # a `Packed`, field by field: what is encoded already goes in as it is
            FORM,
            hide_numbers,
            response.phrase,
            msgspec.Raw(packed_lines(response.rows, left_out, b"")),
            emitted_checksum(evidence.rows, hide_numbers),
            msgspec.Raw(asked),
            _encoded(facts.source),
            _encoded(facts.target),
            facts.method,
            facts.rang,
            facts.after,
            facts.ringing,
            facts.finals,
            facts.pending,
            facts.on_the_wall,
            attested,
            evidence.decision.hunt,
        )
    )


@lru_cache(maxsize=1024)
def _encoded(trunk: TrunkView) -> msgspec.Raw:
    return msgspec.Raw(_encode(TrunkNote.of(trunk)))


def emitted_checksum(rows: Rows, numbers_hidden: bool) -> int:
    """Return the checksum of the header lines that a decision sends, as `pack` takes it."""
    return crc32(joined_lines(rows, _left_out(numbers_hidden)))


def _left_out(numbers_hidden: bool) -> KeySet:
    return _LEFT_OUT_HIDDEN if numbers_hidden else _LEFT_OUT


# The place of the evidence in a record, whose fields are the columns in their order.
_PACKED: Final = len(FIELDS)
_CALLER: Final = FIELDS.index("caller")
_CALLED: Final = FIELDS.index("called")
_ENDED_AT: Final = FIELDS.index("ended_at")

Row = tuple[float, bytes]
"""When a call ended, and the values of its record, in the order of `schema.COLUMNS`, as MessagePack."""


def array_head(count: int) -> bytes:
    """Return what MessagePack has before so many values to make an array of them."""
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 65_536 else b"\xdd" + count.to_bytes(4, "big")


class RowMaker:
    """Makes the values of the row of a record whose call is over, dated by the clock on the wall.

    With `hide_numbers`, numbers are replaced by what `hidden` makes of them with `key`, of at most 64 bytes.
    """

    def __init__(self, hide_numbers: bool = False, key: bytes = b"", wall: Wall | None = None) -> None:
        self._hides = hide_numbers
        self._key = key[:64]
        self._wall = wall or Wall()

    def __call__(self, record: CallRecord) -> tuple[object, ...]:
        """Return the values of a record, in the order of `schema.COLUMNS`. Never raises."""
        evidence = None if record.evidence is None else self._packed(record.evidence)
        values: tuple[object, ...] = astuple(moved(record, self._wall.ahead))[:_PACKED]
        values += (evidence,)
        if not self._hides:
            return values
        shown = list(values)
        shown[_CALLER] = hidden(record.caller, self._key)
        shown[_CALLED] = hidden(record.called, self._key)
        return tuple(shown)

    def encoded(self, record: CallRecord) -> Row:
        """Return the row of a record. Raises ValueError or OverflowError where MessagePack cannot hold it:
        text that is none, a number that is too large.
        """
        values = self(record)
        return cast(float, values[_ENDED_AT]), _encode(values)

    def _packed(self, evidence: Evidence) -> bytes | None:
        try:
            return pack(evidence, self._hides)
        except (TypeError, ValueError, OverflowError):  # would be a bug; it costs the evidence, not the batch
            return None
