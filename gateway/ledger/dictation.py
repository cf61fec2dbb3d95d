"""Has a process put rows into an SQLite file: what the writer's thread has in place of a connection.

Inserting takes the interpreter in bursts, and a core at the calls' own priority. Here the thread joins what
is encoded already, writes it into a pipe and waits for the answer (`scribe.py`), all but the joining without
the interpreter. The process is started by the first batch, and anew by the one after it has died: that is a
failure like any other of the database, and what is written twice is kept once.

A thread that takes too long is left to its fate (`patience.py`). Then the process is killed, which ends what
the thread waits for; whoever is the last one in here closes the pipes and waits until the process is gone.
"""

from __future__ import annotations

import fcntl
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from gateway import child, children

from .packing import array_head
from .scribe import Answer, Opening

_FRAME = 4 * 1024 * 1024  # bytes of a frame, unless one row has more
_PIPE = 1024 * 1024  # bytes that may be in the pipe; the usual 64 kB would have the two take turns
_LEAVING = 2.0  # seconds that the process has to end

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class WritingError(Exception):
    """The database has failed; `str()` says in a few words why."""


class Dictation:
    """Rows for the file at `path`, by `statement`, which inserts one; a lock of somebody else's is waited for
    for `busy` seconds. For one thread at a time, but for `abandon`.
    """

    def __init__(self, path: Path, statement: str, busy: float) -> None:
        self._opening = _encode(Opening(str(path.absolute()), statement, busy))
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # of what is below, and of starting and losing the child
        self._is_at_work = False
        self._is_abandoned = False

    def insert(self, rows: Sequence[bytes]) -> list[str]:
        """Insert rows, in one transaction unless they are large; return why some were refused. Blocks.

        Raises WritingError when the database fails, OSError when the process has died or cannot be started,
        TimeoutError when nobody waits any more.
        """
        if len(rows) > 1 and sum(map(len, rows)) > _FRAME:
            middle = len(rows) // 2
            return self.insert(rows[:middle]) + self.insert(rows[middle:])
        self._begin()
        try:
            answer = self._ask(rows)
        finally:
            self._end()
        if answer.failure:
            raise WritingError(answer.failure)
        return answer.refused

    def abandon(self) -> None:
        """Leave a thread that waits in here to its fate, which comes at once. The loop's to call."""
        with self._lock:
            self._is_abandoned = True
            if self._child is not None:
                self._child.kill()
            is_idle = not self._is_at_work
        if is_idle:
            self.close()

    def close(self) -> None:
        """Let the process end, if there is one; it is killed unless it does in two seconds. Blocks."""
        self._let_go()

    def _begin(self) -> None:
        with self._lock:
            if self._is_abandoned:
                raise TimeoutError("nobody waits for this any more")
            self._is_at_work = True

    def _end(self) -> None:
        with self._lock:
            self._is_at_work = False
            is_abandoned = self._is_abandoned
        if is_abandoned:
            self.close()

    def _ask(self, rows: Sequence[bytes]) -> Answer:
        try:
            started = self._child or self._start()
            child.write_frame(cast(BinaryIO, started.stdin), array_head(len(rows)), *rows)
            data = child.read_frame(cast(BinaryIO, started.stdout))
            if data is None:
                raise EOFError
            return _decode(data)
        except (BrokenPipeError, EOFError):
            code = self._let_go()
            how = f"signal {-code}" if code < 0 else f"code {code}"
            raise ChildProcessError(f"the process that writes it has died ({how})") from None
        except BaseException:
            self._let_go()  # what it answers next would be taken for the answer to something else
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        started = children.start("gateway.ledger.scribe")
        source = cast(BinaryIO, started.stdin)
        with suppress(OSError):  # the system may allow no more than it has
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, _PIPE)
        with self._lock:
            self._child = started
            if self._is_abandoned:
                started.kill()
        child.write_frame(source, self._opening)
        return started

    def _let_go(self) -> int:
        """Have the process end, and forget it. Returns how it ended; 0 when there is none."""
        with self._lock:
            leaving, self._child = self._child, None
        return 0 if leaving is None else children.let_go(leaving, _LEAVING)
