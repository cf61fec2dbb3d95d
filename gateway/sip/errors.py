"""The one error that bytes from the network can cause, and the one that only we can.

Whatever a peer sends, reading it ends in a message or in :class:`MalformedError`; anything else that is
raised while reading is a bug of ours and is meant to be loud.
"""

from __future__ import annotations

import re

_CALL_ID = re.compile(rb"^(?:Call-ID|i)[ \t]*:[ \t]*([^\s]{1,256})", re.IGNORECASE | re.MULTILINE)


class MalformedError(ValueError):
    """A peer's message or header breaks the grammar.

    ``status`` is the SIP status owed to the sender if what it sent was a request (RFC 3261 8.2, 21.4.1):
    400 unless said otherwise. ``why`` is a short fixed phrase, fit for a counter's label.
    """

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.why = why
        self.status = status


class ImpossibleInputError(RuntimeError):
    """An input came that the state cannot see: a bug of ours, not of a peer's."""


def note_call(bug: Exception, data: bytes) -> None:
    """Have an exception tell which call's message met it, found without reading the message."""
    match = _CALL_ID.search(data)
    if match is not None:
        bug.add_note(f"Call-ID of the message: {match[1].decode('latin-1')}")
