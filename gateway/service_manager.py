"""What the service manager that started us, such as systemd, is told (sd_notify(3)): that all is bound, that
the end has begun, and as often as it asks for, that the loop still turns. When it hears nothing for long
enough it starts the gateway anew: nobody else watches a supervisor, or a gateway that is one process.

Nothing is said to anybody where no manager has asked for it by its environment variables.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import MutableMapping

_BEATS = 3  # in the time after which the manager gives up


class ServiceManager:
    """Whoever listens at ``address``, b"" for nobody; a beat is wanted each ``every`` seconds. Never raises
    and never blocks: what cannot be delivered now is lost.
    """

    def __init__(self, address: bytes, every: float = math.inf) -> None:
        self._address = address
        self._every = every
        self._next = math.inf
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Return the manager that the environment names, and take the name out of it: the processes that we
        start have nothing to tell.
        """
        place = environment.pop("NOTIFY_SOCKET", "")
        limit = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "")
        if not place.startswith(("/", "@")):  # "@": a name without a file
            return cls(b"")
        every = math.inf
        if limit.isdecimal() and int(limit) and watched in ("", str(os.getpid())):
            every = int(limit) / 1e6 / _BEATS
        return cls(b"\0" + os.fsencode(place[1:]) if place[0] == "@" else os.fsencode(place), every)

    @property
    def due(self) -> float:
        """When the next beat is due, by the clock that `beat` is called with."""
        return self._next

    def say_ready(self, status: str, now: float) -> None:
        """Say that we serve; beats are expected from now on."""
        self._next = now + self._every
        self._say(f"READY=1\nSTATUS={status}\n")

    def say_stopping(self) -> None:
        """Say that the end has begun."""
        self._say("STOPPING=1\nSTATUS=draining\n")

    def beat(self, now: float) -> None:
        """Say that we live, if it is time; to be called often by what would hang with us."""
        if now >= self._next:
            self._next = now + self._every
            self._say("WATCHDOG=1\n")

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()

    def _say(self, words: str) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):  # it is busy, or gone: there is nobody to tell that
            self._socket.sendto(words.encode(), self._address)
