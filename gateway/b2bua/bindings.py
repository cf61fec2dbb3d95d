"""REGISTER of a PBX on its way to a registrar trunk: each Contact mapped both ways (RFC 3261 10).

The registrar is told a contact of ours in place of each of the PBX's, so that calls to it come through the
gateway; the PBX is told its own contacts in the answer. What stands with a contact (expires, q, instance ids)
passes as it came, and so does ``*``. A binding lives as long as the registrar grants, and while the registrar
lists it: a 2xx has the whole list (RFC 3261 10.3), but for what was bound since its REGISTER went out; one
without a list, as some registrars send it, speaks only of what was asked. One that the registrar has never
granted goes when it refuses. The table of them is bounded, and so is what one trunk may have of it under one
address of record: what others register there does not count.

The proxies that a REGISTER has come through (Path, RFC 3327) stand between us and the PBX: they stay here,
and are the Route of what goes to its contacts. Those that the registrar names (Service-Route, RFC 3608) are
beyond us and no way for the PBX.

A contact is no more believed than one in a dialog: where the PBX is behind a NAT, or names an address that it
must not send us to, its contact is called where its REGISTER came from; and so it is where it takes no
connection at the address that it named, but is still on the one that it registered over.
"""

from __future__ import annotations

from gateway.routing.locate import Address, target_of_uri
from gateway.routing.route import Hop, Plan, hop_to
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.sip.dialog import contact_uri, parse_addresses_raw
from gateway.sip.endpoint import Endpoint
from gateway.sip.errors import MalformedError
from gateway.sip.flow import Flow, Flows, Local
from gateway.sip.headers import parse_addresses
from gateway.sip.message import Request, Response
from gateway.sip.rows import Row, unfold
from gateway.sip.uri import Uri, parse_uri

from .contacts import ContactTable, ContactValue, expires_of, our_contact, read_contacts, token_of

MAX_BINDINGS = 50_000
MAX_CONTACTS = 16
"""Contacts that one trunk has under one address of record."""
MAX_PATH = 2_048
"""Bytes of the proxies that are remembered with a contact."""
_DEFAULT_EXPIRES = 3600  # RFC 3261 10.2.1.1 leaves it to the registrar; this is what most take
_LONGEST = 7 * 86_400  # seconds; a registrar that grants more is not believed
_UNCONFIRMED = 40.0  # seconds that a binding waits for the answer, and for credentials
_SWEEP = 60.0  # seconds between two looks for what has expired
# The same REGISTER comes again, with credentials or for longer (RFC 3261 22.2, 10.2.8).
_COMES_AGAIN = (401, 407, 423)
_HOPS_BEYOND = (b"Path", b"Service-Route")
_FEATURE_607 = b"+sip.607"


class Binding:
    """One contact of a PBX under one address of record, and the token it has towards the registrar.
    ``flow`` is where it was registered from last, ``path`` what proxies lead to it, b"" for none;
    ``granted_at`` is 0.0 until a 2xx has granted it.
    """

    __slots__ = (
        "_flows",
        "contact",
        "expires_at",
        "flow",
        "granted_at",
        "path",
        "registrar",
        "source",
        "token",
    )

    def __init__(
        self, source: str, registrar: str, contact: bytes, token: bytes, flows: Flows, flow: Flow
    ) -> None:
        self.source = source
        self.registrar = registrar
        self.contact = contact
        self.token = token
        self.flow = flow
        self.path = b""
        self.expires_at = 0.0
        self.granted_at = 0.0
        self._flows = flows

    def reach(self, _request: Request, uri: Uri, trunks: TrunkTable, now: float) -> tuple[Uri, Plan | None]:
        """Return the PBX's contact, byte for byte, and the way to it, by way of the proxies that it has
        registered through (RFC 3327 5.2); no way once it has expired.
        """
        trunk = trunks.by_name.get(self.source)
        if trunk is None or self.expires_at <= now:
            return uri, Plan((), "serial")
        wanted = contact_uri(b"<%b>" % self.contact)
        contact = parse_uri(wanted)
        target = target_of_uri(contact)
        route = b""
        if self.path:
            target = target_of_uri(parse_uri(parse_addresses((self.path,))[0].uri))
            route = b"Route: %b\r\n" % self.path
        flow = self.flow
        came_from = Address(flow.peer[0], flow.peer[1], flow.local.transport)
        if trunk.nat or not self._flows.may_name(target.host, flow):
            hops: tuple[Hop, ...] = (Hop(trunk, target, came_from, uri=wanted, route=route),)
        else:
            hops = (hop_to(trunk, target, wanted, route),)
            if flow.local.reliable:
                hops += (Hop(trunk, target, came_from, is_alternate=True, uri=wanted, route=route),)
        return contact, Plan(hops, "serial")


