"""The line between a worker and the supervisor: notes, whole and in order, and an end that is noticed."""

from __future__ import annotations

import socket

from .notes import Note, decode, encode

_LARGEST = 1 << 20


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Return the supervisor's end and the worker's."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock in pair:
        sock.setblocking(False)
    return pair


def say(sock: socket.socket, note: Note) -> bool:
    """Send a note; tell whether it went."""
    try:
        sock.send(encode(note))
    except OSError:
        return False
    return True


def hear(sock: socket.socket) -> Note | None:
    """Return the note that is there. Raises BlockingIOError where there is none; None is the end."""
    try:
        data = sock.recv(_LARGEST)
    except ConnectionError:
        return None
    return decode(data) if data else None
