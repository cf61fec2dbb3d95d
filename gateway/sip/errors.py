"""The one error that bytes from the network can cause.

Whatever a peer sends, reading it ends in a message or in :class:`MalformedError`; anything else that is
raised while reading is a bug of ours and is meant to be loud.
"""

from __future__ import annotations


class MalformedError(ValueError):
    """A peer's message or header breaks the grammar.

    ``status`` is the SIP status owed to the sender if what it sent was a request (RFC 3261 8.2, 21.4.1):
    400 unless said otherwise. ``why`` is a short fixed phrase, fit for a counter's label.
    """

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.why = why
        self.status = status
