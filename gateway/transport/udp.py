"""UDP: one pump a socket.

The pump waits until its socket is readable, then drains it in batches without awaiting in between. After each
full batch it yields, so that a flood on one socket leaves timers, the ledger and other sockets their turn.

A wake-up through trio costs as much as handling a message, so under load the pump makes each of them fetch
many, as network cards do with their interrupts: while messages keep coming it naps for a moment and looks
again. An idle gateway answers at once; a busy one adds a quarter of a millisecond and saves much of its work.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections import defaultdict
from collections.abc import Callable

import trio

from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flow, Flows, Local
from gateway.sip.message import MAX_DATAGRAM

BATCH = 64
NAP = 0.00025  # seconds
_BUSY = 0.002  # seconds between two wake-ups, below which the pump naps
_NAPS = 8  # at most this many in a row, then the others have their turn
_RECEIVE_BUFFER = 4 * 1024 * 1024
_SO_RCVBUFFORCE = 33  # Linux, for the privileged; the socket module has no name for it

Clock = Callable[[], float]


class UdpTransport:
    """The UDP sockets of a gateway: receives for an endpoint and sends what it wants sent.

    ``dropped`` counts datagrams that could not be sent, by the system's name for the reason.
    """

    def __init__(self, clock: Clock) -> None:
        self.dropped: defaultdict[str, int] = defaultdict(int)
        self._clock = clock
        self._sockets: dict[Local, socket.socket] = {}

    def bind(self, host: str, port: int, advertise: str) -> Local:
        """Open a socket and return its listening point. Raises OSError when the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            _widen(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        bound = sock.getsockname()
        local = Local("udp", _visible(bound[0], family), bound[1], advertise)
        self._sockets[local] = sock
        return local

    def close(self) -> None:
        """Close every socket."""
        for sock in self._sockets.values():
            sock.close()

    async def pump(self, local: Local, endpoint: Endpoint, flows: Flows) -> None:
        """Receive on one socket for as long as the gateway runs."""
        sock = self._sockets[local]
        clock = self._clock
        last = 0.0
        while True:
            await trio.lowlevel.wait_readable(sock)
            now = clock()
            naps = _NAPS if now - last < _BUSY else 0
            last = now
            while True:
                batch = _read(sock, local, flows)
                if not batch:
                    break
                endpoint.receive(batch, now)
                self.flush(endpoint)
                if len(batch) == BATCH:
                    await trio.lowlevel.checkpoint()
                elif naps:
                    naps -= 1
                    # Blocking on purpose: a sleep through trio would cost more than it saves.
                    time.sleep(NAP)
                else:
                    break
                last = now = clock()

    def take(self, endpoint: Endpoint, flows: Flows) -> None:
        """Receive at most a batch from each socket, now."""
        for local, sock in self._sockets.items():
            batch = _read(sock, local, flows)
            if batch:
                endpoint.receive(batch, self._clock())

    def flush(self, endpoint: Endpoint) -> None:
        """Send everything that the endpoint has for the wire."""
        sockets = self._sockets
        for data, flow in endpoint.drain():
            try:
                sockets[flow.local].sendto(data, flow.peer)
            except OSError as error:
                self._send_failed(error, flow, endpoint)

    def _send_failed(self, error: OSError, flow: Flow, endpoint: Endpoint) -> None:
        """A full buffer loses a datagram, as UDP may; a network that is not there fails its transactions."""
        self.dropped[errno.errorcode.get(error.errno or 0, "unknown")] += 1
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM):
            endpoint.flow_lost(flow, self._clock())


def _read(sock: socket.socket, local: Local, flows: Flows) -> list[tuple[bytes, Flow]]:
    """Take up to a batch of datagrams off a socket."""
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
        pass  # an error that an earlier datagram of ours met (ICMP); its transaction's timer speaks for it
    return batch


def _widen(sock: socket.socket) -> None:
    """Ask for a receive buffer that holds a burst: past the system's limit where we may, else up to it."""
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
            return


def _visible(host: str, family: socket.AddressFamily) -> str:
    """Return the address that peers see of a socket bound to ``host``: for a wildcard, the one that the
    default route starts from.
    """
    if host not in ("0.0.0.0", "::"):
        return host
    probe = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((probe, 9))  # sends nothing
            return str(sock.getsockname()[0])
        except OSError:
            return "127.0.0.1" if family == socket.AF_INET else "::1"
