"""A trunk on which the gateway has an account: it answers 401 and 407 itself (RFC 3261 22, RFC 8760)."""

from __future__ import annotations

import pytest

from tests.b2bua.account import (
    ACCOUNT,
    HEADERS,
    WITH_ACCOUNT,
    asks,
    challenge,
    credentials,
    establish_with_account,
)
from tests.helpers import HUNTING, SDP, End, Net, establish, hang_up, text

HUNTING_WITH_ACCOUNT = HUNTING.replace('name = "carrier"\n', f'name = "carrier"\n{ACCOUNT}')


# -- INVITE ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 407])
def test_an_invite_is_repeated_with_credentials_and_the_next_cseq_3261_22_2_22_3(status: int) -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.pbx.invite(headers="X-Own: 1")
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    assert HEADERS[status][1] not in first.index
    challenge(net, first, status)
    again = net.carrier.take_request("INVITE")
    assert credentials(again, status)[b"nc"] == b"00000001"
    assert (again.call_id, again.from_tag, again.uri) == (first.call_id, first.from_tag, first.uri)
    assert (again.cseq[0], again.to_tag) == (first.cseq[0] + 1, b"")
    assert again.via.branch != first.via.branch
    assert (again.body, text(again, b"x-own")) == (SDP, "1")
    assert (again.max_forwards, text(again, b"X-CID")) == (69, invite.call_id.decode())
    net.pbx.nothing()  # hears of no challenge
    net.carrier.reply(again, 180)
    net.pbx.take(180)
    net.carrier.reply(again, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    ack = net.carrier.take_request("ACK")
    assert ack.cseq[0] == again.cseq[0]
    hang_up(End.of_callee(net.carrier, again), End.of_caller(net.pbx, invite, answer))
    net.assert_all_freed()


def test_the_ack_of_a_2xx_carries_the_credentials_of_its_invite_3261_22_1() -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"), 407)
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 200, body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    ack = net.carrier.take_request("ACK")
    assert ack.index[b"Proxy-Authorization"] == again.index[b"Proxy-Authorization"]


def test_the_ack_of_a_rejection_carries_the_credentials_of_its_invite_3261_22_1() -> None:
    """Those of each INVITE that is refused on the way, and of a re-INVITE."""
    net = Net(WITH_ACCOUNT)
    net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.carrier.reply(first, 407, headers=asks(407, "proxy"))
    assert not net.carrier.take_request("ACK").has(b"Proxy-Authorization")
    for status in (401, 486):
        invite = net.carrier.take_request("INVITE")
        net.carrier.reply(invite, status, headers=asks(401, "peer") if status == 401 else "")
        ack = net.carrier.take_request("ACK")
        for _, header in HEADERS.values():
            assert ack.lines(header) == invite.lines(header)
    assert ack.has(b"Authorization")
    assert ack.has(b"Proxy-Authorization")
    net.pbx.take(486)
    net.carrier.reply(invite, 486)
    assert net.carrier.take_request("ACK").rows == ack.rows

    net = Net(WITH_ACCOUNT)
    caller, _, _ = establish_with_account(net)
    caller.request("INVITE", body=SDP)
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 488)
    ack = net.carrier.take_request("ACK")
    assert ack.lines(b"Authorization") == again.lines(b"Authorization") != []


def test_a_proxy_and_the_peer_behind_it_are_both_answered_3261_22_3() -> None:
    net = Net(WITH_ACCOUNT)
    net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"), 407, "proxy")
    second = net.carrier.take_request("INVITE")
    assert credentials(second, 407)[b"nonce"] == b"proxy"
    challenge(net, second, 401, "peer")
    third = net.carrier.take_request("INVITE")
    assert (credentials(third, 407)[b"nc"], credentials(third, 401)[b"nc"]) == (b"00000002", b"00000001")
    assert third.cseq[0] == 3
    net.carrier.reply(third, 486)
    net.pbx.take(486)


def test_auth_int_covers_the_body_7616_3_4_3() -> None:
    net = Net(WITH_ACCOUNT)
    net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"), more=', qop="auth-int"')
    assert credentials(net.carrier.take_request("INVITE"))[b"qop"] == b"auth-int"


def test_the_nonce_that_served_last_is_sent_ahead_and_counted_7616_3_4() -> None:
    net = Net(WITH_ACCOUNT)
    caller, callee, answered = establish_with_account(net)
    assert credentials(answered)[b"nc"] == b"00000001"
    caller.request("BYE", contact=False)
    bye = net.carrier.take_request("BYE")
    assert (credentials(bye)[b"nc"], bye.cseq[0]) == (b"00000002", answered.cseq[0] + 1)
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    net.pbx.invite()
    net.pbx.take(100)
    invite = net.carrier.take_request("INVITE")
    assert credentials(invite)[b"nc"] == b"00000003"  # the next call needs no challenge
    net.carrier.reply(invite, 486)
    net.pbx.take(486)
    assert callee.peer is net.carrier


