"""Refreshes of a session timer that the gateway keeps: the peer's, ours, and what goes wrong (RFC 4028)."""

from __future__ import annotations

import pytest

from tests.b2bua.sessions import (
    ANSWER,
    BOTH_OWN,
    CALLEE_OWN,
    CALLER_OWN,
    TORN_DOWN_AFTER,
    UPDATES,
    call,
    timer_headers,
    torn_down,
)
from tests.b2bua.test_timeouts import with_carrier
from tests.helpers import SDP, End, Net, hang_up, text

# -- refreshes of the peer ---------------------------------------------------------------------------------


def peer_refreshes(net: Net) -> tuple[End, End]:
    """A call whose callee is to refresh."""
    caller, callee, *_ = call(net, answer="Require: timer\nSession-Expires: 1800;refresher=uas")
    return caller, callee


def test_a_peer_that_does_not_refresh_in_time_is_hung_up_4028_10() -> None:
    net = Net(CALLEE_OWN)
    peer_refreshes(net)
    net.run(TORN_DOWN_AFTER - 0.1)
    net.pbx.nothing()
    net.carrier.nothing()
    net.run(0.2)
    torn_down(net)


def test_a_short_session_ends_a_third_before_its_time_4028_10() -> None:
    net = Net(with_carrier('session_timer = "90s"'))
    call(net, answer="Require: timer\nSession-Expires: 90;refresher=uas")
    net.run(59.9)
    net.carrier.nothing()
    net.run(0.2)
    torn_down(net)


def test_the_peers_update_refreshes_and_ends_at_the_gateway_4028_9() -> None:
    net = Net(CALLEE_OWN)
    caller, callee = peer_refreshes(net)
    for _ in range(3):
        net.run(1700)
        callee.request("UPDATE", headers="Supported: timer\nSession-Expires: 1800;refresher=uac")
        response = net.carrier.take_response(200)
        assert timer_headers(response) == {
            b"Session-Expires": "1800;refresher=uac", b"Require": "timer",
        }  # fmt: skip
        assert text(response, b"Contact") == "<sip:192.0.2.1:5060>"
        net.pbx.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


@pytest.mark.parametrize("config", [CALLEE_OWN, CALLER_OWN, BOTH_OWN])
@pytest.mark.parametrize("asking", ["caller", "callee"])
@pytest.mark.parametrize("name", ["P-Asserted-Identity", "Remote-Party-ID"])
def test_an_update_that_says_who_is_connected_passes_and_refreshes_5876_3_2(
    config: str, asking: str, name: str
) -> None:
    """Asterisk's connected line."""
    net = Net(config)
    caller, callee, *_ = call(net, UPDATES, UPDATES)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    net.run(800)
    connected = f'{name}: "Somebody Else" <sip:4711@192.0.2.7>'
    one.request("UPDATE", headers=f"Supported: timer\nSession-Expires: 1800;refresher=uac\n{connected}")
    got = other.peer.take_request("UPDATE")
    assert got.lines(name.encode()) == [connected.encode()]
    other.peer.reply(got, 200, headers="Require: timer\nSession-Expires: 1800;refresher=uac")
    one.peer.take(200)
    net.run(800)  # else our own refresh would be due
    caller.peer.nothing()
    callee.peer.nothing()
    hang_up(one, other)
    net.assert_all_freed()


@pytest.mark.parametrize("config", [CALLEE_OWN, CALLER_OWN, BOTH_OWN])
def test_whoever_does_not_take_update_is_not_told_who_is_connected(config: str) -> None:
    net = Net(config)
    caller, callee, *_ = call(net)
    one, other = (callee, caller) if config == CALLEE_OWN else (caller, callee)
    one.request("UPDATE", headers="P-Asserted-Identity: <sip:4711@192.0.2.7>")
    one.peer.take(200)
    other.peer.nothing()
    hang_up(one, other)
    net.assert_all_freed()


