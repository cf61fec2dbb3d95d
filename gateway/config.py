"""gateway.toml, read into typed, frozen settings.

`load` reads a file, or the embedded default.toml when there is none; `parse` reads a text. Both find every
mistake in one reading and raise them together as SettingsErrors. A key that is left out has the value it has
in the embedded default; trunks and routes have no default.

Relative paths in a file (`rules`, an SQLite `url`, number lists, TLS files) start at the directory the file
is in, so that a deployment can be moved and started from anywhere. Those of the embedded default start at
the current directory, because it has no place of its own.

Secrets are never read from the file: it names the environment variables that hold them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from gateway.addresses import (
    HostPort,
    TransportAddress,
    parse_host_port,
    parse_ip,
    parse_transport_address,
)
from gateway.patterns import BadValue
from gateway.settings_table import Table
from gateway.toml_source import SettingsError, SettingsErrors, TomlSource
from gateway.trunk_settings import (
    RouteSettings,
    TrunkSettings,
    check_pair,
    environment_name,
    file_of,
    read_routes,
    read_trunks,
)

__all__ = [
    "Config",
    "ConsoleSettings",
    "DnsSettings",
    "GatewaySettings",
    "LedgerSettings",
    "RouteSettings",
    "SettingsError",
    "SettingsErrors",
    "TelemetrySettings",
    "TimerSettings",
    "TrunkSettings",
    "UnwantedSettings",
    "load",
    "parse",
    "passwords",
]

EMBEDDED = "default.toml"
NUMBERS_KEY = "GATEWAY_NUMBERS_KEY"
"""The environment variable with the secret by which numbers are hashed."""
"""The name that the embedded default has in messages."""
_NUMBER_FORMS = ("hash", "last4", "clear")
_LOG_FORMS = ("console", "json")
_GATEWAY_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DATABASE = re.compile(r"(sqlite|postgresql)(\+\w+)?://.*")
_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)(.+)")
_WEB = re.compile(r"https?://[^\s/]+.*")
_LITERAL_TOKEN = (
    "a secret does not belong in this file",
    'put it in an environment variable and name that: token_env = "NAME"',
)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """[gateway]."""

    name: str
    listen: tuple[TransportAddress, ...]
    advertise: tuple[str, ...]
    """HOST[:PORT] for Via and Contact, of each of ``listen``; "" means the bound address."""
    rules: Path
    workers: int
    """Processes; 0 means one for each core."""
    drain: float
    """Seconds that calls may go on after the gateway was told to stop."""
    tls_cert: Path | None
    """Certificate chain of the tls: listeners; None: the first trunk's that has one."""
    tls_key: Path | None
    tls_ca: Path | None
    """CAs that may vouch for clients; clients are asked for a certificate then."""
    idle: float
    """Seconds after which a TCP or TLS connection without traffic is closed."""
    max_connections: int
    """TCP and TLS connections in all."""
    max_connections_per_source: int
    """TCP and TLS connections from one address."""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """[console]."""

    listen: TransportAddress | None
    """None means off."""
    token_env: str
    """The environment variable that holds the token; "" (on loopback only) means that none is asked for."""


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """[ledger]."""

    url: str
    """As SQLAlchemy reads it, an SQLite path already resolved; "" means off."""
    keep: float
    """Seconds that records are kept."""
    spool: Path | None
    """Where records wait while the database is down; None: in memory."""
    numbers: str
    """"clear", or "hash" where the ledger must not hold the numbers of callers and called."""


