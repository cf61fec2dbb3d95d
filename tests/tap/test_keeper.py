"""Failed and rewritten calls are kept when the ring has let them go, within bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import msgspec
import trio
from trio.testing import MockClock

from gateway.tap.keeper import Keeper
from gateway.tap.ring import Ring
from gateway.tap.tap import Batch
from tests.tap.words import CALL, give, received, rejected

FLOOD = [received(11.0, b"x" * 1_000)] * 100


class Kept:
    """A keeper with a small ring, and a clock that tests set."""

    def __init__(self, limit: int = 100_000) -> None:
        self.now = 10.6
        self.ring = Ring(20_000)
        self.keeper = Keeper(self.ring, limit, lambda: self.now)

    def take(self, batches: Iterable[Batch]) -> None:
        give(self.ring.store, batches)

    async def count(self, id_: str = "id1") -> int:
        return len(await self.keeper.messages(("a@pbx", "b@gw"), self.keeper.find(id_)))


def played(kept: Kept, play: Callable[[Kept], Awaitable[None]]) -> None:
    """Run a keeper beside a play of what happens to it."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.keeper.run)
            await play(kept)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_rewritten_call_outlives_the_ring() -> None:
    async def play(kept: Kept) -> None:
        kept.take(CALL)
        kept.keeper.record(rejected())
        kept.now = 13.0
        await trio.sleep(1)
        kept.take(FLOOD)
        assert await kept.count() == 5
        assert await kept.ring.find([b"a@pbx"]) == []

    played(Kept(), play)


def test_the_messages_are_not_taken_before_the_last_have_come() -> None:
    async def play(kept: Kept) -> None:
        kept.take(CALL[:3])
        kept.keeper.record(rejected())
        await trio.sleep(1)
        kept.take(CALL[3:])
        kept.now = 13.0
        await trio.sleep(1)
        assert await kept.count() == 5

    played(Kept(), play)


def test_an_ordinary_call_goes_with_the_ring() -> None:
    async def play(kept: Kept) -> None:
        kept.take(CALL)
        good = msgspec.structs.replace(
            rejected(), original_status=200, original_phrase="OK", emitted_status=200, emitted_phrase="OK",
            end_reason="bye",
        )  # fmt: skip
        given_up = msgspec.structs.replace(rejected(), id="id2", ended_by="caller", end_reason="cancelled")
        kept.keeper.record(good)
        kept.keeper.record(given_up)
        assert await kept.count() == 5  # the ring still has them
        kept.now = 13.0
        await trio.sleep(1)
        kept.take(FLOOD)
        assert await kept.count() == 0
        assert await kept.count("id2") == 0

    played(Kept(), play)


def test_a_flood_of_rejections_is_left_to_the_ring() -> None:
    async def play(kept: Kept) -> None:
        for number in range(1_000):
            kept.keeper.record(rejected(id_=f"id{number}"))
        assert kept.keeper.left_out == 800
        kept.now = 13.0
        await trio.sleep(2)
        assert 0 < kept.keeper.count <= 40  # at most twenty a second

    played(Kept(), play)


def test_the_oldest_kept_goes_where_there_is_no_room() -> None:
    async def play(kept: Kept) -> None:
        for number in range(10):
            kept.take(CALL)
            kept.keeper.record(rejected(id_=f"id{number}"))
        kept.now = 13.0
        await trio.sleep(5)
        kept.take(FLOOD)
        assert await kept.count("id0") == 0
        assert await kept.count("id9") > 0

    played(Kept(limit=40_000), play)


def test_a_call_is_found_by_its_id_how_it_begins_and_the_call_ids_of_its_legs() -> None:
    keeper = Kept().keeper
    record = rejected(id_="18f0c2")
    keeper.record(record)
    assert (
        keeper.find("18f0c2") is keeper.find("18f") is keeper.find("a@pbx") is keeper.find("b@gw") is record
    )
    assert keeper.find("8f0") is None