def test_the_peers_update_moves_its_target_3311_5_1() -> None:
    net = Net(CALLEE_OWN)
    caller, callee = peer_refreshes(net)
    desk = net.peer(("192.0.2.7", 5066), "desk")
    callee.request("UPDATE", contact=False, headers="Contact: <sip:desk@192.0.2.7:5066>")
    net.carrier.take(200)
    caller.request("BYE", contact=False)
    bye = desk.take_request("BYE")
    assert bye.uri == b"sip:desk@192.0.2.7:5066"
    desk.reply(bye, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_an_update_before_the_answer_refreshes_nothing_and_passes_4028_7_4() -> None:
    net = Net(CALLEE_OWN)
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    ringing = net.pbx.take_response(180)
    End.of_callee(net.carrier, offer).request("UPDATE", headers="Supported: timer\nSession-Expires: 90")
    got = net.pbx.take_request("UPDATE")
    net.pbx.reply(got, 200)
    assert timer_headers(net.carrier.take_response(200)) == {}
    End.of_caller(net.pbx, invite, ringing).request("UPDATE", body=SDP)
    got = net.carrier.take_request("UPDATE")
    assert timer_headers(got) == {}
    net.carrier.reply(got, 200, body=ANSWER)
    assert net.pbx.take_response(200).body == ANSWER
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


def test_the_peers_reinvite_refreshes_and_passes_without_the_timer_4028_9() -> None:
    net = Net(CALLEE_OWN)
    _, callee = peer_refreshes(net)
    for _ in range(3):
        net.run(1700)
        sent = callee.request(
            "INVITE", headers="Supported: timer\nSession-Expires: 1800;refresher=uac", body=SDP
        )
        net.carrier.take(100)
        got = net.pbx.take_request("INVITE")
        assert timer_headers(got) == {}
        net.pbx.reply(got, 200, body=ANSWER)
        response = net.carrier.take_response(200)
        assert (response.body, text(response, b"Session-Expires")) == (ANSWER, "1800;refresher=uac")
        callee.ack(sent)
        net.pbx.take("ACK")
    net.run(TORN_DOWN_AFTER - 1)
    net.carrier.nothing()
    net.run(1.1)
    torn_down(net)


def test_a_reinvite_of_the_other_side_refreshes_the_peer_4028_7_4() -> None:
    net = Net(CALLEE_OWN)
    caller, callee = peer_refreshes(net)
    for method in ("INVITE", "UPDATE"):
        net.run(1700)
        sent = caller.request(method, headers="Supported: timer\nSession-Expires: 90", body=SDP)
        if method == "INVITE":
            net.pbx.take(100)
        got = net.carrier.take_request(method)
        assert got.values(b"Session-Expires") == [b"1800;refresher=uas"]  # the roles stay as they are
        net.carrier.reply(got, 200, headers="Session-Expires: 1800;refresher=uas", body=ANSWER)
        assert timer_headers(net.pbx.take_response(200)) == {}
        if method == "INVITE":
            caller.ack(sent)
            net.carrier.take("ACK")
    net.run(1700)
    net.carrier.nothing()
    hang_up(callee, caller)
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refresh_for_too_short_a_session_gets_422_4028_9(method: str) -> None:
    net = Net(CALLEE_OWN)
    caller, callee = peer_refreshes(net)
    callee.request(method, headers="Supported: timer\nSession-Expires: 10", body=SDP)
    assert text(net.carrier.take_response(422), b"Min-SE") == "90"
    net.pbx.nothing()
    hang_up(caller, callee) if method == "UPDATE" else hang_up(callee, caller)
    net.assert_all_freed()


# -- refreshes that go wrong -------------------------------------------------------------------------------


def we_refresh(net: Net, allow: str = UPDATES) -> tuple[End, End]:
    """A call whose callee we are to refresh."""
    caller, callee, *_ = call(net, answer=f"Session-Expires: 1800;refresher=uac\n{allow}")
    net.run(900.1)
    return caller, callee


@pytest.mark.parametrize("status", [408, 481])
@pytest.mark.parametrize("allow", [UPDATES, ""])
def test_a_dialog_that_is_gone_ends_the_call_on_both_sides_4028_10(status: int, allow: str) -> None:
    net = Net(CALLEE_OWN)
    we_refresh(net, allow)
    net.carrier.reply(net.carrier.take_request("UPDATE" if allow else "INVITE"), status)
    if not allow:
        net.carrier.take("ACK")
    torn_down(net)


def test_silence_ends_the_call_on_both_sides_4028_10() -> None:
    net = Net(CALLEE_OWN)
    we_refresh(net)
    net.run(31.9)
    net.pbx.nothing()
    net.carrier.forget()
    net.run(0.2)
    torn_down(net)


def test_a_reinvite_that_only_rings_ends_the_call_when_the_session_expires_4028_10() -> None:
    net = Net(CALLEE_OWN)
    we_refresh(net, "")
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 180)
    net.run(TORN_DOWN_AFTER - 900.1)
    net.pbx.nothing()
    net.run(0.2)
    bye = net.carrier.take_request("BYE")
    net.carrier.reply(bye, 200)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    net.carrier.reply(again, 487)
    net.carrier.take("ACK")
    net.pbx.reply(net.pbx.take_request("BYE"), 200)
    assert net.only_record.end_reason == "session expired"
    net.assert_all_freed()