@dataclass(frozen=True, slots=True)
class UnwantedSettings:
    """[unwanted]."""

    keep: float
    """Seconds that what callees say by 607 is kept."""
    half_life: float
    """Seconds after which it weighs half."""
    lists: bool
    """Whether it is kept for each callee."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """[telemetry]."""

    otlp: str
    """The OTLP/HTTP endpoint; "" means off."""
    sample: float
    """Share of calls traced, from 0 to 1."""
    sample_rewritten: float
    """Share of rewritten calls traced, from 0 to 1."""
    max_traces_per_second: float
    hep: TransportAddress | None
    """Where copies of messages go as HEPv3; None means off."""
    hep_sample: float
    """Share of calls whose messages are copied there, from 0 to 1."""
    hep_id: int
    """What the copies say of which gateway they are from."""
    keep_messages: int
    """Bytes of recent messages that are kept in memory; 0 means none."""
    numbers: str
    """"hash", "last4" or "clear": how numbers appear in traces and logs."""
    logs: str
    """"console" or "json": how a line of the log is written."""


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """[dns]."""

    servers: tuple[HostPort, ...]
    """IP addresses; () means those of the system."""
    timeout: float
    """Seconds that the search for a target may take."""


@dataclass(frozen=True, slots=True)
class TimerSettings:
    """[timers]: the base values of RFC 3261 17.1.1.1, in seconds."""

    t1: float
    t2: float
    t4: float


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that gateway.toml says."""

    source: TomlSource
    directory: Path
    """Where the relative paths of the file start."""
    gateway: GatewaySettings
    console: ConsoleSettings
    ledger: LedgerSettings
    telemetry: TelemetrySettings
    timers: TimerSettings
    dns: DnsSettings
    unwanted: UnwantedSettings
    trunks: tuple[TrunkSettings, ...]
    routes: tuple[RouteSettings, ...]

    @property
    def is_embedded(self) -> bool:
        """Whether this is the default that serves when no file is given."""
        return self.source.file == EMBEDDED

    @property
    def trunk_kinds(self) -> dict[str, str]:
        """The kind of each trunk by its name, as TrunkPattern.unknown asks for it."""
        return {trunk.name: trunk.kind for trunk in self.trunks}


def load(path: str | Path | None = None) -> Config:
    """Read the file at `path`, or the embedded default when it is None. Raises SettingsErrors."""
    if path is None:
        text = resources.files("gateway").joinpath("default.toml").read_text(encoding="utf-8")
        return parse(text, EMBEDDED)
    try:
        source = TomlSource.read(path)
    except SettingsError as error:
        raise SettingsErrors([error]) from None
    return _read(source, Path(path).parent)


def parse(text: str, file: str = "gateway.toml", directory: Path | None = None) -> Config:
    """Read a text. `file` is its name in messages; relative paths start at `directory`, or the current one.

    Raises SettingsErrors.
    """
    try:
        source = TomlSource.parse(text, file)
    except SettingsError as error:
        raise SettingsErrors([error]) from None
    return _read(source, directory or Path())


def _read(source: TomlSource, directory: Path) -> Config:
    errors: list[SettingsError] = []
    top = Table(source, (), source.data, errors)
    gateway_table = top.table("gateway")
    gateway = _gateway(gateway_table, directory)
    console = _console(top.table("console"))
    ledger = _ledger(top.table("ledger"), directory)
    telemetry = _telemetry(top.table("telemetry"))
    timers = _timers(top.table("timers"))
    dns = _dns(top.table("dns"))
    unwanted = _unwanted(top.table("unwanted"))
    trunk_tables = top.tables("trunk")
    trunks = read_trunks(trunk_tables, directory)
    _check_certificate(gateway_table, gateway, trunks)
    routes = read_routes(top.tables("route"), trunks, directory)
    if top.value("trunk") in (None, []):
        top.fail("trunk", "there is none, so every call would be refused", "add a [[trunk]] for each peer")
    top.done()
    if errors:
        raise SettingsErrors(errors)
    return Config(
        source, directory, gateway, console, ledger, telemetry, timers, dns, unwanted, trunks, routes
    )


def numbers_key(config: Config, environment: Mapping[str, str]) -> bytes:
    """Return the secret by which the ledger's numbers are hashed; b"" where they are not.

    There are so few numbers that without a secret all can be tried out; raises SettingsErrors when the
    environment lacks it.
    """
    if config.ledger.numbers == "clear":
        return b""
    key = environment.get(NUMBERS_KEY, "")
    if not key:
        problem = f'the environment has no variable "{NUMBERS_KEY}", or an empty one'
        remedy = 'set it to a secret that stays the same, or write numbers = "clear"'
        raise SettingsErrors([config.source.error(("ledger", "numbers"), problem, remedy)])
    return key.encode()


