"""Transfer through the gateway: REFER, its NOTIFYs, and INVITEs that replace or join (RFC 5589, RFC 3891)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from gateway.sip.uri import unescape
from tests.b2bua.account import WITH_ACCOUNT, challenge
from tests.helpers import CONFIG, SDP, End, Net, Peer, establish, give_up, hang_up, text

from .test_aiming import two_addresses
from .test_naming import known_to, named_by
from .watched import hide

FIRST = "Subscription-State: active;expires=60"
LAST = "Subscription-State: terminated;reason=noresource"
BY_NUMBER = CONFIG.replace(
    "[[route]]", '[[route]]\nfrom = ["pbx"]\ncalled.prefix = "2"\nto = ["backup"]\n[[route]]', 1
)
TRYING, DONE = b"SIP/2.0 100 Trying\r\n", b"SIP/2.0 200 OK\r\n"
NAMES = {"caller": 0, "callee": 1}


def escaped(value: str) -> str:
    return value.replace(";", "%3B").replace("=", "%3D").replace("@", "%40")


def refer(by: End, to: End, headers: str = "Refer-To: <sip:2002@192.0.2.9>", status: int = 202) -> Request:
    """Play a REFER in a call and its answer; return it as it was sent."""
    sent = by.request("REFER", headers=headers)
    to.peer.reply(to.peer.take_request("REFER"), status)
    by.peer.take(status)
    return sent


def tell(by: End, to: End, state: str, frag: bytes, event: str = "Event: refer") -> Request:
    """Play the NOTIFY of a REFER's outcome; return it as the referrer got it."""
    by.request("NOTIFY", headers=f"{event}\n{state}", body=frag)
    got = to.peer.take_request("NOTIFY")
    assert got.body == frag
    to.peer.reply(got, 200)
    by.peer.take(200)
    return got


@pytest.mark.parametrize("hanging_up", ["referrer", "referee"])
@pytest.mark.parametrize("asking", NAMES)
def test_the_referrer_hears_the_outcome_after_the_call_has_ended_5057_4_1(
    asking: str, hanging_up: str
) -> None:
    net = Net()
    ends = establish(net)
    referrer, referee = ends[NAMES[asking]], ends[1 - NAMES[asking]]
    refer(referrer, referee)
    tell(referee, referrer, FIRST, TRYING)
    hang_up(*(referrer, referee) if hanging_up == "referrer" else (referee, referrer))
    assert net.only_record.end_reason == "bye"
    tell(referee, referrer, FIRST, b"SIP/2.0 180 Ringing\r\n")
    for method in ("INVITE", "BYE", "INFO"):  # the call itself is over
        referrer.request(method)
        referrer.peer.take(481)
    referrer.request("ACK", referrer.seq - 2, contact=False)
    tell(referee, referrer, LAST, DONE)
    assert not net.endpoint.dialogs
    referee.request("NOTIFY", headers=f"Event: refer\n{LAST}")
    referee.peer.take(481)
    referrer.peer.nothing()
    net.assert_all_freed()


def test_the_outcome_may_come_while_the_bye_is_on_its_way() -> None:
    net = Net()
    referrer, referee = establish(net)
    refer(referrer, referee)
    referrer.request("BYE", contact=False)
    bye = net.carrier.take_request("BYE")
    tell(referee, referrer, LAST, DONE)
    referee.request("INFO")
    net.carrier.take(481)
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    assert not net.endpoint.dialogs
    net.assert_all_freed()


def test_an_outcome_that_never_comes_frees_the_dialog_in_bounded_time() -> None:
    net = Net()
    referrer, referee = establish(net)
    refer(referrer, referee)
    hang_up(referrer, referee)
    net.run(33)
    assert not net.endpoint.dialogs
    net.assert_all_freed()
    net = Net()
    referrer, referee = establish(net)
    refer(referrer, referee)
    tell(referee, referrer, "Subscription-State: active;expires=4000000000", TRYING)
    hang_up(referrer, referee)
    net.run(86_400)
    assert net.endpoint.dialogs
    net.run(40)
    assert not net.endpoint.dialogs
    net.assert_all_freed()


