"""Codes that mean something else than what they say, each in captures with the fault put in."""

from __future__ import annotations

import pytest

from gateway.analysis.finding import Sure
from tests.analysis.scene import CARRIER, NUMBER, PBX, PHONE_A, PHONE_B, PHONE_C, PROXY, SDP, Hop, Scene

ANALYTICS = 'Reason: SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN'


def ringing_fork(scene: Scene) -> tuple[Hop, list[Hop]]:
    """A call that rings three phones."""
    up = scene.invite()
    up.says("100 Trying")
    branches = [up.forward(phone) for phone in (PHONE_A, PHONE_B, PHONE_C)]
    for branch in branches:
        branch.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(3)
    return up, branches


def cancelled(*branches: Hop) -> None:
    for branch in branches:
        branch.cancel()
        branch.rejected("487 Request Terminated")


# -- 603 where 486 was meant ---------------------------------------------------------------------------


def test_one_phones_603_stops_the_others_of_a_fork() -> None:
    scene = Scene()
    up, (first, *others) = ringing_fork(scene)
    first.rejected("603 Decline")
    cancelled(*others)
    up.rejected("603 Decline")
    finding = scene.only("603-for-one-device")
    assert (finding.subject, finding.sure, finding.count) == ("198.51.100.11:5060", Sure.LIKELY, 1)
    (example,) = finding.examples
    assert "which stopped 2 other devices that had not answered yet" in example.text
    assert [mark.what for mark in example.evidence][:2] == ["INVITE", "603 Decline"]
    assert example.call_ids == ["call-1@x"]


def test_one_phones_603_ends_a_hunt_group_of_a_b2bua() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    first = up.leg(PHONE_A, called="201")
    first.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(10)
    first.cancel()
    first.rejected("487 Request Terminated")
    second = up.leg(PHONE_B, called="202")
    second.says("180 Ringing")
    scene.wait(2)
    second.rejected("603 Decline")
    up.rejected("603 Decline")
    assert scene.only("603-for-one-device").sure is Sure.POSSIBLE


def test_when_all_phones_decline_603_is_right() -> None:
    scene = Scene()
    up, branches = ringing_fork(scene)
    for branch in branches:
        branch.says("603 Decline")
    for branch in branches:
        branch.ack()
    up.rejected("603 Decline")
    assert scene.found() == set()


@pytest.mark.parametrize("rings", [True, False])
def test_a_phone_that_is_in_a_call_says_603(rings: bool) -> None:
    scene = Scene()
    first = scene.invite(PROXY, PHONE_A, "1002")
    first.says("180 Ringing")
    scene.wait(2)
    first.answered()
    scene.wait(20)
    second = scene.invite(PROXY, PHONE_A, "1002", "1009")
    if rings:
        second.says("180 Ringing")
        scene.wait(2)
    second.rejected("603 Decline")
    scene.wait(20)
    first.hung_up()
    finding = scene.only("603-while-in-a-call")
    assert finding.sure is (Sure.POSSIBLE if rings else Sure.LIKELY)
    assert finding.examples[0].evidence[0].number == 3  # the answer of the first call


def test_a_caller_that_is_in_a_call_says_603_to_another() -> None:
    scene = Scene()
    scene.invite(PHONE_A, PROXY, "1002", "1001").answered()
    scene.wait(5)
    scene.invite(PROXY, PHONE_A, "1001", "1009").rejected("603 Decline")
    assert scene.found() == {"603-while-in-a-call"}


def test_after_the_call_603_is_right() -> None:
    scene = Scene()
    first = scene.invite(PROXY, PHONE_A, "1002")
    first.answered()
    scene.wait(20)
    first.hung_up()
    scene.invite(PROXY, PHONE_A, "1002", "1009").rejected("603 Decline")
    assert scene.found() == set()


def test_do_not_disturb_of_one_phone_stops_the_others() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    quiet, other = (up.forward(phone) for phone in (PHONE_A, PHONE_B))
    other.says("180 Ringing")
    quiet.rejected("603 Decline")
    cancelled(other)
    up.rejected("603 Decline")
    assert scene.only("603-for-device-do-not-disturb").sure is Sure.POSSIBLE


