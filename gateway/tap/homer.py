"""Sends copies of messages to Homer over HEPv3, from a thread of its own.

The loop appends to a bounded queue and goes on; reading the Call-ID, encoding and sending is the thread's. A
capture server that is slow or gone costs copies, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.addresses import TransportAddress
from gateway.os_errors import in_words
from gateway.wall import Wall
from gateway.wire import WireMessage, without_secrets

from .hep import LARGEST, encode
from .identity import call_id_of, x_cid_of
from .tap import Batch, copy_of

QUEUE = 20_000
"""Messages that may wait for the capture server."""
_LEGS = 100_000  # Call-IDs of callees' legs that are known
_PAUSE = 0.05  # seconds between two looks at the queue
_TIMEOUT = 5.0  # seconds for a connection, and for a write
_AGAIN = 5.0  # seconds between two tries to connect


@dataclass(frozen=True, slots=True)
class Homer:
    """Where copies go, which share of calls, and what they say of us."""

    address: TransportAddress
    sample: float
    agent: int
    node: str


class HomerSender:
    """Listens to the tap. ``log`` is told when the capture server fails, and when it is back.

    ``sent``, ``dropped`` (the queue was full, or the gateway stopped), ``failed`` (it could not be sent) and
    ``skipped`` (of calls that are not in the sample) count messages.
    """

    def __init__(self, homer: Homer, log: Callable[[str], None], wall: Wall | None = None) -> None:
        self.sent = 0
        self.dropped = 0
        self.failed = 0
        self.skipped = 0
        self._homer = homer
        self._log = log
        self._wall = wall or Wall()
        self._fails = False
        self._queue: deque[Batch] = deque()
        self._waiting = 0  # messages in the queue, as the loop counts them
        self._taken = 0  # messages that the thread has taken out
        self._legs: OrderedDict[bytes, bytes] = OrderedDict()
        self._largest = LARGEST[homer.address.transport]
        self._sample = int(homer.sample * 2**32)
        self._socket: socket.socket | None = None
        self._peer: tuple[Any, ...] | None = None  # of UDP
        self._next_try = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hep", daemon=True)

    def start(self) -> None:
        """Begin to send, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def take(self, batch: Batch) -> None:
        """Take what has come. Returns at once and never raises."""
        count = len(batch[2])
        if self._waiting - self._taken + count > QUEUE:
            self.dropped += count
        else:
            self._waiting += count
            self._queue.append(batch)

    def pair(self, callee: bytes, caller: bytes) -> None:
        """Learn that the leg with one Call-ID was made for the leg with another; for trunks without X-CID."""
        self._legs[callee] = caller
        if len(self._legs) > _LEGS:
            self._legs.popitem(last=False)

    def close(self, seconds: float) -> None:
        """Send what is left, for at most ``seconds``. Blocks."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self.dropped += self._waiting - self._taken

    # -- in the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE):
            self._send_all()
        self._send_all()
        self._disconnect()

    def _send_all(self) -> None:
        while self._queue:
            at, sent, messages = self._queue.popleft()
            for data, flow in messages:
                self._send(copy_of(self._wall.shows(at), sent, data, flow))
                self._taken += 1

    def _send(self, message: WireMessage) -> None:
        correlation = self._correlation(message.payload)
        if zlib.crc32(correlation) >= self._sample:
            self.skipped += 1
            return
        safe = message._replace(payload=without_secrets(message.payload))
        packet = encode(safe, correlation, self._homer.agent, self._homer.node.encode(), self._largest)
        if packet is not None and self._write(packet):
            self.sent += 1
        else:
            self.failed += 1

    def _correlation(self, payload: bytes) -> bytes:
        """Return the Call-ID of the caller's leg of the message's call."""
        call_id = call_id_of(payload)
        caller = x_cid_of(payload)
        if caller and call_id not in self._legs:
            self.pair(call_id, caller)
        return self._legs.get(call_id, call_id)

    def _write(self, packet: bytes) -> bool:
        try:
            if self._socket is None:
                self._socket = self._connect()
            if self._socket is None:
                return False
            if self._peer is None:
                self._socket.sendall(packet)
            else:
                self._socket.sendto(packet, self._peer)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False  # of this one alone: some systems send less in a datagram than UDP allows
            self._disconnect()
            self._note(False, in_words(error))
            return False
        self._note(True, "")
        return True

    def _connect(self) -> socket.socket | None:
        """Open a socket. Raises OSError; None when it is too early to try again."""
        now = time.monotonic()
        if now < self._next_try:
            return None
        self._next_try = now + _AGAIN
        address = self._homer.address
        if address.transport == "tcp":
            return socket.create_connection((address.host, address.port), _TIMEOUT)
        family, kind, protocol, _, self._peer = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_DGRAM
        )[0]
        # Not connected, so that the news that nobody listens does not cost the copy after it.
        return socket.socket(family, kind, protocol)

    def _disconnect(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _note(self, taken: bool, why: str) -> None:
        """Say when the capture server begins to fail, and when it is back."""
        if taken is self._fails:
            self._fails = not taken
            state = "takes messages again" if taken else f"does not take messages ({why}); calls go on"
            self._log(f"capture server {self._homer.address} {state}")
