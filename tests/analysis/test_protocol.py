"""Hosts that break the protocol, each in captures with the fault put in."""

from __future__ import annotations

import pytest

from gateway.analysis.finding import Sure
from tests.analysis.scene import CARRIER, PBX, PHONE_A, PHONE_B, PROXY, SDP, Scene
from tests.analysis.test_rejections import cancelled, ringing_fork


@pytest.mark.parametrize("line", ["603 Decline", "600 Busy Everywhere"])
def test_a_proxy_forks_on_after_6xx(line: str) -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    up.forward(PHONE_A).rejected(line)
    second = up.forward(PHONE_B)
    second.rejected("480 Temporarily Unavailable")
    up.rejected(line)
    (finding,) = (each for each in scene.findings() if each.kind.name == "forking-after-6xx")
    assert (finding.subject, finding.sure) == ("198.51.100.2:5060", Sure.CERTAIN)


def test_a_b2bua_hunts_on_after_603() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    up.leg(CARRIER).rejected("604 Does Not Exist Anywhere")
    up.leg(("203.0.113.9", 5060)).rejected("404 Not Found")
    up.rejected("404 Not Found")
    assert scene.only("forking-after-6xx").sure is Sure.LIKELY


def test_a_branch_rings_on_after_an_answer() -> None:
    scene = Scene()
    up, (answering, ringing, left) = ringing_fork(scene)
    answering.says("200 OK", body=SDP)
    up.says("200 OK", body=SDP)
    cancelled(left)
    answering.ack_answer()
    up.tag = answering.tag
    up.ack_answer()
    scene.wait(20)
    ringing.rejected("480 Temporarily Unavailable")
    finding = scene.only("branch-not-cancelled")
    assert finding.examples[0].text == (
        "198.51.100.2:5060 sent no CANCEL to 198.51.100.12:5060 (+12155551212) after another branch said 200"
    )


def test_a_branch_rings_on_after_6xx() -> None:
    scene = Scene()
    up, (declining, ringing, left) = ringing_fork(scene)
    declining.rejected("600 Busy Everywhere")
    up.rejected("600 Busy Everywhere")
    cancelled(left)
    scene.wait(20)
    ringing.rejected("480 Temporarily Unavailable")
    assert scene.found() == {"branch-not-cancelled"}


def test_a_cancel_is_not_passed_on() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    down = up.leg(CARRIER)
    down.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(3)
    up.cancel()
    up.rejected("487 Request Terminated")
    scene.wait(20)
    down.rejected("480 Temporarily Unavailable")
    assert "the caller cancelled" in scene.only("branch-not-cancelled").examples[0].text


def test_a_capture_that_ends_too_early_says_nothing_of_cancels() -> None:
    scene = Scene()
    _, (answering, *_) = ringing_fork(scene)
    answering.says("200 OK", body=SDP)
    scene.messages = lambda: scene.packets  # type: ignore[method-assign]
    assert scene.found() == set()


def test_487_that_nobody_asked_for() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("180 Ringing")
    scene.wait(20)
    call.rejected("487 Request Terminated")
    assert scene.only("487-without-cancel").sure is Sure.LIKELY


def test_487_of_a_branch_that_a_host_cancelled_itself() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    down = up.leg(PHONE_A)
    down.says("180 Ringing")
    up.says("180 Ringing")
    scene.wait(20)
    cancelled(down)
    up.rejected("487 Request Terminated")
    finding = scene.only("487-without-cancel")
    assert (finding.subject, finding.sure) == ("198.51.100.2:5060", Sure.CERTAIN)


def test_487_after_a_bye_or_when_the_invite_expires_is_right() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("180 Ringing")
    via = call.inside("BYE")
    call.says("200 OK", method="BYE", via=via)
    call.cseq = 1
    call.rejected("487 Request Terminated")
    expiring = scene.invite(PBX, CARRIER, "+12155550000", "1001", "Expires: 20")
    expiring.says("180 Ringing")
    scene.wait(20)
    expiring.rejected("487 Request Terminated")
    assert scene.found() == set()


@pytest.mark.parametrize("line", ["200 OK", "486 Busy Here"])
def test_a_final_that_nobody_acknowledges(line: str) -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("180 Ringing")
    for wait in (0, 0.5, 1, 2, 4):
        scene.wait(wait)
        call.says(line)
    finding = scene.only("final-not-acknowledged")
    assert finding.subject == "198.51.100.1:5060"
    assert f"said {line[:3]} 5 times within 7.5 s" in finding.examples[0].text


def test_a_slow_100() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    scene.wait(0.5)
    call.again()
    scene.wait(0.4)
    call.says("100 Trying")
    call.rejected("486 Busy Here")
    finding = scene.only("slow-or-missing-100")
    assert finding.examples[0].text == "203.0.113.3:5060 took 910 ms for its first response"


