"""What one process does and several cannot: refused with a sentence, never done wrong."""

from __future__ import annotations

import sys

from gateway.config import Config, SettingsError


def unsupported(config: Config) -> list[SettingsError]:
    """Return what stands in the way of serving this with several workers."""
    if sys.platform.startswith("linux"):
        return []
    return [config.source.error(("gateway", "workers"), "several workers need Linux", "write workers = 1")]
