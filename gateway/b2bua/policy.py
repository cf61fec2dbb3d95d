"""What each leg owns and what passes: the list that RFC 7092 asks a B2BUA to publish.

A :class:`Policy` is compiled once for each pair of trunks; applying it is one pass over the header rows.
Whatever passes, passes byte for byte and in order.
"""

from __future__ import annotations

from gateway.routing.trunk import Trunk
from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Message, Request
from gateway.sip.rows import KeySet, Rows, header_key, key_set, text_except
from gateway.sip.uri import Uri

from .bodies import hidden_body
from .naming import Names, trunk_of
from .option_tags import without_option
from .topology import Hiding

# Each leg writes these for itself.
OWNED = frozenset(
    (
        b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Contact", b"Route", b"Record-Route",
        b"Max-Forwards", b"Content-Length", b"X-CID", b"traceparent", b"tracestate",
    )
)  # fmt: skip
# The network's own word about the caller, and what may be done with it, stay among trunks that trust each
# other (RFC 3325 5, 6, 7). Remote-Party-ID is the same word in an older form (draft-ietf-sip-privacy-04):
# it names a caller who withholds the number, and who receives it believes it.
_TRUSTED_ONLY = frozenset((b"P-Asserted-Identity", b"Privacy", b"Remote-Party-ID"))
# Where the gateway has an account on a trunk, credentials and challenges are that leg's own (RFC 3261 22.3).
_CREDENTIALS = frozenset((b"Authorization", b"Proxy-Authorization"))
_CHALLENGES = frozenset(
    (b"WWW-Authenticate", b"Proxy-Authenticate", b"Authentication-Info", b"proxy-authentication-info")
)
# A response carries that of its request (RFC 3261 8.2.6.1): the other leg's would be a second one.
_NOT_BACK = frozenset((b"Timestamp",))
# A CANCEL speaks for the hop only and has no body (RFC 3261 9.1).
_NOT_IN_CANCEL = frozenset((b"Require", b"Proxy-Require", b"Content-Type", b"Content-Disposition"))
# Each side of a session timer speaks for its own leg (RFC 4028).
_SESSION_TIMER = frozenset((b"Session-Expires", b"Min-SE"))


class Policy:
    """What passes from one trunk to another, and what the receiving trunk's ``hide``, ``set`` and ``numbers``
    change.
    """

    __slots__ = (
        "_added",
        "_added_cancel",
        "_dropped",
        "_dropped_back",
        "_dropped_back_contact_passes",
        "_dropped_cancel",
        "_dropped_contact_passes",
        "_ends_timers",
        "_numbers",
        "target",
    )

    def __init__(self, source: Trunk, target: Trunk) -> None:
        dropped = set(OWNED)
        dropped.update(header_key(name) for name in target.hide)
        dropped.update(header_key(name) for name, _ in target.set)
        if not (source.trusted and target.trusted):
            dropped |= _TRUSTED_ONLY
        # What a peer says of session timers ends at the gateway where one of the two has one with it.
        self._ends_timers = source.session_timer is not None or target.session_timer is not None
        if self._ends_timers:
            dropped |= _SESSION_TIMER
        if target.account is not None:
            dropped |= _CREDENTIALS
        if source.account is not None:
            dropped |= _CHALLENGES
        self.target = target
        self._dropped = key_set(frozenset(dropped))
        self._dropped_contact_passes = key_set(frozenset(dropped - {b"Contact"}))
        self._dropped_back = key_set(frozenset(dropped | _NOT_BACK))
        self._dropped_back_contact_passes = key_set(frozenset(dropped - {b"Contact"} | _NOT_BACK))
        self._dropped_cancel = key_set(frozenset(dropped | _NOT_IN_CANCEL))
        self._added = b"".join(b"%b: %b\r\n" % item for item in target.set)
        self._added_cancel = b"".join(
            b"%b: %b\r\n" % item for item in target.set if header_key(item[0]) not in _NOT_IN_CANCEL
        )
        self._numbers = target.numbers

    def opening(self, request: Request, uri: Uri) -> tuple[Request, Uri]:
        """Return a request that opens a dialog or stands alone as the target's side may see it, and its URI:
        with the numbers, From and To that will stand in it.
        """
        return (request, uri) if self._numbers is None else self._numbers.write(request, uri)

    def body(self, message: Message) -> bytes:
        """Return the body that passes."""
        return message.body

    def lines(self, rows: Rows) -> bytes:
        """Return the header lines of a request that pass, each ended by CRLF."""
        if self._ends_timers:
            rows = without_option(rows, b"timer")
        return self._passed(rows, self._dropped, self._added)

    def lines_with_contact(self, rows: Rows) -> bytes:
        """Like :meth:`lines`, but Contact passes too: in REGISTER it is what is registered."""
        return self._passed(rows, self._dropped_contact_passes, self._added)

    def back(self, rows: Rows) -> bytes:
        """Return the header lines of a response that pass, each ended by CRLF."""
        if self._ends_timers:
            rows = without_option(rows, b"timer")
        return self._passed(rows, self._dropped_back, self._added)

    def back_with_contact(self, rows: Rows) -> bytes:
        """Like :meth:`back`, but Contact passes too: in a 3xx or 485 it is the answer itself
        (RFC 3261 21.3, 21.4.23), and in that to a REGISTER it is what is registered.
        """
        return self._passed(rows, self._dropped_back_contact_passes, self._added)

    def cancel_lines(self, rows: Rows) -> bytes:
        """Return what passes from one leg's CANCEL to the other's, its Reason above all (RFC 3326)."""
        return self._passed(rows, self._dropped_cancel, self._added_cancel)

    def _passed(self, rows: Rows, dropped: KeySet, added: bytes) -> bytes:
        return text_except(rows, dropped, added)


