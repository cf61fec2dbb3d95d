"""One worker of many: a gateway that owns its share of the calls, and does its part for those of the others.

It is told by its supervisor what a gateway alone is told by signals and files: to put a new version to work,
to drain, to stop. When the supervisor is gone, it drains by itself.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import trio

from gateway.app import Gateway, log_bug
from gateway.b2bua.record import CallRecord
from gateway.config import SettingsErrors
from gateway.console.calls import look
from gateway.console.server import Console
from gateway.rules.configured import configured_rules
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow
from gateway.sip.transaction import Timing
from gateway.tap.tap import Messages, Tap
from gateway.telemetry.collect import collect
from gateway.telemetry.metric import Metric, counter, gauge
from gateway.tokens import Tokens
from gateway.transport.nameserver import read_hosts
from gateway.transport.ports import Ports
from gateway.transport.pump import pump
from gateway.watching import UNREAD

from .board import SERVES
from .colleagues import Colleagues, Reporter, answer
from .control import hear, say
from .earlier import EarlierCalls
from .endpoint import WorkerEndpoint
from .merging import Merger
from .mesh import AT_A_TIME, Mesh
from .notes import (
    Carry,
    Changed,
    Drain,
    Drained,
    Found,
    Leading,
    Look,
    MetricNote,
    Note,
    Prepare,
    Prepared,
    Ready,
    Seen,
    Stop,
    StreamsLost,
    Switch,
)
from .ownership import FIRST, OwnTokens
from .post import Post
from .seat import Seat, config_of
from .versions import Version, read_version, share_limits

log = logging.getLogger("gateway")

_BEAT = 0.25  # seconds between two times that a worker says that it answers
_TELLING = 20  # ticks between two times that the first worker is told of metrics, and tells of targets


class _Sent:
    """A tap's sending half, for transports: what is received is told where it is handled."""

    def __init__(self, tap: Tap) -> None:
        self.sent = tap.sent

    def received(self, _messages: Messages, _now: float) -> None:
        """Leave it to the endpoint."""