def test_whoever_refuses_a_refresh_is_alive_and_asked_again_5057_5_3() -> None:
    net = Net(CALLEE_OWN)
    caller, callee = we_refresh(net)
    for status in (500, 405, 488, 503, 603) * 3:
        net.carrier.reply(net.carrier.take_request("UPDATE"), status)
        net.run(300.1)
    net.carrier.reply(net.carrier.take_request("UPDATE"), 200)
    net.pbx.nothing()
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_refresh_that_meets_a_reinvite_is_tried_again_after_two_to_four_seconds_3261_14_1() -> None:
    net = Net(CALLEE_OWN)
    caller, callee = we_refresh(net, "")
    net.carrier.reply(net.carrier.take_request("INVITE"), 491)
    net.carrier.take("ACK")
    net.run(2.0)
    net.carrier.nothing()
    net.run(2.1)
    refresh = net.carrier.take_request("INVITE")
    net.carrier.forget()  # and its retransmissions
    net.carrier.reply(refresh, 200, body=ANSWER)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_glare_without_end_is_no_refresh_4028_10() -> None:
    net = Net(CALLER_OWN)
    call(net, UPDATES)
    net.run(900.1)
    end = net.now - 900.1 + TORN_DOWN_AFTER
    while net.now < end - 0.1:
        if net.pbx.inbox:
            net.pbx.reply(net.pbx.take_request("UPDATE"), 491)
        net.run(0.1)
        net.carrier.nothing()
    net.run(0.2)
    torn_down(net)


def test_towards_the_caller_who_made_the_call_id_the_wait_is_at_most_two_seconds_3261_14_1() -> None:
    net = Net(CALLER_OWN)
    caller, callee, *_ = call(net, UPDATES)
    net.run(900.1)
    net.pbx.reply(net.pbx.take_request("UPDATE"), 491)
    net.run(2.1)
    net.pbx.reply(net.pbx.take_repeated("UPDATE"), 200)
    hang_up(caller, callee)
    net.assert_all_freed()


@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_a_reinvite_that_meets_our_refresh_gets_491_3261_14_2(asking: str) -> None:
    net = Net(CALLEE_OWN)
    caller, callee = we_refresh(net, "")
    one = caller if asking == "caller" else callee
    refresh = net.carrier.take_request("INVITE")
    for method in ("INVITE", "UPDATE"):
        sent = one.request(method, body=SDP)
        response = one.peer.take_response(491)
        if method == "INVITE":
            one.peer.ack(sent, response)
    net.carrier.reply(refresh, 200, body=ANSWER)
    net.carrier.take("ACK")
    net.pbx.nothing()
    hang_up(callee, caller)
    net.assert_all_freed()


def test_our_refresh_waits_while_a_reinvite_is_under_way_3261_14_1() -> None:
    net = Net(CALLEE_OWN)
    caller, callee, *_ = call(net)
    net.run(899)
    sent = caller.request("INVITE", body=SDP)
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    net.carrier.reply(got, 100)
    net.run(20)
    net.carrier.nothing()
    net.carrier.reply(got, 200, body=ANSWER)
    net.pbx.take(200)
    caller.ack(sent)
    net.carrier.take("ACK")
    net.run(899)
    net.carrier.nothing()  # it was a refresh
    net.run(1.1)
    net.carrier.reply(net.carrier.take_request("INVITE"), 200, body=ANSWER)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_refresh_that_is_too_short_for_the_peer_now_is_raised_4028_7_3() -> None:
    net = Net(CALLEE_OWN)
    caller, callee = we_refresh(net)
    net.carrier.reply(net.carrier.take_request("UPDATE"), 422, headers="Min-SE: 2400")
    update = net.carrier.take_request("UPDATE")
    assert timer_headers(update) == {
        b"Session-Expires": "2400;refresher=uac", b"Min-SE": "2400", b"Supported": "timer",
    }  # fmt: skip
    net.carrier.reply(update, 200, headers="Session-Expires: 2400;refresher=uac")
    net.run(1199)
    net.carrier.nothing()
    net.run(1.1)
    net.carrier.reply(net.carrier.take_request("UPDATE"), 200)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_peer_that_refreshes_while_our_refresh_is_out_takes_over_4028_10() -> None:
    net = Net(CALLEE_OWN)
    _, callee = we_refresh(net, "")
    refresh = net.carrier.take_request("INVITE")
    callee.request("UPDATE", headers="Supported: timer\nSession-Expires: 1800;refresher=uac")
    net.carrier.take(200)
    net.carrier.reply(refresh, 200, body=ANSWER)
    net.carrier.take("ACK")  # the answer that nobody waits for any more is acknowledged all the same
    net.run(TORN_DOWN_AFTER - 1)
    net.pbx.nothing()
    net.carrier.nothing()
    net.run(1.1)
    torn_down(net)


