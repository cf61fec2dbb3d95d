"""How often the garbage collector looks, and at what: chosen so that it never stops calls for long.

Calls make no reference cycles (tests/b2bua/test_many_calls.py), so the collector has little to find among
them and much to look through: with 100,000 calls up a look at everything takes most of a second, during
which no message is read. Therefore what is there at the start is exempt for good, and what is new is looked
at once, in portions that take milliseconds. A look at everything never comes by itself; a cycle that is
still in use when it is looked at stays.

The interpreter counts what comes less what goes, so under a steady load, when as many transactions end as
begin, a portion is far larger than its threshold: it is over when chance has brought so many more. Hence a
threshold that looks small. `bench/pauses.py` measures the pauses, with these thresholds and with others.
"""

from __future__ import annotations

import gc

THRESHOLDS = (500, 1_000_000, 1_000_000)
"""New objects, less those that went, before the youngest are looked at, such looks before one at the older
ones, and those before one at all (gc.set_threshold)."""


def tame(thresholds: tuple[int, int, int] = THRESHOLDS) -> None:
    """Exempt what is there from collection, and set the thresholds; to be called when the start is over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)
