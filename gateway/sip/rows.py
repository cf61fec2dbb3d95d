"""Header rows: the key and the line of each header of a message, in order.

The native reader gives rows that look at the message when somebody asks; everybody else has a list. Both are
sequences of pairs, and what passes of them is found natively where that is at hand.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from gateway import speedups

from .names import BY_LOWER, KEYS

_LF = ord("\n")

Row = tuple[bytes, bytes]
Rows = Sequence[Row]
KeySet = Container[bytes]
"""A set of keys that many messages are asked for, as :func:`key_set` makes it."""


def header_key(name: bytes) -> bytes:
    """Return the key under which a header of this name is indexed.

    >>> header_key(b"call-id"), header_key(b"i"), header_key(b"X-Foo")
    (b'Call-ID', b'Call-ID', b'x-foo')
    """
    lower = name.strip().lower()
    return BY_LOWER.get(lower, lower)


def unfold(value: bytes) -> bytes:
    """Join folded lines by one space and strip (RFC 3261 7.3.1)."""
    if _LF in value:
        return b" ".join([part.strip() for part in value.split(b"\n")]).strip()
    return value.strip()


NUMBERED_KEYS: Final = speedups.native_keys(KEYS)
"""The keys as the native core numbers them; None when it is not in use."""


def key_set(keys: frozenset[bytes]) -> KeySet:
    """Return a set of keys in the form that rows are quickly asked for."""
    return keys if NUMBERED_KEYS is None else NUMBERED_KEYS.set_of(keys)


def lines_except(rows: Rows, left_out: KeySet) -> list[bytes]:
    """Return the header lines whose key is not left out, in order."""
    return [line for key, line in rows if key not in left_out]


def text_except_pure(rows: Rows, left_out: KeySet, added: bytes) -> bytes:
    """Return these lines in one piece, each ended by CRLF, and behind them what is added."""
    kept = lines_except(rows, left_out)
    kept.append(added)
    return b"\r\n".join(kept)


def replaced_pure(rows: Rows, key: bytes, others: tuple[Row, ...]) -> Rows:
    """Return the rows with others in the place of those of a key: where the first of these stood, or else at
    the end.
    """
    at = next((at for at, row in enumerate(rows) if row[0] == key), len(rows))
    return [*rows[:at], *others, *[row for row in rows[at:] if row[0] != key]]


text_except: Final = speedups.native("text_except", text_except_pure)
replaced: Final = speedups.native("replaced", replaced_pure)