class TooManyContactsError(Exception):
    """A REGISTER that would make the table grow beyond its bounds; ``status`` is owed to the peer."""

    def __init__(self, status: int) -> None:
        super().__init__("too many contacts")
        self.status = status


class Bindings:
    """The bindings in force. ``contacts`` is where requests look for them."""

    def __init__(self, endpoint: Endpoint, contacts: ContactTable) -> None:
        self._endpoint = endpoint
        self._contacts = contacts
        # By registrar and address of record, then by trunk and contact.
        self._bound: dict[tuple[str, bytes], dict[tuple[str, bytes], Binding]] = {}
        self._count = 0
        self._is_sweeping = False

    def __len__(self) -> int:
        return self._count

    def begin(
        self, request: Request, source: Trunk, flow: Flow, registrar: Trunk, local: Local, now: float
    ) -> Registering:
        """Take a REGISTER from ``source`` on ``flow`` that goes on to ``registrar`` from ``local``.

        Raises TooManyContactsError, and MalformedError for a Contact that cannot be read.
        """
        registering = Registering(self, request, registrar, now)
        try:
            registering.map(request, source.name, flow, local, now)
        except (TooManyContactsError, MalformedError):
            registering.forget()
            raise
        return registering

    def bind(
        self, key: tuple[str, bytes], source: str, contact: bytes, flow: Flow, path: bytes, now: float
    ) -> Binding:
        """Return the binding of a contact, made on first need. Raises TooManyContactsError."""
        bound = self._bound.get(key, {})
        binding = bound.get((source, contact))
        if binding is None:
            for other in list(bound.values()):
                if other.expires_at <= now:
                    self.drop(key, other)
            if sum(other.source == source for other in bound.values()) >= MAX_CONTACTS:
                raise TooManyContactsError(403)
            if self._count >= MAX_BINDINGS:
                raise TooManyContactsError(503)
            token = token_of(key[0].encode(), key[1], source.encode(), contact)
            binding = Binding(source, key[0], contact, token, self._endpoint.flows, flow)
            self._bound.setdefault(key, bound)[source, contact] = binding
            self._contacts[binding.token] = binding
            self._count += 1
        binding.flow = flow
        binding.path = path
        binding.expires_at = max(binding.expires_at, now + _UNCONFIRMED)
        if not self._is_sweeping:
            self._is_sweeping = True
            self._endpoint.timers.at(now + _SWEEP, self)
        return binding

    def of(self, key: tuple[str, bytes]) -> dict[bytes, Binding]:
        """Return the bindings of an address of record at a registrar, by token."""
        return {binding.token: binding for binding in self._bound.get(key, {}).values()}

    def drop(self, key: tuple[str, bytes], binding: Binding) -> None:
        """Forget a binding."""
        bound = self._bound[key]
        del bound[binding.source, binding.contact]
        if not bound:
            del self._bound[key]
        del self._contacts[binding.token]
        self._count -= 1

    def on_timer(self, now: float) -> None:
        """Drop what has expired."""
        for key, bound in list(self._bound.items()):
            for binding in list(bound.values()):
                if binding.expires_at <= now:
                    self.drop(key, binding)
        self._is_sweeping = bool(self._bound)
        if self._is_sweeping:
            self._endpoint.timers.at(now + _SWEEP, self)


