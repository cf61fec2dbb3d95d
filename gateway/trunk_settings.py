"""The trunks and routes of gateway.toml, as typed settings.

A trunk is a peer the gateway speaks SIP with; a route says where calls from some trunks go. Every mistake is
collected as a SettingsError. What one trunk or route gets wrong alone is found while its table is read; what
it gets wrong together with others (a name or a source used twice, a route to an unknown trunk) afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.addresses import TRANSPORTS, Source, TargetUri, parse_source, parse_target
from gateway.number_lists import NumberList, NumberPattern, load_numbers
from gateway.number_settings import NumberSettings, read_numbers_table
from gateway.os_errors import in_words
from gateway.patterns import KINDS, BadValue, TrunkPattern, parse_duration
from gateway.regexes import check_cost
from gateway.settings_table import Table
from gateway.toml_source import closest

STRATEGIES = ("serial", "parallel")
REDIRECTS = ("pass", "follow")
PRACK = ("pass", "local")

_TRUNK_NAME = re.compile(r"[A-Za-z0-9._-]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # token, RFC 3261 25.1
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLASS = re.compile(r"([3-6])xx")
_RANGE = re.compile(r"([3-6][0-9]{2})-([3-6][0-9]{2})")
_FINAL_CODES = ("607", "608")

# Each leg makes these for itself, so stripping or setting them could only break the dialog.
_OWN_HEADERS = re.compile(
    r"via|v|from|f|to|t|call-id|i|cseq|contact|m|route|record-route|max-forwards|content-length|l",
    re.IGNORECASE,
)

_LITERAL_SECRET = (
    "a secret does not belong in this file",
    'put it in an environment variable and name that: password_env = "NAME"',
)


@dataclass(frozen=True, slots=True)
class TrunkSettings:
    """One [[trunk]]. Durations are seconds; None means that the limit or function is off."""

    name: str
    kind: str = "peer"
    """"pbx", "carrier" or "peer"."""
    source: tuple[Source, ...] = ()
    """Who may speak as this trunk. A target is not a source: list its address here too if it also calls."""
    target: tuple[TargetUri, ...] = ()
    supports: frozenset[int] = frozenset()
    """The status codes of 607 and 608 that the peer understands."""
    trusted: bool = False
    """May send and receive P-Asserted-Identity (RFC 3325)."""
    max_calls: int | None = None
    """Calls at a time."""
    max_cps: float | None = None
    """New calls a second."""
    options_ping: float | None = None
    """Seconds between OPTIONS to each target."""
    down_after: int = 3
    """Pings in a row without an answer after which a target is down."""
    up_after: int = 2
    """Answered pings in a row after which it is up again."""
    weights: tuple[int, ...] = ()
    """The share of calls that each target gets; empty: the targets are tried in order."""
    redirect: str = "pass"
    """What becomes of a 3xx: "pass" it to the caller, or "follow" it (RFC 3261 8.1.3.4)."""
    hunt_after_early_media: bool = False
    """A hunt goes on although the caller has heard something of this trunk already."""
    username: str = ""
    password_env: str = ""
    """The environment variable that holds the password; the password itself is never here."""
    register: bool = False
    register_expires: float = 3600.0
    """Seconds to ask the registrar for."""
    transport: str | None = None
    """udp, tcp or tls for targets whose URI names none."""
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_verify: bool = True
    hide: tuple[str, ...] = ()
    """Names of the headers stripped from what is sent to this trunk."""
    set: tuple[tuple[str, str], ...] = ()
    """Names and values of the headers set on what is sent to this trunk."""
    q850: tuple[tuple[int, int], ...] = ()
    """Changes to the cause tables (RFC 3398): cause 1-127 -> status, and status 400-699 -> cause."""
    stop_on: frozenset[int] = frozenset()
    """Final statuses that end the hunt, over the default."""
    advance_on: frozenset[int] = frozenset()
    """Final statuses on which the hunt goes on, over the default."""
    session_timer: float | None = None
    """Session-Expires to ask for (RFC 4028)."""
    dialog_ping: float | None = None
    """Seconds between OPTIONS inside each dialog with the peer; not where there is a session timer."""
    prack: str = "pass"
    """"pass": reliable provisional responses go end to end. "local": the gateway speaks RFC 3262 itself."""
    ring_timeout: float = 180.0
    max_duration: float | None = None
    x_cid: bool = True
    """The INVITE sent to this trunk carries the other leg's Call-ID as X-CID."""
    trace_context: bool = False
    """`traceparent` (W3C Trace Context) of this trunk's INVITEs is heeded, and INVITEs to it carry one."""
    rewrite_network_blocked: bool = False
    """Rules may rewrite a 603+ "Network Blocked" on its way to this trunk. The law forbids it in the US."""
    hide_topology: bool = False
    """Nothing of the other side's addresses and equipment is seen in what is sent to this trunk."""
    keep: tuple[str, ...] = ()
    """Names of the headers that pass to this trunk as they came although `hide_topology` would drop them."""
    nat: bool = False
    """Everything for this peer goes to the address that it sends from, whatever it says of itself."""
    numbers: NumberSettings | None = None


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """One [[route]]: calls from the trunks of `source` whose numbers match go to the trunks of `to`."""

    source: TrunkPattern | None
    """`from`; None: calls from any trunk."""
    to: tuple[str, ...]
    """Names of trunks, in order of trying; globs and kinds are replaced by the trunks they mean."""
    strategy: str = "serial"
    called: NumberPattern | None = None
    caller: NumberPattern | None = None


