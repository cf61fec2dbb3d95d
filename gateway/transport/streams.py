"""TCP and TLS: listeners, and connections that are opened and accepted.

A message goes over the connection that stands to its address (:mod:`gateway.transport.connections`); else one
is opened for it, and the message waits. A response goes back on the connection that its request came on; when
that is gone, to the port that the peer's Via named (RFC 3261 18.2.2).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable

import trio

from gateway.routing.trunk import TrunkTable
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow, Local, is_address

from .connection import Connection, Limits, Stage, tune
from .connections import Connections, key_of, reason_of
from .tls import Certificates, Session
from .udp import Clock, visible

_BACKLOG = 1024
_ACCEPTS = 32  # in a row, then the others have their turn
_SECURING = 512  # handshakes at a time that peers began: each costs a millisecond of computing
_WITHOUT_FILES = 0.1  # seconds to wait when the system has no descriptors left
_IP_BIND_ADDRESS_NO_PORT = 24  # Linux: choose the port at connect; the socket module has no name for it


class StreamTransport(Connections):
    """The TCP and TLS connections of a gateway; ``refused`` counts why some were not accepted."""

    def __init__(
        self,
        clock: Clock,
        certificates: Certificates,
        on_bug: Callable[[Exception], None],
        limits: Limits | None = None,
    ) -> None:
        super().__init__(clock, on_bug, limits)
        self.certificates = certificates
        self.refused: defaultdict[str, int] = defaultdict(int)
        self._listeners: dict[Local, socket.socket] = {}

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

    # -- connecting ----------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        """Send a message over the connection of a flow, which is opened for it if need be."""
        connection = self._standing(key_of(flow))
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
            self._end(connection, reason_of(error))
            return
        except Exception as bug:
            self._give_up(connection, bug)
            return
        self._write_rest(connection)

    def note_reply(self, flow: Flow) -> None:
        """Take what the Via of a request says of its connection, where another worker has read it."""
        connection = self._standing(key_of(flow))
        if connection is not None and connection.incoming and flow.reply_port:
            connection.flow.reply_port = flow.reply_port
            if flow.alias and not connection.alias:
                self._offer(connection)

    def _open(self, flow: Flow) -> Connection | None:
        """Begin to connect to where a flow leads; None when there is no such place, or no room."""
        if flow.reply_port:
            # The peer opened the connection that this was, and takes others at that port.
            flow = Flow(flow.local, (flow.peer[0], flow.reply_port), flow.trunk)
            standing = self._standing(key_of(flow))
            if standing is not None:
                return standing
        if self._nursery is None or len(self.connections) >= self.limits.connections:
            self.refused["too many connections"] += 1
            return None
        # Messages come up with a flow of their own: what their Vias say must not redirect our requests.
        own = Flow(flow.local, flow.peer, flow.trunk)
        connection = Connection(own, self._clock(), incoming=False)
        self.connections.add(connection)
        self._register(connection, key_of(flow))
        self._nursery.start_soon(self._guarded, self._connect, connection)
        return connection

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
            self._end(connection, reason_of(error))
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

    # -- accepting --------------------------------------------------------------------------------------

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
            self._end(connection, reason_of(error))
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
            trunks.strangers.note(flow)
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


def _domain(names: frozenset[str]) -> str | None:
    """Return the domain to ask for when a trunk is met (SNI); None where it goes by addresses alone."""
    return min((name for name in names if not is_address(name)), default=None)
