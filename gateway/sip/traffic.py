"""How many messages each trunk sent and got: by transaction, so that retransmissions count once.

A flow keeps the :class:`Tally` of its trunk, so that counting a message costs two look-ups. Requests are
counted when their transaction begins, and ACKs of a 2xx, which have none, as they come and go; the ACK of a
rejection belongs to its INVITE and is not counted. Responses are counted as they are handed to a transaction,
or made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from .flow import Flow
from .message import METHODS

OTHER: Final = b"other"

Key = tuple[bytes, int]
"""Method and status; the status of a request is 0."""


class Counts:
    """Counters by method and status. METHODS are counted by name, what else peers invent as OTHER."""

    __slots__ = ("_by_method",)

    def __init__(self) -> None:
        self._by_method: dict[bytes, dict[int, int]] = {method: {} for method in (*METHODS, OTHER)}

    def add(self, method: bytes, status: int) -> None:
        """Count one."""
        counts = self._by_method.get(method)
        if counts is None:
            counts = self._by_method[OTHER]
        counts[status] = counts.get(status, 0) + 1

    def items(self) -> Iterator[tuple[Key, int]]:
        """Yield what was counted."""
        for method, counts in self._by_method.items():
            for status, count in counts.items():
                yield (method, status), count


class Tally:
    """The messages of one trunk, received and sent; and by the reason, what was malformed."""

    __slots__ = ("malformed", "received", "sent")

    def __init__(self) -> None:
        self.received = Counts()
        self.sent = Counts()
        self.malformed: defaultdict[str, int] = defaultdict(int)


class Traffic:
    """The tallies by the name of their trunk; "" is for strangers."""

    def __init__(self) -> None:
        self.by_trunk: dict[str, Tally] = {}

    def tally(self, flow: Flow, name: str) -> Tally:
        """Return the tally of the trunk of this name; the flow keeps it until :meth:`Flows.forget_trunks`."""
        tally = self.by_trunk.get(name)
        if tally is None:
            tally = self.by_trunk[name] = Tally()
        flow.tally = tally
        return tally

    def malformed(self) -> dict[str, int]:
        """Return how many messages were malformed, by the reason."""
        total: defaultdict[str, int] = defaultdict(int)
        for tally in self.by_trunk.values():
            for why, count in tally.malformed.items():
                total[why] += count
        return dict(total)
