"""Where records wait on disk while the database is down: one file, written at its end, read from its start.

The file is a row of frames, each with the rows of one batch: a header (how long, how many records, when the
oldest call of them ended, a checksum) and the rows as MessagePack, with the names of their columns, so that a
later gateway can read them. A frame is on the disk (fsync) before its records leave the memory. What a crash
left half written is found by its length, what a disk spoilt by its checksum.

The place of the first frame that is still to be read is not kept on disk: after a crash frames are read
again, and the ledger keeps each record once. The file shrinks when all of it has been read.

Beside it lies a file of eight bytes, mapped into memory: how many records are in nobody's hands but the
process's own (`unsettled`). The mapping outlives a killed process, so the next one can say what was lost. A
lock on that file keeps a second gateway away from the spool.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import msgspec

from .schema import COLUMNS, calls, empty_value

LIMIT = 256 * 1024 * 1024
"""Bytes that a spool may have; about 700,000 records."""

_MAGIC = b"GWS1"
_HEADER = struct.Struct("<4sIIId")  # magic, length of the rows, records, checksum, oldest ended_at
_ENDED_AT = COLUMNS.index("ended_at")

Row = Sequence[object]
"""The values of a record, in the order of COLUMNS."""


class _Frame(msgspec.Struct, array_like=True):
    columns: tuple[str, ...]
    rows: list[list[object]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Frame).decode


class Spool:
    """The file at `path`, of at most `limit` bytes.

    Raises OSError when it cannot be made or read, or belongs to another process. For one thread at a time.
    """

    records: int  # that wait in the file
    damaged: int  # records that could not be read
    lost: int  # records that an earlier process held when it was killed; one or two batches at most
    unsettled: memoryview  # its first item: records that only this process has

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self.records = 0
        self.damaged = 0
        self.oldest = 0.0
        self._limit = limit
        self._at = 0  # where the first frame begins that is still to be read
        self._end = 0
        self._first_size = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        tally = path.with_name(f"{path.name}.count")
        self._tally = os.open(tally, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(self._tally)
            # Written, so that the disk has room for it: mapped without, it is a SIGBUS when it is touched.
            os.pwrite(self._tally, os.pread(self._tally, 8, 0).ljust(8, b"\0"), 0)
            self._map = mmap.mmap(self._tally, 8)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except BaseException:
            os.close(self._tally)
            raise
        self.unsettled = memoryview(self._map).cast("Q")
        self.lost = self.unsettled[0]
        self.unsettled[0] = 0
        self._survey()

    def append(self, rows: Sequence[Row]) -> bool:
        """Put a batch at the end, and on the disk. Returns False when there is no room for it.

        Raises OSError when the disk does not take it, ValueError when a row cannot be written at all.
        """
        body = _encode((COLUMNS, rows))
        oldest = min(float(str(row[_ENDED_AT])) for row in rows)
        frame = _HEADER.pack(_MAGIC, len(body), len(rows), crc32(body), oldest) + body
        if self._end + len(frame) > self._limit:
            return False
        try:
            written = 0
            while written < len(frame):
                written += os.pwrite(self._file, frame[written:], self._end + written)
            os.fsync(self._file)
        except OSError:
            self._cut_back()
            raise
        if not self.records:
            self.oldest = oldest
        self._end += len(frame)
        self.records += len(rows)
        return True

    def first(self) -> list[Row]:
        """Return the batch that has waited longest; nothing when there is none. Damaged ones are counted."""
        while self._at < self._end:
            header = self._header(self._at, self._end)
            if header is None:  # nothing tells where the next one begins
                self.damaged += self.records
                self._empty()
                break
            length, count, checksum, self.oldest = header
            body = os.pread(self._file, length, self._at + _HEADER.size)
            self._first_size = _HEADER.size + length
            try:
                if crc32(body) == checksum:
                    return _rows(_decode(body))
            except msgspec.DecodeError:
                pass
            self.damaged += count
            self.forget_first(count)
        return []

    def forget_first(self, count: int) -> None:
        """Pass over the batch that `first` gave, of `count` records: it is in the database."""
        self._at += self._first_size
        self.records -= count
        if self._at >= self._end:
            self._empty()

    def close(self) -> None:
        """Close the files; what waits in them waits on."""
        self.unsettled.release()
        self._map.close()
        os.close(self._file)
        os.close(self._tally)

    def _survey(self) -> None:
        """Count what an earlier process left, and cut off what it did not finish."""
        size = os.fstat(self._file).st_size
        while (header := self._header(self._end, size)) is not None:
            length, count, _, oldest = header
            if not self.records:
                self.oldest = oldest
            self.records += count
            self._end += _HEADER.size + length
        # The records of a frame that was not finished were still unsettled, and have been counted as such.
        if self._end < size:
            os.ftruncate(self._file, self._end)

    def _header(self, at: int, end: int) -> tuple[int, int, int, float] | None:
        """Return length, records, checksum and time of the frame at a place; None where no whole one is."""
        header = os.pread(self._file, _HEADER.size, at)
        if len(header) < _HEADER.size or header[:4] != _MAGIC:
            return None
        _, length, count, checksum, oldest = _HEADER.unpack(header)
        return None if at + _HEADER.size + length > end else (length, count, checksum, oldest)

    def _empty(self) -> None:
        self._at = self._end = self.records = 0
        os.ftruncate(self._file, 0)

    def _cut_back(self) -> None:
        """Remove what was written of a frame, so that the next one stands where a reader looks for it."""
        with suppress(OSError):
            os.ftruncate(self._file, self._end)


def _lock(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(error.errno, "another gateway writes to it") from None


def _rows(frame: _Frame) -> list[Row]:
    """Return the rows of a frame in the order of today's columns."""
    if frame.columns == COLUMNS:
        return list(frame.rows)
    found = (dict(zip(frame.columns, row, strict=True)) for row in frame.rows)
    missing = {name: empty_value(calls.c[name]) for name in COLUMNS}
    return [[row.get(name, missing[name]) for name in COLUMNS] for row in found]
