"""TLS: the certificates of a configuration, and one TLS session as bytes in and bytes out.

:class:`Certificates` holds the contexts that connections are made with. They are made anew whenever the files
change; a file that is no good is refused and the old ones stay. Connections that stand go on as they began.

:class:`Session` does no I/O, so that the transport treats a TLS connection like any other: what comes off the
socket goes through it, and so does what is sent.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config, SettingsError, SettingsErrors, TrunkSettings
from gateway.routing.trunk import tls_names

from .identity import names_of, normalized
from .validity import trouble

_READ = 65_536

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """How a trunk is met over TLS: the context to connect with, and the names that it may prove. ``verify``
    is false where the configuration takes its word for it.
    """

    context: ssl.SSLContext
    names: frozenset[str]
    verify: bool

    def accepts(self, proved: frozenset[str]) -> bool:
        """Tell whether a certificate with these names is the trunk's (RFC 5922 7.2)."""
        return not self.verify or not self.names.isdisjoint(proved)


class Certificates:
    """The TLS contexts of a configuration. Raises SettingsErrors when made from one with bad files."""

    def __init__(self, config: Config) -> None:
        self.load(config)

    def load(self, config: Config) -> None:
        """Read every file anew. Raises SettingsErrors, and then what was there before stays."""
        errors: list[SettingsError] = []
        files = set(certificate_files(config))
        server = _server(config, errors)
        meetings = {
            trunk.name: _meeting(config, index, trunk, errors)
            for index, trunk in enumerate(config.trunks)
            if _is_met(trunk)
        }
        if errors:  # one file can serve, and fail, several times
            raise SettingsErrors(list({str(error): error for error in errors}.values()))
        self.files = files
        """What they were read from."""
        self.server = server
        """What connections to our tls: listeners are answered with; None when we have no certificate."""
        self.warnings = list(_warnings(config))
        """What is to be said of certificates that can be used, but not for long."""
        self._meetings = meetings
        self._unknown: ssl.SSLContext | None = None

    def meeting(self, trunk: str, host: str) -> Meeting:
        """Return how this trunk is met; where we know of no trunk, a certificate must name the address."""
        found = self._meetings.get(trunk)
        if found is not None:
            return found
        if self._unknown is None:
            self._unknown = _client_context()
        return Meeting(self._unknown, frozenset((normalized(host),)), True)


class Session:
    """One TLS session over bytes. Both directions raise ssl.SSLError when it is over."""

    __slots__ = ("_incoming", "_object", "_outgoing", "established", "is_over")

    def __init__(self, context: ssl.SSLContext, *, server: bool, name: str | None = None) -> None:
        """``name`` is the domain asked for when we connect (SNI), None for an address."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server, name)
        self.established = False
        self.is_over = False  # the peer has said that it will send no more

    def receive(self, data: bytes) -> bytes:
        """Take what came off the socket, b"" to begin, and return what it says. See :meth:`pending`."""
        self._incoming.write(data)
        if not self.established:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                return b""
            self.established = True
        plain = b""
        try:
            while part := self._object.read(_READ):
                plain += part
            self.is_over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_over = True
        return plain

    def seal(self, data: bytes) -> bytes:
        """Return what must go to the socket to say ``data``."""
        self._object.write(data)
        return self._outgoing.read()

    def farewell(self) -> bytes:
        """Return what must go to the socket to end the session in order."""
        with contextlib.suppress(ssl.SSLError):  # the peer's own farewell is not waited for
            self._object.unwrap()
        return self._outgoing.read()

    def pending(self) -> bytes:
        """Return what the session itself has to say: handshake, alerts."""
        return self._outgoing.read()

    @property
    def names(self) -> frozenset[str]:
        """What the peer's certificate has proved: nothing, where its names are no text."""
        try:
            return names_of(self._object.getpeercert())
        except UnicodeDecodeError:
            return frozenset()


def _is_met(trunk: TrunkSettings) -> bool:
    """Whether we may have to connect to a trunk over TLS: its Contacts can ask for that, too."""
    return bool(trunk.transport == "tls" or trunk.tls_ca or trunk.tls_cert or not trunk.tls_verify) or any(
        uri.transport == "tls" for uri in trunk.target
    )


def certificate_files(config: Config) -> Iterator[Path]:
    """Yield the files of certificates and keys that a configuration names."""
    gateway = config.gateway
    paths = [gateway.tls_ca, gateway.tls_cert, gateway.tls_key]
    for trunk in config.trunks:
        paths += [trunk.tls_ca, trunk.tls_cert, trunk.tls_key]
    yield from (path for path in paths if path is not None)


