"""`gateway doctor`: what this machine offers, and what would keep the gateway from doing its work.

Each check looks at one thing, changes nothing, and says how it stands: "ok", "note" (it works, but see the
advice) or "problem" (something that the configuration asks for is not to be had). What a check cannot find
out, it says; the command itself always succeeds.
"""

from __future__ import annotations

import errno
import os
import platform
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

import gateway
from gateway import speedups
from gateway.addresses import TransportAddress, parse_ip
from gateway.config import Config, SettingsErrors, load
from gateway.ledger.database import LedgerError, probe
from gateway.os_errors import in_words, to_bind
from gateway.routing.locate import Found, Reach, order
from gateway.routing.trunk import Target, Trunk
from gateway.transport.nameserver import NameServers
from gateway.transport.resolver import find
from gateway.transport.tls import Certificates
from gateway.transport.wildcards import misleading

from .output import CLEAN, ConfigOption, JsonOption, cell, columns, console, print_json
from .sources import read_rules

_GOOD_BUFFER = 4 * 1024 * 1024  # bytes: holds two seconds of 3,000 messages while the process is held up
_GOOD_FILES = 4096  # one is needed for each TCP and TLS connection
_COARSE = 0.001  # seconds; a clock with larger steps cannot drive 20 even ticks a second
_SLOW_CLOCKS = ("hpet", "acpi_pm", "jiffies")  # the kernel asks a chip, about a microsecond each time
_SHOWN = 4  # addresses of a name
_BUFFER_LIMIT = Path("/proc/sys/net/core/rmem_max")
_CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing stands: `state` is "ok", "note" or "problem"; `advice` says what would be better."""

    name: str
    state: str
    found: str
    advice: str = ""


def doctor(*, config: ConfigOption = None, json: JsonOption = False) -> int:
    """Show what this machine offers: message core, limits, ports, clocks, names, database, rules.

    Exits with 0.
    """
    findings = list(_findings(config))
    if json:
        print_json([asdict(finding) for finding in findings])
        return CLEAN
    table = columns("what", "state", "found")
    for finding in findings:
        found = finding.found.split("\n") + ([finding.advice] if finding.advice else [])
        state = cell(finding.state, style=_STYLES[finding.state])
        table.add_row(cell(finding.name), state, cell(*found))
    console().print(table)
    return CLEAN


def _findings(path: ConfigOption) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} ({platform.python_implementation()})")
    yield Finding("message core", "ok", speedups.description())
    yield Finding("processor cores", "ok", str(len(os.sched_getaffinity(0))))
    yield receive_buffer(_BUFFER_LIMIT)
    yield open_files()
    yield ipv6()
    yield from clocks(_CLOCK_SOURCE)
    try:
        config = load(path)
    except SettingsErrors as errors:
        yield Finding("configuration", "problem", str(errors), "see `gateway check`")
        return
    yield Finding("configuration", "ok", "the embedded default" if config.is_embedded else config.source.file)
    yield from ports(config)
    yield from certificates(config)
    yield from names(config)
    yield ledger(config)
    yield rules(config)


# -- the machine -----------------------------------------------------------------------------------


def receive_buffer(limit: Path) -> Finding:
    """How much a UDP socket may hold while the process is busy elsewhere; what comes later is lost."""
    name = "udp receive buffer"
    try:
        size = int(limit.read_text())
    except (OSError, ValueError):
        return Finding(name, "note", f"its limit cannot be read from {limit}")
    if size >= _GOOD_BUFFER:
        return Finding(name, "ok", f"up to {size} bytes")
    advice = f"more outlasts longer bursts: sysctl -w net.core.rmem_max={_GOOD_BUFFER}"
    return Finding(name, "note", f"up to {size} bytes", advice)


def open_files() -> Finding:
    """How many sockets the process may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "no limit" if soft == resource.RLIM_INFINITY else str(soft)
    if soft == resource.RLIM_INFINITY or soft >= _GOOD_FILES:
        return Finding("open files", "ok", most)
    possible = "" if hard == resource.RLIM_INFINITY else f" (this user may set up to {hard})"
    advice = f"each TCP or TLS connection needs one: ulimit -n {_GOOD_FILES}{possible}"
    return Finding("open files", "note", most, advice)


