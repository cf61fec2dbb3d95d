"""What the operating system says of an error, as the sentences of settings, commands and the log have it."""

from __future__ import annotations


def in_words(error: OSError) -> str:
    """Return why something failed.

    >>> in_words(PermissionError(13, "Permission denied"))
    'permission denied'
    """
    return (error.strerror or str(error)).lower()
