"""Which worker owns a message: one rule, which each worker reads off the bytes alone.

The hash of the Call-ID, of what stands before its "@", is the number of the owner. So all that a caller's leg
receives meets at one worker, whatever addresses and ports it came from, and so do the copies that a proxy
made of one request (482). Call-IDs, tags and branches that a worker makes itself it draws until their hash
names that worker (:class:`OwnTokens`): then the callee's leg, and every other dialog of ours, is where its
call is. A REGISTER is the first worker's, which keeps all bindings.

A message that is not read here with certainty is parsed, so that odd spellings end where plain ones do. One
that cannot be parsed has no owner: whoever got it refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import adler32

from gateway.sip.message import MalformedMessageError, parse

FIRST = 0
"""The worker that has what there is but once: listeners of streams, registrations, pings, the console."""

HASH_MODULUS = 30_011
"""The hash is Adler-32 modulo this, a prime: as quick as CRC-32, and few steps for the system's program
(:mod:`~gateway.workers.steering`). Adler-32 by itself would not spread short Call-IDs that count up.
"""

_NAME = b"\nCall-ID: "
_LF, _CR, _FOLDS = 10, 13, (9, 32)
_BRANCH_MARK = b"z9hG4bK"
_KEEPALIVE = b"\r\n\0 "


def owner_of(data: bytes, workers: int) -> int | None:
    """Return the number of the worker that owns a message; None when whoever has it may keep it."""
    head, _, rest = data.partition(_NAME)
    if head[:9] == b"REGISTER ":
        return FIRST
    value, _, after = rest.partition(b"\n")
    # A body may quote a message, and a line may be folded, or end in a bare LF.
    if (
        head
        and len(value) > 1
        and after
        and head[-1] != _LF
        and head.find(b"\n\n") < 0  # "in" asks bytes whether they hold a number first, by an exception
        and head.find(b"\n\r") < 0
        and value[-1] == _CR
        and after[0] not in _FOLDS
    ):
        return adler32(value.partition(b"@")[0].strip()) % HASH_MODULUS % workers
    return _owner_of_odd(data, workers)


def _owner_of_odd(data: bytes, workers: int) -> int | None:
    if data[:1] in _KEEPALIVE and not data.strip(_KEEPALIVE):
        return None
    try:
        message = parse(data)
    except MalformedMessageError:
        return None
    call_id = message.get(b"Call-ID")
    return None if call_id is None else owner_of_call(call_id, workers)


def owner_of_call(call_id: bytes, workers: int) -> int:
    """Return the number of the worker that owns what has this Call-ID."""
    return adler32(call_id.partition(b"@")[0].strip()) % HASH_MODULUS % workers


def owner_of_branch(branch: bytes, workers: int) -> int:
    """Return the number of the worker that made this branch, which is one of ours."""
    return adler32(branch.removeprefix(_BRANCH_MARK)) % HASH_MODULUS % workers


class OwnTokens:
    """Tokens of ``draw`` whose hash names worker ``index``."""

    def __init__(self, draw: Callable[[], bytes], index: int, workers: int) -> None:
        self._draw = draw
        self._index = index
        self._workers = workers

    def __call__(self) -> bytes:
        """Return a token nobody has seen."""
        draw, index, workers = self._draw, self._index, self._workers
        token = draw()
        while adler32(token) % HASH_MODULUS % workers != index:
            token = draw()
        return token
