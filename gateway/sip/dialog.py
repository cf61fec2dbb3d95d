"""Dialogs (RFC 3261 12): who talks to whom, with which tags, numbers, target and route.

A :class:`Dialog` begins as the *half* that an INVITE of ours opens (no remote tag yet); each To tag that
answers makes an early dialog of it by :meth:`Dialog.fork`. On the side that answers, one is whole at once.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from .errors import MalformedError
from .flow import Flow, Flows
from .headers import parse_addresses, parse_name_addr, split_list
from .message import Request, Response
from .remember import remembered
from .uri import Uri, parse_uri

_TRANSPORTS: Final = {b"udp": "udp", b"tcp": "tcp", b"tls": "tls"}


class DialogUser(Protocol):
    """Whoever owns a dialog's end."""

    def on_request(self, dialog: Dialog, transaction: Any, request: Request, now: float) -> None:
        """Take a request inside the dialog; ``transaction`` answers it."""

    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None:
        """Take the ACK for a 2xx."""


@remembered
def contact_uri(value: bytes) -> bytes:
    """Return the URI of the first Contact in a header value, fit for a Request-URI: without headers
    (RFC 3261 19.1.1). Raises MalformedError.
    """
    items = split_list(value.strip())
    if not items:
        raise MalformedError("bad Contact")
    uri = parse_name_addr(items[0]).uri
    return uri.removesuffix(_parsed(uri).headers)


@remembered
def _parsed(uri: bytes) -> Uri:
    return parse_uri(uri)


@remembered
def _way_to(uri: bytes) -> tuple[Uri, bytes, str]:
    """Return a URI in parts, the transport that it names (b"" for none), and the host to send to, its
    ``maddr`` where it has one (RFC 3263 4), as sockets have it. Raises MalformedError.
    """
    parsed = parse_uri(uri)
    host = parsed.param(b"maddr") or parsed.host
    return parsed, (parsed.param(b"transport") or b"").lower(), host.strip(b"[]").decode()


