"""UDP sockets, in batches: where the native core is in use, each system call moves one.

When ICMP says that a datagram found nobody, the system keeps that with the start of the datagram in the error
queue of the socket, and it is handed to the endpoint: a dead target is known at once (RFC 3261 18.4).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

from gateway import speedups
from gateway.histogram import LOOP_SECONDS, Histogram
from gateway.sip.flow import Flow, Flows, Local
from gateway.sip.message import MAX_DATAGRAM

from .pump import BATCH

_RECEIVE_BUFFER = 4 * 1024 * 1024
_SO_RCVBUFFORCE = 33  # Linux, for the privileged; the socket module has no name for it
_IP_RECVERR, _IPV6_RECVERR = 11, 25  # likewise, and what follows
_MSG_ERRQUEUE = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBB")  # how sock_extended_err begins: errno, origin, type
_UNREACHABLE = {(2, 3), (3, 1)}  # (origin, type): destination unreachable, of ICMP and of ICMPv6
_NO_WAY: Final = (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EACCES,
    errno.EPERM,  # a firewall of this machine
    errno.EINVAL,  # the address that we listen at is gone; or it is loopback, and the peer is elsewhere
    errno.EADDRNOTAVAIL,
    errno.EMSGSIZE,  # no datagram is as large
)
_ENDING: Final = (b"BYE ", b"CANCEL ")
_OVERFLOW = "receive buffer full"
_AT_ONCE: Final = 32  # timers that fire in a turn: under load there is one for most messages
STALL: Final = 0.2
"""Seconds since every socket was looked at, after which all are read before timers fire."""
_QUOTED = 1024  # bytes of a datagram that are looked at: the branch stands near its start

if TYPE_CHECKING:
    from gateway._native import Batches
    from gateway.tap.tap import Ear

Clock = Callable[[], float]
Carry = Callable[[bytes, Flow], None]


class Receiver(Protocol):
    """What is above the transports: the endpoint. See there."""

    def receive(self, batch: list[tuple[bytes, Flow]], now: float) -> None:
        """Take datagrams."""

    def tick(self, now: float, most: int) -> None:
        """Do what is due, at most so much of it."""

    def drain(self) -> list[tuple[bytes, Flow]]:
        """Return what must be sent."""

    def undelivered(self, data: bytes, now: float) -> None:
        """Take back the start of a datagram that found nobody."""


class UdpTransport:
    """The UDP sockets of a gateway: receives for an endpoint and sends what it wants sent.

    ``dropped`` counts datagrams that could not be sent, by the system's name for the reason, and those that
    the system lost because we were slow to take them. ``carry`` sends what goes over other transports.
    ``latency`` is the time from reading a batch to having sent what follows from it, in seconds; one batch is
    measured whenever ``measures`` was set. ``tap`` is told of all that comes, and of all that is to be sent,
    over other transports too; None when nobody listens.
    """

    def __init__(self, clock: Clock, carry: Carry | None = None) -> None:
        self.carry = carry
        self.dropped: defaultdict[str, int] = defaultdict(int)
        self.latency = Histogram(LOOP_SECONDS)
        self.measures = False
        self.tap: Ear | None = None
        self._clock = clock
        self._sockets: dict[Local, socket.socket] = {}
        self._taken_at = 0.0
        self._emptied: set[Local] = set()  # those whose last turn took nothing
        self._batches: dict[Local, Batches] = {}  # of each socket, where the native core is in use

    def bind(self, host: str, port: int, advertise: str) -> Local:
        """Open a socket and return its listening point. Raises OSError when the address cannot be had."""
        return self.adopt(open_socket(host, port), advertise)

    def adopt(self, sock: socket.socket, advertise: str) -> Local:
        """Take a socket of :func:`open_socket` and return its listening point."""
        bound = sock.getsockname()
        local = Local("udp", visible(bound[0], sock.family), bound[1], advertise)
        self._sockets[local] = sock
        batches = speedups.batches(sock.fileno(), BATCH)
        if batches is not None:
            self._batches[local] = batches
        return local

    def close(self) -> None:
        """Close every socket."""
        self._batches.clear()  # they know the sockets by number, and numbers are used again
        for sock in self._sockets.values():
            sock.close()

    def socket_of(self, local: Local) -> socket.socket:
        """Return the socket of a listening point."""
        return self._sockets[local]

    def turn(self, local: Local, endpoint: Receiver, flows: Flows, now: float) -> int:
        """Receive at most a batch from one socket, do what follows from it and some of what is due, and
        return how many came. After a stall nothing is due before all sockets have been read (:meth:`take`):
        an answer may be waiting.
        """
        sock = self._sockets[local]
        count = self._receive(sock, local, endpoint, flows, now)
        if count:
            self._emptied.discard(local)
        elif local in self._emptied:
            self._heed_errors(sock, endpoint)  # there was nothing before, so they made the socket readable
        else:
            self._emptied.add(local)
        if count < BATCH and now - self._taken_at < STALL:
            endpoint.tick(now, _AT_ONCE)  # with each tick they would hold up messages, by the hundred
        self.flush(endpoint)
        if self.measures and count:
            self.measures = False
            self.latency.observe(self._clock() - now)
        return count

    def take(self, endpoint: Receiver, flows: Flows) -> None:
        """Receive at most a batch from each socket, now."""
        for local, sock in self._sockets.items():
            self._receive(sock, local, endpoint, flows, self._clock())
            self._heed_errors(sock, endpoint)
        self._taken_at = self._clock()

    def _receive(
        self, sock: socket.socket, local: Local, endpoint: Receiver, flows: Flows, now: float
    ) -> int:
        """Hand at most a batch of datagrams to the endpoint; return how many came."""
        batch = self._read(sock, local, flows)
        if batch:
            if self.tap is not None:
                self.tap.received(batch, now)
            endpoint.receive(batch, now)
        return len(batch)

    def flush(self, endpoint: Receiver) -> None:
        """Send everything that the endpoint has for the wire."""
        messages = endpoint.drain()
        if self.tap is not None and messages:
            self.tap.sent(messages)
        if self._batches:
            self._send_batches(messages, endpoint)
            return
        sockets = self._sockets
        for data, flow in messages:
            try:
                sockets[flow.local].sendto(data, flow.peer)
            except KeyError:
                self._carry(data, flow)
            except OSError:
                self._send_again(data, flow, endpoint)

    def _carry(self, data: bytes, flow: Flow) -> None:
        assert self.carry is not None, "there is a listening point for it"
        self.carry(data, flow)

    def _send_batches(self, messages: list[tuple[bytes, Flow]], endpoint: Receiver) -> None:
        """Send what there is by as few system calls as it takes: in order from each socket."""
        waiting: dict[Local, list[tuple[bytes, Flow]]] = {}
        for item in messages:
            local = item[1].local
            if local in waiting:
                waiting[local].append(item)
            else:
                waiting[local] = [item]
        for local, batch in waiting.items():
            batches = self._batches.get(local)
            if batches is None:
                for data, flow in batch:
                    self._carry(data, flow)
                continue
            sent = 0
            while sent < len(batch):
                try:
                    sent += batches.send(batch, sent)
                except OSError:
                    self._send_again(*batch[sent], endpoint)
                    sent += 1

    def _send_again(self, data: bytes, flow: Flow, endpoint: Receiver) -> None:
        """Send what the system refused, in case it was about another datagram: the news that an earlier one
        found nobody is told to whoever uses the socket next.
        """
        try:
            self._sockets[flow.local].sendto(data, flow.peer)
        except OSError as error:
            self._send_failed(error, data, endpoint)

    def _read(self, sock: socket.socket, local: Local, flows: Flows) -> list[tuple[bytes, Flow]]:
        """Take up to a batch of datagrams off a socket."""
        batches = self._batches.get(local)
        if batches is None:
            return _read(sock, local, flows)
        try:
            batch = batches.receive()
        except OSError:
            return []  # there is none; or an error that an earlier datagram of ours met, as below
        if batches.lost:
            self.dropped[_OVERFLOW] = sum(each.lost for each in self._batches.values())
        flow_of = flows.get
        return [(data, flow_of(local, peer)) for data, peer in batch]

    def _heed_errors(self, sock: socket.socket, endpoint: Receiver) -> None:
        """Hand the datagrams that found nobody back to the endpoint, at most a batch of them."""
        for data, notes in read_errors(sock):
            if any(_says_unreachable(*note) for note in notes):
                endpoint.undelivered(data, self._clock())

    def _send_failed(self, error: OSError, data: bytes, endpoint: Receiver) -> None:
        """A full buffer loses a datagram, as UDP may; where there is no way, its transaction is told (RFC
        3261 17.1.4), so that others can be asked. Networks come back: transactions that have sent theirs to
        the same peer wait on, and what ends a call is repeated as if it had been lost, since there is nobody
        else to tell, and who never hears of it rings or bills on.
        """
        self.dropped[errno.errorcode.get(error.errno or 0, "unknown")] += 1
        if error.errno in _NO_WAY and not data.startswith(_ENDING):
            endpoint.undelivered(data, self._clock())


def open_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Open a UDP socket, one of several at its address if it is ``shared``: the system chooses one of these
    by the peer's address. Raises OSError when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        _widen(sock)
        _hear_errors(sock, family)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _read(sock: socket.socket, local: Local, flows: Flows) -> list[tuple[bytes, Flow]]:
    """Take up to a batch of datagrams off a socket, one by one."""
    batch = []
    receive = sock.recvfrom
    flow_of = flows.get
    try:
        for _ in range(BATCH):
            data, peer = receive(MAX_DATAGRAM)
            batch.append((data, flow_of(local, peer)))
    except BlockingIOError:
        pass
    except OSError:
        pass  # an error that an earlier datagram of ours met (ICMP); the error queue has the rest of it
    return batch


def read_errors(sock: socket.socket) -> Iterator[tuple[bytes, list[tuple[int, int, bytes]]]]:
    """Take up to a batch off the error queue: the start of a datagram of ours, and what became of it. The
    socket counts as ready to be read until all of it is taken.
    """
    for _ in range(BATCH):
        try:
            data, notes, _, _ = sock.recvmsg(_QUOTED, 256, _MSG_ERRQUEUE)
        except OSError:
            return
        yield data, notes


def _widen(sock: socket.socket) -> None:
    """Ask for a receive buffer that holds a burst: past the system's limit where we may, else up to it."""
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
            return


def _hear_errors(sock: socket.socket, family: socket.AddressFamily) -> None:
    """Ask for the error queue, where the system has one."""
    with contextlib.suppress(OSError):
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def _says_unreachable(level: int, kind: int, data: bytes) -> bool:
    """Tell whether a note in the error queue is an ICMP message that the destination is unreachable; time
    exceeded and the like are ignored (RFC 3261 18.4), and so is the news of a smaller MTU.
    """
    if (level, kind) not in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
        return False
    number, origin, icmp_type = _EXTENDED_ERROR.unpack_from(data)
    return (origin, icmp_type) in _UNREACHABLE and number != errno.EMSGSIZE


def visible(host: str, family: socket.AddressFamily) -> str:
    """Return the address that peers see of a socket bound to ``host``: for a wildcard, the one that the
    default route starts from.
    """
    if host not in ("0.0.0.0", "::"):
        return host
    is_four = family == socket.AF_INET
    return source_of("192.0.2.1" if is_four else "2001:db8::1") or ("127.0.0.1" if is_four else "::1")


def source_of(host: str) -> str:
    """Return the address of this machine that the route to another one starts from; "" without a route."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((host, 9))  # sends nothing
            return str(sock.getsockname()[0])
    except OSError:
        return ""
