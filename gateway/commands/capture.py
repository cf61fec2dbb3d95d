"""`gateway capture`: the messages of a running gateway into a pcap file, while they come and go."""

from __future__ import annotations

import struct
import sys
from contextlib import nullcontext
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter

from gateway import config as settings
from gateway.os_errors import in_words

from .asking import ConsoleError, ConsoleOption, ask
from .output import CLEAN, FAILED, ConfigOption, complain, is_possible, names_somebody

_FILE_HEADER = 24  # bytes of a pcap file before its first packet
_RECORD = struct.Struct("<8xI4x")  # of a packet: its length
_LONGEST = 3600.0  # seconds
_LARGEST = 1_000  # megabytes
_SLACK = 30.0  # seconds beyond its time that a capture may keep silent


def capture(
    out: Annotated[
        str, Parameter(allow_leading_hyphen=True, help='The file to write, or "-" for standard output.')
    ],
    /,
    *,
    trunk: Annotated[
        str, Parameter(name="--trunk", show_default=False, help="Only messages exchanged with this trunk.")
    ] = "",
    number: Annotated[
        str,
        Parameter(
            name="--number",
            show_default=False,
            help="Only calls from or to a number that begin from now on; its last digits will do.",
        ),
    ] = "",
    seconds: Annotated[float, Parameter(name="--seconds", help="How long to capture, at most 3600.")] = 60.0,
    megabytes: Annotated[int, Parameter(name="--megabytes", help="How long the file may get.")] = 100,
    url: ConsoleOption = "",
    config: ConfigOption = None,
) -> int:
    """Capture what a running gateway receives and sends, as a pcap file for Wireshark or sngrep.

    What went over TCP or TLS is in it as readable UDP datagrams; credentials are blanked. Ctrl-C ends the
    capture early and keeps what there is. Exits with 0, with 2 when the gateway refuses or cannot be asked.
    """
    if not 0 < seconds <= _LONGEST:  # neither is a number that is none
        complain(f"--seconds: {seconds:g} is not possible; write a number of seconds up to {_LONGEST:g}")
        return FAILED
    if not is_possible("--megabytes", megabytes, _LARGEST) or not names_somebody("--number", number):
        return FAILED
    if out == "-" and sys.stdout is None:
        complain("standard output is closed; name a file")
        return FAILED
    order = {"trunk": trunk, "number": number, "seconds": seconds, "bytes": megabytes * 1_000_000}
    try:
        loaded = settings.load(config)
        with (
            ask(loaded, url, "/api/capture", order, seconds + _SLACK) as response,
            nullcontext(sys.stdout.buffer) if out == "-" else Path(out).open("wb") as file,
        ):
            messages, why = _copy(response, file)
    except (ConsoleError, settings.SettingsErrors) as error:
        complain(error)
        return FAILED
    except OSError as error:
        complain(f"{out}: cannot be written: {in_words(error)}")
        return FAILED
    complain(f"{messages} messages in {out}{why and f'; {why}'}")
    return CLEAN


def _copy(response: HTTPResponse, file: BinaryIO) -> tuple[int, str]:
    """Copy packets as they come; return how many there were, and why no more came, "" when it was time."""
    messages = 0
    try:
        file.write(response.read(_FILE_HEADER))
        file.flush()
        while len(head := response.read(_RECORD.size)) == _RECORD.size:
            file.write(head + response.read(*_RECORD.unpack(head)))
            file.flush()
            messages += 1
    except KeyboardInterrupt:
        return messages, "interrupted"
    except (HTTPException, ConnectionError, TimeoutError):
        return messages, "the gateway ended before the capture did"
    return messages, ""
