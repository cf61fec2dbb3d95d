"""Messages out of a stream of bytes (RFC 3261 18.3): a :class:`Framer` a connection.

On a stream the Content-Length says where a message ends, so it is mandatory, and a peer that errs about it
cannot be understood any further: whoever serves the connection answers what can be answered and closes it.

However the bytes are cut, each is looked at once: what was searched in vain is not searched again. What waits
is bounded by the longest message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .message import MAX_DATAGRAM

MAX_HEAD = 32_768
"""Bytes of start line and headers. (Content-Length may bring a message up to MAX_DATAGRAM.)"""

_HEAD_END = re.compile(rb"\n\r?\n")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:((?:[^\n]|\n[ \t])*)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class FramingError:
    """Why a stream cannot be read on. ``head`` is what there is of the message, to answer it by; ``status``
    is what its sender is owed if it is a request; ``why`` is a short fixed phrase, fit for a counter.
    """

    why: str
    status: int
    head: bytes


class Framer:
    """Cuts one stream into messages. Feed it what comes; it never raises, whatever the bytes are."""

    __slots__ = ("_buffer", "_end", "_line_ends", "_searched", "error", "pings")

    def __init__(self) -> None:
        self.pings = 0
        """Keepalives that wait for an answer (RFC 5626 3.5.1); whoever answers them sets it to 0."""
        self.error: FramingError | None = None
        """Set once the stream has lost its frame; nothing comes out any more."""
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer that hold no end of headers
        self._end = 0  # where the message in the buffer ends; 0 while its headers are incomplete
        self._line_ends = 0  # CRLFs in a row before a message

    @property
    def is_waiting(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._buffer) and self.error is None

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes off the stream and return the messages that they complete."""
        if self.error is not None:
            return []
        self._buffer += data
        messages: list[bytes] = []
        while self._buffer and (self._end or self._find_end()):
            if len(self._buffer) < self._end:
                break
            messages.append(bytes(memoryview(self._buffer)[: self._end]))
            del self._buffer[: self._end]
            self._end = self._searched = 0
        return messages

    def _find_end(self) -> bool:
        """Learn where the message at the start of the buffer ends; False while that cannot be told."""
        if not self._searched and not self._skip_line_ends():
            return False
        buffer = self._buffer
        match = _HEAD_END.search(buffer, max(0, self._searched - 2), MAX_HEAD)
        if match is None:
            self._searched = len(buffer)
            if len(buffer) >= MAX_HEAD:
                last = buffer.rfind(b"\n", 0, MAX_HEAD)
                self._fail("header block too long", 400, MAX_HEAD if last < 0 else last + 1)
            return False
        length = self._body_length(match.end())
        if length is None:
            return False
        self._end = match.end() + length
        return True

    def _skip_line_ends(self) -> bool:
        """Take the line ends off that precede a message (RFC 3261 7.5): two CRLFs in a row are a ping."""
        match = _LINE_ENDS.match(self._buffer)
        if match is None:
            self._line_ends = 0
            return True
        # A CR at the end of what has come waits for its LF.
        end = match.end() - (match.end() == len(self._buffer) and self._buffer[-1:] == b"\r")
        self._line_ends += self._buffer.count(b"\n", 0, end)
        self.pings += self._line_ends // 2
        self._line_ends %= 2
        del self._buffer[:end]
        if not self._buffer or self._buffer == b"\r":
            return False
        self._line_ends = 0
        return True

    def _body_length(self, head_end: int) -> int | None:
        values = {b" ".join(value.split()) for value in _LENGTH.findall(self._buffer, 0, head_end)}
        if not values:
            self._fail("no Content-Length", 400, head_end)
            return None
        if len(values) > 1:
            self._fail("Content-Length is repeated", 400, head_end)
            return None
        (value,) = values
        if _DIGITS.fullmatch(value) is None:
            self._fail("bad Content-Length", 400, head_end)
            return None
        length = int(value)
        if head_end + length > MAX_DATAGRAM:
            self._fail("message too long", 513, head_end)
            return None
        return length

    def _fail(self, why: str, status: int, head_end: int) -> None:
        self.error = FramingError(why, status, bytes(self._buffer[:head_end]))
        self._buffer.clear()
