"""What the gateway hands to the process that sends its telemetry: frames of msgpack over a pipe.

In each is one of the kinds of `Frame`. The numbers of people are hidden before anything is put into a frame
(`[telemetry] numbers`), and no header or body of a message is in one.
"""

from __future__ import annotations

from typing import BinaryIO, Literal

import msgspec

from gateway import child
from gateway.b2bua.record import CallRecord

from .metric import Metric

Value = str | int | float | bool


class MessageNote(msgspec.Struct, array_like=True, gc=False):
    """One message of a call: when, whether the gateway received or sent it, on the leg with which Call-ID,
    and its method; of a response also status and phrase.
    """

    at: float
    received: bool
    call_id: str
    method: str
    status: int = 0
    phrase: str = ""


class Grounds(msgspec.Struct, array_like=True, gc=False):
    """What the guards and rules went by, beside what stands in the record."""

    rang: bool
    finals: tuple[int, ...]
    pending: int
    after: float | None
    ringing: float | None
    attested: str | None
    saw: str


class TracedCall(msgspec.Struct, array_like=True):
    """A call to be traced. ``part`` is what of it: the whole, of a long one the part up to its answer, or
    what came afterwards. ``messages`` is None where nobody has kept them.
    """

    record: CallRecord
    trace_id: str
    part: Literal["whole", "opening", "rest"] = "whole"
    grounds: Grounds | None = None
    messages: list[MessageNote] | None = None


class LogLine(msgspec.Struct, array_like=True, gc=False):
    """A line of the log; ``level`` is that of Python's logging."""

    at: float
    level: int
    text: str
    trace_id: str = ""
    attributes: dict[str, Value] = {}


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """The first frame: the collector's base URL, the gateway's name, and when counting began."""

    endpoint: str
    name: str
    begun: float


class Calls(msgspec.Struct, array_like=True, tag="calls"):
    """Calls to be traced."""

    calls: list[TracedCall]


class Reading(msgspec.Struct, array_like=True, tag="reading"):
    """The metrics as they were at ``at``, in seconds since the epoch."""

    metrics: list[Metric]
    at: float


class Lines(msgspec.Struct, array_like=True, tag="lines"):
    """Lines of the log."""

    lines: list[LogLine]


Frame = Hello | Calls | Reading | Lines
TAKEN, REFUSED = b"1", b"0"
"""What is answered to each frame; to the first, once all is loaded."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Write a frame. Raises OSError, and what msgspec raises of values that it cannot write."""
    child.write_frame(stream, _encoder.encode(frame))


def read_frame(stream: BinaryIO) -> Frame | None:
    """Return the next frame, None at the end."""
    data = child.read_frame(stream)
    return None if data is None else _decoder.decode(data)