def read_trunks(tables: Sequence[Table], directory: Path) -> tuple[TrunkSettings, ...]:
    """Read every [[trunk]]; relative paths start at `directory`. Mistakes go to the tables' errors."""
    trunks = tuple(_read_trunk(table, directory) for table in tables)
    named: dict[str, Table] = {}
    owners: dict[object, str] = {}
    for table, trunk in zip(tables, trunks, strict=True):
        first = named.setdefault(trunk.name, table)
        if trunk.name and first is not table:
            problem = f"the trunk on line {first.source.line(*first.path)} has this name already"
            table.fail("name", problem, "give each trunk a name of its own")
        for index, source in enumerate(trunk.source):
            if source.identity in owners:
                problem = f'"{source.text}" is a source of the trunk "{owners[source.identity]}" already'
                table.fail(("source", index), problem, "keep it in one place, or tell the two apart by port")
            owners[source.identity] = trunk.name
    return trunks


def read_routes(
    tables: Sequence[Table], trunks: Sequence[TrunkSettings], directory: Path
) -> tuple[RouteSettings, ...]:
    """Read every [[route]]; number lists start at `directory`. Mistakes go to the tables' errors."""
    return tuple(_read_route(table, trunks, directory) for table in tables)


def environment_name(text: str) -> str:
    """Return `text` if it can name an environment variable. Raises BadValue when not."""
    if text and not _ENVIRONMENT_NAME.fullmatch(text):
        problem = "this is not the name of an environment variable"  # and may be a secret: do not repeat it
        raise BadValue(problem, "write a name of letters, digits and _, and put the secret in that variable")
    return text


def check_pair(table: Table) -> None:
    """Report a certificate without its key, or a key without its certificate."""
    for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if key in table and other not in table:
            table.fail(key, f"it is of no use without {other}", f"add {other}")


