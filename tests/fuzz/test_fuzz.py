"""Nothing from the network raises, the tables stay bounded, and at the end the gateway answers a good call.

The default run mutates 200,000 messages, the same ones each time. ``FUZZ_MESSAGES`` asks for more of them and
``FUZZ_SEED`` for others; the seed in a failed test's name brings the failure back.
"""

from __future__ import annotations

import os

import pytest

from .world import FullWorld, StreamWorld, World, assert_serves_a_call

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "200000"))
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))
CHUNKS = 10
EACH = MESSAGES // CHUNKS
# At a hundred messages a second, a minute's worth of transactions is the most that can be alive at once.
MOST_ALIVE = 6_000
ENDS = {"bye", "cancelled", "max_duration", "no ACK", "rejected"}


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + CHUNKS))
def test_whatever_comes_nothing_raises_nothing_grows_and_a_good_call_is_served(seed: int) -> None:
    world = World(seed)
    endpoint = world.net.endpoint
    while world.sent < EACH:
        for _ in range(min(1000, EACH - world.sent)):
            world.step()
        assert world.alive() < MOST_ALIVE
    # Reasons are labels of counters: were a peer's bytes to get into them, they would be without number.
    assert len(endpoint.malformed) < 60
    assert len(endpoint.dropped) < 10
    if EACH >= 20_000:
        ended = {record.end_reason for record in world.net.records}
        assert ended >= ENDS, "the mutations let no call through to where it might break"
    world.rest(86_500)  # the longest that a subscription may stand
    world.net.assert_all_freed()
    assert_serves_a_call(world.net)
    world.net.assert_all_freed()


STREAM_CHUNKS = 2


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + STREAM_CHUNKS))
def test_whatever_comes_on_connections_nothing_raises_and_nothing_grows_3261_18_3(seed: int) -> None:
    world = StreamWorld(seed)
    endpoint = world.net.endpoint
    while world.sent < EACH:
        for _ in range(min(1000, EACH - world.sent)):
            world.step()
        assert world.alive() < MOST_ALIVE
    assert len(endpoint.malformed) < 60
    assert len(endpoint.dropped) < 10
    if EACH >= 20_000:
        assert world.unframed > 100, "the mutations broke no frame"
        ended = {record.end_reason for record in world.net.records}
        assert ended >= {"bye", "cancelled", "rejected"}
    world.rest(86_500)
    world.net.assert_all_freed()


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + STREAM_CHUNKS))
def test_whatever_comes_with_every_ability_on_nothing_raises_and_nothing_grows(seed: int) -> None:
    world = FullWorld(seed)
    while world.sent < EACH:
        for _ in range(min(1000, EACH - world.sent)):
            world.step()
        assert world.alive() < 2 * MOST_ALIVE  # each call has two legs here
    assert len(world.net.endpoint.malformed) < 60
    world.quieten()
    world.rest(86_500)
    world.net.assert_all_freed()
