"""How workers reach one another: an inbox each, that all the others write into.

An inbox is a pair of Unix datagram sockets that are connected to each other: one end is read by its worker,
the other is shared by all writers, over a fork. Pairs are exempt from the system's limit of datagrams that
may wait, so what bounds an inbox is the buffer of its writing end; what finds no room waits with its sender,
up to a bound of its own, and is tried again on the next occasion. Beyond that it is dropped and counted, as a
full receive buffer drops datagrams. The supervisor keeps both ends open: what is written while a worker is
away waits for the next one in its place.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import NamedTuple

from gateway.sip.message import MAX_DATAGRAM

from .notes import FlowName, HandedOver, Note, decode, encode

_BUFFER = 8 * 1024 * 1024
_SO_SNDBUFFORCE = 32  # Linux, for the privileged; the socket module has no name for it
_LARGEST = 1024 * 1024  # bytes of a note
_BATCH = MAX_DATAGRAM  # bytes of messages in one note, but for the last of them
_WAITING = 16 * 1024 * 1024  # bytes that wait for one inbox
AT_A_TIME = 32
"""Notes that are read in one go, then the others have their turn."""


class Inbox(NamedTuple):
    """Both ends of one worker's inbox."""

    reading: socket.socket
    writing: socket.socket

    @classmethod
    def open(cls) -> Inbox:
        """Make one."""
        reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for sock in (reading, writing):
            sock.setblocking(False)
        for option in (_SO_SNDBUFFORCE, socket.SO_SNDBUF):
            with contextlib.suppress(OSError):
                writing.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
                break
        return cls(reading, writing)

    def close(self) -> None:
        """Close both ends."""
        self.reading.close()
        self.writing.close()


class Outboxes:
    """The inboxes of all workers, as they are written into by worker ``index``, or by the supervisor (None).

    ``handed`` counts messages that went to their owner, ``dropped`` what found no room.
    """

    def __init__(self, index: int | None, inboxes: list[Inbox]) -> None:
        self.workers = len(inboxes)
        self.handed = 0
        self.dropped = 0
        self._others = [other for other in range(self.workers) if other != index]
        self._writing = [inbox.writing for inbox in inboxes]
        self._gathered: list[dict[FlowName, list[bytes]]] = [{} for _ in inboxes]
        self._sizes = [0] * self.workers
        self._waiting: list[deque[tuple[bytes, int]]] = [deque() for _ in inboxes]
        self._waiting_bytes = [0] * self.workers

    def hand(self, to: int, data: bytes, flow: FlowName) -> None:
        """Give a message to its owner; it leaves with :meth:`settle` at the latest."""
        gathered = self._gathered[to]
        if flow in gathered:
            gathered[flow].append(data)
        else:
            gathered[flow] = [data]
        self._sizes[to] += len(data)
        if self._sizes[to] >= _BATCH:
            self._send_gathered(to)

    def tell(self, to: int, note: Note) -> None:
        """Give a note to one worker."""
        self._send(to, encode(note), 1)

    def tell_others(self, note: Note, count: int = 1) -> None:
        """Give a note to every other worker; it counts for so many where it finds no room."""
        data = encode(note)
        for to in self._others:
            self._send(to, data, count)

    def settle(self) -> None:
        """Send what has gathered, and what has found no room before."""
        for to in self._others:
            if self._waiting[to]:
                self._send_waiting(to)
            if self._sizes[to]:
                self._send_gathered(to)

    def _send_gathered(self, to: int) -> None:
        messages = list(self._gathered[to].items())
        self._gathered[to].clear()
        self._sizes[to] = 0
        count = sum(len(each) for _, each in messages)
        self.handed += count
        self._send(to, encode(HandedOver(messages)), count)

    def _send(self, to: int, data: bytes, count: int) -> None:
        if not self._waiting[to]:
            try:
                self._writing[to].send(data)
            except OSError:
                pass  # no room now
            else:
                return
        if self._waiting_bytes[to] + len(data) > _WAITING:
            self.dropped += count
            return
        self._waiting[to].append((data, count))
        self._waiting_bytes[to] += len(data)

    def _send_waiting(self, to: int) -> None:
        waiting = self._waiting[to]
        while waiting:
            data, count = waiting[0]
            try:
                self._writing[to].send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # larger than the buffer, which no note should be
                self.dropped += count
            waiting.popleft()
            self._waiting_bytes[to] -= len(data)


class Mesh(Outboxes):
    """The inboxes of all workers, as worker ``index`` sees them. ``kept`` counts messages that came from the
    network to their owner.
    """

    def __init__(self, index: int, inboxes: list[Inbox]) -> None:
        super().__init__(index, inboxes)
        self.kept = 0
        self.index = index
        self.reading = inboxes[index].reading

    def receive(self) -> list[Note]:
        """Return notes that have come, without waiting; not more than fit in one go."""
        found: list[Note] = []
        receive = self.reading.recv
        try:
            while len(found) < AT_A_TIME:
                found.append(decode(receive(_LARGEST)))
        except BlockingIOError:
            pass
        return found
