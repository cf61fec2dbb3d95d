"""A database that keeps the connection and says nothing keeps nobody waiting, and costs a few threads."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from gateway.ledger import canaries, database, drift, past, patience, unwanted, versions
from gateway.ledger.canaries import CanaryKeeper
from gateway.ledger.drift import DriftWatch
from gateway.ledger.past import Historian
from gateway.ledger.patience import MOST, Patience
from gateway.ledger.versions import VersionKeeper, version_of
from gateway.rules.history import Watch
from gateway.rules.trials import Stop
from tests.ledger.records import NOON
from tests.ledger.test_canaries import TENTH
from tests.ledger.test_past import said
from tests.rules.support import rules

WRITTEN = ("unwanted", "canary_events", "rule_versions")


class Server:
    """A database, and threads that hang in it from the moment on that it is told to. While it hangs, who asks
    is impatient; when it answers again, a busy machine may take its time.
    """

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.url = f"sqlite:///{path}"
        database.open_for_writing(database.parse_url(self.url)).dispose()
        self._answers = threading.Event()
        self._answers.set()
        self.hanging = 0

    def ask(self) -> None:
        """Be a thread of a client, somewhere within a transaction."""
        if not self._answers.is_set():
            self.hanging += 1
            self._answers.wait(20)
            self.hanging -= 1

    def hang(self) -> None:
        self._answers.clear()
        self._patch.setattr(patience, "PATIENT", 0.1)
        self._patch.setattr(drift, "READING", 0.1)

    async def wake(self) -> None:
        """Answer everything, and let the threads that were left have their end."""
        self._answers.set()
        self._patch.setattr(patience, "PATIENT", 8.0)
        self._patch.setattr(drift, "READING", 8.0)
        while self.hanging:
            await trio.sleep(0.01)
        await trio.sleep(0.1)

    def rows(self, table: str) -> int:
        engine = database.open_for_reading(self.url)
        with engine.connect() as connection:
            found = connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar()
        engine.dispose()
        return int(found or 0)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(tmp_path / "gateway.db", monkeypatch)
    for module, name in ((unwanted, "stamp"), (canaries, "keep"), (versions, "keep"), (drift, "_counts")):
        answer = getattr(module, name)

        def asked(*arguments: object, answer: Callable[..., object] = answer) -> object:
            server.ask()
            return answer(*arguments)

        monkeypatch.setattr(module, name, asked)
    monkeypatch.setattr(patience, "_GRACE", 0.2)
    monkeypatch.setattr(drift, "_PAUSE", 0.02)
    for module in (canaries, past, versions):
        monkeypatch.setattr(module, "_PAUSE", 0.02)
    monkeypatch.setattr(versions, "_AGAIN", 0.02)
    yield server
    server._answers.set()


def in_time(play: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(10):
            await play()

    trio.run(main)


def test_who_waits_is_told_in_time_and_threads_do_not_pile_up(server: Server) -> None:
    asked = Patience()

    async def play() -> None:
        server.hang()
        for number in range(MOST + 2):
            with pytest.raises(TimeoutError, match="no answer for" if number < MOST else "no answer yet"):
                await asked.run(server.ask)
        assert server.hanging == MOST
        await server.wake()
        await asked.run(server.ask)

    in_time(play)


def test_what_is_under_way_has_a_moment_to_end_when_everything_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a batch which the database has is not written once more at the end."""
    monkeypatch.setattr(patience, "_GRACE", 5.0)
    began, ends = threading.Event(), threading.Event()
    found = []

    def work() -> str:
        began.set()
        ends.wait(10)
        return "done"

    async def ask() -> None:
        found.append(await Patience().run(work))

    async def play() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while not began.is_set():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
            ends.set()
        assert found == ["done"]

    in_time(play)


def test_what_goes_wrong_in_the_thread_is_told_as_it_is() -> None:
    def fail() -> None:
        raise ValueError("of its own")

    async def play() -> None:
        with pytest.raises(ValueError, match="of its own"):
            await Patience().run(fail)

    in_time(play)


@pytest.mark.parametrize("part", ["history", "canaries", "versions", "drift"])
def test_no_part_waits_for_a_server_that_hangs_nor_does_the_end(server: Server, part: str) -> None:
    log: list[str] = []
    historian = Historian(server.url, 1e9, True, clock=lambda: NOON, log=log.append)
    keeper = CanaryKeeper(server.url, clock=lambda: NOON, log=log.append)
    kept = VersionKeeper(server.url, log.append)
    watch = DriftWatch(server.url, clock=lambda: NOON, log=log.append)
    ruleset = rules(TENTH)
    historian.configure(frozenset((Watch("caller", "unwanted", 86400.0),)))
    historian._begun = 0.0
    trials = keeper.configure(ruleset)
    assert trials is not None
    canary = trials.canaries["it"]

    async def close() -> None:
        await historian.close()
        await keeper.close()

    async def play() -> None:
        server.hang()
        historian.feedback(said(NOON))
        keeper._stopped(Stop("it", canary, canaries.Pause(NOON, why="many")))
        kept.note(version_of(ruleset, NOON))
        log.clear()
        runs = {"history": historian.run, "canaries": keeper.run, "versions": kept.run, "drift": watch.run}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runs[part])
            while server.hanging < MOST:
                await trio.sleep(0.01)
            await trio.sleep(0.3)
            assert server.hanging == MOST
            nursery.cancel_scope.cancel()
        assert len(log) == (part != "drift")
        await server.wake()
        # Nothing of what was left has been written; who writes it now has written it once.
        assert [server.rows(table) for table in WRITTEN] == [0, 0, 0]
        await close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.run)
            while kept._waiting:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert [server.rows(table) for table in WRITTEN] == [1, 1, 1]

    in_time(play)
