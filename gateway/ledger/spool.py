"""Where records wait on disk while the database is down: one file, written at its end, read from its start.

The file is a row of frames, each with the rows of one batch: a header (how long, how many records, when the
oldest call of them ended, a checksum) and the rows as MessagePack, with the names of their columns, so that a
later gateway can read them. A frame is on the disk (fsync) before its records leave the memory. What a crash
left half written is found by its length, what a disk spoilt by its checksum; where it is the header that is
spoilt, reading goes on with the next frame whose checksum is right. A file in which there is nothing of all
this is somebody else's, and stays as it is.

The place of the first frame that is still to be read is not kept on disk: after a crash frames are read
again, and the ledger keeps each record once. The file shrinks when all of it has been read.

Beside it lies a file of eight bytes: how many records, at most, are in nobody's hands but the process's own
(`note_unsettled`). It outlives a killed process, so the next one can say what was lost. It is written and not
mapped, for the next touch of a mapping whose file somebody has cut short ends the process. A lock on that
file keeps a second gateway away from the spool.

Several workers have a spool each (`of_worker`). Of those that a start with fewer workers does not serve the
first worker writes what is in them to the database, and removes them (`left_behind`).
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from zlib import crc32

import msgspec

from .packing import Row, array_head
from .schema import COLUMNS, calls, empty_value

LIMIT = 256 * 1024 * 1024
"""Bytes that a spool may have; about 700,000 records."""

_MAGIC = b"GWS1"
_HEADER = struct.Struct("<4sIIId")  # magic, length of the rows, records, checksum, oldest ended_at
_COUNT = struct.Struct("=Q")
_CLOSED = -1  # a file that takes nothing
_PIECE = 65_536  # bytes that are searched at a time

_Header = tuple[int, int, int, float]
"""Length of the rows, records, checksum, oldest ended_at."""
_DAMAGED: _Header = (0, 1, 0, 0.0)  # counted as one record: it is not known of how many


class _Frame(msgspec.Struct, array_like=True):
    columns: tuple[str, ...]
    rows: list[msgspec.Raw]  # as they were encoded, one by one


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Frame).decode
_decode_row = msgspec.msgpack.Decoder(list[object]).decode


class Spool:
    """The file at `path`, of at most `limit` bytes.

    Raises OSError when it cannot be made or read, or belongs to another process. For one thread at a time.
    """

    records: int  # that wait in the file
    damaged: int  # records that could not be read
    lost: int  # records that an earlier process held when it was killed; one or two batches at most

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
        with ExitStack() as opened:
            self._tally = os.open(_tally_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            opened.callback(os.close, self._tally)
            _lock(self._tally)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, self._file)
            self._survey()
            (self.lost,) = _COUNT.unpack(os.pread(self._tally, _COUNT.size, 0).ljust(_COUNT.size, b"\0"))
            os.pwrite(self._tally, _COUNT.pack(0), 0)
            self._opened = opened.pop_all()

    def append(self, rows: Sequence[Row]) -> bool:
        """Put a batch at the end, and on the disk. Returns False when there is no room for it.

        Raises OSError when the disk does not take it.
        """
        body = b"".join((array_head(2), _encode(COLUMNS), array_head(len(rows)), *(row for _, row in rows)))
        oldest = min(ended_at for ended_at, _ in rows)
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

    def first(self) -> list[bytes]:
        """Return the values of the records of the batch that has waited longest, each as `Row` has them;
        nothing when there is none. Damaged ones are counted.
        """
        while self._at < self._end:
            header = self._header(self._at, self._end)
            if header is None:
                self._pass_damage()
                continue
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

    def note_unsettled(self, records: int) -> None:
        """Say how many records only this process has, at most. A disk that does not take it is left alone:
        it tells of itself elsewhere.
        """
        with suppress(OSError):
            os.pwrite(self._tally, _COUNT.pack(records), 0)

    def close(self) -> None:
        """Close the files; what waits in them waits on."""
        self._opened.close()
        self._tally = _CLOSED

    def remove(self) -> None:
        """Close the files of a spool that nobody writes to any more, and remove them. Raises OSError."""
        try:
            self.path.unlink(missing_ok=True)
            _tally_of(self.path).unlink(missing_ok=True)
        finally:
            self.close()

    def _survey(self) -> None:
        """Count what an earlier process left, and cut off what it did not finish. Raises OSError where the
        file is none of ours.
        """
        size = os.fstat(self._file).st_size
        for at, (length, count, _, oldest) in self._frames(0, size):
            self.oldest = self.oldest or oldest
            self.records += count
            self._end = at + _HEADER.size + length
        if self._end == size:
            return
        # The records of a frame that was not finished were still unsettled, and are counted as such.
        if not self._is_cut_short(size):
            if not self._end:
                raise OSError(errno.EINVAL, "it is another file, and no spool")
            self.damaged += 1
        os.ftruncate(self._file, self._end)

    def _is_cut_short(self, size: int) -> bool:
        """Tell whether what lies behind the last frame may be the beginning of one: it begins as they do, or
        the system never wrote it.
        """
        if _MAGIC.startswith(os.pread(self._file, len(_MAGIC), self._end)):
            return True
        pieces = (os.pread(self._file, _PIECE, at) for at in range(self._end, size, _PIECE))
        return not any(map(any, pieces))

    def _frames(self, at: int, end: int) -> Iterator[tuple[int, _Header]]:
        """Yield the places and headers of the frames from a place on; _DAMAGED of what is passed over."""
        while at < end:
            header = self._header(at, end)
            if header is not None:
                yield at, header
                at += _HEADER.size + header[0]
                continue
            gap, at = at, self._next_whole(at + 1, end)
            if at < end:
                yield gap, _DAMAGED

    def _header(self, at: int, end: int) -> _Header | None:
        """Return the header of the frame at a place; None where there is none or its length leads nowhere."""
        header = os.pread(self._file, _HEADER.size, at)
        if len(header) < _HEADER.size or header[:4] != _MAGIC:
            return None
        _, length, count, checksum, oldest = _HEADER.unpack(header)
        after = at + _HEADER.size + length
        if after > end:
            return None
        leads_on = after == end or os.pread(self._file, len(_MAGIC), after) == _MAGIC
        if leads_on or crc32(os.pread(self._file, length, at + _HEADER.size)) == checksum:
            return length, count, checksum, oldest
        return None

    def _pass_damage(self) -> None:
        """Go on at the next frame that is whole. Only what is left tells how many records are lost."""
        before = self.records
        self._at = self._next_whole(self._at + 1, self._end)
        self.records = sum(header[1] for _, header in self._frames(self._at, self._end))
        self.damaged += before - self.records
        if self._at >= self._end:
            self._empty()

    def _next_whole(self, at: int, end: int) -> int:
        """Return where the next frame begins whose checksum is right; the end where none does."""
        while at < end:
            piece = os.pread(self._file, min(_PIECE, end - at), at)
            for found in re.finditer(_MAGIC, piece):
                header = self._header(at + found.start(), end)
                if header is None:
                    continue
                length, _, checksum, _ = header
                if crc32(os.pread(self._file, length, at + found.start() + _HEADER.size)) == checksum:
                    return at + found.start()
            at += max(len(piece) - len(_MAGIC) + 1, 1)  # it may begin with the last of these
        return end

    def _empty(self) -> None:
        self._at = self._end = self.records = 0
        os.ftruncate(self._file, 0)

    def _cut_back(self) -> None:
        """Remove what was written of a frame, so that the next one stands where a reader looks for it."""
        with suppress(OSError):
            os.ftruncate(self._file, self._end)


def of_worker(path: Path, index: int) -> Path:
    """Return the spool of one of several workers; the first has that of the gateway."""
    return path.with_name(f"{path.name}.{index}") if index else path


def left_behind(path: Path, workers: int) -> list[Path]:
    """Return the spools of workers of earlier starts that so many workers do not serve."""
    found = path.parent.glob(f"{glob.escape(path.name)}.*")
    numbers = {file.name.removeprefix(path.name).strip(".") for file in found}
    indexes = sorted(int(number) for number in numbers if number.isascii() and number.isdecimal())
    return [of_worker(path, index) for index in indexes if index >= workers]


def _tally_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.count")


def _lock(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(error.errno, "another gateway writes to it") from None


def _rows(frame: _Frame) -> list[bytes]:
    """Return the rows of a frame in the order of today's columns."""
    if frame.columns == COLUMNS:
        return list(map(bytes, frame.rows))
    found = (dict(zip(frame.columns, _decode_row(row), strict=True)) for row in frame.rows)
    missing = {name: empty_value(calls.c[name]) for name in COLUMNS}
    return [_encode([row.get(name, missing[name]) for name in COLUMNS]) for row in found]