def test_do_not_disturb_in_words() -> None:
    scene = Scene()
    up, (first, *others) = ringing_fork(scene)
    first.rejected("603 Do Not Disturb")
    cancelled(*others)
    up.rejected("603 Do Not Disturb")
    assert scene.only("603-for-device-do-not-disturb").sure is Sure.LIKELY


# -- 486 where 603 was meant ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [("486 Do Not Disturb",), ("486 Busy Here", 'Reason: SIP;cause=486;text="DND"')]
)
def test_486_with_the_words_of_a_person(headers: tuple[str, ...]) -> None:
    scene = Scene()
    scene.invite(PBX, PHONE_A).rejected(*headers)
    finding = scene.only("486-for-everywhere")
    assert "then.status = 603" in finding.rule


def test_486_of_all_phones_after_ringing() -> None:
    scene = Scene()
    up, branches = ringing_fork(scene)
    for branch in branches:
        branch.rejected("486 Busy Here")
    up.rejected("486 Busy Here")
    assert "all-declined" in scene.only("486-for-everywhere").rule


def test_486_again_and_again_after_ringing() -> None:
    scene = Scene()
    for _ in range(3):
        call = scene.invite()
        call.says("180 Ringing")
        scene.wait(2)
        call.rejected("486 Busy Here")
        scene.wait(10)
    assert scene.found() == {"486-for-everywhere"}


# -- dead numbers and blocked callers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (("603 Decline", "Reason: Q.850;cause=1"), 404),
        (("603 Unallocated number",), 404),
        (("603 Decline", 'Reason: SIP;cause=603;text="number not in service"'), 404),
        (("603 Decline", "Reason: Q.850;cause=22"), 410),
        (("603 Number has been changed",), 410),
    ],
)
def test_603_for_a_dead_number(said: tuple[str, ...], status: int) -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    down = up.leg(CARRIER)
    down.rejected(*said)
    up.rejected(*said)
    finding = scene.only("603-for-dead-number")
    assert (finding.subject, finding.count) == ("203.0.113.3:5060", 1)  # once, where it comes from
    assert f"then.status = {status}" in finding.rule


@pytest.mark.parametrize(
    "said", [("603 Call blocked",), ("603 Decline", 'Reason: SIP;cause=603;text="spam"')]
)
def test_603_for_a_blocked_caller(said: tuple[str, ...]) -> None:
    scene = Scene()
    scene.invite(PBX, CARRIER).rejected(*said)
    finding = scene.only("603-for-blocked-caller")
    assert finding.rule == ""
    assert "must not become 404" in finding.kind.meaning


# -- 607 and 603+ ---------------------------------------------------------------------------------------


def test_607_leaves_a_proxy_as_600() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    up.forward(CARRIER).rejected("607 Unwanted")
    up.rejected("600 Busy Everywhere")
    finding = scene.only("607-taken-for-600")
    assert (finding.subject, finding.sure) == ("198.51.100.2:5060", Sure.CERTAIN)


def test_607_leaves_a_b2bua_as_600() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    up.leg(CARRIER, "X-CID: call-1@x").rejected("607 Unwanted")
    up.rejected("600 Busy Everywhere")
    assert scene.found() == {"607-taken-for-600"}


def test_a_caller_takes_607_for_busy_and_calls_again() -> None:
    scene = Scene()
    scene.invite().rejected("607 Unwanted")
    scene.wait(5)
    scene.invite().rejected("607 Unwanted")
    assert scene.only("607-taken-for-600").subject == "198.51.100.1:5060"


