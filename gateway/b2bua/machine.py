"""What the small state machines of a leg share: a state, and one step of a literal table."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

from gateway.sip.transaction import ImpossibleInputError
from gateway.sip.transaction.base import Compiled, Table


class Machine:
    """Driven by inputs through ``STEPS``, a compiled table ``(state, input): (next state, action)``."""

    __slots__ = ("state",)
    TABLE: ClassVar[Table]
    STEPS: ClassVar[Compiled]

    def __init__(self, state: IntEnum) -> None:
        self.state: Any = state

    def feed(self, given: IntEnum, detail: Any, now: float) -> None:
        """Take one step of the table. Raises ImpossibleInputError on a cell that is not there."""
        step = self.STEPS[self.state][given]
        if step is None:
            raise ImpossibleInputError(f"{type(self).__name__}: {given.name} in state {self.state.name}")
        self.state, action = step
        if action is not None:
            action(self, detail, now)
