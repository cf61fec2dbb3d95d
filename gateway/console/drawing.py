"""One call as JSON, as a picture and as a page.

A dialog of thousands of messages takes the better part of a second to be drawn. So it is drawn in a thread,
of what does not change meanwhile, and of its first messages alone where there are very many.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.b2bua.record import CallRecord
from gateway.ladder.facts import facts
from gateway.ladder.model import Ladder
from gateway.ladder.page import page
from gateway.ladder.recorded import decision_of, recorded
from gateway.ladder.svg import svg
from gateway.wire import Address, WireMessage, without_secrets

MOST = 2_000
"""Messages of a call that are drawn,"""
MOST_BYTES = 4_000_000
"""and how long they may be together; a message is 65,535 bytes at most."""


class Message(msgspec.Struct):
    """A message as the API shows it; ``at`` is in seconds since the epoch, addresses are HOST and PORT."""

    at: float
    transport: str
    source: Address
    destination: Address
    text: str


class CallView(msgspec.Struct):
    """One call as the API shows it; ``call`` is None for a dialog that was no call. ``messages`` are those
    that the ladder shows.
    """

    call: dict[str, Any] | None
    decision: str
    messages: list[Message]
    ladder: Ladder


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be drawn. ``id`` is what was asked for, ``record`` is None for a dialog that was no call;
    of its messages ``left_out`` came after these. ``gateway`` is the name of the gateway and ``ours`` its
    addresses; ``trunks`` names the trunks at others, "" for a stranger.
    """

    id: str
    record: CallRecord | None
    messages: Sequence[WireMessage]
    left_out: int
    gateway: str
    ours: Collection[Address]
    trunks: Mapping[Address, str]


def first(messages: Sequence[WireMessage]) -> Sequence[WireMessage]:
    """Return as many of a call's messages as are drawn."""
    size = 0
    for index, message in enumerate(messages[:MOST]):
        size += len(message.payload)
        if size > MOST_BYTES:
            return messages[:index]
    return messages[:MOST]


def as_json(subject: Subject) -> bytes:
    """Return everything that is shown of a call."""
    record = subject.record
    messages = [
        Message(*each[:-1], without_secrets(each.payload).decode("utf-8", "replace"))
        for each in subject.messages
    ]
    call = None if record is None else _fields(record)
    decision = "" if record is None else decision_of(record)
    return msgspec.json.encode(CallView(call, decision, messages, _ladder(subject)))


def as_svg(subject: Subject) -> bytes:
    """Return the picture alone."""
    return svg(_ladder(subject)).encode()


def as_html(subject: Subject) -> bytes:
    """Return a page that is complete in itself."""
    record = subject.record
    known = [] if record is None else facts(record)
    title = f"dialog {subject.id}" if record is None else f"call {record.id}"
    return page(title, known, _ladder(subject)).encode()


def _ladder(subject: Subject) -> Ladder:
    trunks = subject.trunks
    ladder = recorded(subject.messages, subject.record, subject.gateway, subject.ours, trunks.__getitem__)
    ladder.left_out = subject.left_out
    return ladder


def _fields(record: CallRecord) -> dict[str, Any]:
    """Return a record without what only the ledger reads."""
    fields = msgspec.structs.asdict(record)
    del fields["evidence"]
    return fields


DRAWN: Mapping[str, tuple[Callable[[Subject], bytes], str]] = {
    "json": (as_json, "application/json"),
    "svg": (as_svg, "image/svg+xml"),
    "html": (as_html, "text/html"),
}
"""What draws a call, by the form that is asked for, and the media type of it."""