class Registering:
    """One REGISTER on its way. ``rows`` are its header rows as the registrar gets them."""

    __slots__ = ("_asked", "_begun_at", "_bindings", "_key", "_path", "_registrar", "_removes_all", "rows")

    def __init__(self, bindings: Bindings, request: Request, registrar: Trunk, now: float) -> None:
        self._bindings = bindings
        self._registrar = registrar
        self._key = (registrar.name, request.receiver.uri)
        self._asked: dict[bytes, int] = {}  # seconds, by token
        self._removes_all = False
        self._begun_at = now
        self._path = [row for row in request.rows if row[0] == b"Path"]
        self.rows: list[Row] = []

    def map(self, request: Request, source: str, flow: Flow, local: Local, now: float) -> None:
        """Bind the contacts, and make the rows. Raises TooManyContactsError and MalformedError."""
        otherwise = expires_of(request)
        if otherwise is None:
            otherwise = _DEFAULT_EXPIRES
        path = b", ".join(parse_addresses_raw(request.values(b"Path")))
        for key, line in request.rows:
            if key == b"Path":
                continue
            value = unfold(line.partition(b":")[2]) if key == b"Contact" else b""
            if value == b"*":
                self._removes_all = True
            if key != b"Contact" or value == b"*":
                self.rows.append((key, line))
                continue
            said = []
            for item in read_contacts(value):
                binding = self._bindings.bind(self._key, source, item.uri, flow, path, now)
                self._asked[binding.token] = otherwise if item.expires is None else item.expires
                said.append(item.before + our_contact(local, binding.token) + item.after)
            self.rows.append((key, b"Contact: " + b", ".join(said)))

    def answered(self, response: Response, now: float) -> None:
        """Take the 2xx: it lists every binding there is now, and for how long (RFC 3261 10.2.4, 10.3). Its
        rows become what the PBX gets, with the Path that it sent (RFC 3327 5.3).
        """
        known = self._bindings.of(self._key)
        otherwise = expires_of(response)
        granted: dict[bytes, int] = {}
        is_listed = response.has(b"Contact")
        rows = list(self._path)
        for key, line in response.rows:
            if key in _HOPS_BEYOND:
                continue
            if key == b"Contact":
                mapped = self._map_back(line, known, granted, otherwise)
                is_listed = is_listed and mapped is not None
                line = mapped or line
            rows.append((key, line))
        if not is_listed:  # then what was asked for was granted
            granted = {**self._asked, **granted}
        for token, binding in known.items():
            seconds = granted.get(token, 0)
            if seconds:
                binding.granted_at = now
                binding.expires_at = now + min(seconds, _LONGEST)
            elif self._ends(token, binding, is_listed or self._removes_all):
                self._bindings.drop(self._key, binding)
        if 607 in self._registrar.supports and not _says_607(response):
            rows.append((b"Feature-Caps", b"Feature-Caps: *;" + _FEATURE_607))  # RFC 8197 6, RFC 6809 4.3
        response.rows = rows

    def refused(self, response: Response) -> None:
        """Take a refusal: what it would have bound is not bound (RFC 3261 10.3), unless it is asked again."""
        if response.status not in _COMES_AGAIN:
            self.forget()

    def forget(self) -> None:
        """Drop what only this REGISTER has asked for: nothing that was granted before, and nothing that
        another one has named since, which waits for its own answer.
        """
        for token, binding in self._bindings.of(self._key).items():
            is_ours = token in self._asked and binding.expires_at <= self._begun_at + _UNCONFIRMED
            if is_ours and not binding.granted_at:
                self._bindings.drop(self._key, binding)

    def _ends(self, token: bytes, binding: Binding, speaks_of_all: bool) -> bool:
        """Tell whether a 2xx that does not grant a binding ends it: not one that another answer, which has
        overtaken this one, has granted since.
        """
        if binding.granted_at > self._begun_at:
            return False
        return token in self._asked or (speaks_of_all and binding.granted_at > 0.0)

    def _map_back(
        self, line: bytes, known: dict[bytes, Binding], granted: dict[bytes, int], otherwise: int | None
    ) -> bytes | None:
        """Return a Contact line with the PBX's own contacts; None for one that cannot be read."""
        try:
            items = read_contacts(unfold(line.partition(b":")[2]))
            tokens = [parse_uri(item.uri).user for item in items]
        except MalformedError:
            return None
        if known.keys().isdisjoint(tokens):
            return line
        said = []
        for item, token in zip(items, tokens, strict=True):
            uri = item.uri
            if token in known:
                uri = known[token].contact
                granted[token] = self._seconds(item, token, otherwise)
            said.append(item.before + uri + item.after)
        return b"Contact: " + b", ".join(said)

    def _seconds(self, item: ContactValue, token: bytes, otherwise: int | None) -> int:
        if item.expires is not None:
            return item.expires
        return self._asked.get(token, _DEFAULT_EXPIRES) if otherwise is None else otherwise


def check_path(register: Request) -> None:
    """Make sure that a Route can be made of the Path of a REGISTER. Raises MalformedError."""
    values = register.values(b"Path")
    if sum(map(len, values)) > MAX_PATH:
        raise MalformedError("Path too long")
    for address in parse_addresses(values):
        if parse_uri(address.uri).scheme not in (b"sip", b"sips"):
            raise MalformedError("bad Path")


def _says_607(response: Response) -> bool:
    return any(_FEATURE_607 in value.lower() for value in response.values(b"Feature-Caps"))
