"""The native core (``gateway/native``, in Rust) where it was built, and word of it where it was not.

Nothing needs it: whatever it does, Python code does too, and does alike (PEP 399). ``GATEWAY_PURE=1`` in the
environment leaves it out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from ._native import Batches, Reader

_F = TypeVar("_F", bound=Callable[..., Any])


def _why_pure() -> str:
    if os.environ.get("GATEWAY_PURE", "") not in ("", "0"):
        return "GATEWAY_PURE is set"
    try:
        from . import _native  # noqa: F401
    except ImportError:
        return "the native core was not built; it needs cargo when the gateway is installed"
    return ""


WHY_PURE = _why_pure()
"""Why the native core is not in use; "" when it is."""


def description() -> str:
    """Say in a few words which core is in use, and why."""
    return f"pure Python ({WHY_PURE})" if WHY_PURE else "native"


def reader_type() -> type[Reader] | None:
    """Return the native reader of messages; None when the native core is not in use."""
    if WHY_PURE:
        return None
    from ._native import Reader

    return Reader


def native(name: str, pure: _F) -> _F:
    """Return the native form of a function; the function itself when the native core is not in use."""
    if WHY_PURE:
        return pure
    from . import _native

    return cast(_F, getattr(_native, name))


def batches(fd: int, size: int) -> Batches | None:
    """Return what moves datagrams through a UDP socket in batches of at most ``size``; None when the native
    core is not in use, or the system has no such calls.
    """
    if WHY_PURE or not sys.platform.startswith("linux"):
        return None
    from ._native import Batches

    return Batches(fd, size)