def _read_trunk(table: Table, directory: Path) -> TrunkSettings:
    trunk = TrunkSettings(
        name=table.parsed("name", "", _trunk_name),
        kind=table.choice("kind", "peer", KINDS),
        source=table.parsed_list("source", (), parse_source),
        target=table.parsed_list("target", (), parse_target),
        supports=frozenset(table.parsed_list("supports", (), _final_code)),
        trusted=table.flag("trusted", False),
        max_calls=table.integer("max_calls", None, 1, 1_000_000),
        max_cps=table.number("max_cps", None, 0.01, 100_000),
        options_ping=_ping(table, "options_ping"),
        down_after=table.integer("down_after", 3, 1, 100),
        up_after=table.integer("up_after", 2, 1, 100),
        weights=_weights(table),
        redirect=table.choice("redirect", "pass", REDIRECTS),
        hunt_after_early_media=table.flag("hunt_after_early_media", False),
        username=table.parsed("username", "", _username),
        password_env=table.parsed("password_env", "", environment_name),
        register=table.flag("register", False),
        register_expires=table.duration("register_expires", 3600.0, "60s", "1d"),
        transport=table.choice("transport", None, TRANSPORTS),
        tls_ca=file_of(table, "tls_ca", directory),
        tls_cert=file_of(table, "tls_cert", directory),
        tls_key=file_of(table, "tls_key", directory),
        tls_verify=table.flag("tls_verify", True),
        hide=table.parsed_list("hide", (), _header_name),
        set=_headers(table.table("set")),
        q850=_causes(table.table("q850")),
        stop_on=_statuses(table, "stop_on"),
        advance_on=_statuses(table, "advance_on"),
        session_timer=table.duration("session_timer", None, "90s", "1d"),  # RFC 4028 5: at least 90 seconds
        dialog_ping=_ping(table, "dialog_ping"),
        prack=table.choice("prack", "pass", PRACK),
        ring_timeout=table.duration("ring_timeout", 180.0, "100ms", "1h"),
        max_duration=table.duration("max_duration", None, "1s", "30d"),
        x_cid=table.flag("x_cid", True),
        trace_context=table.flag("trace_context", False),
        rewrite_network_blocked=table.flag("rewrite_network_blocked", False),
        hide_topology=table.flag("hide_topology", False),
        keep=table.parsed_list("keep", (), _header_name),
        nat=table.flag("nat", False),
        numbers=read_numbers_table(table.table("numbers")) if "numbers" in table else table.value("numbers"),
    )
    _check_trunk(table, trunk)
    table.done({"password": _LITERAL_SECRET, "secret": _LITERAL_SECRET, "token": _LITERAL_SECRET})
    return trunk


def _check_trunk(table: Table, trunk: TrunkSettings) -> None:
    """Report what is wrong between the keys of one trunk."""
    if "name" not in table:
        table.fail((), "the trunk has no name", 'write name = "…"')
    if "source" not in table and "target" not in table:
        table.fail((), "the trunk has neither source nor target", "say who speaks as it, or where calls go")
    if trunk.username and "password_env" not in table:
        table.fail("username", "there is no password for it", 'add password_env = "NAME"')
    if trunk.password_env and "username" not in table:
        table.fail("password_env", "there is no username for it", 'add username = "…"')
    if trunk.register and not (trunk.username and "target" in table):
        table.fail("register", "registering takes an account and a registrar", "add username and target")
    if "register_expires" in table and not trunk.register:
        table.fail("register_expires", "it is of no use without register", "add register = true")
    check_pair(table)
    if trunk.weights and len(trunk.weights) != len(trunk.target):
        problem = f"there are {len(trunk.weights)} weights for {len(trunk.target)} targets"
        table.fail("weights", problem, "write one for each target")
    if trunk.keep and not trunk.hide_topology:
        problem = "without hide_topology every header passes anyway"
        table.fail("keep", problem, "add hide_topology = true, or leave it out")
    if trunk.trace_context and not trunk.trusted:
        problem = "a trunk that is not trusted could have any call traced"
        table.fail("trace_context", problem, "add trusted = true, or leave it out")
    both = sorted(trunk.stop_on & trunk.advance_on)
    if both:
        table.fail("advance_on", f"{both[0]} is in stop_on too", "keep it in one of the two")


