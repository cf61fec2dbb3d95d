"""Tokens for branches, tags and Call-IDs (RFC 3261 8.1.1.7, 19.3)."""

from __future__ import annotations

import os
from typing import Final

_SIZE: Final = 16  # digits: 64 bits
_STOCK: Final = 512  # tokens fetched at a time


class Tokens:
    """Unguessable tokens of 64 bits each, as hexadecimal digits; fetched from the system in bulk."""

    __slots__ = ("_at", "_digits")

    def __init__(self) -> None:
        self._digits = b""
        self._at = 0

    def __call__(self) -> bytes:
        """Return a token nobody has seen."""
        at = self._at
        if at >= len(self._digits):
            self._digits = os.urandom(_STOCK * _SIZE // 2).hex().encode()
            at = 0
        self._at = at + _SIZE
        return self._digits[at : at + _SIZE]