@pytest.mark.parametrize("status", [603, 403, 481])
def test_a_refused_refer_leaves_nothing_behind_the_call_3515_2_4_2(status: int) -> None:
    net = Net()
    referrer, referee = establish(net)
    refer(referrer, referee, status=status)
    hang_up(referrer, referee)
    assert not net.endpoint.dialogs
    net.assert_all_freed()


def test_refer_sub_false_leaves_nothing_behind_the_call_4488_4() -> None:
    net = Net()
    referrer, referee = establish(net)
    referrer.request("REFER", headers="Refer-To: <sip:2@192.0.2.9>\nRefer-Sub: false\nRequire: norefersub")
    got = net.carrier.take_request("REFER")
    assert (text(got, b"Refer-Sub"), text(got, b"Require")) == ("false", "norefersub")
    net.carrier.reply(got, 200, headers="Refer-Sub: false")
    assert text(net.pbx.take_response(200), b"Refer-Sub") == "false"
    hang_up(referrer, referee)
    assert not net.endpoint.dialogs
    net.assert_all_freed()


def test_the_ids_of_several_refers_are_their_cseq_numbers_on_either_leg_3515_2_4_6() -> None:
    net = Net()
    referrer, referee = establish(net, seq=4000)
    sent = [refer(referrer, referee), refer(referrer, referee)]
    assert [request.cseq[0] for request in sent] == [4001, 4002]
    told = tell(referee, referrer, LAST, DONE, "Event: refer;id=3")  # as the referee has counted it
    assert text(told, b"Event") == "refer;id=4002"
    told = tell(referee, referrer, FIRST, TRYING, "o: refer ; id=2")
    assert text(told, b"Event").replace(" ", "") == "refer;id=4001"
    referrer.request("SUBSCRIBE", headers="Event: refer;id=4001\nExpires: 0")
    got = net.carrier.take_request("SUBSCRIBE")
    assert text(got, b"Event") == "refer;id=2"
    net.carrier.reply(got, 200, headers="Expires: 0")
    net.pbx.take(200)
    hang_up(referrer, referee)
    tell(referee, referrer, LAST, DONE)
    assert not net.endpoint.dialogs
    net.assert_all_freed()


@pytest.mark.parametrize("overtaking", [False, True])
def test_the_id_of_a_challenged_refer_is_the_number_of_the_one_that_was_accepted_3515_2_4_6(
    overtaking: bool,
) -> None:
    net = Net(WITH_ACCOUNT)
    referrer, referee = establish(net)
    sent = referrer.request("REFER", headers="Refer-To: <sip:2002@192.0.2.9>")
    first = net.carrier.take_request("REFER")
    referrer.request("INFO")  # takes the number after it
    net.carrier.reply(net.carrier.take_request("INFO"), 200)
    net.pbx.take(200)
    challenge(net, first)
    again = net.carrier.take_request("REFER")
    assert again.cseq[0] == first.cseq[0] + 2
    event = f"Event: refer;id={again.cseq[0]}"
    if not overtaking:
        net.carrier.reply(again, 202)
        net.pbx.take(202)
    told = tell(referee, referrer, FIRST, TRYING, event)
    assert text(told, b"Event") == f"refer;id={sent.cseq[0]}"
    if overtaking:
        net.carrier.reply(again, 202)
        net.pbx.take(202)
    hang_up(referrer, referee)
    net.run(40)  # longer than a first NOTIFY is waited for
    told = tell(referee, referrer, LAST, DONE, event)
    assert text(told, b"Event") == f"refer;id={sent.cseq[0]}"
    assert not net.endpoint.dialogs
    net.assert_all_freed()


