"""What stands for a number in a ledger that hides them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b


def hidden(number: str, key: bytes) -> str:
    """Return what stands for a number in a ledger that hides them: the same for the same number and key.

    Numbers are few enough to be tried out one after the other, so the key must be secret to be of use.
    """
    if not number:
        return ""
    data = number.encode(errors="backslashreplace")  # which never fails, whatever a From held
    return f"#{blake2b(data, digest_size=8, key=key).hexdigest()}"


def hider(key: bytes) -> Callable[[str], str]:
    """Return what makes of a number what `RowMaker` puts in its place with this key; what is hidden already
    stays as it is.
    """

    @lru_cache(maxsize=4096)
    def hide(number: str) -> str:
        return number if is_hidden(number) else hidden(number, key[:64])

    return hide


_HIDDEN = re.compile("#[0-9a-f]{16}")


def is_hidden(number: str) -> bool:
    """Tell whether this stands for a number (`hidden`)."""
    return _HIDDEN.fullmatch(number) is not None
