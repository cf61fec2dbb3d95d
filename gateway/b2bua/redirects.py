"""Following a 3xx in the caller's place (RFC 3261 8.1.3.4), for trunks with `redirect = "follow"`.

A redirection comes from outside and must not send calls to wherever it likes: a Contact is followed when it
names the gateway itself or is a telephone number, which then takes the routes of the caller's trunk, or when
its host belongs to a configured trunk. No URI is tried twice in one call, and only so many at all.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from gateway.routing.locate import target_of_uri
from gateway.routing.route import Hop, hop_to, over_tls
from gateway.routing.trunk import Trunk
from gateway.sip.errors import MalformedError
from gateway.sip.headers import NameAddr, parse_addresses
from gateway.sip.message import Response
from gateway.sip.uri import Uri, parse_uri

from .leg import target_uri

if TYPE_CHECKING:
    from .core import B2bua

MAX_REDIRECTIONS = 10  # URIs followed in one call


class Redirects:
    """What has been followed in one call to ``uri``, made by ``number`` on the trunk ``caller``. The numbers
    of a ``signed`` call stay as they are on trunks that change no others.
    """

    __slots__ = ("_caller", "_core", "_number", "_seen", "_signed")

    def __init__(self, core: B2bua, caller: Trunk, number: str, uri: Uri, signed: bool) -> None:
        self._core = core
        self._signed = signed
        self._caller = caller
        self._number = number
        self._seen = {uri.raw.removesuffix(uri.headers)}

    def hops(self, response: Response, trunk: Trunk) -> tuple[Hop, ...]:
        """Return where the Contacts of a 3xx from ``trunk`` lead, the most wanted first; nothing when none of
        them can be followed.
        """
        try:
            contacts = parse_addresses(response.values(b"Contact"))
        except MalformedError:
            return ()
        hops: list[Hop] = []
        for contact in sorted(contacts, key=_unwanted):
            try:
                uri = parse_uri(contact.uri)
            except MalformedError:
                continue
            wanted = uri.raw.removesuffix(uri.headers)
            if wanted in self._seen or len(self._seen) > MAX_REDIRECTIONS:
                continue
            found = self._hops_to(uri, wanted, trunk)
            if found:
                self._seen.add(wanted)
            hops += found
        return tuple(hops)

    def _hops_to(self, uri: Uri, wanted: bytes, trunk: Trunk) -> tuple[Hop, ...]:
        core = self._core
        if uri.scheme == b"tel" or core.endpoint.itself.is_named_by(uri):
            if trunk.numbers is not None:
                uri = trunk.numbers.read_called(uri, self._signed)
            called = uri.number.decode("utf-8", "replace")
            plan = core.setup.routes.plan(self._caller, called, self._number) if called else None
            hops = () if plan is None else plan.hops
            if uri.scheme == b"sips":
                hops = over_tls(hops)
            return tuple(replace(hop, uri=self._said_to(hop, uri)) for hop in hops)
        if uri.scheme not in (b"sip", b"sips"):
            return ()
        target = target_of_uri(uri)
        owner = _owner(core, target.host.lower(), target.port, trunk)
        return (hop_to(owner, target, wanted),) if owner is not None else ()

    def _said_to(self, hop: Hop, uri: Uri) -> bytes:
        """Return the URI that a target is called by, its number as the trunk wants it."""
        numbers = hop.trunk.numbers
        if numbers is not None:
            uri = numbers.write_called(uri, self._signed)
        return target_uri(uri, hop.target)


def _owner(core: B2bua, host: str, port: int, trunk: Trunk) -> Trunk | None:
    """Return the trunk that a host belongs to, the one that redirected before the others."""
    trunks = core.setup.trunks
    for candidate in chain((trunk,), trunks):
        if any(target.host.lower() == host for target in candidate.targets):
            return candidate
    return trunks.find(host, port)


def _unwanted(contact: NameAddr) -> float:
    """Return how little a Contact is wanted: the opposite of its q (RFC 3261 20.10)."""
    try:
        wanted = float(contact.params.get(b"q") or 1)
    except ValueError:
        return -1.0
    return -wanted if 0 <= wanted <= 1 else -1.0
