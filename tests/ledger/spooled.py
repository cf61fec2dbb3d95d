"""Records as they lie in a spool, by number."""

from __future__ import annotations

from gateway.ledger.packing import Row, RowMaker
from tests.ledger.records import rewritten


def rows(*numbers: int) -> list[Row]:
    return [RowMaker().encoded(rewritten(number)) for number in numbers]


def ids(*numbers: int) -> list[str]:
    return [f"call-{number:06}" for number in numbers]
