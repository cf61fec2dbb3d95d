"""Session timers (RFC 4028): passed from end to end, or agreed on by the gateway with one trunk."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.b2bua.sessions import (
    ANSWER,
    BOTH_OWN,
    CALLEE_OWN,
    CALLER_OWN,
    TIMER,
    UPDATES,
    call,
    timer_headers,
    with_pbx,
)
from tests.helpers import SDP, End, Net, begin, hang_up, text
from tests.peer import Peer

# -- passed from end to end --------------------------------------------------------------------------------


def test_timers_are_agreed_on_and_refreshed_from_end_to_end_4028_7() -> None:
    net = Net()
    asked = "Supported: timer\nSession-Expires: 90;refresher=uas\nMin-SE: 90"
    given = "Require: timer\nSession-Expires: 90;refresher=uas"
    caller, callee, got, response = call(net, asked, given)
    assert timer_headers(got) == {
        b"Session-Expires": "90;refresher=uas", b"Min-SE": "90", b"Supported": "timer",
    }  # fmt: skip
    assert timer_headers(response) == {b"Session-Expires": "90;refresher=uas", b"Require": "timer"}
    for _ in range(4):
        net.run(45)
        callee.request("UPDATE", headers="Supported: timer\nSession-Expires: 90;refresher=uac")
        update = net.pbx.take_request("UPDATE")
        assert text(update, b"Session-Expires") == "90;refresher=uac"
        net.pbx.reply(update, 200, headers="Require: timer\nSession-Expires: 90;refresher=uac")
        assert text(net.carrier.take_response(200), b"Session-Expires") == "90;refresher=uac"
    net.run(600)  # nobody refreshes, and the gateway leaves it to them to end the call
    net.pbx.nothing()
    net.carrier.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_demand_for_a_longer_session_passes_to_the_caller_4028_6() -> None:
    net = Net()
    invite = net.pbx.invite(headers="Supported: timer\nSession-Expires: 90")
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 422, headers="Min-SE: 600")
    net.carrier.take("ACK")
    response = net.pbx.take_response(422)
    assert text(response, b"Min-SE") == "600"
    net.pbx.ack(invite, response)
    net.assert_all_freed()


def test_a_demand_for_timers_passes_4028_7_1() -> None:
    net = Net()
    invite = net.pbx.invite(headers="Require: timer\nSession-Expires: 90")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert text(offer, b"Require") == "timer"
    net.carrier.reply(offer, 420, headers="Unsupported: timer")
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(420))
    net.assert_all_freed()


# -- agreed on with the callee -----------------------------------------------------------------------------


def test_the_callee_is_asked_for_a_timer_and_the_caller_hears_nothing_of_it_4028_7_1() -> None:
    net = Net(CALLEE_OWN)
    asked = "Supported: replaces, timer\nSession-Expires: 90;refresher=uac\nMin-SE: 100"
    given = f"Require: timer\nSession-Expires: 1200;refresher=uac\n{UPDATES}"
    caller, callee, got, response = call(net, asked, given)
    assert timer_headers(got) == {
        b"Session-Expires": "1800;refresher=uac", b"Supported": "replaces, timer",
    }  # fmt: skip
    assert timer_headers(response) == {}
    for _ in range(3):
        net.run(599)
        net.carrier.nothing()
        net.run(1.1)
        update = net.carrier.take_request("UPDATE")
        assert timer_headers(update) == {
            b"Session-Expires": "1200;refresher=uac", b"Supported": "timer",
        }  # fmt: skip
        assert (update.body, update.call_id.decode()) == (b"", callee.call_id)
        net.carrier.reply(update, 200, headers=given)
    net.pbx.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_callee_without_timers_is_refreshed_all_the_same_4028_7_2() -> None:
    """Without UPDATE by a re-INVITE, with what it was sent last."""
    net = Net(CALLEE_OWN)
    caller, callee, *_ = call(net)
    net.run(900.1)
    again = net.carrier.take_request("INVITE")
    assert (again.body, text(again, b"Content-Type"), again.cseq[0]) == (SDP, "application/sdp", 2)
    assert text(again, b"Session-Expires") == "1800;refresher=uac"
    net.carrier.reply(again, 100)
    net.carrier.reply(again, 200, body=ANSWER)
    first = net.carrier.take_request("ACK")
    assert (first.cseq[0], first.body) == (2, b"")
    net.carrier.reply(again, 200, body=ANSWER)
    assert net.carrier.take_request("ACK").rows == first.rows
    net.pbx.nothing()
    net.run(899)
    net.carrier.nothing()
    net.run(1.1)
    net.carrier.reply(net.carrier.take_request("INVITE"), 200, body=ANSWER)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_the_description_that_is_repeated_is_the_last_one_sent_on_that_leg() -> None:
    net = Net(BOTH_OWN)
    caller, callee, *_ = call(net, answer_body=b"v=0 carrier 1")
    for one, other in ((caller, callee), (callee, caller)):
        sent = one.request("INVITE", body=b"v=0 %b 2" % one.peer.user.encode())
        one.peer.take(100)
        got = other.peer.take_request("INVITE")
        other.peer.reply(got, 200, body=b"v=0 %b 3" % other.peer.user.encode())
        one.peer.take(200)
        one.ack(sent)
        other.peer.take("ACK")
    net.run(900.1)
    for peer, last in ((net.carrier, b"v=0 pbx 3"), (net.pbx, b"v=0 carrier 2")):
        refresh = peer.take_request("INVITE")
        assert refresh.body == last
        peer.reply(refresh, 200, body=ANSWER)
        peer.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_an_offer_that_was_refused_is_never_repeated_3261_14_1(asking: str, method: str) -> None:
    """The session is as it was, and so is what a refresh says of it (RFC 3264 8, RFC 4028 7.4)."""
    net = Net(BOTH_OWN)
    caller, callee, *_ = call(net)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    for status in (488, 407, 500):
        sent = one.request(method, body=b"v=0 hold the line")
        if method == "INVITE":
            one.peer.take(100)
        other.peer.reply(other.peer.take_request(method), status)
        one.peer.take(status)
        if method == "INVITE":
            one.ack_refusal(sent)
            other.peer.take("ACK")
    net.run(900.1)
    for peer, before in ((net.carrier, SDP), (net.pbx, ANSWER)):
        refresh = peer.take_request("INVITE")
        assert refresh.body == before
        peer.reply(refresh, 200, body=ANSWER)
        peer.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


@pytest.mark.parametrize(("status", "counts"), [(200, b"v=0 later"), (491, b"v=0 earlier")])
def test_of_a_reinvite_and_an_update_on_its_way_the_later_offer_counts_that_was_accepted_3311_5_1(
    status: int, counts: bytes
) -> None:
    """A reliable response has answered the re-INVITE, so that an UPDATE may pass before its 2xx."""
    net = Net(CALLEE_OWN)
    caller, callee, *_ = call(net)
    sent = caller.request("INVITE", headers="Supported: 100rel", body=b"v=0 earlier")
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    net.carrier.reply(got, 183, headers="Require: 100rel\nRSeq: 1", body=ANSWER)
    net.pbx.take(183)
    for method, headers, body, answer in (
        ("PRACK", f"RAck: 1 {sent.cseq[0]} INVITE", b"", 200),
        ("UPDATE", "", b"v=0 later", status),
    ):
        caller.request(method, headers=headers, body=body, contact=method == "UPDATE")
        net.carrier.reply(net.carrier.take_request(method), answer, body=ANSWER if body else b"")
        net.pbx.take(answer)
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    caller.ack(sent)
    net.carrier.take("ACK")
    net.run(900.1)
    refresh = net.carrier.take_request("INVITE")
    assert refresh.body == counts
    net.carrier.reply(refresh, 200, body=ANSWER)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_the_answer_to_a_late_offer_is_what_a_refresh_repeats() -> None:
    net = Net(CALLEE_OWN)
    sent = net.pbx.invite(b"")
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    net.carrier.reply(got, 200, body=SDP)
    response = net.pbx.take_response(200)
    net.pbx.ack(sent, response, body=ANSWER)
    net.carrier.take("ACK")
    net.run(900.1)
    again = net.carrier.take_request("INVITE")
    assert again.body == ANSWER
    net.carrier.reply(again, 200, body=SDP)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, sent, response), End.of_callee(net.carrier, got))
    net.assert_all_freed()


def test_an_interval_too_small_for_the_callee_is_raised_once_4028_7_3() -> None:
    net = Net(CALLEE_OWN)
    sent = net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.carrier.reply(first, 422, headers="Min-SE: 3600")
    net.carrier.take("ACK")
    net.pbx.nothing()
    second = net.carrier.take_request("INVITE")
    assert (second.call_id, second.from_tag, second.to_tag) == (first.call_id, first.from_tag, b"")
    assert (second.cseq[0], second.body, second.max_forwards) == (2, SDP, first.max_forwards)
    assert timer_headers(second) == {
        b"Session-Expires": "3600;refresher=uac", b"Min-SE": "3600", b"Supported": "timer",
    }  # fmt: skip
    given = f"Require: timer\nSession-Expires: 3600;refresher=uac\n{UPDATES}"
    net.carrier.reply(second, 200, headers=given)
    response = net.pbx.take_response(200)
    net.pbx.ack(sent, response)
    assert net.carrier.take_request("ACK").cseq[0] == 2
    net.run(1800.1)
    update = net.carrier.take_request("UPDATE")
    assert text(update, b"Min-SE") == "3600"
    net.carrier.reply(update, 200, headers=given)
    hang_up(End.of_caller(net.pbx, sent, response), End.of_callee(net.carrier, second))
    net.assert_all_freed()


@pytest.mark.parametrize("least", ["Min-SE: 1800", "Min-SE: x", "", "Min-SE: 999999999"])
def test_a_422_that_asks_for_nothing_longer_is_a_rejection_4028_7_3(least: str) -> None:
    net = Net(CALLEE_OWN)
    sent = net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 422, headers=least)
    net.carrier.take("ACK")
    net.carrier.nothing()
    net.pbx.ack(sent, net.pbx.take_response(422))
    net.assert_all_freed()


def test_a_second_422_is_a_rejection_4028_7_3() -> None:
    net = Net(CALLEE_OWN)
    sent = net.pbx.invite()
    net.pbx.take(100)
    for least in (2000, 3000):
        net.carrier.reply(net.carrier.take_request("INVITE"), 422, headers=f"Min-SE: {least}")
        net.carrier.take("ACK")
    net.carrier.nothing()
    net.pbx.ack(sent, net.pbx.take_response(422))
    net.assert_all_freed()


def test_a_callee_that_says_an_impossible_interval_cannot_make_us_send_without_pause_4028_5() -> None:
    net = Net(CALLEE_OWN)
    given = f"Require: timer\nSession-Expires: 0;refresher=uac\n{UPDATES}"
    caller, callee, *_ = call(net, answer=given)
    net.run(44)
    net.carrier.nothing()
    net.run(1.1)
    net.carrier.reply(net.carrier.take_request("UPDATE"), 200, headers=given)
    hang_up(caller, callee)
    net.assert_all_freed()


# -- with forks --------------------------------------------------------------------------------------------


def answered_by(net: Net, fork: str, invite: Request, got: Request, body: bytes = b"") -> tuple[End, End]:
    """One fork answers: both ends of the call."""
    net.carrier.reply(got, 200, tag=fork, body=body)
    response = net.pbx.take_response(200)
    net.pbx.ack(invite, response)
    net.carrier.take("ACK")
    return End.of_caller(net.pbx, invite, response), End.of_callee(net.carrier, got, fork)


def refreshed_with(net: Net, peer: Peer, body: bytes, ends: tuple[End, End]) -> None:
    """The refresh of a peer repeats this description; then that peer ends the call."""
    net.run(900.1)
    refresh = peer.take_request("INVITE")
    assert refresh.body == body
    peer.reply(refresh, 200, body=ANSWER)
    peer.take("ACK")
    caller, callee = ends
    hang_up(caller, callee) if peer is net.pbx else hang_up(callee, caller)
    net.assert_all_freed()


@pytest.mark.parametrize("fork", ["one", "two"])
@pytest.mark.parametrize("keys", [TIMER, f'{TIMER}\nprack = "local"'])
def test_the_caller_is_refreshed_with_what_the_fork_that_answered_has_said_3261_13_2_1(
    fork: str, keys: str
) -> None:
    """Its answer was in its 183, so its 2xx needs none."""
    net = Net(with_pbx(keys))
    invite, got = begin(net)
    for tag, status, body in (("one", 183, b"v=0 one"), ("two", 183, b"v=0 two"), ("one", 180, b"")):
        net.carrier.reply(got, status, tag=tag, body=body)
        net.pbx.take(status)
    refreshed_with(net, net.pbx, b"v=0 %b" % fork.encode(), answered_by(net, fork, invite, got))


def test_the_body_of_the_2xx_counts_more_than_what_its_fork_has_said_before() -> None:
    net = Net(CALLER_OWN)
    invite, got = begin(net)
    net.carrier.reply(got, 183, tag="one", body=b"v=0 early")
    net.pbx.take(183)
    refreshed_with(net, net.pbx, ANSWER, answered_by(net, "one", invite, got, ANSWER))


def test_a_fork_that_has_said_nothing_is_refreshed_without_the_description_of_another() -> None:
    net = Net(CALLER_OWN)
    invite, got = begin(net)
    net.carrier.reply(got, 183, tag="one", body=b"v=0 one")
    net.pbx.take(183)
    ends = answered_by(net, "two", invite, got)
    net.run(900.1)
    net.pbx.reply(net.pbx.take_request("UPDATE"), 200)
    hang_up(*ends)
    net.assert_all_freed()


@pytest.mark.parametrize(("fork", "offered"), [("one", b"v=0 later"), ("two", SDP)])
def test_the_callee_is_refreshed_with_what_the_fork_that_answered_was_offered_3261_13_2_2_4(
    fork: str, offered: bytes
) -> None:
    """An UPDATE before the answer is for one fork alone; the offer of the INVITE was for both."""
    net = Net(CALLEE_OWN)
    invite, got = begin(net)
    for tag in ("one", "two"):
        net.carrier.reply(got, 183, tag=tag, body=ANSWER)
    early = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    net.pbx.take(183)
    early.request("UPDATE", body=b"v=0 later")
    net.carrier.reply(net.carrier.take_request("UPDATE"), 200, body=ANSWER)
    net.pbx.take(200)
    refreshed_with(net, net.carrier, offered, answered_by(net, fork, invite, got))


@pytest.mark.parametrize(("fork", "offered"), [("one", b"v=0 later"), ("two", b"v=0 two")])
def test_the_caller_is_refreshed_with_what_the_fork_that_answered_has_offered_before_3261_13_2_2_4(
    fork: str, offered: bytes
) -> None:
    net = Net(CALLER_OWN)
    invite, got = begin(net)
    for tag in ("one", "two"):
        net.carrier.reply(got, 183, tag=tag, body=b"v=0 %b" % tag.encode())
        net.pbx.take(183)
    End.of_callee(net.carrier, got, "one").request("UPDATE", body=b"v=0 later")
    net.pbx.reply(net.pbx.take_request("UPDATE"), 200, body=ANSWER)
    net.carrier.take(200)
    refreshed_with(net, net.pbx, offered, answered_by(net, fork, invite, got))


@pytest.mark.parametrize(("config", "counts"), [(CALLEE_OWN, SDP), (CALLER_OWN, ANSWER)])
def test_an_update_that_another_forks_answer_has_overtaken_changes_no_session(
    config: str, counts: bytes
) -> None:
    net = Net(config)
    invite, got = begin(net)
    net.carrier.reply(got, 183, tag="one", body=b"v=0 one")
    early = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    early.request("UPDATE", body=b"v=0 later")
    update = net.carrier.take_request("UPDATE")
    ends = answered_by(net, "two", invite, got, ANSWER)
    net.carrier.reply(update, 200, body=b"v=0 later answer")
    net.pbx.take(200)
    refreshed_with(net, net.carrier if config == CALLEE_OWN else net.pbx, counts, ends)


# -- agreed on with the caller -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("", {b"Session-Expires": "1800;refresher=uas"}),
        ("Supported: timer", {b"Session-Expires": "1800;refresher=uas", b"Require": "timer"}),
        ("k: timer\nx: 600", {b"Session-Expires": "600;refresher=uas", b"Require": "timer"}),
        (
            "Supported: timer\nSession-Expires: 600;refresher=uac",
            {b"Session-Expires": "600;refresher=uac", b"Require": "timer"},
        ),
        (
            "Require: timer\nSession-Expires: 7200 ; Refresher = UAS",
            {b"Session-Expires": "1800;refresher=uas", b"Require": "timer"},
        ),
        (
            "Supported: timer\nSession-Expires: 7200\nMin-SE: 3600",
            {b"Session-Expires": "3600;refresher=uas", b"Require": "timer"},
        ),
        ("Session-Expires: 60;refresher=uac", {b"Session-Expires": "90;refresher=uas"}),
        (
            "Supported: timer\nSession-Expires: soon",
            {b"Session-Expires": "1800;refresher=uas", b"Require": "timer"},
        ),
    ],
)  # fmt: skip
def test_the_caller_gets_a_timer_by_table_2_of_4028_9(asked: str, given: dict[bytes, str]) -> None:
    net = Net(CALLER_OWN)
    caller, callee, got, response = call(net, asked)
    assert timer_headers(got) == {}
    assert timer_headers(response) == given
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_callee_that_brings_a_timer_of_its_own_accord_is_not_heard_by_the_caller() -> None:
    net = Net(CALLER_OWN)
    caller, callee, _, response = call(
        net, "Supported: timer", "Require: timer\nSession-Expires: 100;refresher=uas"
    )
    assert response.values(b"Session-Expires") == [b"1800;refresher=uas"]
    assert response.values(b"Require") == [b"timer"]
    hang_up(caller, callee)
    net.assert_all_freed()


def test_an_interval_too_small_gets_422_4028_9() -> None:
    net = Net(CALLER_OWN)
    invite = net.pbx.invite(headers="Supported: timer\nSession-Expires: 89")
    net.pbx.take(100)
    response = net.pbx.take_response(422)
    assert text(response, b"Min-SE") == "90"
    net.pbx.ack(invite, response)
    net.carrier.nothing()
    assert (net.only_record.emitted_status, net.only_record.origin) == (422, "local")
    net.assert_all_freed()


def test_the_caller_is_refreshed_by_what_it_takes_4028_7_4() -> None:
    net = Net(CALLER_OWN)
    caller, callee, *_ = call(net, f"Supported: timer\nSession-Expires: 600\n{UPDATES}")
    net.run(300.1)
    update = net.pbx.take_request("UPDATE")
    assert timer_headers(update) == {b"Session-Expires": "600;refresher=uac", b"Supported": "timer"}
    assert update.to_tag == caller.local.partition("tag=")[2].encode()
    net.pbx.reply(update, 200, headers="Require: timer\nSession-Expires: 600;refresher=uac")
    net.run(300.1)
    net.pbx.reply(net.pbx.take_request("UPDATE"), 200, headers="Session-Expires: 600;refresher=uas")
    net.run(600 - 33)  # from now on it is the caller's to refresh
    net.pbx.nothing()
    caller.request("UPDATE", headers="Supported: timer\nSession-Expires: 600;refresher=uac")
    assert text(net.pbx.take_response(200), b"Session-Expires") == "600;refresher=uac"
    caller.request("UPDATE", headers="Supported: timer\nSession-Expires: 600;refresher=uas")
    assert text(net.pbx.take_response(200), b"Session-Expires") == "600;refresher=uas"
    net.run(300.1)  # and now ours again
    net.pbx.reply(net.pbx.take_request("UPDATE"), 200)
    net.carrier.nothing()
    hang_up(callee, caller)
    net.assert_all_freed()