def _warnings(config: Config) -> Iterator[str]:
    """Yield a sentence for each certificate of ours that has expired, or will soon."""
    gateway = config.gateway
    pairs = [
        (gateway.tls_cert, gateway.tls_key),
        *((trunk.tls_cert, trunk.tls_key) for trunk in config.trunks),
    ]
    for cert, key in dict.fromkeys(pairs):
        if cert is not None and key is not None:
            shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            shown.load_cert_chain(cert, key, password="")
            what = trouble(shown, cert, time.time())
            if what:
                yield f'the certificate "{cert}" {what}'


def _server(config: Config, errors: list[SettingsError]) -> ssl.SSLContext | None:
    where, cert, key = _own_certificate(config)
    if cert is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    _identify(context, config, where, cert, key, errors)
    trusted: dict[Place, Path | None] = {("gateway", "tls_ca"): config.gateway.tls_ca}
    if config.gateway.tls_ca is None:
        trusted = _lent_ca(config, errors)
    for place, ca in trusted.items():
        context.verify_mode = ssl.CERT_OPTIONAL
        if ca is None:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        else:
            _trust(context, config, place, ca, errors)
    return context


def _own_certificate(config: Config) -> tuple[Place, Path | None, Path | None]:
    """Return the gateway's certificate and key, and where they stand: its own, or the first trunk's."""
    gateway = config.gateway
    if gateway.tls_cert is not None:
        return ("gateway",), gateway.tls_cert, gateway.tls_key
    for index, trunk in enumerate(config.trunks):
        if trunk.tls_cert is not None:
            return ("trunk", index), trunk.tls_cert, trunk.tls_key
    return (), None, None


def _lent_ca(config: Config, errors: list[SettingsError]) -> dict[Place, Path | None]:
    """Return the CAs of the trunks that are known by a TLS name, None for the system's. There may be but one
    file of them: two could vouch for each other's names.
    """
    lent: dict[Path | None, Place] = {}
    for index, trunk in enumerate(config.trunks):
        if any(source.network is None for source in trunk.source):
            lent.setdefault(trunk.tls_ca, ("trunk", index, "source" if trunk.tls_ca is None else "tls_ca"))
    if len(lent) > 1:
        *_, place = lent.values()
        problem = "another trunk with a TLS name trusts another CA, and each could vouch for the other's name"
        remedy = "name the file of the CAs that may vouch for trunks in gateway.tls_ca"
        errors.append(config.source.error(place, problem, remedy))
    return {place: ca for ca, place in lent.items()}


def _meeting(config: Config, index: int, trunk: TrunkSettings, errors: list[SettingsError]) -> Meeting:
    context = _client_context(system=trunk.tls_ca is None)
    if not trunk.tls_verify:
        context.verify_mode = ssl.CERT_NONE
    if trunk.tls_ca is not None:
        _trust(context, config, ("trunk", index, "tls_ca"), trunk.tls_ca, errors)
    if trunk.tls_cert is not None and trunk.tls_key is not None:
        _identify(context, config, ("trunk", index), trunk.tls_cert, trunk.tls_key, errors)
    elif config.gateway.tls_cert is not None and config.gateway.tls_key is not None:
        _identify(context, config, ("gateway",), config.gateway.tls_cert, config.gateway.tls_key, errors)
    return Meeting(context, tls_names(trunk), trunk.tls_verify)


def _client_context(system: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # names are compared by RFC 5922, not by the rules of the web
    context.options |= ssl.OP_NO_RENEGOTIATION
    if system:
        context.load_default_certs()
    return context


def _identify(
    context: ssl.SSLContext,
    config: Config,
    where: Place,
    cert: Path,
    key: Path,
    errors: list[SettingsError],
) -> None:
    try:
        context.load_cert_chain(cert, key, password="")  # never ask at the terminal
    except (OSError, ValueError) as error:
        remedy = f'tls_cert and tls_key "{key}" must be a certificate chain and its unencrypted key, as PEM'
        problem = f'"{cert}" cannot be used ({_why(error)})'
        errors.append(config.source.error((*where, "tls_cert"), problem, remedy))


def _trust(
    context: ssl.SSLContext,
    config: Config,
    place: Place,
    ca: Path,
    errors: list[SettingsError],
) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ValueError) as error:
        problem = f'"{ca}" cannot be used ({_why(error)})'
        errors.append(config.source.error(place, problem, "name a file of CA certificates, as PEM"))


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
