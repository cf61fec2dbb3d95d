"""When the pump of a socket naps."""

from __future__ import annotations

import socket

import pytest
import trio

from gateway.transport import pump as module
from gateway.transport.pump import pump


def test_the_pump_naps_only_after_a_turn_that_took_all_there_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nap after a full turn would let what is left wait."""
    happened: list[int | str] = []
    counts = [3, 3, 1, 2, 0]
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: happened.append("nap"))

    async def main() -> None:
        with trio.CancelScope() as scope:

            def turn(_now: float) -> int:
                happened.append(counts.pop(0))
                if not counts:
                    scope.cancel()
                return int(happened[-1])

            await pump(ours, turn, lambda: 0.0, 3)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"never read, so there is always something to read")
        trio.run(main)
    assert happened == [3, 3, 1, "nap", 2, "nap", 0]
