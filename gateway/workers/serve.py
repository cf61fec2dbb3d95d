"""`gateway run`: one process, or several under a supervisor."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import closing
from pathlib import Path

from gateway import app
from gateway.config import SettingsErrors, load
from gateway.service_manager import ServiceManager
from gateway.telemetry import logs
from gateway.telemetry.log_writer import LogWriter

from .seat import workers_of
from .supervisor import Supervisor


def serve(path: Path | None) -> int:
    """Load, run, and return the exit code: 0, or 2 when the configuration is bad."""
    _open_missing()
    logging.basicConfig(level=logging.INFO, handlers=[LogWriter(sys.stderr.fileno())])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    with closing(ServiceManager.of(os.environ)) as manager:
        return _serve(path, manager)


def _serve(path: Path | None, manager: ServiceManager) -> int:
    try:
        config = load(path)
        logs.configure(config.telemetry.logs, config.gateway.name)
        if workers_of(config) > 1:
            return Supervisor(path, manager).run()
        gateway = app.Gateway(config, path)
    except SettingsErrors as errors:
        for error in errors.errors:
            print(error, file=sys.stderr)
        return 2
    gateway.manager = manager
    app.serve(gateway)
    return 0


def _open_missing() -> None:
    """Have a stdout and a stderr where we were started without. No socket is to take their places."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  open as long as we are