def _read_route(table: Table, trunks: Sequence[TrunkSettings], directory: Path) -> RouteSettings:
    source = TrunkPattern([text for _, text in table.texts("from")]) if "from" in table else None
    kinds = {trunk.name: trunk.kind for trunk in trunks}
    for path, pattern in table.texts("from"):
        _check_pattern(table, path, pattern, kinds)
    to: dict[str, None] = {}  # a trunk that two patterns mean is hunted once
    for path, pattern in table.texts("to"):
        if not _check_pattern(table, path, pattern, kinds):
            continue
        meant = TrunkPattern([pattern])
        found = [trunk for trunk in trunks if meant.matches(trunk.name, trunk.kind)]
        for trunk in found:
            if not (trunk.target or _has_mistake(table, f"trunk[{trunk.name}].target")):
                problem = f'the trunk "{trunk.name}" has no target'
                table.fail(path, problem, "give it one, or route to another trunk")
        to.update(dict.fromkeys(trunk.name for trunk in found))
    if not table.value("to"):
        table.fail((), "the route leads nowhere", 'write to = ["TRUNK"]')
    if table.value("from") == []:
        table.fail("from", "no call comes from no trunk", "name a trunk, or leave the key out to mean any")
    route = RouteSettings(
        source,
        tuple(to),
        table.choice("strategy", "serial", STRATEGIES),
        _numbers(table, "called", directory),
        _numbers(table, "caller", directory),
    )
    table.done()
    return route


def _check_pattern(table: Table, path: Sequence[str | int], pattern: str, kinds: dict[str, str]) -> bool:
    """Report a trunk pattern that can match no trunk."""
    if not TrunkPattern([pattern]).unknown(kinds):
        return True
    near = closest(pattern, [*kinds, *(f"kind:{kind}" for kind in sorted(set(kinds.values())))])
    known = ", ".join(kinds) or "none"
    remedy = f'did you mean "{near}"?' if near else f"the trunks are: {known}"
    table.fail(path, f'"{pattern}" matches no trunk', remedy)
    return False


def _has_mistake(table: Table, key: str) -> bool:
    """Tell whether something is known to be wrong at `key`: then what follows from it need not be told."""
    return any(error.key.startswith(key) for error in table.errors)


def _numbers(table: Table, key: str, directory: Path) -> NumberPattern | None:
    """Read `called` or `caller`: prefix, regex and list, of which all that are given must hold."""
    if key not in table:
        table.value(key)
        return None
    if not isinstance(table.value(key), dict):
        table.fail(key, "it does not say how to compare numbers", f"write {key}.prefix, .regex or .list = …")
        return None
    conditions = table.table(key)
    prefix = []
    for path, text in conditions.texts("prefix"):
        if not text:
            conditions.fail(path, "the text is empty", "write something, or remove the key")
        prefix.append(text)
    regex = conditions.text("regex", "") or None
    lists = list(conditions.texts("list"))
    conditions.done()
    if not (prefix or regex or lists):
        conditions.fail((), "it holds no condition", f"write {key}.prefix, .regex or .list = …")
    numbers: list[NumberList] = []
    for path, name in lists:
        try:
            numbers.append(load_numbers(directory / name))
        except BadValue as error:
            conditions.fail(path, str(error), error.remedy)
    try:
        pattern = NumberPattern(prefix, regex, numbers if lists else None)
        check_cost(regex or "")
        return pattern
    except BadValue as error:
        conditions.fail("regex", str(error), error.remedy)
        return None


def _ping(table: Table, key: str) -> float | None:
    """Read the seconds between two pings: "off", a number, or a duration."""
    value = table.value(key)
    if value is None or value == "off":
        return None
    if isinstance(value, str):
        try:
            value = parse_duration(value)
        except BadValue:
            value = -1
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 86400:
        table.fail(key, "this is not possible", 'write "off", or seconds from 1 to 86400')
        return None
    return float(value)