def test_a_refresh_of_a_challenged_refer_names_it_as_the_referee_knows_it_3515_2_4_4() -> None:
    net = Net(WITH_ACCOUNT)
    referrer, referee = establish(net)
    sent = referrer.request("REFER", headers="Refer-To: <sip:2002@192.0.2.9>")
    challenge(net, net.carrier.take_request("REFER"))
    again = net.carrier.take_request("REFER")
    net.carrier.reply(again, 202)
    net.pbx.take(202)
    tell(referee, referrer, FIRST, TRYING)
    referrer.request("SUBSCRIBE", headers=f"Event: refer;id={sent.cseq[0]}\nExpires: 60")
    assert text(net.carrier.take_request("SUBSCRIBE"), b"Event") == f"refer;id={again.cseq[0]}"


def test_the_id_of_a_refer_that_went_to_the_next_address_is_its_number_there_3263_4_3() -> None:
    net, first, second, referrer, referee = two_addresses()
    sent = referrer.request("REFER", headers="Refer-To: <sip:2002@192.0.2.9>")
    first.reply(first.take_request("REFER"), 503)
    again = second.take_request("REFER")
    second.reply(again, 202)
    net.pbx.take(202)
    told = tell(referee, referrer, LAST, DONE, f"Event: refer;id={again.cseq[0]}")
    assert text(told, b"Event") == f"refer;id={sent.cseq[0]}"
    assert not net.core.subscriptions


def test_a_refer_in_an_early_dialog_ends_with_it() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(180))
    callee = End.of_callee(net.carrier, offer)
    refer(caller, callee)
    tell(callee, caller, FIRST, TRYING)
    give_up(net, invite)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    assert not net.endpoint.dialogs
    net.assert_all_freed()


# -- blind transfer ----------------------------------------------------------------------------------------


def test_a_blind_transfer_from_end_to_end_5589_6_1() -> None:
    """A refers B, behind the gateway, to C; B calls C through the gateway and tells A of it."""
    net = Net()
    a, b = establish(net)
    refer(a, b, "Refer-To: <sip:2002@192.0.2.1>\nReferred-By: <sip:a@192.0.2.2>")
    tell(b, a, FIRST, TRYING)
    hang_up(a, b)
    new, c = establish(net, net.carrier, net.pbx, headers="Referred-By: <sip:a@192.0.2.2>")
    tell(b, a, LAST, DONE)
    hang_up(new, c)
    net.assert_all_freed()


# -- INVITEs that name a dialog of ours --------------------------------------------------------------------


def take_over(net: Net, by: Peer, replaces: str, to: End, uri: str) -> tuple[End, End]:
    """Play an INVITE with Replaces that C answers, and the BYE in the dialog that it replaces."""
    invite = by.invite(uri=uri, headers=f"Replaces: {replaces}\nRequire: replaces")
    by.take(100)
    got = to.peer.take_request("INVITE")
    name, _, rest = text(got, b"Replaces").partition(";")
    wanted = known_to(to, "Replaces").partition(";")
    assert (name, set(rest.split(";"))) == (wanted[0], set(wanted[2].split(";")))
    host, port = to.peer.address
    assert got.uri.decode() == f"sip:{to.peer.user}@{host}:{port}"  # the remote target of the dialog
    to.peer.reply(got, 200, tag="replaced", body=SDP)
    answer = by.take_response(200)
    by.ack(invite, answer)
    to.peer.take("ACK")
    return End.of_caller(by, invite, answer), End.of_callee(to.peer, got, "replaced")


