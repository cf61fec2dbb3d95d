"""What the operating system says of an error, as the sentences of settings, commands and the log have it."""

from __future__ import annotations

import errno


def in_words(error: OSError) -> str:
    """Return why something failed.

    >>> in_words(PermissionError(13, "Permission denied"))
    'permission denied'
    """
    return (error.strerror or str(error)).lower()


def to_bind(error: OSError) -> str:
    """Return what would let a listener have the address that it was refused.

    >>> to_bind(PermissionError(13, "Permission denied"))
    'grant CAP_NET_BIND_SERVICE, or choose a port above 1023'
    """
    if error.errno == errno.EADDRINUSE:
        return "stop the program that has it, or choose another address"
    if error.errno == errno.EADDRNOTAVAIL:
        return "give this machine that address, or choose one that it has"
    if isinstance(error, PermissionError):
        return "grant CAP_NET_BIND_SERVICE, or choose a port above 1023"
    return "choose another address"