class HidingPolicy(Policy):
    """A policy towards a trunk with ``hide_topology``."""

    __slots__ = ("_hiding", "_salt")

    def __init__(self, source: Trunk, target: Trunk, hiding: Hiding, salt: bytes) -> None:
        super().__init__(source, target)
        self._hiding = hiding
        self._salt = salt

    def opening(self, request: Request, uri: Uri) -> tuple[Request, Uri]:
        """Put our host into From and To too, but not in a REGISTER, where they are the registrar's names for
        the user (RFC 3261 10.2).
        """
        request, uri = super().opening(request, uri)
        rows = request.rows
        if request.method != b"REGISTER":
            rows = [(key, self._hiding.end(line) if key in (b"From", b"To") else line) for key, line in rows]
        return request.altered(request.uri, rows, request.body), uri

    def body(self, message: Message) -> bytes:
        """Return the body as the target's side may see it."""
        body = message.body
        if not body:
            return body
        otherwise = b"application/sdp" if body[:3] == b"v=0" else b""
        return hidden_body(body, message.get(b"Content-Type") or otherwise, self._hiding, self._salt)

    def _passed(self, rows: Rows, dropped: KeySet, added: bytes) -> bytes:
        see = self._hiding.line
        seen = [see(key, line, rows) for key, line in rows if key not in dropped]
        kept = [line for line in seen if line is not None]
        kept.append(added)
        return b"\r\n".join(kept)


class PolicyTable:
    """The policies in use, made on first need. Trunks count by identity: after a reload, calls that began
    under the old settings keep them.
    """

    def __init__(self, endpoint: Endpoint, names: Names) -> None:
        self._endpoint = endpoint
        self._names = names
        self._table: dict[tuple[Trunk, Trunk], Policy] = {}
        self._salt = b""

    def clear(self) -> None:
        """Forget the policies of settings that changed."""
        self._table.clear()

    def between(self, source: Trunk, target: Trunk) -> Policy:
        """Return the policy for what passes from ``source`` to ``target``."""
        key = (source, target)
        policy = self._table.get(key)
        if policy is None:
            policy = self._table[key] = self._make(source, target)
        return policy

    def _make(self, source: Trunk, target: Trunk) -> Policy:
        if not target.hide_topology:
            return Policy(source, target)
        if not self._salt:
            self._salt = self._endpoint.new_token()
        named = self._names.dialog

        def may_see(call_id: bytes, one: bytes, other: bytes) -> bool:
            found = named(call_id, one, other) or named(call_id, other, one)
            return found is not None and (call_id == found.local_tag or trunk_of(found).name == target.name)

        hiding = Hiding(_own_host(self._endpoint, target), target.keep, may_see)
        return HidingPolicy(source, target, hiding, self._salt)


def _own_host(endpoint: Endpoint, target: Trunk) -> bytes:
    """Return what a trunk knows us by: HOST, or HOST:PORT where the port is not SIP's."""
    flows = endpoint.flows
    towards = [flows.towards(place.host, place.port, place.transport) for place in target.targets]
    local = next((flow.local for flow in towards if flow is not None), flows.locals[0])
    return local.sent_by.removesuffix(b":5060")
