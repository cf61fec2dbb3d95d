"""TCP and TLS: listeners, and the connections that messages come and go on.

A request goes over the connection that stands to its address: one that we opened, or one that the peer opened
from there or offered for it by ``alias`` in its Via (RFC 5923); else one is opened for it, and the message
waits. A response goes back on the connection that its request came on; when that is gone, to the port that
the peer's Via named (RFC 3261 18.2.2). When a connection cannot be had, or ends, the client transactions of
what went over it hear so (17.1.4).

A connection costs a task that reads, and for as long as its peer does not read, one that writes. How long
each may take is looked at by :meth:`StreamTransport.sweep`, once a second for all of them.
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
from gateway.sip.flow import Flow, Local, is_address

from .connection import Connection, Limits, Stage, tune
from .tls import Certificates, Session
from .udp import STALL, Clock, visible

if TYPE_CHECKING:
    from gateway.tap.tap import Ear

log = logging.getLogger("gateway")

READ = 65_536
_BACKLOG = 1024
_ACCEPTS = 32  # in a row, then the others have their turn
_SECURING = 512  # handshakes at a time that peers began: each costs a millisecond of computing
_FAILING = 1_000  # peers that cannot be reached, and are remembered so
_WITHOUT_FILES = 0.1  # seconds to wait when the system has no descriptors left
_IP_BIND_ADDRESS_NO_PORT = 24  # Linux: choose the port at connect; the socket module has no name for it

Key = tuple[Local, str, int, str]


class StreamTransport:
    """The TCP and TLS connections of a gateway.

    ``closed`` counts why connections ended, ``refused`` why some were not accepted. ``on_bug`` is told of
    what our own mistakes raise; they end the connection that they were about, and no more.
    """

    def __init__(
        self,
        clock: Clock,
        certificates: Certificates,
        on_bug: Callable[[Exception], None],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.certificates = certificates
        self.closed: defaultdict[str, int] = defaultdict(int)
        self.refused: defaultdict[str, int] = defaultdict(int)
        self.connections: set[Connection] = set()
        self.tap: Ear | None = None  # told of the messages that come; of the others the UDP transport tells
        self._clock = clock
        self._on_bug = on_bug
        self._listeners: dict[Local, socket.socket] = {}
        self._by_key: dict[Key, Connection] = {}
        self._by_source: defaultdict[str, int] = defaultdict(int)
        self._securing = 0
        self._failing: dict[Key, str] = {}  # what the log was told of peers that cannot be reached
        self._sweep_at = 0.0
        self._taken_at = 0.0
        self._nursery: trio.Nursery | None = None

    def bind(self, transport: str, host: str, port: int, advertise: str) -> Local:
        """Open a listener and return its listening point. Raises OSError when the address cannot be had."""
        return self.adopt(transport, open_socket(host, port), advertise)

    def adopt(self, transport: str, sock: socket.socket, advertise: str) -> Local:
        """Take a listener of :func:`open_socket` and return its listening point."""
        bound = sock.getsockname()
        local = Local(transport, visible(bound[0], sock.family), bound[1], advertise)
        self._listeners[local] = sock
        return local

    def close(self) -> None:
        """Close every listener and connection."""
        for sock in self._listeners.values():
            sock.close()
        for connection in self.connections:
            if connection.sock is not None:
                connection.sock.close()

    async def serve(
        self,
        endpoint: Endpoint,
        trunks: Callable[[], TrunkTable],
        flush: Callable[[], None],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections and serve those that stand, for as long as the gateway runs.

        ``trunks`` tells who is known; ``flush`` sends what the endpoint has for the wire.
        """
        self._endpoint = endpoint
        self._trunks = trunks
        self._flush = flush
        try:
            async with trio.open_nursery() as self._nursery:
                for local in self._listeners:
                    self._nursery.start_soon(self._accept, local)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    # -- sending ----------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        """Send a message over the connection of a flow, which is opened for it if need be."""
        connection = self._standing(_key(flow))
        if connection is None:
            connection = self._open(flow)
            if connection is None:
                self._endpoint.flow_lost(flow, self._clock(), reached=False)
                return
        if not data.startswith(b"SIP/2.0 "):
            connection.carried.add(flow)
        try:
            connection.send(data)
        except (OSError, ssl.SSLError) as error:
            self._end(connection, _reason(error))
            return
        except Exception as bug:
            self._give_up(connection, bug)
            return
        self._write_rest(connection)

    def note_reply(self, flow: Flow) -> None:
        """Take what the Via of a request says of its connection, where another worker has read it."""
        connection = self._standing(_key(flow))
        if connection is not None and connection.incoming and flow.reply_port:
            connection.flow.reply_port = flow.reply_port
            if flow.alias and not connection.alias:
                self._offer(connection)

    def _standing(self, key: Key) -> Connection | None:
        """Return the connection that messages with this key go over, unless its end has begun."""
        connection = self._by_key.get(key)
        return None if connection is None or connection.stage >= Stage.LEAVING else connection

    def _register(self, connection: Connection, key: Key) -> None:
        """Have messages with this key go over a connection, unless another stands for it."""
        if self._standing(key) is None:
            self._by_key[key] = connection
            connection.keys.append(key)

    def _open(self, flow: Flow) -> Connection | None:
        """Begin to connect to where a flow leads; None when there is no such place, or no room."""
        if flow.reply_port:
            # The peer opened the connection that this was, and takes others at that port.
            flow = Flow(flow.local, (flow.peer[0], flow.reply_port), flow.trunk)
            standing = self._standing(_key(flow))
            if standing is not None:
                return standing
        if self._nursery is None or len(self.connections) >= self.limits.connections:
            self.refused["too many connections"] += 1
            return None
        # Messages come up with a flow of their own: what their Vias say must not redirect our requests.
        own = Flow(flow.local, flow.peer, flow.trunk)
        connection = Connection(own, self._clock(), incoming=False)
        self.connections.add(connection)
        self._register(connection, _key(flow))
        self._nursery.start_soon(self._guarded, self._connect, connection)
        return connection

    async def _guarded(self, task: Callable[[Connection], Awaitable[None]], connection: Connection) -> None:
        """Run a task of a connection; a bug costs that connection, and no more."""
        try:
            await task(connection)
        except Exception as bug:
            self._give_up(connection, bug)
            with self._reporting():
                self._flush()

    async def _connect(self, connection: Connection) -> None:
        if connection.stage == Stage.CLOSED:
            return  # more was to be sent at once than may wait
        flow = connection.flow
        family = socket.AF_INET6 if flow.local.family == 6 else socket.AF_INET
        try:
            with trio.move_on_after(self.limits.connect):
                sock = connection.sock = socket.socket(family, socket.SOCK_STREAM)
                tune(sock)
                self._leave_from(sock, flow.local)
                with contextlib.suppress(BlockingIOError):
                    sock.connect((flow.peer[0], flow.peer[1]))
                await trio.lowlevel.wait_writable(sock)
                failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failure:
                    raise OSError(failure, errno.errorcode.get(failure, "unknown"))
                self._reached(connection)
        except (OSError, ssl.SSLError) as error:
            self._end(connection, _reason(error))
        except trio.ClosedResourceError:
            return
        if connection.stage == Stage.CONNECTING:
            self._end(connection, "not reached in time")
        self._flush()
        await self._read(connection)

    def _leave_from(self, sock: socket.socket, local: Local) -> None:
        """Connect from the address that we listen at, by which peers know us."""
        host = self._listeners[local].getsockname()[0]
        if host not in ("0.0.0.0", "::"):
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((host, 0))

    def _reached(self, connection: Connection) -> None:
        """Go on with a connection that was accepted by the peer: secure it, or begin to send."""
        flow, now = connection.flow, self._clock()
        if flow.local.transport != "tls":
            self._opened(connection, now)
            return
        meeting = connection.meeting = self.certificates.meeting(flow.trunk, flow.peer[0])
        connection.session = Session(meeting.context, server=False, name=_domain(meeting.names))
        connection.enter(Stage.SECURING, now)
        connection.take(b"", now)

    def _opened(self, connection: Connection, now: float) -> None:
        connection.open(now)
        if self._failing and self._failing.pop(_key(connection.flow), None) is not None:
            log.info("%s is reached again", connection.flow)
        self._register(connection, _key(connection.flow))
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
            self._end(connection, _reason(error))
            self._flush()
        except trio.ClosedResourceError:
            pass

    # -- receiving --------------------------------------------------------------------------------------

    async def _accept(self, local: Local) -> None:
        listener = self._listeners[local]
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(_ACCEPTS):
                try:
                    sock, peer = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        self.refused["no descriptors"] += 1
                        await trio.sleep(_WITHOUT_FILES)
                    break
                try:
                    self._accepted(sock, Flow(local, (peer[0], peer[1])))
                except Exception as bug:
                    self._on_bug(bug)
                    sock.close()

    def _accepted(self, sock: socket.socket, flow: Flow) -> None:
        """Take a connection in, or close it at once: strangers get nothing, nobody gets more than a share."""
        refusal = self._refusal(flow)
        if refusal:
            self.refused[refusal] += 1
            sock.close()
            return
        now = self._clock()
        connection = Connection(flow, now, incoming=True)
        connection.sock = sock
        self.connections.add(connection)
        self._by_source[flow.peer[0]] += 1
        try:
            tune(sock)
            if flow.local.transport == "tls":
                context = self.certificates.server
                assert context is not None, "without a certificate it was refused"
                connection.session = Session(context, server=True)
                connection.enter(Stage.SECURING, now)
                connection.is_counted = True
                self._securing += 1
            else:
                self._opened(connection, now)
        except OSError as error:
            self._end(connection, _reason(error))
            return
        except Exception as bug:
            self._give_up(connection, bug)
            return
        assert self._nursery is not None
        self._nursery.start_soon(self._guarded, self._read, connection)

    def _refusal(self, flow: Flow) -> str:
        host, port = flow.peer
        trunks = self._trunks()
        is_tls = flow.local.transport == "tls"
        if trunks.find(host, port) is None and not (is_tls and trunks.with_tls_name):
            return "unknown source"
        if is_tls and self.certificates.server is None:
            return "no certificate"  # a reload took it away, and listeners stay until a restart
        if len(self.connections) >= self.limits.connections:
            return "too many connections"
        if self._by_source.get(host, 0) >= self.limits.per_source:
            return "too many connections from one source"
        if is_tls and self._securing >= _SECURING:
            return "too many handshakes"
        return ""

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
            self._end(connection, _reason(error))
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
            self._end(connection, _reason(error))
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
        trunk = self._trunks().identify(flow.peer[0], flow.peer[1], names)
        if trunk is None:
            return "unknown source"
        flow.trunk = trunk.name
        return ""

    def _uncount(self, connection: Connection) -> None:
        """Leave the place of a handshake that is over, or whose connection is, to another; once."""
        if connection.is_counted:
            connection.is_counted = False
            self._securing -= 1

    def _offer(self, connection: Connection) -> None:
        """Have requests to the port in the peer's Via go over the connection that it opened (RFC 5923)."""
        flow = connection.flow
        connection.alias = True
        self._register(connection, _reply_key(flow))

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
        if self._failing.get(_key(flow)) != why:
            self._failing[_key(flow)] = why
            log.warning("%s cannot be reached (%s)", flow, why)

    def _forget(self, connection: Connection, now: float, *, reached: bool) -> None:
        """Have nothing more go over a connection, and tell its transactions."""
        for key in connection.keys:
            if self._by_key.get(key) is connection:
                del self._by_key[key]
        connection.keys.clear()
        for carried in connection.carried:
            self._endpoint.flow_lost(carried, now, reached)


def open_socket(host: str, port: int) -> socket.socket:
    """Open a listener. Raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _key(flow: Flow) -> Key:
    return flow.local, flow.peer[0], flow.peer[1], flow.trunk


def _reply_key(flow: Flow) -> Key:
    return flow.local, flow.peer[0], flow.reply_port, flow.trunk


def _domain(names: frozenset[str]) -> str | None:
    """Return the domain to ask for when a trunk is met (SNI); None where it goes by addresses alone."""
    return min((name for name in names if not is_address(name)), default=None)


def _reason(error: Exception) -> str:
    """Return why a connection ended, as a short fixed phrase."""
    if isinstance(error, ssl.SSLError):
        return "TLS: " + (error.reason or "failed").replace("_", " ").lower()
    if isinstance(error, BlockingIOError):
        return "too much unsent"
    return errno.errorcode.get(getattr(error, "errno", None) or 0, "unknown")