@pytest.mark.parametrize(
    ("passed_on", "change"),
    [
        (("603 Decline", ANALYTICS), "another phrase"),
        (("603 Network Blocked",), "no Reason"),
        (("486 Busy Here", "Reason: Q.850;cause=17"), "status 486 and another phrase and another Reason"),
    ],
)
def test_a_603_plus_is_altered_on_the_way(passed_on: tuple[str, ...], change: str) -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    up.leg(CARRIER).rejected("603 Network Blocked", ANALYTICS)
    up.rejected(*passed_on)
    names = scene.found()
    assert "603-plus-altered" in names
    (finding,) = (each for each in scene.findings() if each.kind.name == "603-plus-altered")
    assert finding.examples[0].text.endswith(f"with {change}")
    assert finding.subject == "198.51.100.2:5060"


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        (("603 Network Blocked",), "no Reason has a text that begins v=analytics1"),
        (("603 Decline", ANALYTICS), "the phrase is not Network Blocked"),
        (("603 Network Blocked", 'Reason: SIP;cause=603;text="v=analytics1;";location=LN'), "no url"),
    ],
)
def test_a_603_plus_that_is_none(said: tuple[str, ...], lacks: str) -> None:
    scene = Scene()
    scene.invite(PBX, CARRIER).rejected(*said)
    assert lacks in scene.only("603-plus-near-miss").examples[0].text


# -- causes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "cause", "then"),
    [("486 Busy Here", 1, 404), ("403 Forbidden", 17, 486), ("486 Busy Here", 21, 486)],
)
def test_a_cause_that_contradicts_the_status(status: str, cause: int, then: int) -> None:
    scene = Scene()
    scene.invite(PBX, CARRIER).rejected(status, f"Reason: Q.850;cause={cause}")
    finding = scene.only("q850-contradicts-status")
    assert f"then.status = {then}" in finding.rule
    assert f"Q.850;cause={cause}" in finding.examples[0].evidence[-1].text


@pytest.mark.parametrize(
    ("status", "cause"),
    [(486, 17), (600, 17), (603, 21), (404, 3), (480, 18), (480, 31), (408, 19), (503, 34), (500, 41),
     (488, 65), (486, 16), (604, 1), (607, 21)],
)  # fmt: skip
def test_a_cause_that_agrees_with_the_status(status: int, cause: int) -> None:
    scene = Scene()
    scene.invite(PBX, CARRIER).rejected(f"{status} Anything", f"Reason: Q.850;cause={cause}")
    assert scene.found() == set()


# -- early media -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["404 Not Found", "503 Service Unavailable", "480 Temporarily Unavailable"])
def test_an_announcement_before_the_rejection(line: str) -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("100 Trying")
    call.says("183 Session Progress", body=SDP)
    scene.wait(8)
    call.rejected(line)
    assert scene.only("early-media-rejection").sure is Sure.POSSIBLE


def test_a_caller_gives_up_on_an_announcement_whose_183_says_why() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("183 Session Progress", "Reason: Q.850;cause=1", body=SDP)
    scene.wait(8)
    cancelled(call)
    finding = scene.only("early-media-rejection")
    assert finding.sure is Sure.LIKELY
    assert "waited until the caller gave up, with Q.850 cause 1" in finding.examples[0].text


def test_a_caller_who_gives_up_on_early_media_may_have_heard_it_ring() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("183 Session Progress", body=SDP)
    scene.wait(8)
    cancelled(call)
    assert scene.found() == set()


def test_nobody_answers_after_ringing_tone_in_early_media() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("183 Session Progress", body=SDP)
    scene.wait(25)
    call.rejected("480 Temporarily Unavailable", "Reason: Q.850;cause=19")
    assert scene.found() == set()


def test_ringing_tone_in_early_media_is_no_announcement() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("183 Session Progress", body=SDP)
    call.says("180 Ringing")
    scene.wait(8)
    call.rejected("480 Temporarily Unavailable")
    assert scene.found() == set()


# -- retries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["404 Not Found", "603 Decline"])
def test_a_retry_storm(line: str) -> None:
    scene = Scene()
    for _ in range(6):
        scene.invite(PBX, CARRIER).rejected(line)
        scene.wait(2)
    finding = scene.only("retry-storm")
    assert finding.subject == f"198.51.100.1:5060 to {NUMBER}"
    assert finding.count == 3  # the fourth, fifth and sixth call
    assert "4 times within 6.0 s" in finding.examples[0].text


def test_calls_minutes_apart_are_no_storm() -> None:
    scene = Scene()
    for _ in range(6):
        scene.invite(PBX, CARRIER).rejected("404 Not Found")
        scene.wait(100)
    assert scene.found() == set()
