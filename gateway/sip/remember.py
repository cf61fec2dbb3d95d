"""Remembering what was read of bytes that come again and again: the same peers send the same few values."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

_T = TypeVar("_T")

ENTRIES: Final = 4096
LONGEST: Final = 256  # bytes: what is remembered comes from the network, and must not fill the memory


def remembered(read: Callable[[bytes], _T]) -> Callable[[bytes], _T]:
    """Decorate a pure function of bytes: its last 4,096 results for values of usual length are kept."""
    cached = lru_cache(maxsize=ENTRIES)(read)

    @wraps(read)
    def look_up(value: bytes) -> _T:
        return cached(value) if len(value) <= LONGEST else read(value)

    return look_up