@pytest.mark.parametrize("stale", ["", ", stale=true"])
def test_credentials_of_an_old_nonce_are_made_anew_once_7616_3_3(stale: str) -> None:
    net = Net(WITH_ACCOUNT)
    caller, _callee, _ = establish_with_account(net)
    caller.request("BYE", contact=False)
    challenge(net, net.carrier.take_request("BYE"), nonce="n2", more=f', qop="auth"{stale}')
    bye = net.carrier.take_request("BYE")
    params = credentials(bye)
    assert (params[b"nonce"], params[b"nc"]) == (b"n2", b"00000001")
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    net.assert_all_freed()


# -- refused -----------------------------------------------------------------------------------------------


def test_a_wrong_password_is_told_as_403_without_the_challenge() -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"))
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 401, headers=asks(nonce="n2"))
    net.carrier.take("ACK")
    net.carrier.nothing()  # once for each fresh nonce, and no more
    response = net.pbx.take_response(403)
    assert b"WWW-Authenticate" not in response.index
    assert text(response, b"Reason") == 'SIP;cause=401;text="Unauthorized"'
    net.pbx.ack(invite, response)
    assert net.only_record.original_status == 403
    trunk = net.core.setup.trunks.by_name["carrier"]
    assert trunk.account is not None
    assert trunk.account.refused == 1
    # What failed is not sent ahead of the next request.
    net.pbx.invite()
    net.pbx.take(100)
    assert b"Authorization" not in net.carrier.take_request("INVITE").index


def test_a_nonce_that_is_asked_for_twice_is_answered_once() -> None:
    net = Net(WITH_ACCOUNT)
    net.pbx.request("MESSAGE", contact=False)
    challenge(net, net.carrier.take_request("MESSAGE"))
    again = net.carrier.take_request("MESSAGE")
    credentials(again)
    challenge(net, again)
    net.carrier.nothing()
    net.pbx.take(403)
    net.assert_all_freed()


def test_a_nonce_that_was_sent_ahead_and_is_asked_for_again_is_refused() -> None:
    net = Net(WITH_ACCOUNT)
    caller, _callee, _ = establish_with_account(net)
    caller.request("INFO", contact=False)
    info = net.carrier.take_request("INFO")
    assert credentials(info)[b"nonce"] == b"n1"
    challenge(net, info, nonce="n1")
    net.carrier.nothing()
    net.pbx.take(403)


def test_nonces_that_are_always_stale_end_after_four_answers() -> None:
    net = Net(WITH_ACCOUNT)
    net.pbx.request("MESSAGE", contact=False)
    for number in range(5):
        request = net.carrier.take_request("MESSAGE")
        challenge(net, request, nonce=f"n{number}", more=", stale=true")
    net.carrier.nothing()
    net.pbx.take(403)
    net.assert_all_freed()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "WWW-Authenticate: Bearer realm=x",
        'WWW-Authenticate: Digest realm="a',
        'WWW-Authenticate: Digest realm="a", nonce="' + "x" * 3000 + '"',
        'WWW-Authenticate: Digest realm="a", nonce="b", algorithm=MD17',
        "WWW-Authenticate: Digest \x00,,,;=",
    ],
)
def test_a_challenge_that_cannot_be_answered_is_an_ordinary_rejection(header: str) -> None:
    net = Net(HUNTING_WITH_ACCOUNT)
    net.pbx.invite()
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 401, headers=header)
    net.carrier.take("ACK")
    net.carrier.nothing()
    offer = net.backup.take_request("INVITE")  # a 403 speaks of this account only: the hunt goes on
    net.backup.reply(offer, 486)
    net.backup.take("ACK")
    net.pbx.take(486)


def test_a_rule_may_judge_the_403_of_a_refused_account() -> None:
    rule = 'version = 1\n[[rule]]\nname = "r"\nwhen.status = 403\nwhen.sip_cause = 407\nthen.status = 480\n'
    net = Net(WITH_ACCOUNT, rule)
    net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"), 407)
    challenge(net, net.carrier.take_request("INVITE"), 407, "n2")
    net.pbx.take(480)


# -- CANCEL ------------------------------------------------------------------------------------------------


