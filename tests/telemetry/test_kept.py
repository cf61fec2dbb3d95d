"""Each message of a traced call as an event of its trace, where somebody has kept the messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import trio

from gateway.telemetry.kept import BUDGET, Completion
from tests.helpers import CARRIER, GATEWAY, PBX, Address, Net
from tests.telemetry.collector import Collector
from tests.telemetry.test_traces import said
from tests.telemetry.traced import Traced, export


class Message(NamedTuple):
    at: float
    source: Address
    payload: bytes


class Wire:
    """Keeps everything that passes in a network in a box."""

    def __init__(self, net: Net) -> None:
        self.messages: list[Message] = []
        self.asked = 0
        transmit = net.transmit

        def keep(data: bytes, source: Address, destination: Address, transport: str = "udp") -> None:
            self.messages.append(Message(net.now, source, data))
            transmit(data, source, destination, transport)

        net.transmit = keep  # type: ignore[method-assign]

    async def find(self, call_ids: Iterable[bytes], begun: float, ended: float) -> list[Message]:
        self.asked += 1
        wanted = list(call_ids)
        return [
            message
            for message in self.messages
            if begun <= message.at <= ended + 1 and any(word in message.payload for word in wanted)
        ]


def reject(net: Net) -> None:
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.run(0.5)
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))


def completed(traced: Traced, completion: Completion) -> None:
    for call in traced.calls[:]:
        completion.take(call)
    traced.calls.clear()
    trio.run(completion.look)


def test_each_message_of_both_legs_is_an_event_in_its_order() -> None:
    traced = Traced()
    wire = Wire(traced.net)
    reject(traced.net)
    completed(traced, Completion(wire, {GATEWAY}, traced.calls.append))
    with Collector() as collector:
        export(traced.calls, collector)
    root, branch = collector.spans
    assert said(branch) == [
        ("sent", "INVITE", None),
        ("received", "INVITE", 180),
        ("received", "INVITE", 486),
        ("sent", "ACK", None),
    ]
    assert said(root) == [
        ("received", "INVITE", None),
        ("sent", "INVITE", 100),
        ("sent", "INVITE", 180),
        ("sent", "INVITE", 486),
        ("received", "ACK", None),
    ]
    assert {message.source for message in wire.messages} == {GATEWAY, PBX, CARRIER}


def test_others_have_their_turn_while_very_many_messages_are_read() -> None:
    traced = Traced()
    reject(traced.net)
    wire = Wire(traced.net)
    (call,) = traced.calls
    invite = b"INVITE sip:2@gw SIP/2.0\r\nCall-ID: %b\r\nCSeq: 1 INVITE\r\n\r\n"
    message = invite % call.record.caller_call_id.encode()
    wire.messages = [Message(call.record.invited_at, PBX, message)] * 1_000
    completion = Completion(wire, {GATEWAY}, traced.calls.append, lambda: 0.0)
    completion.take(call)
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await completion.look()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert call.messages is not None and len(call.messages) == 1_000
    assert turns > 5  # of ten pauses; who is first and last is left to chance


def test_what_cannot_be_read_is_no_event() -> None:
    traced = Traced()
    wire = Wire(traced.net)
    reject(traced.net)
    call_id = traced.only_call.record.caller_call_id.encode()
    wire.messages.insert(0, Message(traced.net.now, PBX, b"nonsense " + call_id))
    completed(traced, Completion(wire, {GATEWAY}, traced.calls.append))
    assert traced.only_call.messages is not None
    assert len(traced.only_call.messages) == 9


def test_a_call_of_which_nothing_was_kept_has_what_its_record_tells() -> None:
    traced = Traced()
    reject(traced.net)
    wire = Wire(traced.net)
    completed(traced, Completion(wire, {GATEWAY}, traced.calls.append))
    assert (wire.asked, traced.only_call.messages) == (1, None)


def test_what_the_search_may_take_is_bounded_and_no_call_is_lost() -> None:
    traced = Traced()
    wire = Wire(traced.net)
    for _ in range(5):
        reject(traced.net)
    times = iter([0.0, 0.0, BUDGET / 2, BUDGET, BUDGET, BUDGET])
    completed(traced, Completion(wire, {GATEWAY}, traced.calls.append, lambda: next(times)))
    assert [call.messages is not None for call in traced.calls] == [True, True, False, False, False]


def test_at_a_stop_calls_go_on_without_a_search() -> None:
    traced = Traced()
    wire = Wire(traced.net)
    reject(traced.net)
    completion = Completion(wire, {GATEWAY}, traced.calls.append)
    (call,) = traced.calls
    traced.calls.clear()
    completion.take(call)
    assert traced.calls == []
    completion.flush()
    assert (traced.calls, wire.asked) == ([call], 0)
