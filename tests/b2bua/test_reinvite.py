"""Re-INVITE and UPDATE, either way: ACK, CANCEL, glare, and what becomes of the target (RFC 3261 14)."""

from __future__ import annotations

import pytest

from tests.helpers import SDP, End, Net, begin, hang_up, pair, reinvite, text

BOTH_WAYS = pytest.mark.parametrize("asking", ["caller", "callee"])


@BOTH_WAYS
def test_a_reinvite_and_its_ack_pass_each_leg_counting_for_itself_3261_14(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent = one.request("INVITE", body=b"v=0 hold", headers="X-Own: forth")
    one.peer.take(100)
    got = other.peer.take_request("INVITE")
    assert (got.body, text(got, b"x-own")) == (b"v=0 hold", "forth")
    assert got.call_id.decode() == other.call_id
    assert text(got, b"Contact") == "<sip:192.0.2.1:5060>"
    other.peer.reply(got, 200, headers="X-Own: back", body=b"v=0 held")
    answer = one.peer.take_response(200)
    assert (answer.body, text(answer, b"x-own")) == (b"v=0 held", "back")
    other.peer.nothing()
    one.ack(sent, b"v=0 late", headers="X-Own: ack")
    ack = other.peer.take_request("ACK")
    assert (ack.cseq, ack.body, text(ack, b"x-own")) == ((got.cseq[0], b"ACK"), b"v=0 late", "ack")
    if asking == "callee":
        assert (sent.cseq[0], got.cseq[0]) == (501, 1)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_reinvite_that_comes_again_is_absorbed_and_its_2xx_repeated_until_acknowledged(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    one.peer.again(sent)
    one.peer.take(100)
    other.peer.nothing()
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    other.peer.reply(got, 200, body=SDP)  # no ACK yet
    other.peer.nothing()
    net.run(1.6)
    one.peer.take(200)
    one.peer.take(200)
    one.ack(sent)
    ack = other.peer.take_request("ACK")
    other.peer.reply(got, 200, body=SDP)  # the ACK was lost
    assert other.peer.take_request("ACK").rows == ack.rows
    one.peer.nothing()
    hang_up(other, one)
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("status", [488, 491, 500, 603])
def test_a_refused_reinvite_leaves_the_call_as_it_was(asking: str, status: int) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, status, headers="Reason: Q.850;cause=1")
    assert other.peer.take_request("ACK").via.raw == got.via.raw
    response = one.peer.take_response(status)  # inside a dialog no rule rewrites
    one.ack_refusal(sent)
    assert text(response, b"Reason") == "Q.850;cause=1"
    net.run(60)
    one.peer.nothing()
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_reinvite_is_cancelled_and_the_call_goes_on_3261_9(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 180)
    one.peer.take(180)
    one.peer.cancel(sent, headers="Reason: SIP;cause=200")
    one.peer.take(200)
    one.peer.nothing()  # the other side's final response decides
    cancel = other.peer.take_request("CANCEL")
    assert (cancel.via.raw, text(cancel, b"Reason")) == (got.via.raw, "SIP;cause=200")
    other.peer.reply(cancel, 200)
    other.peer.reply(got, 487)
    other.peer.take("ACK")
    one.peer.take(487)
    one.ack_refusal(sent)
    hang_up(other, one)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_2xx_that_crosses_the_cancel_of_a_reinvite_stands(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 100)
    one.peer.cancel(sent)
    one.peer.take(200)
    cancel = other.peer.take_request("CANCEL")
    other.peer.reply(got, 200, body=SDP)
    other.peer.reply(cancel, 481)
    one.peer.take(200)
    one.ack(sent)
    other.peer.take("ACK")
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_the_lost_ack_of_a_reinvite_ends_the_call_on_both_legs_3261_14_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    _sent, got = reinvite(one, other)
    other.peer.reply(got, 200, body=SDP)
    net.run(33)
    other.peer.take("ACK")
    for end in (one, other):
        while end.peer.inbox[0].index[b"CSeq"].endswith(b"INVITE"):
            end.peer.take(200)
        end.peer.reply(end.peer.take_request("BYE"), 200)
    record = net.only_record
    assert (record.ended_by, record.end_reason) == ("gateway", "no ACK")
    net.assert_all_freed()


@BOTH_WAYS
def test_a_reinvite_that_rings_for_ever_is_cancelled_3261_16_8(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 100)
    net.run(180.1)
    other.peer.reply(other.peer.take_request("CANCEL"), 200)
    other.peer.reply(got, 487)
    other.peer.take("ACK")
    one.peer.take(487)
    one.ack_refusal(sent)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_reinvite_that_expires_is_cancelled_and_the_call_goes_on_3261_13_3_1(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent = one.request("INVITE", body=SDP, headers="Expires: 7")
    one.peer.take(100)
    got = other.peer.take_request("INVITE")
    other.peer.reply(got, 180)
    one.peer.take(180)
    net.run(6.9)
    other.peer.nothing()
    net.run(0.2)
    other.peer.reply(other.peer.take_request("CANCEL"), 200)
    other.peer.reply(got, 487)
    other.peer.take("ACK")
    one.peer.take(487)
    one.ack_refusal(sent)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
@pytest.mark.parametrize("hangs_up", ["one", "other"])
def test_a_bye_ends_a_reinvite_that_is_under_way_3261_15_1_2(asking: str, hangs_up: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.peer.reply(got, 180)
    one.peer.take(180)
    by, to = (one, other) if hangs_up == "one" else (other, one)
    by.request("BYE", contact=False)
    to.peer.reply(to.peer.take_request("BYE"), 200)
    assert one.peer.take_response(487).cseq == sent.cseq
    one.ack_refusal(sent)
    other.peer.reply(other.peer.take_request("CANCEL"), 200)
    by.peer.take(200)
    other.peer.reply(got, 487)
    other.peer.take("ACK")
    net.assert_all_freed()


@BOTH_WAYS
def test_a_2xx_to_a_reinvite_of_a_call_that_has_ended_goes_nowhere(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    _sent, got = reinvite(one, other)
    one.request("BYE", contact=False)
    other.peer.reply(other.peer.take_request("BYE"), 200)
    one.peer.take(487)
    one.peer.take(200)
    other.peer.reply(got, 200, body=SDP)
    one.peer.nothing()
    net.assert_all_freed()


@BOTH_WAYS
def test_invites_that_cross_get_491_each_3261_14_1(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    crossing = other.request("INVITE", body=SDP)
    other.peer.take(491)
    other.ack_refusal(crossing)
    one.peer.nothing()
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    one.ack(sent)
    other.peer.take("ACK")
    again = other.request("INVITE", body=SDP)  # later it passes
    other.peer.take(100)
    one.peer.reply(one.peer.take_request("INVITE"), 200, body=SDP)
    other.peer.take(200)
    other.ack(again)
    one.peer.take("ACK")
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_second_invite_before_the_first_is_done_gets_500_and_retry_after_3261_14_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    second = one.request("INVITE", body=SDP)
    refused = one.peer.take_response(500)
    assert 0 <= int(text(refused, b"Retry-After")) <= 10
    one.ack_refusal(second)
    other.peer.nothing()
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    one.ack(sent)
    other.peer.take("ACK")
    hang_up(one, other)
    net.assert_all_freed()


def test_another_invite_of_the_caller_in_the_early_dialog_gets_500_3261_14_2() -> None:
    """It comes before the final response to the first one."""
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(180))
    second = caller.request("INVITE", body=SDP)
    assert b"Retry-After" in net.pbx.take_response(500).index
    caller.ack_refusal(second)
    net.carrier.nothing()
    net.carrier.reply(offer, 486)
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


def test_an_invite_of_the_callee_in_the_early_dialog_gets_491_3261_14_2() -> None:
    """Ours is still under way in that dialog, so the two cross."""
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    callee = End.of_callee(net.carrier, offer)
    crossing = callee.request("INVITE", body=SDP)
    assert b"Retry-After" not in net.carrier.take_response(491).index
    callee.ack_refusal(crossing)
    net.pbx.nothing()
    net.carrier.reply(offer, 486)
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.carrier.take("ACK")
    net.assert_all_freed()


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_reinvite_before_the_ack_of_the_first_gets_491(side: str) -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    asking = caller if side == "caller" else callee
    sent = asking.request("INVITE", body=SDP)
    asking.peer.take(491)
    asking.ack_refusal(sent)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


@BOTH_WAYS
def test_a_new_contact_is_where_the_next_request_goes_3261_12_2(asking: str) -> None:
    """Target refresh by a re-INVITE, and by the 2xx that answers it."""
    net = Net()
    one, other = pair(net, asking)
    sent = one.request("INVITE", body=SDP, contact=False, headers="Contact: <sip:desk@192.0.2.7:5066>")
    one.peer.take(100)
    got = other.peer.take_request("INVITE")
    other.peer.reply(got, 200, contact=False, headers="Contact: <sip:mobile@192.0.2.8:5077>", body=SDP)
    one.peer.take(200)
    desk, mobile = net.peer(("192.0.2.7", 5066), "desk"), net.peer(("192.0.2.8", 5077), "mobile")
    one.ack(sent)
    assert mobile.take_request("ACK").uri == b"sip:mobile@192.0.2.8:5077"
    other.request("INFO", contact=False)
    info = desk.take_request("INFO")
    assert info.uri == b"sip:desk@192.0.2.7:5066"
    desk.reply(info, 200)
    other.peer.take(200)
    one.request("BYE", contact=False)
    mobile.reply(mobile.take_request("BYE"), 200)
    one.peer.take(200)
    net.assert_all_freed()


@BOTH_WAYS
def test_an_update_passes_with_its_answer_and_refreshes_targets_3311(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request("UPDATE", body=SDP, contact=False, headers="Contact: <sip:desk@192.0.2.7:5066>")
    got = other.peer.take_request("UPDATE")
    assert (got.body, text(got, b"Contact")) == (SDP, "<sip:192.0.2.1:5060>")
    other.peer.reply(got, 200, contact=False, headers="Contact: <sip:m@192.0.2.8:5077>", body=b"v=0 ok")
    assert one.peer.take_response(200).body == b"v=0 ok"
    desk, mobile = net.peer(("192.0.2.7", 5066), "desk"), net.peer(("192.0.2.8", 5077), "mobile")
    other.request("INFO", contact=False)
    desk.reply(desk.take_request("INFO"), 200)
    other.peer.take(200)
    one.request("BYE", contact=False)
    mobile.reply(mobile.take_request("BYE"), 200)
    one.peer.take(200)
    net.assert_all_freed()


def test_an_update_in_the_early_dialog_passes_both_ways_3311_5() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 183, body=SDP)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    callee = End.of_callee(net.carrier, offer)
    for one, other in ((caller, callee), (callee, caller)):
        one.request("UPDATE", body=b"v=0 early")
        got = other.peer.take_request("UPDATE")
        assert got.body == b"v=0 early"
        other.peer.reply(got, 200, body=b"v=0 fine")
        assert one.peer.take_response(200).body == b"v=0 fine"
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(caller, callee)
    net.assert_all_freed()


@BOTH_WAYS
def test_updates_that_cross_get_491_and_a_second_one_500_3311_5_2(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request("UPDATE", body=SDP)
    got = other.peer.take_request("UPDATE")
    other.request("UPDATE", body=SDP)
    other.peer.take(491)
    one.request("UPDATE", body=SDP)
    assert b"Retry-After" in one.peer.take_response(500).index
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    other.request("UPDATE", body=SDP)
    one.peer.reply(one.peer.take_request("UPDATE"), 200, body=SDP)
    other.peer.take(200)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_an_update_meets_a_reinvite_with_491_and_a_reinvite_an_update(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    sent, got = reinvite(one, other)
    other.request("UPDATE", body=SDP)
    other.peer.take(491)
    other.request("UPDATE")  # without an offer (a session refresh) there is nothing to collide with
    one.peer.reply(one.peer.take_request("UPDATE"), 200)
    other.peer.take(200)
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    one.ack(sent)
    other.peer.take("ACK")
    one.request("UPDATE", body=SDP)
    got = other.peer.take_request("UPDATE")
    crossing = other.request("INVITE", body=SDP)
    other.peer.take(491)
    other.ack_refusal(crossing)
    other.peer.reply(got, 200, body=SDP)
    one.peer.take(200)
    hang_up(one, other)
    net.assert_all_freed()


@BOTH_WAYS
def test_an_update_that_finds_no_way_blocks_no_later_one(asking: str) -> None:
    net = Net()
    one, other = pair(net, asking)
    one.request("UPDATE", body=SDP)
    other.peer.take("UPDATE")
    net.endpoint.flow_lost(net.endpoint.flows.get(net.local, other.peer.address), net.now)
    one.peer.take(503)
    one.request("UPDATE", body=SDP)
    other.peer.reply(other.peer.take_request("UPDATE"), 200)
    one.peer.take(200)
    hang_up(one, other)
    net.assert_all_freed()


def test_re_invites_that_were_answered_are_forgotten_long_before_they_would_have_rung_out() -> None:
    net = Net()
    caller, callee = pair(net, "caller")
    for _ in range(20):
        reinvite = caller.request("INVITE", body=SDP)
        net.pbx.take(100)
        net.carrier.reply(net.carrier.take_request("INVITE"), 488)
        net.carrier.take("ACK")
        net.pbx.take(488)
        caller.ack_refusal(reinvite)
    net.run(40)  # what transactions keep is gone
    assert len(net.endpoint.timers) == 0
    hang_up(caller, callee)
    net.assert_all_freed()


# -- what belongs to one dialog ---------------------------------------------------------------------------


def test_each_fork_has_its_own_update_3311_5_2() -> None:
    """Two phones that ring at once may both ask the caller for something, as preconditions do."""
    net = Net()
    _invite, offer = begin(net)
    for tag in ("one", "two"):
        net.carrier.reply(offer, 183, tag=tag, body=SDP)
        net.pbx.take(183)
    asked = [End.of_callee(net.carrier, offer, tag).request("UPDATE", body=SDP) for tag in ("one", "two")]
    for _ in asked:
        net.pbx.reply(net.pbx.take_request("UPDATE"), 200, body=SDP)
        net.carrier.take(200)
    net.carrier.nothing()


def test_an_update_to_a_fork_that_is_gone_blocks_nobody_3261_14_2() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 183, tag="one", body=SDP)
    End.of_caller(net.pbx, invite, net.pbx.take_response(183)).request("UPDATE", body=SDP)
    net.carrier.take("UPDATE")  # and never answers it
    net.carrier.reply(offer, 200, tag="two", body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    net.carrier.take("ACK")
    End.of_callee(net.carrier, offer, "two").request("INVITE", body=SDP)
    net.carrier.take(100)
    net.pbx.take("INVITE")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("status", [200, 488])
def test_only_an_accepted_request_moves_its_sender_3261_8_2(method: str, status: int) -> None:
    """A refused one changes nothing, its Contact included (RFC 6141 3)."""
    net = Net()
    moved = net.peer(("192.0.2.2", 5099), "moved")
    caller, callee = pair(net, "caller")
    contact = "Contact: <sip:moved@192.0.2.2:5099>"
    request = caller.request(method, body=SDP, contact=False, headers=contact)
    if method == "INVITE":
        net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request(method), status, body=SDP if status == 200 else b"")
    net.pbx.take(status)
    if method == "INVITE":
        (caller.ack if status == 200 else caller.ack_refusal)(request)
    net.carrier.forget()
    callee.request("INFO", contact=False)
    (moved if status == 200 else net.pbx).take("INFO")


def test_a_reinvite_without_contact_leaves_with_ours_3261_8_1_1_8() -> None:
    net = Net()
    caller, _callee = pair(net, "caller")
    caller.request("INVITE", body=SDP, contact=False)
    net.pbx.take(100)
    assert text(net.carrier.take_request("INVITE"), b"Contact") == "<sip:192.0.2.1:5060>"