def passwords(config: Config, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the password of each trunk with an account, by trunk name. Raises SettingsErrors where the
    environment lacks one.
    """
    found: dict[str, str] = {}
    errors: list[SettingsError] = []
    for index, trunk in enumerate(config.trunks):
        if not trunk.username:
            continue
        password = environment.get(trunk.password_env, "")
        if password:
            found[trunk.name] = password
        else:
            problem = f'the environment has no variable "{trunk.password_env}", or an empty one'
            remedy = "set it to the password before the gateway starts"
            errors.append(config.source.error(("trunk", index, "password_env"), problem, remedy))
    if errors:
        raise SettingsErrors(errors)
    return found


def _gateway(table: Table, directory: Path) -> GatewaySettings:
    default = (TransportAddress("udp", "127.0.0.1", 5060), TransportAddress("tcp", "127.0.0.1", 5060))
    listen = table.parsed_list("listen", default, parse_transport_address)
    if table.value("listen") in ([], ""):
        table.fail("listen", "the gateway would hear nothing", 'write an address, such as "udp:0.0.0.0:5060"')
    for index, address in enumerate(listen):
        if address.port and address in listen[:index]:
            table.fail(("listen", index), "this address is listed twice", "keep one of the two")
        host = parse_ip(address.host)
        if host is not None and host.version == 6 and host.is_link_local:
            problem = "no SIP URI can name the interface that a link-local address belongs to"
            table.fail(("listen", index), problem, "listen at a global or unique local address (fd00::/8)")
    settings = GatewaySettings(
        name=table.parsed("name", "gw1", _gateway_name),
        listen=listen,
        advertise=_advertise(table, [address.host for address in listen]),
        rules=directory / table.parsed("rules", "rules.toml", _file_name),
        workers=table.integer("workers", 1, 0, 256),
        drain=table.duration("drain", 30.0, "0s", "1d"),
        tls_cert=file_of(table, "tls_cert", directory),
        tls_key=file_of(table, "tls_key", directory),
        tls_ca=file_of(table, "tls_ca", directory),
        idle=table.duration("idle", 600.0, "10s", "1d"),
        max_connections=table.integer("max_connections", 10_000, 1, 1_000_000),
        max_connections_per_source=table.integer("max_connections_per_source", 1_000, 1, 1_000_000),
    )
    check_pair(table)
    table.done()
    return settings


def _advertise(table: Table, hosts: list[str]) -> tuple[str, ...]:
    """Return what peers are told of the listeners at these hosts: one for all of them, or one for a host."""
    if not isinstance(table.value("advertise"), dict):
        return (table.parsed("advertise", "", _advertised),) * len(hosts)
    given = table.table("advertise")
    told = {host.strip("[]"): given.parsed(host, "", _advertised) for host in given.data}
    for host in given.data:
        if host.strip("[]") not in hosts:
            given.fail(
                host, "nothing listens there", f"write a host of listen: {', '.join(sorted({*hosts}))}"
            )
    return tuple(told.get(host, "") for host in hosts)


def _check_certificate(table: Table, settings: GatewaySettings, trunks: tuple[TrunkSettings, ...]) -> None:
    """Report a tls: listener that has nothing to prove itself by."""
    has_one = settings.tls_cert is not None or any(trunk.tls_cert is not None for trunk in trunks)
    if has_one or "tls_cert" in table:
        return
    for index, address in enumerate(settings.listen):
        if address.transport == "tls":
            remedy = 'write tls_cert = "FILE" and tls_key = "FILE" in [gateway]'
            table.fail(("listen", index), "there is no certificate for it", remedy)


def _console(table: Table) -> ConsoleSettings:
    default: TransportAddress | None = TransportAddress("tcp", "127.0.0.1", 8080)
    listen = table.parsed("listen", default, _web_address)
    token_env = table.parsed("token_env", "GATEWAY_TOKEN", environment_name)
    if listen and not token_env and not listen.is_loopback:
        problem = "off loopback the console must ask for a token"
        table.fail("token_env", problem, 'write token_env = "GATEWAY_TOKEN", or listen on 127.0.0.1')
    table.done({"token": _LITERAL_TOKEN, "password": _LITERAL_TOKEN})
    return ConsoleSettings(listen, token_env)


def _ledger(table: Table, directory: Path) -> LedgerSettings:
    url = table.parsed("url", "sqlite:///var/gateway.db", _database)
    url = _SQLITE_FILE.sub(lambda match: f"{match[1]}{directory / match[2]}", url)
    keep = table.duration("keep", 30 * 86400.0, "1m", "36500d")
    spool = table.text("spool", "")
    settings = LedgerSettings(
        url,
        keep,
        directory / spool if spool else _spool_for(url, directory),
        table.choice("numbers", "clear", ("clear", "hash")),
    )
    table.done()
    return settings


def _unwanted(table: Table) -> UnwantedSettings:
    settings = UnwantedSettings(
        keep=table.duration("keep", 90 * 86400.0, "1h", "3660d"),
        half_life=table.duration("half_life", 14 * 86400.0, "1h", "3660d"),
        lists=table.flag("lists", False),
    )
    table.done()
    return settings


def _spool_for(url: str, directory: Path) -> Path | None:
    """Return where records wait unless the file says: beside an SQLite file, or in var/ for a server's."""
    if url.startswith("postgresql"):
        return directory / "var" / "gateway.spool"
    path = re.fullmatch(r"sqlite(?:\+\w+)?:///(?!:memory:|file:)([^?]+)(?:\?.*)?", url)
    return Path(f"{path[1]}.spool") if path else None


def _telemetry(table: Table) -> TelemetrySettings:
    settings = TelemetrySettings(
        otlp=table.parsed("otlp", "", _web_url),
        sample=table.number("sample", 0.01, 0, 1),
        sample_rewritten=table.number("sample_rewritten", 1.0, 0, 1),
        max_traces_per_second=table.number("max_traces_per_second", 50.0, 0, 100_000),
        hep=table.parsed("hep", None, _capture_server),
        hep_sample=table.number("hep_sample", 1.0, 0, 1),
        hep_id=table.integer("hep_id", 2001, 0, 2**32 - 1),
        keep_messages=table.integer("keep_messages", 64, 0, 16_384) * 1024 * 1024,
        numbers=table.choice("numbers", "hash", _NUMBER_FORMS),
        logs=table.choice("logs", "console", _LOG_FORMS),
    )
    table.done()
    return settings


def _timers(table: Table) -> TimerSettings:
    settings = TimerSettings(
        t1=table.duration("t1", 0.5, "1ms", "10s"),
        t2=table.duration("t2", 4.0, "1ms", "1m"),
        t4=table.duration("t4", 5.0, "1ms", "1m"),
    )
    if settings.t2 < settings.t1:
        table.fail("t2", "it is shorter than t1", "make it at least t1 (RFC 3261 17.1.2.1)")
    table.done()
    return settings


def _dns(table: Table) -> DnsSettings:
    settings = DnsSettings(
        servers=table.parsed_list("servers", (), _name_server),
        timeout=table.duration("timeout", 5.0, "100ms", "30s"),
    )
    table.done()
    return settings


def _gateway_name(text: str) -> str:
    if not _GATEWAY_NAME.fullmatch(text):
        raise BadValue(f'"{text}" cannot name a gateway', "use letters, digits, dots, - and _")
    return text


def _file_name(text: str) -> str:
    if not text:
        raise BadValue("it names no file", 'write a path, such as "rules.toml"')
    return text


def _advertised(text: str) -> str:
    if text and parse_host_port(text).port == 0:
        raise BadValue("peers cannot send to port 0", "write a port from 1 to 65535, or none")
    return text


def _name_server(text: str) -> HostPort:
    form = "IP or IP:PORT, an IPv6 address with a port in [brackets]"
    address = parse_ip(text)
    server = HostPort(str(address), None) if address is not None else parse_host_port(text, form)
    if parse_ip(server.host) is None or server.port == 0:
        raise BadValue(f'"{text}" is not the address of a name server', f"write {form}")
    return server


def _web_address(text: str) -> TransportAddress | None:
    if not text:
        return None
    address = parse_host_port(text)
    if address.port is None:
        raise BadValue(f'"{text}" has no port', 'write HOST:PORT, such as "127.0.0.1:8080"')
    return TransportAddress("tcp", address.host, address.port)


def _capture_server(text: str) -> TransportAddress | None:
    if not text:
        return None
    address = parse_transport_address(text)
    if address.transport == "tls":
        raise BadValue("copies go over UDP or TCP", 'write "udp:HOST:PORT" or "tcp:HOST:PORT"')
    return address


def _database(text: str) -> str:
    if text and not _DATABASE.fullmatch(text):
        raise BadValue(
            f'"{text}" is not a database the ledger can use',
            'write "sqlite:///FILE" or "postgresql+psycopg://USER@HOST/NAME"',
        )
    return text


def _web_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_web = bool(_WEB.fullmatch(text) and parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, or a port that is no number
        is_web = False
    if text and not is_web:
        raise BadValue(f'"{text}" is not a web address', 'write it as "http://127.0.0.1:4318"')
    return text
