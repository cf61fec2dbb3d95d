"""How many messages each trunk sent and got: by transaction, so that retransmissions count once.

A flow keeps the :class:`Tally` of its trunk, so that counting a message costs two look-ups. Requests are
counted when their transaction begins, and ACKs of a 2xx, which have none, as they come and go; the ACK of a
rejection belongs to its INVITE and is not counted. Responses are counted as they are handed to a transaction,
or made.
"""

from __future__ import annotations

from collections import defaultdict

from .flow import Flow

METHODS = frozenset(
    b"INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE".split()
)
"""The methods that are counted by name."""
OTHER = b"other"
_MOST_KEYS = 2_000

Key = tuple[bytes, int]
"""Method and status; the status of a request is 0."""


class Counts(dict[Key, int]):
    """Counters that begin at 0. Peers may invent methods: these are counted together when there are many."""

    def __missing__(self, _key: Key) -> int:
        if len(self) >= _MOST_KEYS:
            self.fold()
        return 0

    def fold(self) -> None:
        """Count what has no well-known method under OTHER."""
        for key in [key for key in self if key[0] not in METHODS and key[0] != OTHER]:
            count = self.pop(key)
            self[OTHER, key[1]] = self.get((OTHER, key[1]), 0) + count


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
