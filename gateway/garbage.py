"""How often the garbage collector looks, and at what: chosen so that it never stops calls for long.

Calls make no reference cycles (tests/b2bua/test_many_calls.py), so the collector has little to find among
them and much to look through: with 100,000 calls up a look at everything takes most of a second, during
which no message is read. Therefore what is there at the start is exempt for good, and what is new is looked
at once, in small portions, and then exempt as well. A look at everything never comes; a cycle that is still
in use when it is looked at stays.

The gateway looks by the clock, with each tick. The interpreter looks by what comes less what goes: under a
steady load, when as many transactions end as begin, that hardly changes, and what is new piles up until
chance calls for a look, at tens of thousands. Its own looks are left for what makes many objects between two
ticks, such as a configuration that is read. `bench/pauses.py` measures the pauses.
"""

from __future__ import annotations

import gc

THRESHOLDS = (500, 1_000_000, 1_000_000)
"""New objects, less those that went, before the interpreter looks at them by itself; such looks before one at
older ones, and those before one at all: there are never so many between two ticks (gc.set_threshold)."""


def tame(thresholds: tuple[int, int, int] = THRESHOLDS) -> None:
    """Exempt what is there from collection, and set the thresholds; to be called when the start is over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)


def look() -> None:
    """Look at what is new, and exempt it from then on; to be called 20 times a second or so."""
    gc.collect(0)
    gc.freeze()  # which also has the interpreter count anew, so that it never comes to the older ones
