"""`gateway run`: one process, or several under a supervisor."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from gateway import app
from gateway.config import SettingsErrors, load
from gateway.telemetry import logs

from .seat import workers_of
from .supervisor import Supervisor


def serve(path: Path | None) -> int:
    """Load, run, and return the exit code: 0, or 2 when the configuration is bad."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    try:
        config = load(path)
        logs.configure(config.telemetry.logs, config.gateway.name)
        if workers_of(config) > 1:
            return Supervisor(path).run()
        gateway = app.Gateway(config, path)
    except SettingsErrors as errors:
        for error in errors.errors:
            print(error, file=sys.stderr)
        return 2
    app.serve(gateway)
    return 0
