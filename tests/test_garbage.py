"""What the garbage collector looks at, and when."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from gateway import garbage


@pytest.fixture(autouse=True)
def tamed() -> Iterator[None]:
    """A process that is prepared as the gateway's is, for one test."""
    before = gc.get_threshold()
    garbage.tame()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Knot:
    """Refers to itself, as long as it is tied."""

    def __init__(self) -> None:
        self.end: Knot | None = self


def test_a_cycle_that_nobody_uses_any_more_is_freed_with_the_next_look() -> None:
    knot = Knot()
    seen = weakref.ref(knot)
    del knot
    assert seen() is not None
    garbage.look()
    assert seen() is None


def test_what_has_been_looked_at_is_never_looked_at_again() -> None:
    """So a look takes no longer for all the calls that are up."""
    knots = [Knot() for _ in range(1000)]
    garbage.look()
    assert not any(isinstance(item, Knot) for item in gc.get_objects())
    knots[0].end = None
    seen = [weakref.ref(knot) for knot in knots]
    knots.clear()
    garbage.look()
    assert seen[0]() is None, "it goes without a collector"
    assert all(ref() is not None for ref in seen[1:]), "the price"


def test_the_interpreter_never_comes_to_look_at_everything() -> None:
    """It would, after so many looks at what is new."""
    for _ in range(100):
        garbage.look()
        assert gc.get_count()[1:] == (0, 0)
