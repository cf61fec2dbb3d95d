"""Nothing from the network raises, the tables stay bounded, and at the end the gateway answers a good call."""

from __future__ import annotations

import os

import pytest

from .world import World, assert_serves_a_call

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "200000"))
CHUNKS = 10
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + CHUNKS))
def test_whatever_comes_the_gateway_does_not_raise_and_does_not_grow(seed: int) -> None:
    world = World(seed)
    per_chunk = MESSAGES // CHUNKS
    for _ in range(per_chunk):
        world.step()
    assert world.sent == per_chunk
    # Each table is bounded by what can happen within the lifetime of one entry: a chunk's worth would be growth.
    endpoint = world.net.endpoint
    assert len(endpoint.malformed) < 80, "reasons are a counter's labels, and few"
    assert len(endpoint.dropped) < 20
    world.rest(300)
    world.net.assert_all_freed()
    assert_serves_a_call(world.net)
    world.net.assert_all_freed()
