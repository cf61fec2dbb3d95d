"""The `gateway` command: puts each command in its place. Every command returns its exit code."""

from __future__ import annotations

import errno
import io
import os
import re
import sys

from cyclopts import App, CycloptsError, CycloptsPanel, UnusedCliTokensError

from gateway import __version__
from gateway.commands.analyze import analyze
from gateway.commands.calls import app as calls
from gateway.commands.capture import capture
from gateway.commands.check import check
from gateway.commands.demo import demo
from gateway.commands.doctor import doctor
from gateway.commands.explain import explain
from gateway.commands.output import FAILED, printable
from gateway.commands.replay import replay
from gateway.commands.rules import rules
from gateway.commands.run import run
from gateway.commands.scorecard import scorecard
from gateway.commands.unwanted import app as unwanted
from gateway.os_errors import in_words

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_WIDTH = re.compile("[2-9][0-9]|[1-9][0-9]{2,3}")  # of a line: 20 to 9999


def _told(error: CycloptsError) -> object:
    """Return how a command line that is wrong is told."""
    if not isinstance(error, UnusedCliTokensError):
        return CycloptsPanel(error)
    words = " ".join(f'"{printable(word)}"' for word in error.unused_tokens or ())
    return CycloptsPanel(f"Too many arguments: {words}.")


app = App(
    name="gateway",
    help="A SIP back-to-back user agent that makes call rejections tell the truth, by rule and on evidence.",
    version=__version__,
    error_formatter=_told,
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
    _settle()
    try:
        try:
            code = app()
        finally:  # what is printed may get no further than the buffer until here
            if sys.stdout is not None:  # as it is where standard output was closed
                sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        code = _give_up()
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        print(f"the output cannot be written: {in_words(error)}", file=sys.stderr)
        code = _give_up()
    except UnicodeEncodeError:
        odd = next((argument for argument in sys.argv[1:] if not _is_text(argument)), None)
        if odd is None:
            raise
        print(f"{odd!r} holds bytes that are no UTF-8 text; write it in UTF-8", file=sys.stderr)
        code = FAILED
    sys.exit(code)


def _settle() -> None:
    """Let printing go on with an encoding that lacks signs, and with a width that is none."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error writes what it lacks as escapes anyway
        sys.stdout.reconfigure(errors="replace")
    if not _WIDTH.fullmatch(os.environ.get("COLUMNS", "80")):
        del os.environ["COLUMNS"]


def _give_up() -> int:
    """Let what is still in the buffer go nowhere, or leaving would fail on it again; return the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _is_text(argument: str) -> bool:
    return not any("\udc80" <= sign <= "\udcff" for sign in argument)  # PEP 383: bytes that are no UTF-8