def test_a_cancel_after_the_challenge_cancels_the_invite_that_was_repeated_3261_9_1() -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"))
    again = net.carrier.take_request("INVITE")
    net.pbx.cancel(invite)
    net.pbx.take(200)
    net.pbx.take(487)
    net.carrier.nothing()  # a CANCEL waits for the first provisional response
    net.carrier.reply(again, 180)
    cancel = net.carrier.take_request("CANCEL")
    assert (cancel.via.branch, cancel.cseq[0]) == (again.via.branch, again.cseq[0])
    assert not {b"Authorization", b"Proxy-Authorization"} & set(cancel.index)  # 3261 22.1
    net.carrier.reply(cancel, 200)
    net.carrier.reply(again, 487)
    net.carrier.take("ACK")
    net.assert_all_freed()


def test_a_challenge_to_a_cancelled_invite_is_not_answered() -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.pbx.cancel(invite)
    net.pbx.take(200)
    net.pbx.take(487)
    challenge(net, first)
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_cancelled_reinvite_that_is_challenged_ends_as_487() -> None:
    net = Net(WITH_ACCOUNT)
    caller, _callee = establish(net)
    reinvite = caller.request("INVITE", body=SDP)
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    net.carrier.reply(got, 100)
    net.pbx.cancel(reinvite)
    net.pbx.take(200)
    cancel = net.carrier.take_request("CANCEL")
    net.carrier.reply(cancel, 200)
    challenge(net, got)
    net.carrier.nothing()
    net.pbx.take(487)


# -- inside a dialog ---------------------------------------------------------------------------------------


def test_a_reinvite_is_repeated_and_its_cancel_follows_it_3261_14_1() -> None:
    net = Net(WITH_ACCOUNT)
    caller, callee = establish(net)
    reinvite = caller.request("INVITE", body=SDP)
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    challenge(net, first)
    again = net.carrier.take_request("INVITE")
    assert credentials(again)
    assert (again.cseq[0], again.to_tag) == (first.cseq[0] + 1, first.to_tag)
    net.carrier.reply(again, 180)
    net.pbx.take(180)
    net.pbx.cancel(reinvite)
    net.pbx.take(200)
    cancel = net.carrier.take_request("CANCEL")
    assert (cancel.via.branch, cancel.cseq[0]) == (again.via.branch, again.cseq[0])
    net.carrier.reply(cancel, 200)
    net.carrier.reply(again, 487)
    net.carrier.take("ACK")
    net.pbx.take(487)
    hang_up(callee, caller)
    net.assert_all_freed()


def test_the_ack_of_a_reinvite_carries_its_credentials_and_cseq() -> None:
    net = Net(WITH_ACCOUNT)
    caller, _callee, _ = establish_with_account(net)
    reinvite = caller.request("INVITE", body=SDP)
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"), nonce="n2")
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 200, body=SDP)
    net.pbx.take(200)
    caller.ack(reinvite)
    ack = net.carrier.take_request("ACK")
    assert ack.cseq[0] == again.cseq[0]
    assert ack.index[b"Authorization"] == again.index[b"Authorization"]
    assert credentials(again)[b"nonce"] == b"n2"


def test_a_prack_names_the_invite_that_was_answered_3262_7_2() -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.pbx.invite(headers="Supported: 100rel")
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"))
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 183, headers="Require: 100rel\nRSeq: 7")
    early = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    early.request("PRACK", headers=f"RAck: 7 {invite.cseq[0]} INVITE")
    prack = net.carrier.take_request("PRACK")
    assert text(prack, b"RAck") == f"7 {again.cseq[0]} INVITE"
    assert credentials(prack)[b"nc"] == b"00000002"
    net.carrier.reply(prack, 200)
    net.pbx.take(200)
    net.carrier.reply(again, 200, body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    ack = net.carrier.take_request("ACK")
    assert ack.index[b"Authorization"] == again.index[b"Authorization"]  # not the PRACK's


def test_a_prack_of_a_reinvite_names_the_one_that_was_answered_3262_7_2() -> None:
    net = Net(WITH_ACCOUNT)
    caller, _callee = establish(net)
    reinvite = caller.request("INVITE", body=SDP)
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"))
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 183, headers="Require: 100rel\nRSeq: 9")
    net.pbx.take(183)
    caller.request("PRACK", headers=f"RAck: 9 {reinvite.cseq[0]} INVITE")
    assert text(net.carrier.take_request("PRACK"), b"RAck") == f"9 {again.cseq[0]} INVITE"


