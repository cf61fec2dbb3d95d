"""Which messages a capture takes, and what happens when they come too fast."""

from __future__ import annotations

import trio

from gateway.sip.flow import Flow
from gateway.tap.live import Capture, Choice
from gateway.tap.tap import Batch
from gateway.wire import WireMessage
from tests.tap.words import CALL, CARRIER, INVITE, PBX, give, received, sent, sip

OTHER = [
    received(20.0, sip("INVITE sip:+4930999@gw SIP/2.0", "c@pbx")),
    sent(20.1, sip("INVITE sip:+4930999@gw SIP/2.0", "d@gw", "X-CID: c@pbx")),
]


def trunk_of(flow: Flow) -> str:
    return {PBX.peer: "pbx", CARRIER.peer: "carrier"}[flow.peer]


def captured(batches: list[Batch], *, trunk: str = "", number: str = "") -> list[WireMessage]:
    async def main() -> list[WireMessage]:
        capture = Capture(Choice(trunk, number, trunk_of))
        give(capture, batches)
        return [message for _ in batches for message in await capture.next()]

    return trio.run(main)


def test_without_a_choice_everything_is_taken() -> None:
    assert len(captured([*CALL, *OTHER])) == 7


def test_a_trunk_means_what_is_exchanged_with_it() -> None:
    messages = captured([*CALL, *OTHER], trunk="carrier")
    assert {each.source for each in messages} | {each.destination for each in messages} == {
        ("127.0.0.1", 5060), ("127.0.0.1", 5080),
    }  # fmt: skip
    assert len(messages) == 4


def test_a_number_means_every_message_on_both_legs_of_its_calls() -> None:
    messages = captured([*OTHER, *CALL], number="5550123")
    assert [each.at for each in messages] == [10.0, 10.001, 10.5, 10.501, 10.501]


def test_a_leg_is_joined_even_where_the_number_is_written_otherwise() -> None:
    national = sent(10.1, sip("INVITE sip:2025550123@gw SIP/2.0", "b@gw", "X-CID: a@pbx"))
    assert len(captured([CALL[0], national, CALL[2]], number="+12025550123")) == 3


def test_the_caller_counts_too() -> None:
    assert len(captured([*CALL, *OTHER], number="1001")) == 7
    hidden = sip(INVITE, "e", "P-Asserted-Identity: <tel:+4930555>", caller="sip:anonymous@anonymous.invalid")
    assert len(captured([received(1.0, hidden)], number="30555")) == 1
    assert len(captured([*OTHER, *CALL], number="+1 (202) 555-0123")) == 5


def test_digits_elsewhere_do_not_count() -> None:
    assert captured([received(1.0, sip(INVITE, "e", "X-Account: 777"))], number="777") == []
    assert captured([received(1.0, b"\x00777\xff")], number="777") == []
    assert captured([received(1.0, sip("INVITE sip:7771@gw SIP/2.0", "e"))], number="777") == []


def test_trunk_and_number_must_both_hold() -> None:
    messages = captured([*CALL, *OTHER], trunk="pbx", number="5550123")
    assert [each.at for each in messages] == [10.0, 10.501]


def test_credentials_are_blanked() -> None:
    (message,) = captured([received(1.0, sip(INVITE, "a", "Authorization: Digest response=5ccc"))])
    assert b"5ccc" not in message.payload


def test_what_comes_faster_than_it_is_taken_is_dropped_and_counted() -> None:
    capture = Capture(Choice("", "", trunk_of))
    for _ in range(30):
        capture.take((1.0, False, [(b"x", PBX)] * 1_000))
    assert capture.dropped == 10_000
