"""Lines of the log to stderr, by a thread: whoever reads them may be slow or have stopped, a terminal where
somebody marks text as much as a full pipe, and no call waits for that.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time

LIMIT = 2_048
"""Lines that wait at most."""
_CLOSE = 2.0  # seconds that the last lines may take


class LogWriter(logging.Handler):
    """Writes each line to a file, in order. Those that come when too many wait are left out, and their number
    is written in their place. Works on in a process that was forked, with what is logged there: the file is
    known by its descriptor, for a stream has a lock that the thread might hold at that moment.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue(LIMIT)
        self._left_out = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line. Returns at once."""
        if self._lines.full():
            self._left_out += 1
            return
        line = self.format(record)
        if self._left_out:
            line = f"{self._left_out} lines were left out here: nobody read them\n{line}"
            self._left_out = 0
        self._lines.put(line)  # never waits: lines are put under the handler's lock, and only here
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="log", daemon=True)
            self._thread.start()

    def _write(self) -> None:
        while True:
            left = f"{self._lines.get()}\n".encode(errors="backslashreplace")
            try:
                while left:
                    left = left[self._write_some(left) :]
            except OSError:
                pass  # nobody will ever read it
            self._lines.task_done()

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            select.select([], [self._descriptor], [])
            return 0

    def close(self) -> None:
        """Wait until all is written, for at most 2 seconds."""
        deadline = time.monotonic() + _CLOSE
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        super().close()