@pytest.mark.parametrize("hiding", [(), ("carrier",), ("pbx", "carrier", "backup")])
@pytest.mark.parametrize("together", [True, False])
def test_an_attended_transfer_from_end_to_end_5589_7(together: bool, hiding: tuple[str, ...]) -> None:
    """A calls B and C through the gateway and refers B to C. B's INVITE replaces A at C, although what A
    knows of C is the gateway's Contact, which names nobody. ``together``: B and C are behind one trunk.
    ``hiding``: who sees no names of the others' dialogs.
    """
    net = Net(hide(BY_NUMBER, *hiding))
    a_b, b = establish(net)
    number, callee = ("1001", net.carrier) if together else ("2002", net.backup)
    a_c, c = establish(net, callee=callee, uri=f"sip:{number}@192.0.2.1")
    assert a_c.target == "sip:192.0.2.1:5060"
    a_b.request("REFER", headers=f"Refer-To: <{a_c.target}?Replaces={escaped(named_by(a_c, 'Replaces'))}>")
    got = net.carrier.take_request("REFER")
    uri, _, replaces = text(got, b"Refer-To").strip("<>").partition("?Replaces=")
    assert not hiding or a_c.call_id not in replaces
    net.carrier.reply(got, 202)
    net.pbx.take(202)
    tell(b, a_b, FIRST, TRYING)
    b_c, c_b = take_over(net, net.carrier, unescape(replaces.encode()).decode(), c, uri)
    hang_up(c, a_c)  # RFC 3891 3: C ends the dialog that was replaced
    tell(b, a_b, LAST, DONE)
    hang_up(a_b, b)
    hang_up(b_c, c_b)
    assert [record.end_reason for record in net.records] == ["bye"] * 3
    net.assert_all_freed()


@pytest.mark.parametrize("uri", ["sip:192.0.2.1:5060", "sip:nobody@192.0.2.1", "sip:somebody@example.com"])
@pytest.mark.parametrize("replaced", NAMES)
def test_an_invite_that_replaces_reaches_the_dialogs_other_end_whatever_its_uri_3891_3(
    replaced: str, uri: str
) -> None:
    net = Net()
    ends = establish(net)
    gone, stays = ends[NAMES[replaced]], ends[1 - NAMES[replaced]]
    new = take_over(net, net.backup, named_by(gone, "Replaces"), stays, uri)
    hang_up(stays, gone)
    hang_up(*new)
    net.assert_all_freed()


@pytest.mark.parametrize("joined", NAMES)
def test_an_invite_that_joins_reaches_the_dialogs_other_end_3911_4(joined: str) -> None:
    net = Net()
    ends = establish(net)
    one, other = ends[NAMES[joined]], ends[1 - NAMES[joined]]
    invite = net.backup.invite(uri="sip:192.0.2.1:5060", headers=f"Join: {named_by(one, 'Join')}")
    net.backup.take(100)
    got = other.peer.take_request("INVITE")
    assert set(text(got, b"Join").split(";")) == set(known_to(other, "Join").split(";"))
    other.peer.reply(got, 486)
    other.peer.take("ACK")
    net.backup.ack(invite, net.backup.take_response(486))
    hang_up(one, other)
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["REFER", "SUBSCRIBE", "MESSAGE", "OPTIONS"])
@pytest.mark.parametrize("sender", NAMES)
def test_a_request_with_target_dialog_reaches_the_dialogs_other_end_4538_4(sender: str, method: str) -> None:
    net = Net()
    ends = establish(net)
    one, other = ends[NAMES[sender]], ends[1 - NAMES[sender]]
    for header in (named_by(one, "Target-Dialog"), known_to(one, "Target-Dialog")):
        one.peer.request(method, uri=one.target, headers=f"Target-Dialog: {header}\nRefer-To: <sip:x@y>")
        got = other.peer.take_request(method)
        # Read from the receiver's side or from the sender's, as the field does: it stays the same side.
        said = named_by if header == known_to(one, "Target-Dialog") else known_to
        assert set(text(got, b"Target-Dialog").split(";")) == set(said(other, "Target-Dialog").split(";"))
        assert not got.to_tag
        other.peer.reply(got, 403)
        one.peer.take(403)
    hang_up(one, other)
    net.assert_all_freed()


