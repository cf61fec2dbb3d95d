"""What each leg owns and what passes: the list that RFC 7092 asks a B2BUA to publish.

A :class:`Policy` is compiled once for each pair of trunks; applying it is one pass over the header rows.
Whatever passes, passes byte for byte and in order.
"""

from __future__ import annotations

from gateway.routing.trunk import Trunk
from gateway.sip.message import Row, header_key

from .option_tags import without_option

# Each leg writes these for itself.
OWNED = frozenset(
    (
        b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Contact", b"Route", b"Record-Route",
        b"Max-Forwards", b"Content-Length", b"X-CID",
    )
)  # fmt: skip
# The network's own word about the caller stays among trunks that trust each other (RFC 3325 5, 6).
_TRUSTED_ONLY = frozenset((b"P-Asserted-Identity", b"Privacy"))
# A CANCEL speaks for the hop only and has no body (RFC 3261 9.1).
_NOT_IN_CANCEL = frozenset((b"Require", b"Proxy-Require", b"Content-Type", b"Content-Disposition"))


# Each side of a session timer speaks for its own leg.
_SESSION_TIMER = frozenset((b"Session-Expires", b"Min-SE"))


class Policy:
    """What passes from one trunk to another, and what the receiving trunk's ``hide`` and ``set`` change."""

    __slots__ = ("_added", "_dropped", "_dropped_cancel", "_dropped_contact_passes")

    def __init__(self, source: Trunk, target: Trunk) -> None:
        dropped = set(OWNED)
        dropped.update(header_key(name) for name in target.hide)
        dropped.update(header_key(name) for name, _ in target.set)
        if not (source.trusted and target.trusted):
            dropped |= _TRUSTED_ONLY
        self._dropped = frozenset(dropped)
        self._dropped_contact_passes = frozenset(dropped - {b"Contact"})
        self._dropped_cancel = frozenset(dropped | _NOT_IN_CANCEL)
        self._added = b"".join(b"%b: %b\r\n" % item for item in target.set)

    def lines(self, rows: list[Row]) -> bytes:
        """Return the header lines that pass, each ended by CRLF."""
        dropped = self._dropped
        kept = [line for key, line in rows if key not in dropped]
        kept.append(self._added)
        return b"\r\n".join(kept)

    def lines_with_contact(self, rows: list[Row]) -> bytes:
        """Like :meth:`lines`, but Contact passes too: in a 3xx or 485 it is the answer itself
        (RFC 3261 21.3, 21.4.23), and in REGISTER it is what is registered.
        """
        dropped = self._dropped_contact_passes
        kept = [line for key, line in rows if key not in dropped]
        kept.append(self._added)
        return b"\r\n".join(kept)

    def cancel_lines(self, rows: list[Row]) -> bytes:
        """Return what passes from one leg's CANCEL to the other's, its Reason above all (RFC 3326)."""
        dropped = self._dropped_cancel
        kept = [line for key, line in rows if key not in dropped]
        kept.append(b"")
        return b"\r\n".join(kept)


class _WithoutTimer(Policy):
    """Between trunks of which one has a session timer with the gateway: what a peer says of timers ends
    here (RFC 4028); the leg that has one says so by itself.
    """

    __slots__ = ()

    def __init__(self, source: Trunk, target: Trunk) -> None:
        super().__init__(source, target)
        self._dropped |= _SESSION_TIMER

    def lines(self, rows: list[Row]) -> bytes:
        """Return the header lines that pass, without the session timer."""
        return super().lines(without_option(rows, b"timer"))


class PolicyTable:
    """The policies in use, made on first need. Trunks count by identity: after a reload, calls that began
    under the old settings keep them.
    """

    def __init__(self) -> None:
        self._table: dict[tuple[Trunk, Trunk], Policy] = {}

    def between(self, source: Trunk, target: Trunk) -> Policy:
        """Return the policy for what passes from ``source`` to ``target``."""
        key = (source, target)
        policy = self._table.get(key)
        if policy is None:
            own = source.session_timer is not None or target.session_timer is not None
            policy = self._table[key] = (_WithoutTimer if own else Policy)(source, target)
        return policy
