"""What each leg owns and what passes: the list that RFC 7092 asks a B2BUA to publish.

A :class:`Policy` is compiled once for each pair of trunks; applying it is one pass over the header rows.
Whatever passes, passes byte for byte and in order.
"""

from __future__ import annotations

from gateway.routing.trunk import Trunk
from gateway.sip.message import Row, header_key

# Each leg writes these for itself.
OWNED = frozenset(
    (
        b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Contact", b"Route", b"Record-Route",
        b"Max-Forwards", b"Content-Length", b"X-CID",
    )
)  # fmt: skip
# The network's own word about the caller stays among trunks that trust each other (RFC 3325 5, 6).
_TRUSTED_ONLY = frozenset((b"P-Asserted-Identity", b"Privacy"))
# Where the gateway has an account on a trunk, credentials and challenges are that leg's own (RFC 3261 22.3).
_CREDENTIALS = frozenset((b"Authorization", b"Proxy-Authorization"))
_CHALLENGES = frozenset(
    (b"WWW-Authenticate", b"Proxy-Authenticate", b"Authentication-Info", b"proxy-authentication-info")
)
# A CANCEL speaks for the hop only and has no body (RFC 3261 9.1).
_NOT_IN_CANCEL = frozenset((b"Require", b"Proxy-Require", b"Content-Type", b"Content-Disposition"))


class Policy:
    """What passes from one trunk to another, and what the receiving trunk's ``hide`` and ``set`` change."""

    __slots__ = ("_added", "_dropped", "_dropped_cancel", "_dropped_contact_passes", "target")

    def __init__(self, source: Trunk, target: Trunk) -> None:
        dropped = set(OWNED)
        dropped.update(header_key(name) for name in target.hide)
        dropped.update(header_key(name) for name, _ in target.set)
        if not (source.trusted and target.trusted):
            dropped |= _TRUSTED_ONLY
        if target.account is not None:
            dropped |= _CREDENTIALS
        if source.account is not None:
            dropped |= _CHALLENGES
        self.target = target
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
            policy = self._table[key] = Policy(source, target)
        return policy
