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


def test_a_pump_whose_turns_take_much_of_the_time_does_not_nap(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 45 % on, over the last fifty turns or so; when it has had less to do for a while it naps again."""
    much, little = [(1, 0.6)] * 100, [(1, 0.1), (0, 0.9)] * 100
    happened = pumped(monkeypatch, [*much, *little], 64)
    naps = [index for index, each in enumerate(happened) if isinstance(each, str)]
    turns_before = [sum(each == 1 for each in happened[:index]) for index in naps]
    assert sum(turns <= 45 for turns in turns_before) == 40  # after eight in a row others have their turn
    assert not [turns for turns in turns_before if 80 < turns < 125]
    assert turns_before[-1] == 200
