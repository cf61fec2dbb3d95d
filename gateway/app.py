"""The composition root: makes the parts, joins them, and runs them under one nursery. No call logic here."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import trio

from gateway import garbage, speedups
from gateway.b2bua.core import B2bua, Setup
from gateway.config import Config, SettingsErrors, load, numbers_key
from gateway.console.calls import CallPages, Others
from gateway.console.captures import CapturePages
from gateway.console.pages import make_app
from gateway.console.server import Console
from gateway.console.unwanted import unwanted_routes
from gateway.ledger.canaries import CanaryKeeper
from gateway.ledger.database import parse_url, sqlite_path
from gateway.ledger.drift import DriftWatch
from gateway.ledger.hiding import hider
from gateway.ledger.packing import RowMaker
from gateway.ledger.past import Historian
from gateway.ledger.spool import left_behind
from gateway.ledger.versions import VersionKeeper, version_of
from gateway.ledger.writer import Ledger
from gateway.reading import in_thread, lists_of, make_setup
from gateway.routing.locate import Reach
from gateway.rules import RuleSet
from gateway.rules.configured import configured_rules
from gateway.service_manager import ServiceManager
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flows, Local
from gateway.sip.transaction import Timing
from gateway.tap.service import Wiretap
from gateway.tap.tap import Tap
from gateway.telemetry.collect import Sources, collect
from gateway.telemetry.metric import Metric
from gateway.telemetry.prometheus import CONTENT_TYPE
from gateway.telemetry.service import Telemetry
from gateway.tokens import Tokens
from gateway.transport.nameserver import NameServers, read_hosts
from gateway.transport.ports import Ports
from gateway.transport.resolver import Resolver
from gateway.transport.tls import certificate_files
from gateway.transport.udp import source_of
from gateway.transport.wildcards import misleading
from gateway.upkeep import Upkeep
from gateway.wall import Wall, make_clock
from gateway.watching import Stamps, changes, read_settled, stamps

log = logging.getLogger("gateway")

TICK = 0.05  # seconds between two looks at the timers
_HURRY = 10.0  # seconds after the second signal to stop, after which one more ends all at once
_PARTING = 0.6  # seconds for what calls are ended by to arrive: T1 and some, so that it is sent twice
_SWITCH = 0.0005  # seconds that a thread may keep the interpreter from the loop


class Gateway:
    """A gateway with its configuration. Raises SettingsErrors when made from a bad one.

    ``setup`` is given where the configuration has been made into one already. ``leads`` is False of all but
    one of several workers (``processes``): what must be done once is left to that one.
    """

    leads = True
    processes = 1
    others: Others | None = None
    manager = ServiceManager(b"")  # none, unless somebody knows one

    def __init__(self, config: Config, path: Path | None, setup: Setup | None = None) -> None:
        self.config = config
        self._path = path
        clock = self._clock = self._make_clock()
        wall = self._wall = Wall()
        self._read: Stamps = stamps([config.gateway.rules, *certificate_files(config)])
        self._refused_lists: tuple[Path, ...] = ()  # number lists of rules that were refused since
        self._stopping = trio.Event()
        self._reload_wanted = trio.Event()
        self._hurry = False  # asked to stop twice
        self.ports = self._open_ports()
        self.flows = Flows(self.ports.locals, source_of=source_of)
        timers = config.timers
        self.endpoint = self._make_endpoint(Timing(timers.t1, timers.t2, timers.t4))
        ledger = config.ledger
        try:
            key = numbers_key(config, os.environ)
            rows = RowMaker(bool(key), key, wall)
            setup = setup or self._read_setup()
            self.console = self._open_console()
        except SettingsErrors:
            self.ports.close()
            raise
        self.ledger = None
        if ledger.url:
            self.ledger = Ledger(
                ledger.url,
                ledger.keep,
                spool_path=ledger.spool,
                left=self._spools_left_behind,
                rows=rows,
                log=log.warning,
                clock=clock,
                wall=wall,
            )
        once_url = ledger.url if self.leads else ""
        self._versions = VersionKeeper(once_url, log.warning) if once_url else None
        self._keep_version(setup.rules)
        dns = config.dns
        self.name_servers = NameServers(dns.servers, dns.timeout)
        self.resolver = Resolver(
            Reach.of((local.transport, local.host) for local in self.ports.locals),
            self.name_servers.ask,
            clock,
            lambda: self.ports.flush(self.endpoint),
            on_bug=log_bug,
            timeout=dns.timeout,
        )
        self.resolver.configure(setup.trunks.targets())
        self.telemetry = Telemetry(config, clock, keeps_evidence=self.ledger is not None, wall=wall)
        self.telemetry.sends_readings = self.leads
        self.wiretap = Wiretap(config, clock, self._attach, log.warning, wall)
        parts = (self.telemetry, self.ledger, self.wiretap.keeper)
        sinks = tuple(part for part in parts if part is not None)
        mark = os.urandom(3).hex()
        self.b2bua = B2bua(self.endpoint, setup, sinks, locator=self.resolver, mark=mark)
        traces = self.b2bua.notes_branches = self.telemetry.exporter is not None
        self.b2bua.keeps_evidence = traces or self.ledger is not None
        self.b2bua.tracing = self.telemetry.tracing
        self.b2bua.on_answer = self.telemetry.answered
        if self.wiretap.ring is not None:
            own = {(local.host, local.port) for local in self.ports.locals}
            self.telemetry.watch_wire(self.wiretap.ring, own)
        if self.wiretap.homer is not None:
            self.b2bua.on_silent_leg = self.wiretap.homer.pair
        kept = config.unwanted
        self.historian = Historian(
            ledger.url,
            kept.keep,
            kept.lists,
            clock=clock,
            log=log.warning,
            hide=hider(key) if key else None,
            writes=self.leads,
            wall=wall,
        )
        self.b2bua.feedback = self.historian
        self.b2bua.history = self.historian.configure(setup.rules.watches)
        self.canaries = CanaryKeeper(ledger.url, clock=clock, log=log.warning, leads=self.leads, wall=wall)
        self.b2bua.trials = self.canaries.configure(setup.rules)
        self.drift = DriftWatch(once_url, clock=lambda: wall.shows(clock()), log=log.warning)
        self._sources = Sources(
            self.b2bua,
            self.ports,
            self.resolver,
            self.ledger,
            self.telemetry.times,
            self.telemetry.loop_lag,
            self.telemetry.traces,
            self.wiretap.copies,
            lambda: self.drift.distances,
            lambda: 0 if self.console is None else self.console.failed,
        )
        self.telemetry.collect = self._collect
        self._make_pages()
        self.b2bua.health.log = log.warning
        self.b2bua.registrations.log = log.info

    async def run(self) -> None:
        """Serve until :meth:`stop`, or SIGTERM or SIGINT; print one line on stdout when all is bound."""
        async with trio.open_nursery() as signals:
            try:
                await self._serve(signals)
            finally:
                await self._close()
            signals.cancel_scope.cancel()
        log.info("stopped: %d calls, %d rewritten", self.b2bua.begun, sum(self.b2bua.rewrites.values()))

    async def _serve(self, signals: trio.Nursery) -> None:
        """Serve until all is over, with signals heeded in a nursery that lasts longer."""
        async with trio.open_nursery() as nursery:
            parts = Upkeep(nursery)
            if self.ledger is not None:
                await parts.start("the ledger", self.ledger.run)
            parts.start_soon("the history of calls", self.historian.run)
            await parts.start("the canaries", self.canaries.run)
            parts.start_soon("the watch for drift", self.drift.run)
            await signals.start(self._heed_signals)  # from the first message to the last record
            await nursery.start(self.resolver.run)
            await nursery.start(self.ports.serve, self.endpoint, self.flows, self.b2bua.trunks)
            self._begin()
            if self._versions is not None:
                parts.start_soon("the list of rule versions", self._versions.run)
            await parts.start("telemetry", self.telemetry.run)
            parts.start_soon("the wire tap", self.wiretap.run)
            if self.console is not None:
                await nursery.start(self.console.serve)
            nursery.start_soon(self._tick)
            if self.leads:
                parts.start_soon("the watch on files", self._watch_files)
            parts.start_soon("reloading", self._reload_when_wanted)
            parts.start_soon("the watch for strangers", self._tell_strangers)
            await nursery.start(self._heed_supervisor)
            if self.leads:
                log.info("message core: %s", speedups.description())
                self._warn()
            console = "off" if self.console is None else self.console.url
            self._announce(f"ready sip={','.join(map(_shown, self.ports.locals))} console={console}")
            await self._stopping.wait()
            await self._drain()
            nursery.cancel_scope.cancel()

    async def _close(self) -> None:
        """Write and send what is left: the records first, since others may wait for a collector."""
        self.ports.close()
        if self.ledger is not None:
            await self.ledger.close()
        await self.historian.close()
        await self.canaries.close()
        await self.wiretap.close()
        await self.telemetry.close()

    def stop(self) -> None:
        """Refuse new calls, let the others end for as long as ``drain`` allows, then stop."""
        self._hurry = self.b2bua.draining
        self.b2bua.draining = True
        self.manager.say_stopping()
        self.b2bua.registrations.stop(self._clock())
        self._stopping.set()

    async def reload_rules(self) -> None:
        """Put the rules file to work, or say what is wrong with it and go on with the old rules."""
        config = self.config
        try:
            rules = await in_thread(configured_rules, config)
        except SettingsErrors as errors:
            self._refused_lists = errors.files
            log_errors(errors, "the rules in force stay as they are")
            return
        if config is not self.config:  # which may name other rules and trunks
            await self.reload_rules()
            return
        self._put_to_work(replace(self.b2bua.setup, rules=rules))
        log.info("rules %s are in force", rules.version_hash)

    async def reload_certificates(self) -> None:
        """Put the certificates to work, or say what is wrong with them and go on with the old ones."""
        try:
            await in_thread(self.ports.certificates.load, self.config)
        except SettingsErrors as errors:
            log_errors(errors, "the certificates in force stay as they are")
            return
        log.info("new certificates are in force")
        self._warn()

    def _warn(self) -> None:
        """Say which certificates of ours end soon, and which trunks are told an address not on their side."""
        for sentence in (*self.ports.certificates.warnings, *misleading(self.config)):
            log.warning("%s", sentence)

    async def reload(self) -> None:
        """Read configuration, rules and certificates anew (SIGHUP). Listeners, ledger and timers stay as they
        were, and so do connections.
        """
        try:
            config = await in_thread(load, self._path)
            setup = await in_thread(make_setup, config)
            await in_thread(self.ports.certificates.load, config)
            hosts = await in_thread(read_hosts)
        except SettingsErrors as errors:
            log_errors(errors, "configuration and rules in force stay as they are")
            return
        self.config = config
        self.name_servers.hosts = hosts
        self.resolver.configure(setup.trunks.targets())
        self._put_to_work(setup)
        self._begin()
        log.info("configuration and rules %s are in force", setup.rules.version_hash)
        self._warn()

    def _unready(self) -> str:
        """Tell why no calls should be sent here, "" when they may."""
        if self.b2bua.draining:
            return "draining"
        return "overloaded" if self.telemetry.is_late else ""

    def _health(self) -> str:
        """Say that this lives; and of several workers, which do not."""
        return "alive"

    # -- what is different in one of several workers --------------------------------------------------------

    def _make_clock(self) -> Callable[[], float]:
        return make_clock()

    def _open_ports(self) -> Ports:
        return Ports(self.config, self._clock, log_bug)

    def _spools_left_behind(self) -> list[Path]:
        """Return the spools that no process of today writes to."""
        spool = self.config.ledger.spool
        return left_behind(spool, self.processes) if self.leads and spool is not None else []

    def _open_console(self) -> Console | None:
        return Console.of(self.config, os.environ)

    def _make_endpoint(self, timing: Timing) -> Endpoint:
        return Endpoint(self.flows, Tokens(), timing, on_bug=log_bug)

    def _attach(self, tap: Tap | None) -> None:
        self.ports.attach(tap)

    def _collect(self) -> list[Metric]:
        return collect(self._sources)

    def _begin(self) -> None:
        self.b2bua.begin(self._clock())

    async def _heed_signals(self, task_status: trio.TaskStatus[None]) -> None:
        hurried_at = math.inf
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._reload_wanted.set()
                    continue
                now = trio.current_time()
                if now > hurried_at + _HURRY:  # who still asks has given up on us
                    signal.signal(number, signal.SIG_DFL)
                    signal.raise_signal(number)
                if self._stopping.is_set():
                    hurried_at = min(hurried_at, now)
                self.stop()

    async def _heed_supervisor(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()  # there is none

    def _announce(self, line: str) -> None:
        announce(line)
        self.manager.say_ready(line, trio.current_time())

    def _on_tick(self) -> None:
        garbage.look()
        self._follow_wall()
        self.ports.tick(self.endpoint, self.flows)

    # -- in private -------------------------------------------------------------------------------------

    def _read_setup(self) -> Setup:
        """Make the setup of the configuration, and note what its number lists were then."""
        setup, lists = read_settled(lambda: make_setup(self.config), lists_of)
        self._read = {**self._read, **lists}
        return setup

    def _make_pages(self) -> None:
        """Tell the console what it shows."""
        console, config = self.console, self.config
        if console is None:
            return
        url = config.ledger.url
        ours = {(local.host, local.port) for local in self.ports.locals}
        calls = CallPages(self.wiretap, self.b2bua, config.gateway.name, url, ours, self.others)
        share = (lambda _captures: None) if self.others is None else self.others.share_captures
        captures = CapturePages(self.wiretap, self.b2bua, share)
        lists = unwanted_routes(url, config.unwanted) if url else []
        more = [*calls.routes(), *captures.routes(), *lists]
        console.app = make_app(
            self.telemetry.reading, CONTENT_TYPE, self._unready, console, more, health=self._health
        )

    def _put_to_work(self, setup: Setup) -> None:
        self._refused_lists = ()
        self.b2bua.reload(setup)
        self.b2bua.history = self.historian.configure(setup.rules.watches)
        self.b2bua.trials = self.canaries.configure(setup.rules)
        self._keep_version(setup.rules)

    def _follow_wall(self) -> None:
        """Date records, and read hours, by what the wall clock shows, should it have been set."""
        step = self._wall.follow(self._clock)
        if step:
            self.b2bua.ahead = self._wall.ahead
            if self.leads:
                log.warning("the clock of this machine was set by %+.1f s; records go by it now", step)

    def _keep_version(self, rules: RuleSet) -> None:
        if self._versions is not None:
            self._versions.note(version_of(rules, self._wall.shows(self._clock())))

    async def _tick(self) -> None:
        while True:
            due = trio.current_time() + TICK
            await trio.sleep_until(due)
            now = trio.current_time()
            self.telemetry.note_lag(now - due)
            self.manager.beat(now)
            try:
                self._on_tick()
            except Exception as bug:
                log_bug(bug)

    async def _watch_files(self) -> None:
        """Put the rules file, its number lists and the certificates to work whenever they change."""
        own = self._written_files()
        async for changed in changes(self._watched_files, self._stopping, self._read, own):
            rules, certificates = self._rule_files(), self.ports.certificates.files
            self._read = stamps(rules | certificates)
            if changed & rules:
                await self.reload_rules()
            if changed & certificates:
                await self.reload_certificates()

    def _watched_files(self) -> set[Path]:
        """Return the files of what is at work by now, and those of rules that wait for one of their lists."""
        return self._rule_files() | self.ports.certificates.files

    def _written_files(self) -> list[Path]:
        """Return the files that are written with every batch of records."""
        ledger = self.config.ledger
        path = sqlite_path(parse_url(ledger.url)) if ledger.url else None
        return [file for file in (path, ledger.spool) if file is not None]

    def _rule_files(self) -> set[Path]:
        return {self.config.gateway.rules, *self.b2bua.setup.rules.files, *self._refused_lists}

    async def _reload_when_wanted(self) -> None:
        """Reload, one time after the other, while signals to stop are heeded."""
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted = trio.Event()
            await self.reload()

    async def _tell_strangers(self) -> None:
        """Log who is refused for want of a trunk: a peer's new address is found nowhere else."""
        while True:
            await trio.sleep(1.0)
            for flow in self.b2bua.trunks().strangers.news():
                log.warning("%s is refused: no trunk has its address as a source", flow)

    async def _drain(self) -> None:
        if self.b2bua.calls:
            log.info("draining: %d calls, at most %g s", len(self.b2bua.calls), self.config.gateway.drain)
        with trio.move_on_after(self.config.gateway.drain):
            while (self.b2bua.calls or self.b2bua.registrations.are_leaving) and not self._hurry:
                await trio.sleep(TICK)
        if self.b2bua.calls:
            log.warning("%d calls are still up; they are hung up", len(self.b2bua.calls))
            self.b2bua.end_calls(self._clock())
            self.ports.flush(self.endpoint)
            await trio.sleep(_PARTING)


def _shown(local: Local) -> str:
    host = f"[{local.host}]" if local.family == 6 else local.host
    return f"{local.transport}:{host}:{local.port}"


def announce(line: str) -> None:
    """Print the line that says that all is bound. Where nobody can take it, calls are served all the same."""
    try:
        # Past the stream, which would keep what it could not write, and fail again at the end.
        os.write(sys.stdout.fileno(), f"{line}\n".encode())
    except OSError as error:
        log.warning("the line %r cannot be written to stdout (%s)", line, error.strerror)


def log_bug(bug: Exception) -> None:
    """Log an exception that is ours; it costs one message."""
    log.error("a message could not be handled; this is a bug of the gateway", exc_info=bug)


def log_errors(errors: SettingsErrors, consequence: str) -> None:
    """Log each mistake, and what comes of them."""
    for error in errors.errors:
        log.error("%s", error)
    log.error("%s", consequence)


def serve(gateway: Gateway) -> None:
    """Serve until told to stop, in this process."""
    garbage.tame()
    # Records and copies are encoded in threads; the loop must not wait long for the interpreter.
    sys.setswitchinterval(_SWITCH)
    trio.run(gateway.run)
