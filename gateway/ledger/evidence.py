"""What a decision was made by, as the ledger keeps it: one small blob a call, made by `packing.pack`.

It leaves out what belongs to one leg and its dialog, what is secret, and the PASSporT itself (its attestation
is kept); a rule that asks about those cannot be replayed. With hidden numbers it leaves out the headers that
hold some, too. `Unpacker` makes facts of it again, which the rules cannot tell from the first.

What left the rules is kept as a checksum of its header lines: enough to see that other rules would have sent
others.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from gateway.b2bua.record import CallRecord, TrunkNote
from gateway.rules.facts import Facts
from gateway.rules.replay import Outcome
from gateway.sip.message import Request, Response
from gateway.sip.rows import Row, Rows, header_key, unfold

from .packing import FORM


class Packed(msgspec.Struct, array_like=True, gc=False):
    """The blob. Header lines stand without their keys, which follow from the names."""

    form: int
    hidden: bool
    phrase: bytes
    lines: list[bytes]
    emitted: int  # the checksum; see `packing.emitted_checksum`
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


_decode = msgspec.msgpack.Decoder(Packed).decode


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