def _weights(table: Table) -> tuple[int, ...]:
    value = table.value("weights")
    if value is None:
        return ()
    remedy = "write a list of whole numbers from 0 to 1000, one for each target: [3, 1]"
    if not isinstance(value, list):
        table.fail("weights", "this is not a list", remedy)
        return ()
    for index, weight in enumerate(value):
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 1000:
            table.fail(("weights", index), "this is not possible", remedy)
            return ()
    return tuple(value)


def _statuses(table: Table, key: str) -> frozenset[int]:
    """Read a list of final statuses: 603, [486, 600], "4xx", "600-699"."""
    value = table.value(key)
    elements = value if isinstance(value, list) else [] if value is None else [value]
    statuses: set[int] = set()
    for index, element in enumerate(elements):
        found = _status_range(element)
        if found is None:
            path = (key, index) if isinstance(value, list) else (key,)
            table.fail(path, "this is no final status", 'write 300 to 699, "4xx" or "600-699"')
        else:
            statuses.update(found)
    return frozenset(statuses)


def _status_range(element: object) -> range | None:
    if isinstance(element, int) and not isinstance(element, bool):
        return range(element, element + 1) if 300 <= element <= 699 else None
    if not isinstance(element, str):
        return None
    whole_class = _CLASS.fullmatch(element)
    if whole_class:
        return range(int(whole_class[1]) * 100, int(whole_class[1]) * 100 + 100)
    limits = _RANGE.fullmatch(element)
    if limits and int(limits[1]) <= int(limits[2]):
        return range(int(limits[1]), int(limits[2]) + 1)
    return None


def _causes(table: Table) -> tuple[tuple[int, int], ...]:
    causes = []
    for key in table.data:
        number = int(key) if key.isascii() and key.isdigit() else 0
        if 1 <= number <= 127:
            causes.append((number, table.integer(key, 0, 400, 699)))
        elif 400 <= number <= 699:
            causes.append((number, table.integer(key, 0, 1, 127)))
        else:
            table.fail(key, "this is neither a cause nor a status", "write CAUSE = STATUS or STATUS = CAUSE")
    return tuple(causes)


def _headers(table: Table) -> tuple[tuple[str, str], ...]:
    headers = []
    for name in table.data:
        value = table.text(name, "")
        try:
            headers.append((_header_name(name), value))
        except BadValue as error:
            table.fail(name, str(error), error.remedy)
        if any(ord(sign) < 32 and sign != "\t" for sign in value):
            table.fail(name, "the value has a line break or control character", "write it on one line")
    return tuple(headers)


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise BadValue(f'"{text}" is not a header name', 'write what stands before the colon: "X-Account"')
    if _OWN_HEADERS.fullmatch(text):
        raise BadValue(f"{text} is made by the gateway for each leg", "name another header")
    return text


def _trunk_name(text: str) -> str:
    if not _TRUNK_NAME.fullmatch(text):
        raise BadValue(f'"{text}" cannot name a trunk', "use letters, digits, dots, - and _")
    return text


def _username(text: str) -> str:
    if not text.isprintable():
        raise BadValue("it holds a character that cannot be printed", "write the name as the peer knows it")
    return text


def _final_code(text: str) -> int:
    if text not in _FINAL_CODES:
        raise BadValue(f'"{text}" is not a code that peers differ in', 'write "607" or "608"')
    return int(text)


def file_of(table: Table, key: str, directory: Path) -> Path | None:
    """Return the path of a file that must be there; relative ones start at `directory`."""
    name = table.text(key, "")
    if not name:
        return None
    path = directory / name
    try:
        if not path.is_file():
            table.fail(key, f'there is no file "{path}"', "check the path")
    except OSError as error:  # it is below a directory that may not be entered
        problem = f'"{path}" cannot be read: {in_words(error)}'
        table.fail(key, problem, "check its permissions")
    return path
