"""What a decision was made by, as the ledger keeps it: one small blob a call, packed as it ends.

`pack` leaves out what belongs to one leg and its dialog, what is secret, and the PASSporT itself (its
attestation is kept); a rule that asks about those cannot be replayed. With hidden numbers it leaves out the
headers that hold some, too. `unpack` makes facts of it again, which the rules cannot tell from the first.

What left the rules is kept as a checksum of its header lines: enough to see that other rules would have sent
others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

import msgspec
from msgspec.structs import astuple

from gateway.b2bua.record import CallRecord, Evidence, TrunkNote
from gateway.rules.facts import Facts
from gateway.rules.passport import UNATTESTED, attestation
from gateway.rules.replay import Outcome
from gateway.sip.message import Request, Response
from gateway.sip.rows import Row, Rows, header_key, key_set, lines_except, unfold

from .schema import FIELDS

FORM = 1
"""The version of the blob."""

NOT_KEPT = frozenset(
    b"Via Call-ID CSeq Contact Route Record-Route Content-Length Max-Forwards Authorization "
    b"Proxy-Authorization".split()
)
"""Keys of the headers that are not kept."""

WITH_NUMBERS = frozenset(
    b"From To P-Asserted-Identity P-Preferred-Identity Remote-Party-ID P-Called-Party-ID Diversion "
    b"History-Info Referred-By Refer-To Reply-To P-Charge-Info Additional-Identity".split()
)
"""Keys of the headers that are not kept either where numbers are hidden."""

_LEFT_OUT = key_set(NOT_KEPT | {b"Identity"})
_LEFT_OUT_HIDDEN = key_set(NOT_KEPT | {b"Identity"} | WITH_NUMBERS)


class Packed(msgspec.Struct, array_like=True, gc=False):
    """The blob. Header lines stand without their keys, which follow from the names."""

    form: int
    hidden: bool
    phrase: bytes
    lines: list[bytes]
    emitted: int  # the checksum; see `checksum`
    request: list[bytes]
    source: TrunkNote
    target: TrunkNote
    method: bytes
    rang: bool
    after: float | None
    ringing: float | None
    finals: tuple[int, ...]
    pending: int
    now: float | None
    attested: str
    hunt: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Packed).decode


def pack(evidence: Evidence, hide_numbers: bool) -> bytes:
    """Return the blob of what a call was decided by; with `hide_numbers`, without headers that hold some."""
    left_out = _LEFT_OUT_HIDDEN if hide_numbers else _LEFT_OUT
    kept = lines_except(evidence.rows, left_out)
    unchanged = evidence.emitted is evidence.rows
    request = evidence.request
    asked = [] if request is None else lines_except(request.rows, left_out)
    attested = evidence.attested or UNATTESTED
    if request is not None and request.has(b"Identity"):
        asked.append(b"Identity: left out")  # rules may ask whether there was one
        attested = attestation(request.values(b"Identity"))
    return _encode(
        (  # a Packed, field by field: its trunks are encoded once for all calls
            FORM,
            hide_numbers,
            evidence.phrase,
            kept,
            checksum(kept if unchanged else lines_except(evidence.emitted, left_out)),
            asked,
            _encoded(evidence.source),
            _encoded(evidence.target),
            evidence.method,
            evidence.rang,
            evidence.after,
            evidence.ringing,
            evidence.finals,
            evidence.pending,
            evidence.now,
            attested,
            evidence.hunt,
        )
    )


@lru_cache(maxsize=1024)
def _encoded(trunk: TrunkNote) -> msgspec.Raw:
    return msgspec.Raw(_encode(trunk))


_PACKED = len(FIELDS)  # the place of the evidence in a record, whose fields are the columns in their order
_CALLER, _CALLED = FIELDS.index("caller"), FIELDS.index("called")


class RowMaker:
    """Makes the values of a row of a record, as soon as its call is over.

    With `hide_numbers`, numbers are replaced by what `hidden` makes of them with `key`, of at most 64 bytes.
    """

    def __init__(self, hide_numbers: bool = False, key: bytes = b"") -> None:
        self._hides = hide_numbers
        self._key = key[:64]

    def __call__(self, record: CallRecord) -> tuple[object, ...]:
        """Return the values of a record, in the order of `schema.COLUMNS`. Never raises."""
        evidence = None if record.evidence is None else self._packed(record.evidence)
        values: tuple[object, ...] = (*astuple(record)[:_PACKED], evidence)
        if not self._hides:
            return values
        shown = list(values)
        shown[_CALLER] = hidden(record.caller, self._key)
        shown[_CALLED] = hidden(record.called, self._key)
        return tuple(shown)

    def _packed(self, evidence: Evidence) -> bytearray | None:
        try:
            # Python's sqlite3 takes these as they are; of bytes it asks each time how to adapt them.
            return bytearray(pack(evidence, self._hides))
        except (TypeError, ValueError, OverflowError):  # would be a bug; it costs the evidence, not the batch
            return None


def hidden(number: str, key: bytes) -> str:
    """Return what stands for a number in a ledger that hides them: the same for the same number and key.

    Numbers are few enough to be tried out one after the other, so the key must be secret to be of use.
    """
    if not number:
        return ""
    data = number.encode(errors="backslashreplace")  # which never fails, whatever a From held
    return f"#{blake2b(data, digest_size=8, key=key).hexdigest()}"


def hider(key: bytes) -> Callable[[str], str]:
    """Return what makes of a number what `RowMaker` puts in its place with this key; what is hidden already
    stays as it is.
    """

    @lru_cache(maxsize=4096)
    def hide(number: str) -> str:
        return number if is_hidden(number) else hidden(number, key[:64])

    return hide


_HIDDEN = re.compile("#[0-9a-f]{16}")


def is_hidden(number: str) -> bool:
    """Tell whether this stands for a number (`hidden`)."""
    return _HIDDEN.fullmatch(number) is not None


def checksum(lines: Sequence[bytes]) -> int:
    """Return a number that stands for header lines."""
    return crc32(b"\n".join(lines))


class Unpacker:
    """Makes facts of blobs. Trunks that are alike become one, for the memory of the rules."""

    def __init__(self) -> None:
        self._trunks: dict[tuple[object, ...], TrunkNote] = {}

    def unpack(self, blob: bytes, record: CallRecord) -> tuple[Facts, Outcome]:
        """Return what was known and what was made of it. Raises ValueError for what is no such blob."""
        packed = _decode(blob)
        if packed.form != FORM:
            raise ValueError(f"evidence of form {packed.form} is not known")
        rows, index, more = _indexed(packed.lines)
        request_rows, request_index, request_more = _indexed(packed.request)
        facts = Facts(
            Response(record.original_status, packed.phrase, rows, index, more),
            Request(packed.method, b"", request_rows, request_index, request_more),
            self._one(packed.source),
            self._one(packed.target),
            packed.method,
            record.called,
            record.caller,
            packed.rang,
            packed.after,
            packed.ringing,
            record.origin == "local",
            False,
            packed.finals,
            packed.pending,
            packed.now,
            packed.attested,
        )
        outcome = Outcome(
            record.emitted_status,
            record.emitted_phrase,
            record.emitted_q850,
            record.rule,
            record.guard,
            record.shadow_rule,
            record.shadow_status,
            packed.hunt,
            packed.emitted,
            packed.hidden,
        )
        return facts, outcome

    def _one(self, trunk: TrunkNote) -> TrunkNote:
        causes = tuple(sorted(trunk.q850.items()))
        key = (trunk.name, trunk.kind, trunk.supports, trunk.rewrite_network_blocked, causes, trunk.trusted)
        return self._trunks.setdefault(key, trunk)


def emitted_checksum(rows: Rows, numbers_hidden: bool) -> int:
    """Return the checksum of the header lines that a decision sends, as `pack` takes it."""
    return checksum(lines_except(rows, _LEFT_OUT_HIDDEN if numbers_hidden else _LEFT_OUT))


@lru_cache(maxsize=4096)
def _row(line: bytes) -> tuple[bytes, bytes, bytes]:
    name, _, value = line.partition(b":")
    return header_key(name), line, unfold(value)


def _indexed(lines: list[bytes]) -> tuple[Rows, dict[bytes, bytes], dict[bytes, list[bytes]] | None]:
    """Return header lines as the rows of a message, with its index."""
    rows: list[Row] = []
    index: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    for each in lines:
        key, line, value = _row(each)
        rows.append((key, line))
        if key in index:
            more.setdefault(key, []).append(value)
        else:
            index[key] = value
    return rows, index, more or None
