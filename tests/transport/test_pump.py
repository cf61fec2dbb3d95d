"""When the pump of a socket naps."""

from __future__ import annotations

import socket

import pytest
import trio

from gateway.transport import pump as module
from gateway.transport.pump import pump


def pumped(monkeypatch: pytest.MonkeyPatch, turns: list[tuple[int, float]], full: int = 3) -> list[int | str]:
    """What the pump of a socket does, a turn after the other: how many messages each takes, and the
    milliseconds of each nap. Given are the messages and the milliseconds of each turn, and a full one.
    """
    happened: list[int | str] = []
    time = 0.001  # as if there had been a turn a millisecond ago

    def sleep(seconds: float) -> None:
        nonlocal time
        time += seconds
        happened.append(f"{1000 * seconds:.1f} ms")

    monkeypatch.setattr(module.time, "sleep", sleep)

    async def main() -> None:
        with trio.CancelScope() as scope:

            def turn(_now: float) -> int:
                nonlocal time
                count, milliseconds = turns.pop(0)
                time += milliseconds / 1000
                happened.append(count)
                if not turns:
                    scope.cancel()
                return count

            await pump(ours, turn, lambda: time, full)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"never read, so there is always something to read")
        trio.run(main)
    return happened


def test_the_pump_naps_only_after_a_turn_that_took_all_there_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nap after a full turn would let what is left wait."""
    turns = [(3, 0.3), (3, 0.3), (1, 0.0), (2, 0.0), (0, 0.0)]
    assert pumped(monkeypatch, turns) == [3, 3, 1, "1.0 ms", 2, "1.0 ms", 0]


def test_a_turn_that_took_long_is_followed_by_less_of_a_nap_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [(1, 0.4), (2, 0.9), (2, 1.5), (1, 0.0), (0, 0.0)]
    assert pumped(monkeypatch, turns) == [1, "0.6 ms", 2, "0.1 ms", 2, 1, "1.0 ms", 0]


def test_the_more_messages_come_the_sooner_it_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight are worth a look: where sixteen came in a millisecond, they are there after 0.5 ms."""
    turns = [(1, 0.0), (16, 0.1), (10, 0.1), (2, 0.0), (0, 0.0)]
    assert pumped(monkeypatch, turns, 64) == [1, "1.0 ms", 16, "0.4 ms", 10, "0.3 ms", 2, "1.0 ms", 0]


def test_a_full_turn_is_a_look_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the next turn takes has come since the full one began."""
    turns = [(1, 0.0), (64, 0.8), (32, 0.0), (0, 0.0)]
    assert pumped(monkeypatch, turns, 64) == [1, "1.0 ms", 64, 32, "0.2 ms", 0]


def test_a_pump_whose_turns_take_much_of_the_time_naps_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 30 to 50 % on, over the last fifty turns or so; after a while with less to do it naps again."""
    much, little = [(1, 0.6)] * 100, [(1, 0.1), (0, 0.9)] * 150
    happened = [each for each in pumped(monkeypatch, [*much, *little], 64) if isinstance(each, str)]
    assert happened[:20] == ["0.4 ms"] * 20
    assert sorted(set(happened[20:60]), reverse=True) == ["0.4 ms", "0.3 ms", "0.2 ms", "0.1 ms"]
    assert happened[70:100] == ["0.1 ms"] * 30
    assert happened[-20:] == ["0.9 ms"] * 20
