"""How calls end: BYE from either side, at bad moments, challenged, or never answered (RFC 3261 15)."""

from __future__ import annotations

from tests.helpers import SDP, End, Net, establish, hang_up, text


def test_the_caller_hangs_up() -> None:
    net = Net()
    caller, callee = establish(net)
    net.run(10)
    caller.request("BYE", headers="Reason: Q.850;cause=16\nX-Stats: 1,2", contact=False)
    bye = net.carrier.take_request("BYE")
    assert (text(bye, b"Reason"), text(bye, b"x-stats")) == ("Q.850;cause=16", "1,2")
    assert (bye.call_id.decode(), bye.from_tag != callee.local, bye.cseq[0]) == (callee.call_id, True, 2)
    net.pbx.nothing()  # the 200 comes from the other side
    net.carrier.reply(bye, 200, "Bye then", headers="X-Stats: 3,4")
    response = net.pbx.take_response(200)
    assert (response.phrase, text(response, b"x-stats")) == (b"Bye then", "3,4")
    record = net.only_record
    assert (record.ended_by, record.end_reason) == ("caller", "bye")
    assert record.ended_at - record.answered_at == 10
    net.assert_all_freed()


def test_the_callee_hangs_up() -> None:
    net = Net()
    caller, callee = establish(net)
    callee.request("BYE", headers='Reason: SIP;cause=607;text="Unwanted"', contact=False)
    bye = net.pbx.take_request("BYE")
    assert text(bye, b"Reason") == 'SIP;cause=607;text="Unwanted"'  # RFC 8197 3: after the answer
    assert (bye.call_id.decode(), bye.uri) == (caller.call_id, b"sip:pbx@192.0.2.2:5060")
    net.pbx.reply(bye, 200)
    net.carrier.take(200)
    assert net.only_record.ended_by == "callee"
    net.assert_all_freed()


def test_a_bye_that_comes_again_is_passed_once_and_its_answer_repeated() -> None:
    net = Net()
    caller, _callee = establish(net)
    bye = caller.request("BYE", contact=False)
    passed = net.carrier.take_request("BYE")
    net.pbx.again(bye)
    net.carrier.nothing()
    net.carrier.reply(passed, 200)
    net.pbx.take(200)
    net.pbx.again(bye)
    net.pbx.take(200)
    net.carrier.nothing()
    net.assert_all_freed()


def test_after_the_bye_the_dialogs_are_gone() -> None:
    net = Net()
    caller, callee = establish(net)
    hang_up(caller, callee)
    for end in (caller, callee):
        for method in ("BYE", "INFO", "INVITE", "UPDATE"):
            end.request(method)
            end.peer.take(481)
    net.assert_all_freed()


def test_while_a_bye_is_under_way_nothing_else_passes_3261_15_1_2() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("BYE", contact=False)
    bye = net.carrier.take_request("BYE")
    callee.request("INFO", contact=False)
    net.carrier.take(481)
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_bye_that_overtakes_the_ack_still_acknowledges_the_answer() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    caller = End.of_caller(net.pbx, invite, answer)
    caller.request("BYE", contact=False)
    net.carrier.take("ACK")  # a UAS may not hang up, nor be hung up on, without it (RFC 3261 15)
    bye = net.carrier.take_request("BYE")
    net.pbx.ack(invite, answer)  # here it comes
    net.carrier.nothing()
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    net.run(30)
    net.pbx.nothing()  # the 2xx is not repeated any more
    net.assert_all_freed()


def test_the_callee_hangs_up_before_the_ack() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    answer = net.pbx.take_response(200)
    End.of_callee(net.carrier, offer).request("BYE", contact=False)
    net.carrier.take("ACK")
    bye = net.pbx.take_request("BYE")
    net.pbx.ack(invite, answer)
    net.pbx.reply(bye, 200)
    net.carrier.take(200)
    net.run(30)
    net.pbx.nothing()
    net.assert_all_freed()


def test_both_sides_hang_up_at_once() -> None:
    net = Net()
    caller, callee = establish(net)
    caller.request("BYE", contact=False)
    to_callee = net.carrier.take_request("BYE")
    callee.request("BYE", contact=False)
    net.carrier.take(200)
    net.pbx.nothing()  # the caller has said it already
    net.carrier.reply(to_callee, 481)
    net.pbx.take(481)
    assert (net.only_record.ended_by, net.only_record.end_reason) == ("caller", "bye")
    net.assert_all_freed()


def test_a_bye_that_is_refused_ends_the_call_all_the_same_3261_15_1_1() -> None:
    for status in (403, 481, 500, 603):
        net = Net()
        caller, _callee = establish(net)
        caller.request("BYE", contact=False)
        net.carrier.reply(net.carrier.take_request("BYE"), status)
        net.pbx.take(status)  # an answer inside a dialog is never rewritten
        assert net.only_record.ended_by == "caller"
        net.assert_all_freed()


def test_a_challenged_bye_comes_again_with_credentials_3261_22() -> None:
    for status, challenge, credentials in (
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ):
        net = Net()
        caller, _callee = establish(net)
        caller.request("BYE", contact=False)
        bye = net.carrier.take_request("BYE")
        net.carrier.reply(bye, status, headers=f'{challenge}: Digest realm="c", nonce="n"')
        assert text(net.pbx.take_response(status), challenge.encode()) == 'Digest realm="c", nonce="n"'
        assert len(net.core.calls) == 1
        net.run(5)
        caller.request("INFO", contact=False)  # the call stands
        net.carrier.reply(net.carrier.take_request("INFO"), 200)
        net.pbx.take(200)
        caller.request("BYE", headers=f'{credentials}: Digest username="u"', contact=False)
        again = net.carrier.take_request("BYE")
        assert text(again, credentials.encode()) == 'Digest username="u"'
        assert again.cseq[0] > bye.cseq[0]
        net.carrier.reply(again, 200)
        net.pbx.take(200)
        record = net.only_record
        assert (record.ended_by, record.ended_at - record.answered_at) == ("caller", 5)
        net.assert_all_freed()


def test_a_challenged_bye_before_the_ack_leaves_the_call_standing() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(200))
    callee = End.of_callee(net.carrier, offer)
    caller.request("BYE", contact=False)
    net.carrier.take("ACK")
    net.carrier.reply(net.carrier.take_request("BYE"), 407)
    net.pbx.take(407)
    net.run(60)
    hang_up(callee, caller)
    net.assert_all_freed()


def test_a_bye_that_nobody_answers_ends_the_call_after_64_t1_and_gets_no_408_4320() -> None:
    net = Net()
    caller, _callee = establish(net)
    caller.request("BYE", contact=False)
    net.run(31.9)
    assert len(net.core.calls) == 1
    net.run(0.2)
    assert not net.core.calls
    assert {message.method for message in net.carrier.inbox} == {b"BYE"}
    net.pbx.nothing()
    record = net.only_record
    assert (record.ended_by, record.end_reason) == ("caller", "bye")
    assert record.ended_at == record.answered_at  # the call was over when the caller said so
    net.assert_all_freed()


def test_a_provisional_answer_to_a_bye_does_not_pass_4320_4_1() -> None:
    net = Net()
    caller, _callee = establish(net)
    caller.request("BYE", contact=False)
    bye = net.carrier.take_request("BYE")
    for status in (100, 182):
        net.carrier.reply(bye, status)
        net.pbx.nothing()
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    net.assert_all_freed()