def test_the_answer_to_our_refresh_moves_the_target_3311_5_1() -> None:
    net = Net(CALLEE_OWN)
    caller, _ = we_refresh(net)
    update = net.carrier.take_request("UPDATE")
    desk = net.peer(("192.0.2.7", 5066), "desk")
    net.carrier.reply(update, 200, contact=False, headers="Contact: <sip:desk@192.0.2.7:5066>")
    caller.request("BYE", contact=False)
    desk.reply(desk.take_request("BYE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


@pytest.mark.parametrize("allow", [UPDATES, ""])
def test_a_description_is_kept_only_for_a_peer_that_does_not_take_update(allow: str) -> None:
    """One is kept for each such call, so it costs memory."""
    net = Net(CALLEE_OWN)
    caller, callee, *_ = call(net, answer=allow)
    caller.request("UPDATE", body=SDP)
    net.carrier.reply(net.carrier.take_request("UPDATE"), 200, body=ANSWER)
    net.pbx.take(200)
    (up,) = net.core.calls
    assert up.callee is not None and up.callee.own is not None and up.callee.own.timer is not None
    assert up.callee.own.timer._body == (None if allow else (b"application/sdp", SDP))
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_body_that_is_no_mere_description_is_never_repeated() -> None:
    """An ISUP message beside it would say that a call is set up."""
    net = Net(CALLEE_OWN)
    caller, callee, *_ = call(net, "Content-Type: multipart/mixed;boundary=x", body=b"--x ...")
    net.run(900.1)
    net.carrier.reply(net.carrier.take_request("UPDATE"), 501)
    net.pbx.nothing()
    hang_up(callee, caller)
    net.assert_all_freed()


def test_a_call_that_hangs_up_while_a_refresh_is_out_just_ends() -> None:
    net = Net(CALLEE_OWN)
    caller, callee = we_refresh(net)
    update = net.carrier.take_request("UPDATE")
    hang_up(callee, caller)
    net.carrier.reply(update, 200)
    assert net.only_record.end_reason == "bye"
    net.assert_all_freed()


@pytest.mark.parametrize("early", [False, True])
def test_a_2xx_to_our_refresh_that_comes_when_the_call_is_over_gets_its_ack_each_time_3261_14_1(
    early: bool,
) -> None:
    net = Net(CALLEE_OWN)
    caller, callee = we_refresh(net, "")
    refresh = net.carrier.take_request("INVITE")
    if early:
        net.carrier.reply(refresh, 180)
    hang_up(caller, callee)
    net.carrier.forget()  # the CANCEL, if it may go
    for _ in range(2):
        net.carrier.reply(refresh, 200, body=ANSWER)
        assert net.carrier.take_request("ACK").cseq == (refresh.cseq[0], b"ACK")
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_session_that_expires_while_the_bye_is_on_its_way_ends_by_the_bye() -> None:
    net = Net(CALLEE_OWN)
    caller, _ = peer_refreshes(net)
    net.run(TORN_DOWN_AFTER - 1)
    caller.request("BYE", contact=False)
    bye = net.carrier.take_request("BYE")
    net.run(2)
    net.carrier.forget()
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    assert net.only_record.end_reason == "bye"
    net.assert_all_freed()


def test_a_session_that_expires_while_a_challenged_bye_stands_out_ends_after_it_3261_22_2() -> None:
    net = Net(CALLEE_OWN)
    caller, _ = peer_refreshes(net)
    net.run(TORN_DOWN_AFTER - 1)
    caller.request("BYE", contact=False)
    bye = net.carrier.take_request("BYE")
    net.run(2)
    net.carrier.forget()
    net.carrier.reply(bye, 401)
    net.pbx.take(401)
    net.run(2)
    torn_down(net)


def test_the_session_of_a_cancelled_or_rejected_call_leaves_nothing() -> None:
    net = Net(BOTH_OWN)
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()
