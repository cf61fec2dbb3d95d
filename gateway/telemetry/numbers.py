"""How the numbers of people appear in traces and logs: `[telemetry] numbers`."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2s

Mask = Callable[[str], str]


def mask_for(form: str) -> Mask:
    """Return what makes a number or user fit to be shown.

    "hash" gives the same 16 digits for the same number for as long as the process runs, under a key that
    nobody knows: numbers are few enough to try all of them under a known one. "last4" shows the last four
    characters, "clear" all.
    """
    if form == "clear":
        return str
    if form == "last4":
        return lambda number: f"…{number[-4:]}" if len(number) > 4 else "…"
    key = os.urandom(32)
    return lambda number: blake2s(number.encode(), key=key, digest_size=8).hexdigest() if number else ""
