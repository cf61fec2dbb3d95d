"""The connections that stand: how messages find them, what comes and goes on them, and what their end means.

A request goes over the connection that stands to its address: one that we opened, or one that the peer opened
from there or offered for it by ``alias`` in its Via (RFC 5923). When one cannot be had, or ends, the client
transactions of what went over it hear so (RFC 3261 17.1.4). Who opens connections is
:mod:`gateway.transport.streams`.

A connection costs a task that reads, and for as long as its peer does not read, one that writes. How long
each may take is looked at by :meth:`Connections.sweep`, once a second for all of them.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import trio

from gateway.routing.trunk import TrunkTable
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow, Local

from .connection import Connection, Limits, Stage
from .udp import STALL, Clock

if TYPE_CHECKING:
    from gateway.tap.tap import Ear

log = logging.getLogger("gateway")

READ = 65_536
_FAILING = 1_000  # peers that cannot be reached, and are remembered so

Key = tuple[Local, str, int, str]


class Connections:
    """The TCP and TLS connections of a gateway, incoming and outgoing.

    ``closed`` counts why they ended. ``on_bug`` is told of what our own mistakes raise; they end the
    connection that they were about, and no more.
    """

    _endpoint: Endpoint
    _trunks: Callable[[], TrunkTable]
    _flush: Callable[[], None]

    def __init__(self, clock: Clock, on_bug: Callable[[Exception], None], limits: Limits | None) -> None:
        self.limits = limits or Limits()
        self.closed: defaultdict[str, int] = defaultdict(int)
        self.connections: set[Connection] = set()
        self.tap: Ear | None = None  # told of the messages that come; of the others the UDP transport tells
        self._clock = clock
        self._on_bug = on_bug
        self._by_key: dict[Key, Connection] = {}
        self._by_source: defaultdict[str, int] = defaultdict(int)
        self._securing = 0
        self._failing: dict[Key, str] = {}  # what the log was told of peers that cannot be reached
        self._sweep_at = 0.0
        self._taken_at = 0.0
        self._nursery: trio.Nursery | None = None

    # -- finding them -----------------------------------------------------------------------------------

    def _standing(self, key: Key) -> Connection | None:
        """Return the connection that messages with this key go over, unless its end has begun."""
        connection = self._by_key.get(key)
        return None if connection is None or connection.stage >= Stage.LEAVING else connection

    def _register(self, connection: Connection, key: Key) -> None:
        """Have messages with this key go over a connection, unless another stands for it."""
        if self._standing(key) is None:
            self._by_key[key] = connection
            connection.keys.append(key)

    def _offer(self, connection: Connection) -> None:
        """Have requests to the port in the peer's Via go over the connection that it opened (RFC 5923)."""
        flow = connection.flow
        connection.alias = True
        self._register(connection, _reply_key(flow))

    # -- sending ----------------------------------------------------------------------------------------

    def _opened(self, connection: Connection, now: float) -> None:
        connection.open(now)
        if self._failing and self._failing.pop(key_of(connection.flow), None) is not None:
            log.info("%s is reached again", connection.flow)
        self._register(connection, key_of(connection.flow))
        self._write_rest(connection)

    def _write_rest(self, connection: Connection) -> None:
        if connection.has_unsent and not connection.is_writing and self._nursery is not None:
            connection.is_writing = True
            self._nursery.start_soon(self._guarded, self._write, connection)

    async def _write(self, connection: Connection) -> None:
        if connection.sock is None:
            return
        try:
            await connection.write_rest()
            connection.shut()
        except OSError as error:
            self._end(connection, reason_of(error))
            self._flush()
        except trio.ClosedResourceError:
            pass

    async def _guarded(self, task: Callable[[Connection], Awaitable[None]], connection: Connection) -> None:
        """Run a task of a connection; a bug costs that connection, and no more."""
        try:
            await task(connection)
        except Exception as bug:
            self._give_up(connection, bug)
            with self._reporting():
                self._flush()

    # -- receiving --------------------------------------------------------------------------------------

    async def _read(self, connection: Connection) -> None:
        sock = connection.sock
        while sock is not None and connection.stage != Stage.CLOSED:
            try:
                await trio.lowlevel.wait_readable(sock)
            except trio.ClosedResourceError:
                return
            self._receive(connection, sock)
            self._flush()

    def take(self, now: float) -> None:
        """After a stall, receive at most a segment from each connection: an answer that a timer waits for may
        be there. Else their tasks do; and to look at all would cost more than it brings.
        """
        is_late = now - self._taken_at >= STALL
        self._taken_at = now
        if not is_late:
            return
        for connection in list(self.connections):
            if connection.sock is not None and connection.stage in (Stage.SECURING, Stage.OPEN):
                try:
                    self._receive(connection, connection.sock)
                except Exception as bug:
                    self._give_up(connection, bug)
        self._taken_at = self._clock()

    def _receive(self, connection: Connection, sock: socket.socket) -> None:
        """Take what has come on a connection, if anything has, and do everything that follows from it."""
        try:
            data = sock.recv(READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(connection, reason_of(error))
            return
        if data:
            self._take(connection, data)
        else:
            self._end(connection, "closed by the peer")

    def _take(self, connection: Connection, data: bytes) -> None:
        """Take bytes off a connection and do everything that follows from them."""
        if connection.stage == Stage.LEAVING:
            return
        now = self._clock()
        try:
            messages = connection.take(data, now)
            session = connection.session
            if session is not None and session.established and connection.stage == Stage.SECURING:
                stranger = self._stranger(connection, session.names)
                if stranger:
                    self._end(connection, stranger, session.names)
                    return
                self._opened(connection, now)
        except (OSError, ssl.SSLError) as error:
            self._end(connection, reason_of(error))
            return
        flow = connection.flow
        if messages:
            batch = [(message, flow) for message in messages]
            if self.tap is not None:
                self.tap.received(batch, now)
            self._endpoint.receive(batch, now)
            if flow.alias and not connection.alias:
                self._offer(connection)
        if connection.framer.error is not None:
            self._endpoint.unframed(connection.framer.error, flow)
            self._flush()
            self._depart(connection, connection.framer.error.why, now)
        elif session is not None and session.is_over:
            self._end(connection, "closed by the peer")
        self._write_rest(connection)

    def _stranger(self, connection: Connection, names: frozenset[str]) -> str:
        """Return why the peer of a new TLS connection is not served, or ""; learn which trunk it is."""
        flow = connection.flow
        if connection.meeting is not None:
            return "" if connection.meeting.accepts(names) else "certificate names another"
        self._uncount(connection)
        trunks = self._trunks()
        trunk = trunks.identify(flow.peer[0], flow.peer[1], names)
        if trunk is None:
            trunks.strangers.note(flow)
            return "unknown source"
        flow.trunk = trunk.name
        return ""

    def _uncount(self, connection: Connection) -> None:
        """Leave the place of a handshake that is over, or whose connection is, to another; once."""
        if connection.is_counted:
            connection.is_counted = False
            self._securing -= 1

    # -- the end ----------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Close what has taken too long; looks once a second, however often it is called."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + 1.0
        for connection in list(self.connections):
            reason = connection.overdue(now, self.limits)
            if reason:
                self._end(connection, reason)

    def _depart(self, connection: Connection, reason: str, now: float) -> None:
        """Leave a peer that cannot be understood, so that it can still read the answer to that."""
        if connection.stage == Stage.CLOSED:
            return
        self.closed[reason] += 1
        self._forget(connection, now, reached=True)
        connection.leave(now)

    def _end(self, connection: Connection, reason: str, names: frozenset[str] = frozenset()) -> None:
        """Close a connection. ``names`` are those that the peer's certificate proved, where that is why."""
        if connection.stage == Stage.CLOSED:
            return
        now = self._clock()
        self._uncount(connection)
        if connection.stage < Stage.OPEN and not connection.incoming:
            self._complain(connection.flow, ": ".join([reason, *sorted(names)]))
        self.connections.discard(connection)
        if connection.incoming:
            source = connection.flow.peer[0]
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]
        stage = connection.stage
        connection.close()
        if stage != Stage.LEAVING:
            self.closed[reason] += 1
            self._forget(connection, now, reached=stage >= Stage.OPEN)

    def _give_up(self, connection: Connection, bug: Exception) -> None:
        """Report a mistake of ours, and close the connection that it was about."""
        self._on_bug(bug)
        with self._reporting():
            self._end(connection, "a mistake of ours")

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Report what is raised, and go on."""
        try:
            yield
        except Exception as bug:
            self._on_bug(bug)

    def _complain(self, flow: Flow, why: str) -> None:
        """Log why a peer cannot be reached: once, and again when it is another reason."""
        if len(self._failing) >= _FAILING:
            self._failing.clear()
        if self._failing.get(key_of(flow)) != why:
            self._failing[key_of(flow)] = why
            log.warning("%s cannot be reached (%s)", flow, why)

    def _forget(self, connection: Connection, now: float, *, reached: bool) -> None:
        """Have nothing more go over a connection, and tell its transactions."""
        for key in connection.keys:
            if self._by_key.get(key) is connection:
                del self._by_key[key]
        connection.keys.clear()
        for carried in connection.carried:
            self._endpoint.flow_lost(carried, now, reached)


def key_of(flow: Flow) -> Key:
    """Return what the connection of a flow is found by."""
    return flow.local, flow.peer[0], flow.peer[1], flow.trunk


def _reply_key(flow: Flow) -> Key:
    return flow.local, flow.peer[0], flow.reply_port, flow.trunk


def reason_of(error: Exception) -> str:
    """Return why a connection ended, as a short fixed phrase."""
    if isinstance(error, ssl.SSLError):
        return "TLS: " + (error.reason or "failed").replace("_", " ").lower()
    if isinstance(error, BlockingIOError):
        return "too much unsent"
    return errno.errorcode.get(getattr(error, "errno", None) or 0, "unknown")