class Worker(Gateway):
    """The gateway that takes ``seat``. ``version`` is what is in force."""

    def __init__(self, seat: Seat, path: Path | None, version: Version) -> None:
        self.leads, self.processes = seat.leads, seat.workers
        self._seat = seat
        self._mesh = Mesh(seat.index, seat.inboxes)
        self._version = version
        self._next: tuple[int, Version] | None = None  # prepared, by the serial number of the order
        self._settled = trio.Event()  # set when a version was put to work, or refused
        self._may_stop = trio.Event()
        self._merger = Merger()
        self._ticks = 0
        self._loads = share_limits(version.setup, seat.board, seat.slots, seat.index)
        self.others = self._colleagues = Colleagues(self._mesh, lambda: self._shared.book, self._tell_leading)
        self._is_reporting = False
        super().__init__(config_of(version.config, seat.index, seat.workers), path, version.setup)
        # What may have happened before somebody watched is asked for at once; so is what the rules wait for.
        self._read = {**self._read, self.config.gateway.rules: UNREAD}
        self._post = Post(self._mesh, self._shared, self.b2bua)
        self._earlier = EarlierCalls(self._mesh, self.historian, self.canaries)
        self._earlier.is_counting = bool(version.setup.rules.watches)
        self.canaries.share(version.setup.rules, self._earlier.trial, self._earlier.tell_stops)
        self.b2bua.trials = self.canaries.trials
        self.b2bua.feedback = self._earlier
        self.b2bua.add_sink(self._earlier)
        self._settle_estate()
        self._reporter = Reporter(self._mesh, self._shared.book)
        if self.leads:
            self.b2bua.health.log = self._tell_of_target

    def _settle_estate(self) -> None:
        """Record the calls that were lost with the worker before this one, and keep those of this one."""
        seat, on_answer = self._seat, self.b2bua.on_answer
        lost = list(seat.estate.inherit(seat.died_at))
        for record in lost:
            self._earlier.record(record)
            if self.ledger is not None:
                self.ledger.record(record)
        if lost and self.ledger is not None:
            log.warning("worker %d: %d calls that were up are recorded as lost", seat.index, len(lost))

        def answered(record: CallRecord) -> None:
            seat.estate.answered(record)
            if on_answer is not None:
                on_answer(record)

        self.b2bua.on_answer = answered
        self.b2bua.add_sink(seat.estate)

    # -- how it is made ---------------------------------------------------------------------------------

    def _make_clock(self) -> Callable[[], float]:
        return self._seat.clock

    def _open_ports(self) -> Ports:
        carry = None if self.leads else self._carry
        return Ports(self.config, self._clock, log_bug, self._seat.given(), carry)

    def _open_console(self) -> Console | None:
        return Console.of(self.config, os.environ, self._seat.console)

    def _make_endpoint(self, timing: Timing) -> Endpoint:
        tokens = OwnTokens(Tokens(), self._seat.index, self._seat.workers)
        self._shared = WorkerEndpoint(self.flows, tokens, timing, log_bug, self._mesh)
        self._shared.take_notes = self._take_notes
        return self._shared

    def _attach(self, tap: Tap | None) -> None:
        self._shared.tap = tap
        self.ports.attach(None if tap is None else _Sent(tap))

    def _begin(self) -> None:
        if self.leads:
            super()._begin()

    def _announce(self, line: str) -> None:
        say(self._seat.control, Ready(line))

    # -- what the supervisor says -----------------------------------------------------------------------

    async def _heed_signals(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()  # they are the supervisor's

    async def _heed_supervisor(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as self._nursery:
            nursery = self._nursery
            nursery.start_soon(self._watch_inbox)
            task_status.started()
            control = self._seat.control
            while True:
                await trio.lowlevel.wait_readable(control)
                note = hear(control)
                if note is None:
                    log.warning("worker %d: the supervisor is gone; draining", self._seat.index)
                    self._may_stop.set()
                    self.stop()
                    return
                if isinstance(note, Prepare):
                    nursery.start_soon(self._prepare, note)
                else:
                    self._obey(note)

    def _obey(self, note: Note) -> None:
        if isinstance(note, Switch):
            if self._next is not None and self._next[0] == note.serial and note.to_work:
                self._switch(self._next[1])
            self._next = None
            self._earlier.is_counting = bool(self._version.setup.rules.watches)
            self._settled.set()
        elif isinstance(note, StreamsLost):
            self._shared.streams_lost(self._clock())
            self.ports.flush(self.endpoint)
        elif isinstance(note, Drain):
            if not self.b2bua.draining:
                self.stop()
        elif isinstance(note, Stop):
            self._hurry = True
            self._may_stop.set()

    async def _prepare(self, order: Prepare) -> None:
        errors: list[str] = []
        digest = ""
        try:
            version = await trio.to_thread.run_sync(
                lambda: read_version(self._path, self._version, whole=order.whole), abandon_on_cancel=True
            )
        except SettingsErrors as found:
            errors = [str(error) for error in found.errors]
        except Exception as bug:
            log.exception("configuration and rules could not be read; this is a bug of the gateway")
            errors = [f"worker {self._seat.index} could not read them: {bug!r}"]
        else:
            digest = version.digest
            # Some may switch before others, and must hear of all that ends from then on.
            self._earlier.is_counting |= bool(version.setup.rules.watches)
            self._next = order.serial, version
            self._seat.slots.update(order.slots)
        say(self._seat.control, Prepared(order.serial, digest, errors))

    def _switch(self, version: Version) -> None:
        """Put a version to work, between two messages."""
        whole = version.config is not self._version.config
        self._version = version
        if whole:
            self.config = config_of(version.config, self._seat.index, self._seat.workers)
            self.name_servers.hosts = read_hosts()
            self.resolver.configure(version.setup.trunks.targets())
        self._put_to_work(version.setup)
        self._shared.book.forget_trunks()
        self._loads = share_limits(version.setup, self._seat.board, self._seat.slots, self._seat.index)
        if whole:
            self._begin()
            if self.leads:
                self._nursery.start_soon(self.reload_certificates)

    async def reload_rules(self) -> None:
        """Have the supervisor read the rules, which has changed them everywhere, or nowhere, on return. Where
        they were refused, the lists that they ask for are watched; the supervisor does not say which.
        """
        before = self._version
        self._settled = trio.Event()
        say(self._seat.control, Changed())
        await self._settled.wait()
        if self._version is before:
            try:
                rules = await trio.to_thread.run_sync(configured_rules, self.config, abandon_on_cancel=True)
            except SettingsErrors as errors:
                self._refused_lists = errors.files
            else:
                self._refused_lists = rules.files  # a list may have come after the supervisor looked for it

    async def run(self) -> None:
        """Serve, and say all the while that this process answers."""
        trio.lowlevel.spawn_system_task(self._beat)
        await super().run()

    async def _beat(self) -> None:
        while True:
            self._seat.board.beat(self._seat.index)
            await trio.sleep(_BEAT)

    async def _drain(self) -> None:
        """Let calls end; then serve those of the others, until the supervisor says that there are none."""
        await super()._drain()
        say(self._seat.control, Drained())
        await self._may_stop.wait()

    # -- what the other workers say ---------------------------------------------------------------------

    async def _watch_inbox(self) -> None:
        """Take what the others send."""
        await pump(self._mesh.reading, self._turn, self._clock, AT_A_TIME)

    def _turn(self, now: float) -> int:
        count = self._take_notes(now)
        self.ports.flush(self.endpoint)
        return count

    def _take_notes(self, now: float) -> int:
        notes = self._mesh.receive()
        for note in notes:
            try:
                self._heed(note, now)
            except Exception as bug:
                log_bug(bug)
        return len(notes)

    def _heed(self, note: Note, now: float) -> None:
        if self._post.heed(note, now) or self._earlier.heed(note):
            return
        if isinstance(note, Carry):
            self._send_for_another(note)
        elif isinstance(note, MetricNote):
            self._merger.take(note)
        elif isinstance(note, Leading):
            self._follow(note)
        else:
            self._heed_console(note)

    def _heed_console(self, note: Note) -> None:
        if isinstance(note, Look):
            self._nursery.start_soon(self._look, note)
        elif isinstance(note, Found):
            self._colleagues.found(note)
        elif isinstance(note, Seen):
            self._colleagues.seen(note)

    async def _look(self, note: Look) -> None:
        await answer(self._mesh, note, await look(self.wiretap, self.b2bua, note.id, note.record))

    def _follow(self, note: Leading) -> None:
        self.b2bua.health.impose(note.down)
        if note.captures != self._is_reporting:
            self._is_reporting = note.captures
            tap = self.wiretap.tap
            (tap.add if note.captures else tap.remove)(self._reporter)

    def _carry(self, data: bytes, flow: Flow) -> None:
        """Have the first worker send a message over a connection."""
        name = self._shared.book.name_of(flow)
        self._mesh.tell(FIRST, Carry([(*name, flow.reply_port, flow.alias, data)]))

    def _send_for_another(self, note: Carry) -> None:
        streams = self.ports.streams
        for local, peer, trunk, reply_port, alias, data in note.messages:
            flow = self._shared.book.flow_of(local, peer, trunk)
            flow.reply_port, flow.alias = reply_port, alias
            if reply_port:
                streams.note_reply(flow)
            streams.send(data, flow)

    # -- what it says by itself ---------------------------------------------------------------------------

    def _on_tick(self) -> None:
        super()._on_tick()
        seat, now = self._seat, self._clock()
        seat.board.note(seat.index, len(self.b2bua.calls), self.telemetry.is_late)
        for load in self._loads:
            load.refill(now)
        self._earlier.settle()
        self._mesh.settle()
        self._ticks += 1
        if self._ticks % _TELLING == 0:
            self._earlier.tell_stops()
            if self.leads:
                self._tell_leading()
            else:
                for metric in self._own_metrics():
                    note = MetricNote(seat.index, os.getpid(), metric.name, metric.samples)
                    self._mesh.tell(FIRST, note)

    def _tell_leading(self) -> None:
        self._mesh.tell_others(Leading(self.b2bua.health.down(), bool(self._colleagues.captures)))

    def _tell_of_target(self, change: str) -> None:
        log.warning("%s", change)
        self._tell_leading()

    def _unready(self) -> str:
        return super()._unready() or ("overloaded" if self._seat.board.is_late else "")

    def _health(self) -> str:
        board = self._seat.board
        missing = [str(each) for each in range(board.workers) if board.state(each) != SERVES]
        return f"alive; without worker {', '.join(missing)}" if missing else super()._health()

    def _own_metrics(self) -> list[Metric]:
        """Read what this worker alone counts."""
        index, mesh = str(self._seat.index), self._mesh
        rules = self.b2bua.setup.rules.version_hash
        return [
            *collect(self._sources),
            gauge("sip_gateway_worker_info", "Workers that serve", ("worker", "rules"), {(index, rules): 1}),
            counter(
                "sip_gateway_handed_over_total",
                "Messages that a worker received for another, by what became of them",
                ("outcome",),
                {"taken": mesh.handed, "dropped": mesh.dropped},
            ),
            counter(
                "sip_gateway_worker_messages_total",
                "Messages that each worker received from the network, by whose they are",
                ("worker", "owner"),
                {(index, "itself"): mesh.kept, (index, "another"): mesh.handed},
            ),
            counter(
                "sip_gateway_calls_left_out_total",
                "Calls that would leave no record if their worker died",
                (),
                {(): self._seat.estate.left_out},
            ),
        ]

    def _collect(self) -> list[Metric]:
        board = self._seat.board
        return [
            *self._merger.merge(self._own_metrics()),
            counter("sip_gateway_worker_restarts_total", "Workers that died", (), {(): board.restarts}),
            counter("sip_gateway_worker_hangs_total", "Of these, those that hung", (), {(): board.hangs}),
            counter("sip_gateway_calls_lost_total", "Calls that were up in them", (), {(): board.lost_calls}),
        ]
