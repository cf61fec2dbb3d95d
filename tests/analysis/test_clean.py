"""Calls in which nothing is wrong give no finding, whatever way they take."""

from __future__ import annotations

import pytest

from tests.analysis.scene import CARRIER, PBX, PHONE_A, PHONE_B, PHONE_C, PROXY, SDP, Scene

LOCAL_A, LOCAL_B, LOCAL_C = ("127.0.0.1", 5060), ("127.0.0.1", 5070), ("127.0.0.1", 5080)


def test_an_answered_call_through_a_proxy() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    down = up.forward(CARRIER)
    down.says("100 Trying")
    down.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(5)
    down.says("200 OK", body=SDP)
    up.says("200 OK", body=SDP)
    up.tag = down.tag
    up.ack_answer()
    down.ack_answer()
    scene.wait(300)
    up.hung_up()
    assert scene.found() == set()


@pytest.mark.parametrize("headers", [("X-CID: call-1@x",), ("Session-ID: {0};remote={1}",), ()])
@pytest.mark.parametrize("line", ["486 Busy Here", "404 Not Found", "603 Decline", "503 Service Unavailable"])
def test_a_rejection_through_a_b2bua(headers: tuple[str, ...], line: str) -> None:
    scene = Scene()
    session = [header.format("a" * 32, "0" * 32) for header in headers]
    up = scene.invite(PBX, PROXY, "+12155551212", "1001", *session)
    up.says("100 Trying")
    down = up.leg(CARRIER, *session)
    down.says("100 Trying")
    down.rejected(line)
    up.rejected(line)
    assert scene.found() == set()


def test_a_cancelled_call_and_its_487() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    branches = [up.forward(phone) for phone in (PHONE_A, PHONE_B)]
    for branch in branches:
        branch.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(4)
    up.cancel()
    up.says("200 OK", method="CANCEL")
    for branch in branches:
        branch.cancel()
        branch.says("200 OK", method="CANCEL")
        branch.rejected("487 Request Terminated")
    up.rejected("487 Request Terminated")
    assert scene.found() == set()


def test_a_fork_of_which_one_answers_and_one_is_busy() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    answering, busy, ringing = (up.forward(phone) for phone in (PHONE_A, PHONE_B, PHONE_C))
    busy.rejected("486 Busy Here")
    answering.says("180 Ringing")
    ringing.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(2)
    answering.says("200 OK", body=SDP)
    up.says("200 OK", body=SDP)
    ringing.cancel()
    ringing.says("200 OK", method="CANCEL")
    ringing.rejected("487 Request Terminated")
    answering.ack_answer()
    up.tag = answering.tag
    up.ack_answer()
    assert scene.found() == set()


def test_carriers_tried_one_after_the_other_until_a_person_declines() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    first = up.leg(("203.0.113.9", 5060))
    first.rejected("503 Service Unavailable")
    second = up.leg(CARRIER)
    second.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(6)
    second.rejected("603 Decline", "Reason: Q.850;cause=21")
    up.rejected("603 Decline", "Reason: Q.850;cause=21")
    assert scene.found() == set()


def test_a_challenge_and_its_answer() -> None:
    scene = Scene()
    call = scene.invite()
    call.rejected("407 Proxy Authentication Required")
    call.cseq = 2
    call.vias = ()
    call.sent()
    call.says("100 Trying")
    scene.wait(1)
    call.answered()
    call.hung_up()
    assert scene.found() == set()


def test_one_lost_packet_of_each_kind_is_no_fault() -> None:
    scene = Scene()
    call = scene.invite()
    scene.wait(0.3)
    call.says("100 Trying")
    call.says("180 Ringing")
    call.says("200 OK")
    scene.wait(0.5)
    call.says("200 OK")
    call.ack_answer()
    scene.wait(30)
    via = call.inside("BYE")
    scene.wait(0.5)
    call.inside("BYE", branch=via)
    call.says("200 OK", method="BYE", via=via)
    assert scene.found() == set()


def test_a_whole_603_plus_passed_on_as_it_came() -> None:
    reason = 'Reason: SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN'
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    down = up.leg(CARRIER)
    down.rejected("603 Network Blocked", reason)
    up.rejected("603 Network Blocked", reason)
    assert scene.found() == set()


def test_hosts_that_share_an_address_are_told_apart_by_their_ports() -> None:
    scene = Scene()
    up = scene.invite(LOCAL_A, LOCAL_B)
    up.says("100 Trying")
    down = up.leg(LOCAL_C)
    down.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(3)
    down.rejected("480 Temporarily Unavailable", "Reason: Q.850;cause=19")
    up.rejected("480 Temporarily Unavailable", "Reason: Q.850;cause=19")
    assert scene.found() == set()


def test_many_calls_at_once_from_one_caller() -> None:
    scene = Scene()
    calls = [scene.invite(called=f"+1215555{number:04}") for number in range(20)]
    for call in calls:
        call.says("100 Trying")
    for call in calls:
        call.rejected("486 Busy Here")
    assert scene.found() == set()
