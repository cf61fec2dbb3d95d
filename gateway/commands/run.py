"""`gateway run`: serve until told to stop."""

from __future__ import annotations

from pathlib import Path

from gateway.workers.serve import serve

from .output import ConfigOption


def run(*, config: ConfigOption = None) -> int:
    """Carry calls until SIGTERM or Ctrl-C; SIGHUP reads configuration and rules anew.

    Without a configuration the embedded default serves: a PBX at 127.0.0.1:5070 and a carrier at
    127.0.0.1:5080, on 127.0.0.1:5060. Exits with 0, or with 2 when the configuration or the rules are wrong.
    """
    return serve(Path(config) if config is not None else None)
