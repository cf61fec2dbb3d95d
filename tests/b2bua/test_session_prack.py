"""What a refresh repeats where descriptions came with reliable responses and their PRACKs (RFC 3262 5)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.b2bua.sessions import ANSWER, BOTH_OWN, CALLEE_OWN, CALLER_OWN
from tests.b2bua.test_reliable_end_to_end import ANSWER2, INVITED_AS, OFFER2, pick_up, prack, reliable, ring
from tests.b2bua.test_session_timer import refreshed_with
from tests.helpers import SDP, End, Net, pair

SIDES = pytest.mark.parametrize("refreshed", ["caller", "callee"])
BOTH_WAYS = pytest.mark.parametrize("asking", ["caller", "callee"])


def own(refreshed: str) -> str:
    """The configuration with a session timer of ours on this side's leg."""
    return CALLER_OWN if refreshed == "caller" else CALLEE_OWN


def session_is(net: Net, refreshed: str, ends: tuple[End, End], caller: bytes, callee: bytes) -> None:
    """The refresh of one side repeats what that side was sent last."""
    if refreshed == "caller":
        refreshed_with(net, net.pbx, caller, ends)
    else:
        refreshed_with(net, net.carrier, callee, ends)


@SIDES
def test_the_answer_in_a_prack_to_a_late_offer_counts_3262_5(refreshed: str) -> None:
    net = Net(own(refreshed))
    invite, offer = ring(net, body=b"")
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=SDP))
    prack(caller, net, 1, body=ANSWER)
    pick_up(net, invite, offer)
    session_is(net, refreshed, (caller, End.of_callee(net.carrier, offer)), SDP, ANSWER)


@SIDES
def test_an_offer_in_a_prack_and_the_answer_in_its_200_count_3262_5(refreshed: str) -> None:
    net = Net(own(refreshed))
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=ANSWER))
    prack(caller, net, 1, body=OFFER2, answer=ANSWER2)
    pick_up(net, invite, offer)
    session_is(net, refreshed, (caller, End.of_callee(net.carrier, offer)), ANSWER2, OFFER2)


@SIDES
def test_an_offer_in_a_prack_that_is_refused_changes_no_session_3262_5(refreshed: str) -> None:
    net = Net(own(refreshed))
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=ANSWER))
    caller.request("PRACK", headers=f"RAck: 1 {INVITED_AS} INVITE", body=OFFER2, contact=False)
    net.carrier.reply(net.carrier.take_request("PRACK"), 488)
    net.pbx.take(488)
    pick_up(net, invite, offer)
    session_is(net, refreshed, (caller, End.of_callee(net.carrier, offer)), ANSWER, SDP)


@SIDES
def test_a_prack_to_one_fork_changes_no_session_of_another_3261_13_2_2_4(refreshed: str) -> None:
    net = Net(own(refreshed))
    invite, offer = ring(net)
    one = End.of_caller(net.pbx, invite, reliable(net, offer, 1, tag="one", body=b"v=0 one"))
    two = End.of_caller(net.pbx, invite, reliable(net, offer, 9, tag="two", body=b"v=0 two"))
    prack(one, net, 1, body=OFFER2, answer=ANSWER2)
    prack(two, net, 9)
    pick_up(net, invite, offer, tag="two")
    session_is(net, refreshed, (two, End.of_callee(net.carrier, offer, "two")), b"v=0 two", SDP)


@SIDES
def test_a_prack_that_is_answered_after_the_call_counts_all_the_same_3262_3(refreshed: str) -> None:
    net = Net(own(refreshed))
    invite, offer = ring(net)
    caller = End.of_caller(net.pbx, invite, reliable(net, offer, 1, body=ANSWER))
    caller.request("PRACK", headers=f"RAck: 1 {INVITED_AS} INVITE", body=OFFER2, contact=False)
    late = net.carrier.take_request("PRACK")
    pick_up(net, invite, offer)
    net.carrier.reply(late, 200, body=ANSWER2)
    net.pbx.take(200)
    session_is(net, refreshed, (caller, End.of_callee(net.carrier, offer)), ANSWER2, OFFER2)


# -- in a re-INVITE ----------------------------------------------------------------------------------------


def rung(one: End, other: End, body: bytes, described: bytes) -> tuple[Request, Request]:
    """A re-INVITE that gets a reliable response with a description: as it was sent, and as it came."""
    sent = one.request("INVITE", body=body)
    one.peer.take(100)
    got = other.peer.take_request("INVITE")
    other.peer.reply(got, 183, headers="Require: 100rel\nRSeq: 7", body=described)
    assert one.peer.take_response(183).body == described
    return sent, got


def acknowledged(one: End, other: End, sent: Request, body: bytes = b"", answer: bytes = b"") -> None:
    """The PRACK of that response, from end to end."""
    one.request("PRACK", headers=f"RAck: 7 {sent.cseq[0]} INVITE", body=body, contact=False)
    other.peer.reply(other.peer.take_request("PRACK"), 200, body=answer)
    one.peer.take(200)


def ended(one: End, other: End, sent: Request, got: Request, status: int) -> None:
    """The final response of the re-INVITE, without a description."""
    other.peer.reply(got, status)
    one.peer.take(status)
    if status < 300:
        one.ack(sent)
    else:
        one.ack_refusal(sent)
    other.peer.take("ACK")


def sessions(net: Net, one: End, ones: bytes, other: End, others: bytes) -> None:
    """The refresh of each side repeats this description."""
    net.run(900.1)
    for end, body in ((one, ones), (other, others)):
        refresh = end.peer.take_request("INVITE")
        assert refresh.body == body
        end.peer.reply(refresh, 200, body=ANSWER)
        end.peer.take("ACK")


@BOTH_WAYS
def test_the_answer_in_a_reliable_response_to_a_reinvite_counts_3262_5(asking: str) -> None:
    net = Net(BOTH_OWN)
    one, other = pair(net, asking)
    sent, got = rung(one, other, b"v=0 new", b"v=0 new answer")
    acknowledged(one, other, sent)
    ended(one, other, sent, got, 200)
    sessions(net, one, b"v=0 new answer", other, b"v=0 new")


@BOTH_WAYS
def test_the_answer_in_a_prack_to_a_late_offer_of_a_reinvite_counts_3262_5(asking: str) -> None:
    net = Net(BOTH_OWN)
    one, other = pair(net, asking)
    sent, got = rung(one, other, b"", b"v=0 new")
    acknowledged(one, other, sent, b"v=0 new answer")
    ended(one, other, sent, got, 200)
    sessions(net, one, b"v=0 new", other, b"v=0 new answer")


@BOTH_WAYS
def test_a_second_offer_in_a_prack_of_a_reinvite_counts_3262_5(asking: str) -> None:
    net = Net(BOTH_OWN)
    one, other = pair(net, asking)
    sent, got = rung(one, other, b"v=0 new", b"v=0 new answer")
    acknowledged(one, other, sent, OFFER2, ANSWER2)
    ended(one, other, sent, got, 200)
    sessions(net, one, ANSWER2, other, OFFER2)


@BOTH_WAYS
def test_a_reinvite_that_is_refused_after_its_reliable_answer_changes_no_session_3261_14_1(
    asking: str,
) -> None:
    net = Net(BOTH_OWN)
    one, other = pair(net, asking)
    sent, got = rung(one, other, b"v=0 new", b"v=0 new answer")
    acknowledged(one, other, sent)
    ended(one, other, sent, got, 488)
    sessions(net, one, SDP, other, SDP)
