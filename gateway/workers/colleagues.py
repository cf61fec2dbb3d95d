"""What the console of the first worker shows of the others: their calls in memory, and their messages."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec
import trio

from gateway.b2bua.record import CallRecord
from gateway.console.calls import Known
from gateway.tap.live import Capture
from gateway.tap.tap import Batch
from gateway.wire import WireMessage

from .flows import FlowBook
from .mesh import Mesh
from .notes import Found, Look, Seen
from .ownership import FIRST

_PATIENCE = 3.0  # seconds that the others may take to look
_PART = 64 * 1024  # bytes of messages in one note


class Colleagues:
    """The other workers as the console of the first sees them (`gateway.console.calls.Others`).

    ``tell`` has the others told that what is to be captured has changed.
    """

    def __init__(self, mesh: Mesh, book: Callable[[], FlowBook], tell: Callable[[], None]) -> None:
        self.captures: Collection[Capture] = ()
        self._mesh = mesh
        self._book = book
        self._tell = tell
        self._serial = 0
        self._found: dict[int, dict[int, Known]] = {}  # by inquiry, by worker
        self._left: dict[int, set[int]] = {}  # who has not said all, by inquiry
        self._news = trio.Event()

    async def look(self, id_: str, record: CallRecord | None) -> list[Known]:
        """Return what each of them has in memory of a call; who does not answer in time has nothing."""
        self._serial += 1
        serial = self._serial
        self._found[serial] = {}
        self._left[serial] = set(range(self._mesh.workers)) - {self._mesh.index}
        self._mesh.tell_others(Look(serial, id_, None if record is None else _plain(record)))
        with trio.move_on_after(_PATIENCE):
            while self._left[serial]:
                await self._news.wait()
        del self._left[serial]
        return list(self._found.pop(serial).values())

    def found(self, note: Found) -> None:
        """Take an answer."""
        if note.serial not in self._left:
            return
        answers = self._found[note.serial]
        record, messages = answers.get(note.worker, (None, []))
        answers[note.worker] = (record or note.record, messages + note.messages)
        if note.is_last:
            self._left[note.serial].discard(note.worker)
            self._news.set()
            self._news = trio.Event()

    def share_captures(self, captures: Collection[Capture]) -> None:
        """Have what they see go to these captures, too."""
        self.captures = captures
        self._tell()

    def seen(self, note: Seen) -> None:
        """Take messages that another worker received or sent."""
        flow_of = self._book().flow_of
        messages = [(data, flow_of(local, peer, trunk)) for local, peer, trunk, data in note.messages]
        for capture in self.captures:
            capture.take((note.at, note.sent, messages))


class Reporter:
    """Listens to the tap of a worker, for captures at the first."""

    def __init__(self, mesh: Mesh, book: FlowBook) -> None:
        self._mesh = mesh
        self._book = book

    def take(self, batch: Batch) -> None:
        """Pass on what has come. Returns at once and never raises."""
        name_of = self._book.name_of
        at, sent, messages = batch
        part: list[tuple[int, tuple[object, ...], str, bytes]] = []
        size = 0
        for data, flow in messages:
            part.append((*name_of(flow), data))
            size += len(data)
            if size >= _PART:
                self._mesh.tell(FIRST, Seen(at, sent, part))
                part, size = [], 0
        self._mesh.tell(FIRST, Seen(at, sent, part))


async def answer(mesh: Mesh, note: Look, known: Known) -> None:
    """Tell the first worker what is in memory of a call, in parts that fit; let others run in between."""
    record, messages = known
    part: list[WireMessage] = []
    size = 0
    plain = None if record is None else _plain(record)
    for message in messages:
        part.append(message)
        size += len(message.payload)
        if size >= _PART:
            mesh.tell(FIRST, Found(note.serial, mesh.index, plain, part, is_last=False))
            part, size = [], 0
            await trio.lowlevel.checkpoint()
    mesh.tell(FIRST, Found(note.serial, mesh.index, plain, part, is_last=True))


def _plain(record: CallRecord) -> CallRecord:
    """Return a record without what refers to messages."""
    return msgspec.structs.replace(record, evidence=None)