def test_a_dialog_named_as_its_own_end_knows_it_is_meant_for_that_end() -> None:
    """Both parties of a call are behind one trunk, and somebody there names one of them (RFC 3891 3)."""
    config = CONFIG.replace('to = ["carrier"]', 'to = ["pbx"]')
    net = Net(config)
    desk = net.peer(("192.0.2.2", 5070), "desk")
    invite = desk.invite()
    desk.take(100)
    got = net.pbx.take_request("INVITE")
    net.pbx.reply(got, 200, body=SDP)
    answer = desk.take_response(200)
    desk.ack(invite, answer)
    net.pbx.take("ACK")
    caller, callee = End.of_caller(desk, invite, answer), End.of_callee(net.pbx, got)
    value = known_to(callee, "Replaces")
    third = net.peer(("192.0.2.2", 5080), "third")
    sent = third.invite(uri="sip:192.0.2.1:5060", headers=f"Replaces: {value}")
    third.take(100)
    offer = net.pbx.take_request("INVITE")
    assert text(offer, b"Replaces") == value
    net.pbx.reply(offer, 486)
    net.pbx.take("ACK")
    third.ack(sent, third.take_response(486))
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_call_that_rings_is_picked_up_at_another_phone_3891_7_1() -> None:
    """The carrier's first phone rings, its second one learns of that and replaces the early dialog: the
    caller takes the new call and cancels its own.
    """
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    caller = End.of_caller(net.pbx, invite, net.pbx.take_response(180))
    ringing = End.of_callee(net.carrier, offer)
    pickup = net.backup.invite(
        uri=ringing.target, headers=f"Replaces: {named_by(ringing, 'Replaces')};early-only"
    )
    net.backup.take(100)
    got = net.pbx.take_request("INVITE")
    assert set(text(got, b"Replaces").split(";")) == {*known_to(caller, "Replaces").split(";"), "early-only"}
    net.pbx.reply(got, 200, body=SDP)
    answer = net.backup.take_response(200)
    net.backup.ack(pickup, answer)
    net.pbx.take("ACK")
    give_up(net, invite)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.backup, pickup, answer), End.of_callee(net.pbx, got))
    net.assert_all_freed()


@pytest.mark.parametrize("header", ["Replaces", "Join"])
def test_our_own_uri_with_a_dialog_that_is_not_gets_481_3891_3(header: str) -> None:
    net = Net()
    ends = establish(net)
    value = named_by(ends[0], header)
    hang_up(*ends)
    invite = net.carrier.invite(uri="sip:192.0.2.1:5060", headers=f"{header}: {value}")
    net.carrier.take(100)
    net.carrier.ack(invite, net.carrier.take_response(481))
    net.pbx.nothing()
    net.carrier.request(
        "REFER", uri="sip:192.0.2.1:5060", headers="Target-Dialog: a;local-tag=b;remote-tag=c"
    )
    net.carrier.take(481)
    net.assert_all_freed()


def test_a_dialog_whose_remote_target_is_no_place_for_us_goes_by_the_routes() -> None:
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, contact=False, headers="Contact: <tel:+123>", body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.forget()
    caller = End.of_caller(net.pbx, invite, answer)
    other = net.pbx.invite(headers=f"Replaces: {named_by(caller, 'Replaces')}")
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    assert got.uri == b"sip:1001@192.0.2.3:5060"
    net.carrier.reply(got, 486)
    net.carrier.take("ACK")
    net.pbx.ack(other, net.pbx.take_response(486))
    hang_up(caller, End.of_callee(net.carrier, offer))
    net.assert_all_freed()


@pytest.mark.parametrize("status", [202, 603])
def test_only_a_refer_that_is_accepted_moves_its_sender_3261_8_2(status: int) -> None:
    net = Net()
    moved = net.peer(("192.0.2.2", 5099), "moved")
    caller, callee = establish(net)
    caller.request("REFER", headers=f"Refer-To: <sip:x@y>\nContact: <{moved.contact}>", contact=False)
    net.carrier.reply(net.carrier.take_request("REFER"), status)
    net.pbx.take(status)
    callee.request("INFO", contact=False)
    (moved if status == 202 else net.pbx).take("INFO")
