"""Hands traces, metrics and log lines to a process that sends them to a collector.

Encoding a call as OTLP takes the SDK about 200 microseconds, which a thread would take from the calls: there
is one interpreter lock. So a child process does it (`sender.py`), and the gateway's part is a microsecond of
msgpack a call. The loop appends to bounded queues and goes on; a thread, which does nothing but wait, writes
one frame at a time into the child's pipe and reads whether the collector took it. A collector that is slow
or gone costs what does not fit into the queues, which is counted, and nothing else; so does a child that has
died, which is started anew.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from gateway import children

from .feed import TAKEN, Calls, Frame, Hello, Lines, LogLine, Reading, TracedCall, write_frame

QUEUE = 2_048
"""Calls, and lines, that may wait for the collector."""
_BATCH = 64  # calls or lines in one frame
_PAUSE = 0.5  # seconds between two looks at the queues, and between two starts of the child


T = TypeVar("T")


class Exporter:
    """``hello`` names the collector and the gateway; ``log`` is told when the collector fails, and when it is
    back.

    ``exported``, ``dropped`` (the queue was full, or the gateway stopped) and ``failed`` (the collector did
    not take them) count calls.
    """

    def __init__(self, hello: Hello, log: Callable[[str], None]) -> None:
        self.exported = 0
        self.dropped = 0
        self.failed = 0
        self._hello = hello
        self._shown = hello.endpoint.rpartition("@")[2]  # without a password
        self._log = log
        self._fails = False
        self._calls: deque[TracedCall] = deque()
        self._lines: deque[LogLine] = deque(maxlen=QUEUE)
        self._reading: Reading | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)

    def start(self) -> None:
        """Begin to send, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def wait_ready(self, seconds: float) -> None:
        """Wait until the child has loaded all it needs, for at most ``seconds``. Blocks."""
        self._ready.wait(seconds)

    def trace(self, call: TracedCall) -> None:
        """Take a call to be traced. Returns at once and never raises."""
        if len(self._calls) < QUEUE:
            self._calls.append(call)
        else:
            self.dropped += 1

    def read(self, reading: Reading) -> None:
        """Take a reading of the metrics; one that has not been sent yet is replaced."""
        self._reading = reading

    def note(self, line: LogLine) -> None:
        """Take a line of the log; the oldest gives way where too many wait."""
        self._lines.append(line)

    def close(self, seconds: float) -> None:
        """Send what is left, for at most ``seconds``. Blocks."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._given_up = True
        child = self._child
        if child is not None and self._thread.is_alive():
            child.kill()  # which ends the thread's waiting
            self._thread.join()
        self.dropped += len(self._calls)
        self._calls.clear()

    # -- in the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # it is tried again with the first frame
            self._start()
        self._ready.set()
        while not self._stopping.wait(_PAUSE):
            self._send_all()
        self._send_all()
        self._let_go()

    def _send_all(self) -> None:
        while self._calls and not self._given_up:
            batch = _first(self._calls)
            if self._send(Calls(batch)):
                self.exported += len(batch)
            else:
                self.failed += len(batch)
        reading, self._reading = self._reading, None
        if reading is not None and not self._given_up:
            self._send(reading)
        while self._lines and not self._given_up:
            self._send(Lines(_first(self._lines)))

    def _send(self, frame: Frame) -> bool:
        """Have the child send a frame; tell whether the collector took it."""
        try:
            taken = self._ask(self._child or self._start(), frame)
        except Exception:  # a child that died, or whatever a library raises: it costs this frame
            self._let_go()
            taken = False
            self._stopping.wait(_PAUSE)
        if taken is self._fails:
            self._fails = not taken
            state = "takes telemetry again" if taken else "does not take telemetry; calls go on"
            self._log(f"collector {self._shown} {state}")
        return taken

    def _ask(self, child: subprocess.Popen[bytes], frame: Frame) -> bool:
        assert child.stdin is not None
        assert child.stdout is not None
        write_frame(child.stdin, frame)  # type: ignore[arg-type]  # typeshed: IO, not BinaryIO
        answer = child.stdout.read(1)
        if not answer:
            raise ChildProcessError("it has ended")
        return answer == TAKEN

    def _start(self) -> subprocess.Popen[bytes]:
        child = self._child = children.start("gateway.telemetry.sender")
        self._ask(child, self._hello)
        return child

    def _let_go(self) -> None:
        """Have the child end, and forget it."""
        child, self._child = self._child, None
        if child is not None:
            children.let_go(child, _PAUSE)


def _first(queue: deque[T]) -> list[T]:
    """Take the first of what waits; only this thread takes, so that as many are there as it has counted."""
    return [queue.popleft() for _ in range(min(len(queue), _BATCH))]