@pytest.mark.parametrize("method", ["UPDATE", "INFO", "MESSAGE", "REFER", "NOTIFY", "OPTIONS", "BYE", "FOO"])
def test_every_request_inside_a_dialog_is_repeated(method: str) -> None:
    net = Net(WITH_ACCOUNT)
    caller, _callee = establish(net)
    caller.request(method, body=b"x" if method != "BYE" else b"")
    first = net.carrier.take_request(method)
    challenge(net, first, 407)
    again = net.carrier.take_request(method)
    assert credentials(again, 407)
    assert (again.body, again.to_tag) == (first.body, first.to_tag)
    assert again.cseq[0] == first.cseq[0] + 1
    net.carrier.reply(again, 200)
    net.pbx.take(200)
    if method != "BYE":
        caller.request("BYE", contact=False)
        net.carrier.reply(net.carrier.take_request("BYE"), 200)
        net.pbx.take(200)
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "OPTIONS", "PUBLISH", "REGISTER", "FOO"])
def test_every_request_outside_a_dialog_is_repeated(method: str) -> None:
    net = Net(WITH_ACCOUNT)
    net.pbx.request(method, uri="sip:somebody@192.0.2.1", body=b"hello")
    first = net.carrier.take_request(method)
    challenge(net, first)
    again = net.carrier.take_request(method)
    assert credentials(again)
    assert (again.call_id, again.body, again.cseq[0]) == (first.call_id, b"hello", 2)
    net.carrier.reply(again, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_bye_of_our_own_is_repeated_too() -> None:
    net = Net(WITH_ACCOUNT.replace(ACCOUNT, f'{ACCOUNT}max_duration = "60s"\n'))
    establish(net)
    net.run(60.2)
    net.pbx.take("BYE")
    challenge(net, net.carrier.take_request("BYE"))
    bye = net.carrier.take_request("BYE")
    assert credentials(bye)
    net.carrier.reply(bye, 200)


def test_the_bye_of_an_answer_that_came_too_late_is_repeated_too() -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.pbx.cancel(invite)
    net.carrier.take("CANCEL")
    net.carrier.reply(offer, 200, body=SDP)
    net.carrier.take("ACK")
    challenge(net, net.carrier.take_request("BYE"))
    bye = net.carrier.take_request("BYE")
    assert credentials(bye)
    net.carrier.reply(bye, 200)


def test_requests_of_the_trunk_itself_need_no_credentials() -> None:
    net = Net(WITH_ACCOUNT)
    invite = net.carrier.invite()
    net.carrier.take(100)
    got = net.pbx.take_request("INVITE")
    assert b"Authorization" not in got.index
    net.pbx.reply(got, 486)
    net.carrier.ack(invite, net.carrier.take_response(486))


def test_silence_after_the_challenge_is_a_408_3261_8_1_3_1() -> None:
    net = Net(WITH_ACCOUNT)
    net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"))
    net.run(33)
    net.pbx.take(408)


# -- what passes -------------------------------------------------------------------------------------------


def test_credentials_of_the_caller_do_not_reach_a_trunk_with_an_account() -> None:
    net = Net(WITH_ACCOUNT)
    headers = 'Authorization: Digest username="u"\nProxy-Authorization: Digest username="u"'
    net.pbx.invite(headers=headers)
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    assert not {b"Authorization", b"Proxy-Authorization"} & set(got.index)


def test_authentication_info_of_our_account_stays_with_us() -> None:
    net = Net(WITH_ACCOUNT)
    net.pbx.request("MESSAGE", contact=False)
    challenge(net, net.carrier.take_request("MESSAGE"))
    again = net.carrier.take_request("MESSAGE")
    net.carrier.reply(again, 200, headers='Authentication-Info: qop=auth, nextnonce="x"')
    assert b"Authentication-Info" not in net.pbx.take_response(200).index


@pytest.mark.parametrize("status", [401, 407])
def test_without_an_account_challenge_and_answer_pass_unchanged_3261_22_3(status: int) -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    asked = asks(status) + '\nProxy-Authenticate: Digest realm="\\"x\\"",nonce=y ,  stale=FALSE'
    net.carrier.reply(net.carrier.take_request("INVITE"), status, headers=asked)
    net.carrier.take("ACK")
    response = net.pbx.take_response(status)
    got = [
        line.decode() for key, line in response.rows if key in (b"WWW-Authenticate", b"Proxy-Authenticate")
    ]
    assert got == asked.split("\n")
    net.pbx.ack(invite, response)
    answer = (
        f'{HEADERS[status][1].decode()}: Digest  username="u",realm="carrier",uri="sip:1001@192.0.2.1",'
        'response="0123",nc=00000001'
    )
    net.pbx.invite(call_id=invite.call_id.decode(), seq=2, headers=answer)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.lines(HEADERS[status][1]) == [answer.encode()]
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
