"""Which messages make one call, and that memory stays bounded whatever the messages are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.analysis import tracker
from gateway.analysis.model import MOST_HOPS, Call
from gateway.analysis.report import Report
from gateway.analysis.tracker import Tracker
from gateway.captures.pcap import Datagram
from tests.analysis.scene import CARRIER, PBX, PHONE_A, PHONE_B, PROXY, Scene


def calls_of(scene: Scene) -> list[list[list[str]]]:
    """The calls in the order in which they are judged: their legs, and how each leg's hops were joined."""
    found: list[list[list[str]]] = []

    def judge(call: Call) -> None:
        found.append([[hop.joined_by for hop in leg.hops] for leg in call.legs])

    reader = Tracker(judge)
    for packet in scene.messages():
        reader.feed(packet)
    reader.finish()
    return found


def test_a_proxys_branches_are_joined_by_their_vias() -> None:
    scene = Scene()
    up = scene.invite()
    for phone in (PHONE_A, PHONE_B):
        up.forward(phone)
    assert calls_of(scene) == [[["", "Via", "Via"]]]


@pytest.mark.parametrize(
    ("up_headers", "down_headers", "by"),
    [
        ((), ("X-CID: call-1@x",), "X-CID"),
        ((f"Session-ID: {'a' * 32}",), (f"Session-ID: {'a' * 32};remote={'0' * 32}",), "Session-ID"),
        ((f"Session-ID: {'0' * 32}",), (f"Session-ID: {'0' * 32}",), "numbers"),
        ((), (), "numbers"),
    ],
)
def test_a_b2buas_legs_are_joined(
    up_headers: tuple[str, ...], down_headers: tuple[str, ...], by: str
) -> None:
    scene = Scene()
    up = scene.invite(PBX, PROXY, "+12155551212", "1001", *up_headers)
    up.leg(CARRIER, *down_headers)
    assert calls_of(scene) == [[[""], [by]]]


def test_a_leg_that_names_one_that_comes_later_waits_for_it() -> None:
    scene = Scene()
    up = scene.invite()
    up.leg(CARRIER, "X-CID: call-1@x")
    first, second = scene.packets
    scene.packets = [second._replace(at=first.at), first._replace(at=second.at)]
    assert calls_of(scene) == [[[""], ["X-CID"]]]


def test_a_number_in_another_form_is_the_same_number() -> None:
    scene = Scene()
    scene.invite(called="2155550001")
    up = scene.invite(called="2155551212")
    up.leg(CARRIER, called="+12155551212")
    assert sorted(calls_of(scene)) == [[[""]], [[""], ["numbers"]]]


def test_a_leg_that_would_fit_two_calls_joins_neither() -> None:
    scene = Scene()
    for called in ("300", "301"):
        scene.invite(called=called)
    scene.invite(PROXY, CARRIER, "302")
    assert calls_of(scene) == [[[""]]] * 3


def test_a_call_after_the_other_one_is_over_is_its_own() -> None:
    scene = Scene()
    up = scene.invite()
    up.rejected("486 Busy Here")
    up.leg(CARRIER)
    assert calls_of(scene) == [[[""]]] * 2


def test_a_call_is_judged_when_it_is_over_and_not_before() -> None:
    scene = Scene()
    lasting = scene.invite(PBX, CARRIER, "200")
    lasting.answered()
    for number in range(10):
        scene.wait(30)
        scene.invite(PBX, CARRIER, f"30{number}", f"9{number}").rejected("486 Busy Here")
    lasting.hung_up()
    order: list[str] = []
    reader = Tracker(lambda call: order.append(call.hops[0].called))
    for packet in scene.packets:
        reader.feed(packet)
    assert order == [f"30{number}" for number in range(8)]  # of the last two, more may come
    reader.finish()
    assert sorted(order[8:]) == ["200", "308", "309"]