class Dialog:
    """One dialog, or the half of one.

    ``local`` and ``remote`` are whole From/To values with their tags; ``target`` is the remote target URI;
    ``route`` is b"" or one Route line; ``twin`` is whatever the owner pairs it with. Behind a strict router,
    ``target`` is that router and the remote target stands last in the Route. With ``observed``, requests go
    to where the peer's last message came from, whatever host it names: it is behind a NAT. ``others`` are for
    where ``flow`` fails: the further addresses of a next hop that is a name (RFC 3263 4.3), and the
    connection that the peer speaks on where it may take none. ``credentials`` are the header lines that our
    last INVITE carried, for its ACK. While ``updating``, an UPDATE that came in it has no final response yet.
    """

    __slots__ = (
        "_strict",
        "call_id",
        "confirmed",
        "credentials",
        "flow",
        "local",
        "local_tag",
        "observed",
        "others",
        "remote",
        "remote_seq",
        "remote_tag",
        "route",
        "seq",
        "target",
        "twin",
        "updating",
        "user",
    )

    def __init__(
        self,
        user: DialogUser | None,
        call_id: bytes,
        local: bytes,
        local_tag: bytes,
        remote: bytes,
        remote_tag: bytes,
        target: bytes,
        flow: Flow,
        observed: bool = False,
    ) -> None:
        self.user = user
        self.call_id = call_id
        self.local = local
        self.local_tag = local_tag
        self.remote = remote
        self.remote_tag = remote_tag
        self.target = target
        self.flow = flow
        self.observed = observed
        self.others: tuple[Flow, ...] = ()
        self.route = b""
        self._strict: list[bytes] | None = None  # the routers that follow a strict one
        self.seq = 0
        self.remote_seq = -1
        self.confirmed = False
        self.credentials = b""
        self.twin: Dialog | None = None
        self.updating = False

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Where the endpoint's table has it: our tags are unique, so the Call-ID is only compared."""
        return self.local_tag, self.remote_tag

    def is_called(self, call_id: bytes) -> bool:
        """Whether a header that names this dialog by its tags may name it by this Call-ID: its own, or our
        tag, which stands for it towards who may not see the Call-ID of a peer.
        """
        return call_id in (self.call_id, self.local_tag)

    @classmethod
    def answering(
        cls,
        user: DialogUser,
        request: Request,
        local_tag: bytes,
        flow: Flow,
        flows: Flows,
        observed: bool = False,
    ) -> Dialog:
        """Make the dialog that our answer to ``request`` opens (RFC 3261 12.1.1). Raises MalformedError."""
        remote = request.need(b"From")
        local = b"%b;tag=%b" % (request.need(b"To"), local_tag)
        sender = request.sender
        # Without a Contact (against RFC 3261 8.1.1.8), where the request came from is the best guess.
        target = _target_of(request, b"sip:%b:%d" % (flow.host, flow.peer[1]))
        dialog = cls(user, request.call_id, local, local_tag, remote, sender.tag, target, flow, observed)
        dialog.remote_seq = request.cseq[0]
        if request.has(b"Record-Route"):
            dialog._set_route(parse_addresses_raw(request.values(b"Record-Route")))
        dialog.aim(flows)
        return dialog

    def fork(self, response: Response, user: DialogUser | None, flows: Flows) -> Dialog:
        """Make the dialog that a response to our INVITE opens (RFC 3261 12.1.2). Raises MalformedError."""
        remote = response.need(b"To")
        target = _target_of(response, self.target)
        tag = response.to_tag
        dialog = self._with(user, remote, tag, target)
        dialog.credentials = self.credentials
        if response.has(b"Record-Route"):
            dialog._set_route(parse_addresses_raw(response.values(b"Record-Route"))[::-1])
        dialog.aim(flows)
        return dialog

    def fork_by_notify(self, notify: Request, user: DialogUser, flows: Flows) -> Dialog:
        """Make the dialog that a NOTIFY opens before any response, or beside the one of the response
        (RFC 6665 4.4.1). Raises MalformedError.
        """
        remote = notify.need(b"From")
        tag = notify.from_tag
        target = _target_of(notify, self.target)
        dialog = self._with(user, remote, tag, target)
        dialog.remote_seq = notify.cseq[0]
        if notify.has(b"Record-Route"):
            dialog._set_route(parse_addresses_raw(notify.values(b"Record-Route")))
        dialog.aim(flows)
        return dialog

    def _with(self, user: DialogUser | None, remote: bytes, tag: bytes, target: bytes) -> Dialog:
        """Make a dialog of this half and a peer."""
        dialog = Dialog(
            user, self.call_id, self.local, self.local_tag, remote, tag, target, self.flow, self.observed
        )
        dialog.seq = self.seq
        return dialog

    def retarget(self, message: Request | Response, flows: Flows) -> None:
        """Refresh the remote target from a target refresh request or its 2xx (RFC 3261 12.2)."""
        target = _target_of(message, b"")
        if not target:
            return
        if self._strict is None:
            self.target = target
        else:
            self._route_strictly(target)
        self.aim(flows)

    def settle(self, response: Response, flows: Flows) -> None:
        """Take route set and remote target anew from the 2xx that confirms an early dialog
        (RFC 3261 13.2.2.4). Raises MalformedError.
        """
        target = self.target
        if self._strict is not None:
            target = parse_name_addr(split_list(self.route[6:].strip())[-1]).uri
        self.target = _target_of(response, target)
        self._strict = None
        self.route = b""
        if response.has(b"Record-Route"):
            self._set_route(parse_addresses_raw(response.values(b"Record-Route"))[::-1])
        self.aim(flows)

    def aim(self, flows: Flows) -> None:
        """Point ``flow`` at the next hop: the topmost Route, else the remote target (RFC 3261 8.1.2).

        An address that is no IP literal, or that no peer can be at or we can reach, leaves the flow
        where the peer's last message came from, until ``flows.on_name`` knows better; ``observed`` leaves it
        there for good.
        """
        if self.observed:
            return
        self.others = ()
        try:
            uri, named, host = _way_to(self.first_hop())
        except MalformedError:
            return
        ours = self.flow.local.transport
        if uri.scheme == b"sips":
            transport = "tls"
        elif uri.scheme == b"sip":
            transport = _TRANSPORTS.get(named, ours)
            if ours == "tls" and transport == "tcp":
                transport = "tls"  # TLS runs over TCP: older peers name what is below (RFC 3261 26.2.2)
        else:
            return
        if transport != ours and ours == "tls":
            return  # what began in secret stays so
        port = uri.port or (5061 if transport == "tls" else 5060)
        flow = flows.named(host, port, transport, self.flow)
        if flow is not None:
            if flow is not self.flow and flow.local is self.flow.local and flow.local.reliable:
                self.others = (self.flow,)
            self.flow = flow
        elif flows.on_name is not None:
            flows.on_name(self, uri, transport)

    @property
    def contact(self) -> bytes:
        """Our Contact in this dialog: sips where the remote target is (RFC 3261 8.1.1.8, 12.1.1)."""
        local = self.flow.local
        if local.transport == "tls" and self.target[:5].lower() == b"sips:":
            return local.secure_contact
        return local.contact

    @property
    def keeps_to_udp(self) -> bool:
        """Whether the next hop asks for UDP by name, so that size does not matter (RFC 3263 4.1)."""
        return _way_to(self.first_hop())[1] == b"udp"

    def first_hop(self) -> bytes:
        """Return the URI that the next request goes to: the first loose router's, else the Request-URI's."""
        if self.route and self._strict is None:
            first = parse_name_addr(split_list(self.route[6:].strip())[0]).uri
            if _parsed(first).param(b"lr") is not None:
                return first
        return self.target

    def next_seq(self) -> int:
        """Return the CSeq number of our next request in this dialog (RFC 3261 12.2.1.1)."""
        self.seq += 1
        return self.seq

    def accepts(self, request: Request) -> bool:
        """Tell whether the request's CSeq is in order, and take note of it (RFC 3261 12.2.2)."""
        seq = request.cseq[0]
        if seq <= self.remote_seq:
            return False
        self.remote_seq = seq
        return True

    def _set_route(self, values: list[bytes]) -> None:
        """Set the route set. A first hop without ``lr`` is a strict router: it becomes the Request-URI and
        the remote target goes to the end of the Route (RFC 3261 12.2.1.1).
        """
        if not values:
            return
        first = _parsed(parse_name_addr(values[0]).uri)
        if first.param(b"lr") is None:
            self._strict = values[1:]
            self._route_strictly(self.target)
            self.target = first.raw.removesuffix(first.headers)
        else:
            self.route = b"Route: %b\r\n" % b", ".join(values)

    def _route_strictly(self, target: bytes) -> None:
        """Put the remote target behind the routers that follow a strict one."""
        assert self._strict is not None
        self.route = b"Route: %b\r\n" % b", ".join([*self._strict, b"<%b>" % target])


class OpenHalf(Dialog):
    """The half of a dialog that a SUBSCRIBE or REFER of ours opens, registered without a remote tag: each
    NOTIFY from a tag that is not known comes to it, and makes a dialog of its own (RFC 6665 4.4.1).
    """

    __slots__ = ()

    def accepts(self, _request: Request) -> bool:
        """Any number is in order: each notifier counts for itself, from its first NOTIFY on."""
        return True


def _target_of(message: Request | Response, otherwise: bytes) -> bytes:
    """Return the URI in Contact; where it is missing or cannot be read, the target that is known to work."""
    contact = message.get(b"Contact")
    if contact is None:
        return otherwise
    try:
        return contact_uri(contact)
    except MalformedError:
        return otherwise


def parse_addresses_raw(values: list[bytes]) -> list[bytes]:
    """Split header values into addresses kept as they came, each checked. Raises MalformedError."""
    items = [item for value in values for item in split_list(value)]
    parse_addresses(items)
    return items
