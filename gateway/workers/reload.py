"""The two halves of a reload, as the supervisor knows them: it reads a version, then the workers do.

The supervisor reads in a thread, since files on a server that is gone keep whoever reads them, and meanwhile
workers die and signals come. A worker may be forked at that time: it has no such thread, and a thread that
waits for a file holds nothing that it would miss.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.reading import LONGEST_READING
from gateway.transport.tls import Certificates

from .versions import Version


class Reading:
    """A version that the supervisor is reading, the ``attempt``-th time; ``wake`` is called, in the thread,
    when that is over.
    """

    def __init__(
        self, read: Callable[[], Version], whole: bool, attempt: int, wake: Callable[[], None]
    ) -> None:
        self.whole = whole
        self.attempt = attempt
        self.until = time.monotonic() + LONGEST_READING
        self._read = read
        self._wake = wake
        self._version: Version | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end."""
        return self._version is not None or self._error is not None

    def outcome(self) -> Version:
        """Return what was read, once it is over. Raises what reading raised."""
        if self._error is not None:
            raise self._error
        assert self._version is not None
        return self._version

    def _run(self) -> None:
        try:
            version = self._read()
            if self.whole:
                Certificates(version.config)
            self._version = version
        except Exception as error:
            self._error = error
        self._wake()


@dataclass(slots=True)
class Reload:
    """A version that the workers are reading. ``waits_for`` are those that have not said so."""

    serial: int
    version: Version
    whole: bool
    attempt: int
    until: float
    waits_for: set[int] = field(default_factory=set)
