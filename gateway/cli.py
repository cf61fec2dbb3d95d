"""The `gateway` command: puts each command in its place. Every command returns its exit code."""

from __future__ import annotations

import os
import sys

from cyclopts import App

from gateway import __version__
from gateway.commands.analyze import analyze
from gateway.commands.calls import app as calls
from gateway.commands.capture import capture
from gateway.commands.check import check
from gateway.commands.demo import demo
from gateway.commands.doctor import doctor
from gateway.commands.explain import explain
from gateway.commands.replay import replay
from gateway.commands.rules import rules
from gateway.commands.run import run
from gateway.commands.scorecard import scorecard
from gateway.commands.unwanted import app as unwanted

app = App(
    name="gateway",
    help="A SIP back-to-back user agent that makes call rejections tell the truth, by rule and on evidence.",
    version=__version__,
)
for command in (
    run,
    check,
    explain,
    replay,
    analyze,
    calls,
    capture,
    scorecard,
    rules,
    demo,
    doctor,
    unwanted,
):
    app.command(command)


def main() -> None:
    """Run the command line and exit with the command's code."""
    try:
        code = app()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
