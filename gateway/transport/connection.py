"""One TCP connection, perhaps under TLS: its socket, its frame, what waits to be sent.

Everything here is done at once or not at all, so that the core may send without waiting: what the socket does
not take is kept, up to a bound, for :meth:`Connection.write_rest`. A peer that reads too slowly for it loses
the connection. What becomes of connections is :mod:`gateway.transport.connections`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from enum import IntEnum

import trio

from gateway.sip.flow import Flow, Local
from gateway.sip.framing import Framer

from .tls import Meeting, Session

MAX_UNSENT = 1024 * 1024  # bytes that wait for a slow reader, or for the connection to stand


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may take, in seconds and in numbers."""

    idle: float = 600.0
    """Without a byte from the peer."""
    incomplete: float = 10.0
    """From the first byte of a message, or of a TLS handshake, to its last."""
    connect: float = 4.0
    """To reach a peer."""
    linger: float = 2.0
    """For a peer to read the answer that it is left with."""
    connections: int = 10_000
    per_source: int = 1_000
    """From one address."""


class Stage(IntEnum):
    """What a connection has come to."""

    CONNECTING = 0
    SECURING = 1  # the TLS handshake
    OPEN = 2
    LEAVING = 3  # said all we have to say; what still comes is not read
    CLOSED = 4


class Connection:
    """A connection. ``flow`` is what its messages are handed up with; ``carried`` are the flows whose
    requests went out on it, so that their transactions hear of its end; ``keys`` are what the transport
    finds it by; ``meeting`` says whom we expect, on one that we opened over TLS.
    """

    __slots__ = (
        "_since",
        "_stage",
        "_unsent",
        "_waiting",
        "_waiting_size",
        "active_at",
        "alias",
        "carried",
        "flow",
        "framer",
        "incoming",
        "is_counted",
        "is_writing",
        "keys",
        "meeting",
        "session",
        "sock",
    )

    def __init__(self, flow: Flow, now: float, *, incoming: bool) -> None:
        self.flow = flow
        self.incoming = incoming
        self.sock: socket.socket | None = None
        self.session: Session | None = None
        self.meeting: Meeting | None = None
        self.framer = Framer()
        self.carried: set[Flow] = set()
        self.keys: list[tuple[Local, str, int, str]] = []
        self.alias = False  # it is found by the port that its peer takes connections at, too
        self.is_counted = False  # among the handshakes that peers began and that go on
        self.is_writing = False  # a task waits until the socket takes more
        self.active_at = now  # when the peer was last heard
        self._since = now  # when what the stage or the framer waits for began; 0.0 while that is nothing
        self._stage = Stage.CONNECTING
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._unsent = bytearray()

    @property
    def stage(self) -> Stage:
        """What the connection has come to."""
        return self._stage

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait until the socket takes them."""
        return bool(self._unsent)

    def enter(self, stage: Stage, now: float) -> None:
        """Take note that another stage has begun."""
        self._stage = stage
        self._since = now

    def open(self, now: float) -> None:
        """Take note that the connection stands; send what waited for that. Raises OSError, ssl.SSLError."""
        self.enter(Stage.OPEN, now)
        if not self.framer.is_waiting:
            self._since = 0.0
        waiting, self._waiting = self._waiting, []
        self._waiting_size = 0
        for data in waiting:
            self.send(data)

    def send(self, data: bytes) -> None:
        """Send a message now, or keep it. Raises OSError and ssl.SSLError when that is not to be had."""
        if self._stage == Stage.OPEN:
            self.write(data if self.session is None else self.session.seal(data))
        elif self._stage < Stage.OPEN:
            self._waiting_size += len(data)
            if self._waiting_size > MAX_UNSENT:
                raise BlockingIOError("too much waits to be sent")
            self._waiting.append(data)

    def write(self, data: bytes) -> None:
        """Give bytes to the socket as they are. Raises OSError."""
        if not data:
            return
        sent = 0
        if not self._unsent:
            assert self.sock is not None, "there is a socket once the peer is reached"
            with contextlib.suppress(BlockingIOError):
                sent = self.sock.send(data)
            if sent == len(data):
                return
        if len(self._unsent) + len(data) - sent > MAX_UNSENT:
            raise BlockingIOError("the peer reads too slowly")
        self._unsent += data[sent:]

    async def write_rest(self) -> None:
        """Send what was kept, as the socket takes it. Raises OSError and trio.ClosedResourceError."""
        sock = self.sock
        assert sock is not None
        self.is_writing = True
        try:
            while self._unsent:
                await trio.lowlevel.wait_writable(sock)
                with contextlib.suppress(BlockingIOError):
                    del self._unsent[: sock.send(self._unsent)]
        finally:
            self.is_writing = False

    def take(self, data: bytes, now: float) -> list[bytes]:
        """Take what came off the socket, and return the messages that it completes. Raises OSError and
        ssl.SSLError. A TLS handshake that is over with these bytes leaves the stage at SECURING.
        """
        self.active_at = now
        if self.session is not None:
            try:
                data = self.session.receive(data)
            finally:
                self.write(self.session.pending())
        if not data:
            return []
        messages = self.framer.feed(data)
        if messages or not self.framer.is_waiting or self._since == 0.0:
            self._since = now if self.framer.is_waiting else 0.0
        if self.framer.pings:
            self.send(b"\r\n" * self.framer.pings)
            self.framer.pings = 0
        return messages

    def leave(self, now: float) -> None:
        """Say that nothing more comes from us; what is unsent still goes out."""
        if self.session is not None:
            with contextlib.suppress(OSError, ssl.SSLError):
                self.write(self.session.farewell())
        self.enter(Stage.LEAVING, now)
        self.shut()

    def shut(self) -> None:
        """End our direction of a connection that we leave, once all is sent."""
        if self._stage == Stage.LEAVING and not self._unsent and self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket. The tasks that wait on it get trio.ClosedResourceError."""
        self._stage = Stage.CLOSED
        self._waiting = []
        self._unsent.clear()
        if self.sock is not None:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()
            self.sock = None

    def overdue(self, now: float, limits: Limits) -> str:
        """Return what has taken too long, as a word for a counter, or ""."""
        if self._stage == Stage.SECURING and now - self._since > limits.incomplete:
            return "handshake too slow"
        if self._stage == Stage.LEAVING and now - self._since > limits.linger:
            return "left"
        if self._stage == Stage.OPEN:
            if self.framer.is_waiting and now - self._since > limits.incomplete:
                return "message too slow"
            if now - self.active_at > limits.idle:
                return "idle"
        return ""


def tune(sock: socket.socket) -> None:
    """Set what every connection wants: no delay for small messages, and news of a peer that is gone."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 32_000)  # as long as timer B