def test_no_100_at_all() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    scene.wait(3)
    call.says("180 Ringing")
    call.rejected("486 Busy Here")
    assert "a 180 without any 100" in scene.only("slow-or-missing-100").examples[0].text


def test_a_host_that_says_nothing() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    for wait in (0.5, 1, 2):
        scene.wait(wait)
        call.again()
    assert "nothing at all to an INVITE sent 4 times" in scene.only("slow-or-missing-100").examples[0].text


def test_a_bye_that_is_never_answered() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.answered()
    scene.wait(10)
    via = call.inside("BYE")
    for wait in (0.5, 1, 2):
        scene.wait(wait)
        call.inside("BYE", branch=via)
    finding = scene.only("one-way-dialog")
    assert (finding.subject, finding.sure) == ("203.0.113.3:5060", Sure.LIKELY)
    assert "BYE from 198.51.100.1:5060 to 203.0.113.3:5060 was sent 4 times" in finding.examples[0].text


def test_a_contact_behind_a_nat_is_named_as_the_reason() -> None:
    public, private = ("93.184.216.34", 5060), ("10.0.0.7", 5060)
    scene = Scene()
    call = scene.invite(PBX, public)
    call.says("200 OK", "Contact: <sip:x@10.0.0.7:5060>", body=SDP)
    call.destination = private  # from here on requests go to the Contact
    call.ack_answer()
    via = call.inside("BYE")
    for wait in (0.5, 1, 2):
        scene.wait(wait)
        call.inside("BYE", branch=via)
    text = scene.only("one-way-dialog").examples[0].text
    assert text.endswith("(the other side is at 93.184.216.34, and its Contact says 10.0.0.7)")


def test_a_dialog_that_the_other_side_has_lost() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.answered()
    scene.wait(900)
    call.says("481 Call/Transaction Does Not Exist", method="UPDATE", via=call.inside("UPDATE"))
    assert "no longer has the call" in scene.only("one-way-dialog").examples[0].text


def test_only_what_the_caller_sends_is_captured() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    scene.wait(3)
    call.ack()
    assert scene.only("one-direction-captured").subject == "from 203.0.113.3:5060"


def test_only_what_the_callee_sends_is_captured() -> None:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    scene.packets.clear()
    scene.send(PROXY, CARRIER, "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCSeq: 1 OPTIONS\r\n"
               "From: <sip:x>;tag=1\r\nTo: <sip:x>\r\nCall-ID: o\r\n\r\n")  # fmt: skip
    scene.wait(5)
    call.says("100 Trying")
    call.says("180 Ringing")
    call.says("486 Busy Here")
    assert scene.only("one-direction-captured").subject == "from 198.51.100.1:5060"


def at_both_ends(scene: Scene, skew: float, delay: float) -> None:
    """The same packets, caught at the other end of the way, too, by another clock."""
    copies = []
    for packet in scene.packets:
        is_there = packet.source == PBX
        at = packet.at + skew + (delay if is_there else -delay)
        copies.append(packet._replace(at=at, point=1))
    scene.packets += copies


@pytest.mark.parametrize("skew", [3.0, -0.2, 4000.0])
def test_clocks_that_disagree(skew: float) -> None:
    scene = Scene(step=0.05)
    call = scene.invite(PBX, CARRIER)
    call.says("100 Trying")
    call.says("180 Ringing")
    scene.wait(2)
    call.rejected("486 Busy Here")
    at_both_ends(scene, skew, 0.02)
    finding = scene.only("clock-skew")
    assert finding.subject == "file 1 interface 1 and file 1 interface 2"
    ahead = "file 1 interface 2" if skew > 0 else "file 1 interface 1"
    assert finding.examples[0].text.startswith(f"the clock of {ahead} is")
    assert finding.sure is (Sure.CERTAIN if skew < 60 else Sure.LIKELY)
    assert {3.0: "3.0 s", -0.2: "200 ms", 4000.0: "4000 s"}[skew] in finding.examples[0].text


def test_two_captures_whose_clocks_agree_are_one_call() -> None:
    scene = Scene(step=0.05)
    call = scene.invite(PBX, CARRIER)
    call.says("100 Trying")
    call.rejected("486 Busy Here")
    at_both_ends(scene, 0.001, 0.02)
    assert scene.found() == set()


def test_a_leg_that_begins_before_the_one_it_comes_from() -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    down = up.leg(CARRIER, "X-CID: call-1@x")
    down.rejected("486 Busy Here")
    up.rejected("486 Busy Here")
    scene.packets = [
        each._replace(at=each.at - 2, point=1) if CARRIER in (each.source, each.destination) else each
        for each in scene.packets
    ]
    finding = scene.only("clock-skew")
    assert "passed on 2.0 s before it came" in finding.examples[0].text
