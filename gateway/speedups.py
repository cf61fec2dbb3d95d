"""What makes the gateway faster where it could be built, and word of it where it could not.

Two things, and nothing needs them. The *native core* (``gateway/native``, in Rust) does what Python code
does too, and does alike (PEP 399). *Compiled call logic* is the very files of the core, translated to C by
mypyc (``setup.py``). ``GATEWAY_PURE=1`` in the environment leaves both out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from ._native import Batches, Keys, Reader

_F = TypeVar("_F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_SUFFIX = EXTENSION_SUFFIXES[0]  # of this Python's own extension modules
_LIBRARY = _PACKAGE / f"compiled__mypyc{_SUFFIX}"
_IS_PURE = os.environ.get("GATEWAY_PURE", "") not in ("", "0")


_ASKED_FOR = "GATEWAY_PURE is set"


def _why_interpreted() -> str:
    if _IS_PURE:
        return _ASKED_FOR
    if not _LIBRARY.exists():
        return "it was not compiled; that needs a C compiler when the gateway is installed"
    if (_PACKAGE.parent / "setup.py").exists():
        built = _LIBRARY.stat().st_mtime
        depths = ("", "*/", "*/*/")  # not rglob: the native core's own build has a deep tree here
        for module in chain.from_iterable(_PACKAGE.glob(f"{depth}*{_SUFFIX}") for depth in depths):
            source = module.with_name(module.name.removesuffix(_SUFFIX) + ".py")
            if source.exists() and source.stat().st_mtime > built:
                return f"{source.name} has changed since it was compiled; make compiled"
    return ""


WHY_INTERPRETED = _why_interpreted()
"""Why the call logic runs as Python; "" when it runs compiled."""


def prefer_sources() -> None:
    """Have the package's modules imported from their sources, unless what was compiled of them is in use.

    All or none of them: compiled modules know each other's insides.
    """
    if not WHY_INTERPRETED or not _LIBRARY.exists():
        return
    find = FileFinder.path_hook(
        (SourceFileLoader, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES)
    )

    def finder_of(path: str) -> FileFinder:
        if not Path(path).is_relative_to(_PACKAGE):
            raise ImportError
        return cast(FileFinder, find(path))

    sys.path_hooks.insert(0, finder_of)
    for path in [path for path in sys.path_importer_cache if Path(path).is_relative_to(_PACKAGE)]:
        del sys.path_importer_cache[path]


def _why_pure() -> str:
    if _IS_PURE:
        return _ASKED_FOR
    try:
        from . import _native  # noqa: F401
    except ImportError:
        return "the native core was not built; it needs cargo when the gateway is installed"
    return ""


WHY_PURE = _why_pure()
"""Why the native core is not in use; "" when it is."""


def description() -> str:
    """Say in a few words what is in use, and why no more."""
    if _IS_PURE:
        return f"pure Python ({WHY_PURE})"
    core = f"in Python ({WHY_PURE})" if WHY_PURE else "native"
    logic = f"interpreted ({WHY_INTERPRETED})" if WHY_INTERPRETED else "compiled"
    return f"{core}, call logic {logic}"


def native_keys(spellings: dict[bytes, bytes]) -> Keys | None:
    """Return the keys of headers as the native core numbers them; None when it is not in use."""
    if WHY_PURE:
        return None
    from ._native import Keys

    return Keys(spellings)


def native_reader(keys: Keys | None) -> Reader | None:
    """Return the native reader of messages; None when the native core is not in use."""
    if keys is None:
        return None
    from ._native import Reader

    return Reader(keys)


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
