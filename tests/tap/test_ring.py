"""The tap and the ring behind it: what is kept, how it is found, what goes when there is no room."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import trio
from trio.testing import MockClock

from gateway.tap.ring import Ring
from gateway.tap.tap import Batch, Tap
from gateway.wire import WireMessage
from tests.tap.words import CALL, CARRIER, INVITE, PBX, give, received, sent, sip

ROOM = 1_000_000


def kept(batches: Iterable[Batch], room: int = ROOM) -> Ring:
    """A ring that took these batches."""
    ring = Ring(room)
    give(ring.store, batches)
    return ring


def found(ring: Ring, *call_ids: bytes, begun: float = 0.0, ended: float = 0.0) -> list[WireMessage]:
    return trio.run(ring.find, call_ids, begun, ended, clock=MockClock(autojump_threshold=0))


def starts(messages: list[WireMessage]) -> list[bytes]:
    return [message.payload.partition(b"\r\n")[0] for message in messages]


def test_both_legs_are_found_by_the_callers_call_id_in_the_order_of_the_wire() -> None:
    messages = found(kept(CALL), b"a@pbx")
    assert starts(messages) == [
        INVITE.encode(), INVITE.encode(), b"SIP/2.0 603 Decline", b"ACK sip:2@carrier SIP/2.0",
        b"SIP/2.0 404 Not Found",
    ]  # fmt: skip
    assert [message.at for message in messages] == [10.0, 10.001, 10.5, 10.501, 10.501]
    assert (messages[0].source, messages[0].destination) == (("127.0.0.1", 5070), ("127.0.0.1", 5060))
    assert (messages[1].source, messages[1].destination) == (("127.0.0.1", 5060), ("127.0.0.1", 5080))


def test_messages_of_one_batch_are_told_apart() -> None:
    """Each keeps its own bytes and its own peer."""
    batch = (10.0, False, [*CALL[0][2], *CALL[2][2]])
    assert [(each.source[1], each.payload) for each in found(kept([batch]), b"a@pbx", b"b@gw")] == [
        (5070, CALL[0][2][0][0]), (5080, CALL[2][2][0][0]),
    ]  # fmt: skip


def test_a_call_that_only_mentions_the_call_id_is_not_of_it() -> None:
    transfer = sip("REFER sip:2@gw SIP/2.0", "other", "Refer-To: <sip:3@gw?Replaces=a%40pbx>", "X-Old: a@pbx")
    longer = sip(INVITE, "a@pbx.example.com")
    ring = kept([*CALL, received(11.0, transfer, longer)])
    assert len(found(ring, b"a@pbx")) == 5


def test_the_oldest_go_where_there_is_no_room() -> None:
    ring = kept((received(float(at), sip(INVITE, f"call-{at}")) for at in range(1000)), room=20_000)
    assert 10_000 < ring.store.size <= 20_000
    assert found(ring, b"call-0") == []
    assert starts(found(ring, b"call-999")) == [INVITE.encode()]


def test_a_batch_is_parted_where_a_block_ends() -> None:
    """All of 1,000 messages that came at once fit into the store, in several of its blocks."""
    ring = kept([received(1.0, *(sip(INVITE, f"call-{at}") for at in range(1_000)))])
    assert len(ring.store.blocks) > 1
    assert all(len(found(ring, b"call-%d" % at)) == 1 for at in range(1_000))


def test_a_message_larger_than_a_block_is_left_out_and_costs_no_other() -> None:
    large, small = sip(INVITE, "large") + bytes(10_000), sip(INVITE, "small")
    ring = kept([received(1.0, small, large, small)], room=20_000)
    assert found(ring, b"large") == []
    assert len(found(ring, b"small")) == 2


def test_a_search_goes_on_while_blocks_are_written_anew() -> None:
    """What is there when its block is looked at is found, and nothing that came after the search began."""
    ring = kept((received(float(at), sip(INVITE, "a@pbx")) for at in range(40)), room=20_000)
    before = found(ring, b"a@pbx")

    async def main() -> None:
        later: list[WireMessage] = []

        async def search() -> None:
            later.extend(await ring.find([b"a@pbx", b"other"]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(search)
            await trio.lowlevel.checkpoint()
            for at in range(60, 80):
                ring.store.take(received(float(at), sip(INVITE, "b@pbx")))
        assert 0 < len(later) < len(before)
        assert later == before[-len(later) :]

    trio.run(main)


def test_the_search_keeps_to_the_calls_time() -> None:
    again = received(500.0, sip(INVITE, "a@pbx"))  # a Call-ID that somebody used twice
    assert len(found(kept([*CALL, again]), b"a@pbx", begun=10.0, ended=11.0)) == 5
    assert len(found(kept([*CALL, again]), b"a@pbx", begun=490.0, ended=501.0)) == 1


def test_of_a_call_with_very_many_messages_some_are_found() -> None:
    """Each leg has many, and there are many legs; what is found of them all is bounded."""
    legs = [received(10.0, sip(INVITE, "a@pbx"))]
    for leg in range(8):
        invite, more = sip(INVITE, f"b{leg}", "X-CID: a@pbx"), sip("INFO sip:1@gw SIP/2.0", f"b{leg}")
        legs.append(sent(11.0 + leg, invite, *[more] * 2_500))
    assert len(found(kept(legs, ROOM * 20), b"b1")) == 2_000
    assert len(found(kept(legs, ROOM * 20), b"a@pbx")) == 10_000


def test_an_empty_call_id_means_no_message() -> None:
    assert found(kept(CALL), b"") == []


def test_others_have_their_turn_while_a_busy_moment_is_searched() -> None:
    """However many messages came at one time, few are read in one go."""
    batches = [received(1.0, *(sip(INVITE, f"{n}-{m}") for m in range(64))) for n in range(100)]
    ring = kept(batches, ROOM * 10)
    seen = [0]

    async def watch() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            seen.append(ring.indexed)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            one, other = [], []

            async def search(into: list[WireMessage], call_id: bytes) -> None:
                into += await ring.find([call_id])

            async with trio.open_nursery() as searches:  # two at a time get into each other's work
                searches.start_soon(search, one, b"0-0")
                searches.start_soon(search, other, b"99-63")
            assert (starts(one), starts(other)) == ([INVITE.encode()], [INVITE.encode()])
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert ring.indexed == 64 * 100
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 4 * 250  # two turns of both


class Transports:
    """What the tap is attached to, and somebody who listens."""

    def __init__(self) -> None:
        self.tap: Tap | None = None
        self.heard: list[Batch] = []

    def attach(self, tap: Tap | None) -> None:
        self.tap = tap

    def take(self, batch: Batch) -> None:
        self.heard.append(batch)


def test_transports_have_a_tap_only_while_somebody_listens() -> None:
    transports = Transports()
    tap = Tap(lambda: 7.0, transports.attach)
    assert transports.tap is None
    tap.add(transports)
    assert transports.tap is tap
    tap.received([(b"1", PBX)], 6.0)
    tap.sent([(b"2", CARRIER)])
    tap.remove(transports)
    assert transports.tap is None
    assert transports.heard == [(6.0, False, [(b"1", PBX)]), (7.0, True, [(b"2", CARRIER)])]


def test_who_comes_later_hears_nothing_of_before() -> None:
    first, second = Transports(), Transports()
    tap = Tap(lambda: 7.0, lambda _tap: None)
    tap.add(first)
    tap.sent([(b"1", CARRIER)])
    tap.add(second)
    tap.sent([(b"2", CARRIER)])
    assert [messages[0][0] for _, _, messages in first.heard] == [b"1", b"2"]
    assert second.heard == [sent(7.0, b"2")]