@pytest.mark.parametrize(("name", "bound"), [("_MOST_LEGS", 20), ("_MOST_BYTES", 40_000)])
def test_too_many_calls_are_judged_early(monkeypatch: pytest.MonkeyPatch, name: str, bound: int) -> None:
    monkeypatch.setattr(tracker, name, bound)
    scene = Scene()
    for number in range(200):
        scene.invite(PBX, CARRIER, f"{number}", f"9{number}").says("180 Ringing")
    judged: list[Call] = []
    reader = Tracker(judged.append)
    for packet in scene.packets:
        reader.feed(packet)
    assert len(judged) >= 150
    assert len(reader._legs) <= 50
    reader.finish()
    assert len(judged) == 200
    assert not reader._legs
    assert not reader._copies


def test_nothing_is_left_of_calls_that_were_judged() -> None:
    scene = Scene()
    for number in range(50):
        up = scene.invite(PBX, PROXY, f"{number}", f"9{number}", f"Session-ID: {number:032}")
        up.leg(CARRIER, f"X-CID: {up.call_id}").rejected("404 Not Found")
        up.leg(PHONE_A, "X-CID: unknown").rejected("486 Busy Here")
        up.rejected("486 Busy Here")
    reader = Tracker(lambda call: None)
    for packet in scene.messages():
        reader.feed(packet)
    reader.finish()
    assert not reader._legs
    assert not reader._copies
    assert (reader._size, reader._live, reader._ringing, reader._up) == (0, {}, {}, {})
    joiner = reader._joiner
    assert (joiner._waiting, joiner._by_session, joiner._by_caller) == ({}, {}, {})


@pytest.mark.parametrize("named", ["call-1@x", "unknown"])
def test_a_call_does_not_grow_without_end(named: str) -> None:
    scene = Scene()
    up = scene.invite()
    for number in range(300):
        scene.invite(PROXY, CARRIER, f"{number}", f"9{number}", f"X-CID: {named}")
        up.forward(PHONE_A)
    judged: list[int] = []
    reader = Tracker(lambda call: judged.append(len(call.hops)))
    for packet in scene.packets:
        reader.feed(packet)
    reader.finish()
    assert max(judged) == MOST_HOPS


LINES = [
    "603 Decline",
    "100 Trying",
    "487 Request Terminated",
    "200 OK",
    "607 Unwanted",
    "603 Network Blocked",
]


@settings(max_examples=150, deadline=None)
@given(st.integers(), st.data())
def test_whatever_comes_is_judged_without_an_error(seed: int, data: st.DataObject) -> None:
    pick = random.Random(seed)
    scene = Scene()
    hops = [scene.invite(PBX, PROXY, "1", "2")]
    for _ in range(data.draw(st.integers(1, 60))):
        hop = pick.choice(hops)
        scene.wait(pick.choice((0, 0.5, 3, 50)))
        match pick.randrange(8):
            case 0:
                hops.append(hop.forward(pick.choice((CARRIER, PHONE_A, PROXY))))
            case 1:
                hops.append(
                    hop.leg(pick.choice((CARRIER, PHONE_A, PBX)), f"X-CID: {pick.choice(hops).call_id}")
                )
            case 2:
                hop.cancel()
            case 3:
                hop.ack()
            case 4:
                hop.inside(pick.choice(("BYE", "UPDATE", "INVITE")), back=pick.random() < 0.5)
            case 5:
                hop.again()
            case _:
                hop.says(pick.choice(LINES), pick.choice(("Reason: Q.850;cause=1", "Expires: x")))
    packets = [pick.choice((each, each._replace(payload=_broken(each, pick)))) for each in scene.messages()]
    pick.shuffle(packets)
    Report().read(packets)
    Report().read(sorted(packets, key=lambda each: each.at))


def _broken(packet: Datagram, pick: random.Random) -> bytes:
    data = bytearray(packet.payload)
    for _ in range(pick.randrange(1, 8)):
        data[pick.randrange(len(data))] = pick.choice(b'\r\n\x00:;,<>"=z9 \xff')
    return bytes(data)