def ipv6() -> Finding:
    """Whether this machine speaks IPv6 at all, tried on loopback."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as trial:
            trial.bind(("::1", 0))
    except OSError as error:
        return Finding("IPv6", "note", f"not available ({in_words(error)})", "only IPv4 trunks can be served")
    return Finding("IPv6", "ok", "available")


def clocks(source: Path) -> Iterator[Finding]:
    """Whether timers can be driven evenly, and whether records will have the right time."""
    step = _clock_step()
    found = f"steps of {step * 1e9:.0f} ns"
    try:
        kernel = source.read_text().strip()
    except OSError:
        kernel = ""
    if kernel:
        found += f", kernel clock source {kernel}"
    if step > _COARSE:
        yield Finding("monotonic clock", "problem", found, "timers will be late; use another clock source")
    elif kernel in _SLOW_CLOCKS:
        yield Finding("monotonic clock", "note", found, "reading it is slow; tsc or kvm-clock is better")
    else:
        yield Finding("monotonic clock", "ok", found)
    yield wall_clock(time.time(), Path(gateway.__file__).stat().st_mtime)


def wall_clock(now: float, installed: float) -> Finding:
    """Whether the time of day can be right: it cannot be before the gateway was installed."""
    found = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    if now < installed:
        return Finding(
            "wall clock", "problem", f"{found}, before the gateway was installed", "set it, by NTP"
        )
    return Finding("wall clock", "ok", found)


def _clock_step() -> float:
    """Return the smallest step of the monotonic clock that is seen, in seconds."""
    steps = []
    for _ in range(100):
        start = now = time.monotonic()
        while now == start:
            now = time.monotonic()
        steps.append(now - start)
    return min(steps)


# -- what the configuration asks for ---------------------------------------------------------------


def ports(config: Config) -> Iterator[Finding]:
    """Whether each address that the gateway would listen on can be bound now, and leads back to it."""
    listeners = [(f"{address.transport} port", address) for address in config.gateway.listen]
    if config.console.listen is not None:
        listeners.append(("console port", config.console.listen))
    for name, address in listeners:
        yield _port(name, address)
    for sentence in misleading(config):
        yield Finding("addresses", "note", sentence)


def certificates(config: Config) -> Iterator[Finding]:
    """Whether the certificates and keys of the configuration can be used, when it names some."""
    try:
        found = Certificates(config)
    except SettingsErrors as errors:
        yield Finding("certificates", "problem", str(errors))
        return
    if found.files:
        yield Finding("certificates", "ok", f"{len(found.files)} files can be used")
    for sentence in found.warnings:
        yield Finding("certificates", "problem" if "has expired" in sentence else "note", sentence)


def _port(name: str, address: TransportAddress) -> Finding:
    kind = socket.SOCK_DGRAM if address.transport == "udp" else socket.SOCK_STREAM
    where = address.where
    try:
        family, _, _, _, place = socket.getaddrinfo(address.host, address.port, type=kind)[0]
        with socket.socket(family, kind) as trial:
            if kind == socket.SOCK_STREAM:  # as a server does, so that closed connections do not count
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        advice = "a gateway that runs already holds it too" if is_taken else to_bind(error)
        return Finding(name, "problem", f"{where} cannot be bound ({in_words(error)})", advice)
    return Finding(name, "ok", f"{where} is free")


def names(config: Config) -> list[Finding]:
    """Where the targets that are host names lead now, and how long it took to find out."""
    trunks = [Trunk(settings) for settings in config.trunks]
    wanted = [
        (trunk.name, target) for trunk in trunks for target in trunk.targets if parse_ip(target.host) is None
    ]
    if not wanted:
        return []
    servers = NameServers(config.dns.servers, config.dns.timeout)
    listening = [
        (address.transport, address.host if parse_ip(address.host) else "0.0.0.0")
        for address in config.gateway.listen
    ]
    reach = Reach.of(listening)
    findings: dict[int, Finding] = {}

    async def look_up(place: int, trunk: str, target: Target) -> None:
        began = time.monotonic()
        found = await find(target, reach, servers.ask, config.dns.timeout)
        findings[place] = _where(trunk, target, found, time.monotonic() - began, servers.servers)

    async def look_all_up() -> None:
        async with trio.open_nursery() as nursery:
            for place, (trunk, target) in enumerate(wanted):
                nursery.start_soon(look_up, place, trunk, target)

    trio.run(look_all_up)
    return [findings[place] for place in range(len(wanted))]


def _where(trunk: str, target: Target, found: Found, took: float, servers: list[str]) -> Finding:
    name, uri = f"target of {trunk}", target.uri.decode()
    if found.is_broken:
        asked = ", ".join(servers) or "there is none"
        advice = f"name servers: {asked}; set [dns] servers, or see why they do not answer"
        return Finding(name, "problem", f"{uri}: no name server answered in {took:.1f} s", advice)
    addresses = order(found, lambda: 0.0)
    if not addresses:
        advice = "calls to it get 503; see to its records, and that the gateway listens on their transports"
        return Finding(name, "problem", f"{uri} leads nowhere, found out in {took * 1e3:.0f} ms", advice)
    shown = [f"{transport} {_place(host, port)}" for host, port, transport in addresses[:_SHOWN]]
    more = f" and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
    return Finding(name, "ok", f"{uri} is {', '.join(shown)}{more}, found out in {took * 1e3:.0f} ms")


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ledger(config: Config) -> Finding:
    """Whether call records can be written."""
    if not config.ledger.url:
        return Finding("ledger", "note", "off: calls leave no record")
    try:
        state = probe(config.ledger.url)
    except LedgerError as error:
        found, _, advice = str(error).partition("; ")
        return Finding("ledger", "problem", found, advice)
    spool = config.ledger.spool
    try:
        size = spool.stat().st_size if spool is not None and spool.exists() else 0
    except OSError as error:
        advice = "check its permissions, or records are lost while the database is down"
        problem = f"{state}; the spool {spool} cannot be read: {in_words(error)}"
        return Finding("ledger", "problem", problem, advice)
    if size:
        found = f"{state}; {size} bytes of records wait in {spool}"
        return Finding(
            "ledger", "note", found, "a gateway writes them as soon as it runs and the database is up"
        )
    return Finding("ledger", "ok", state)


def rules(config: Config) -> Finding:
    """Whether the rules can be read and have no mistake."""
    try:
        found = read_rules(None, config)
    except SettingsErrors as errors:
        return Finding("rules", "problem", str(errors), "see `gateway check`")
    return Finding("rules", "ok", f"{len(found.rules)} rules in {found.source.file}")
