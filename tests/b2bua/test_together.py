"""Abilities that meet in one call: streams, accounts, forks, hiding, session timers, reloads, lost flows."""

from __future__ import annotations

import pytest

from gateway.b2bua.registration import State
from gateway.sip.message import Request
from tests.b2bua.account import ACCOUNT, WITH_ACCOUNT, asks, credentials
from tests.b2bua.sessions import ANSWER, UPDATES, call, with_pbx
from tests.b2bua.watched import Watched
from tests.helpers import (
    CARRIER,
    CONFIG,
    PBX,
    SDP,
    End,
    Net,
    Peer,
    establish,
    hang_up,
    make_setup,
    text,
)

TCP = ";transport=tcp"
TCP_ACCOUNT = WITH_ACCOUNT.replace("sip:192.0.2.3:5060", f"sip:192.0.2.3:5060{TCP}")
TLS_ACCOUNT = WITH_ACCOUNT.replace("sip:192.0.2.3:5060", "sip:192.0.2.3:5061;transport=tls")


def carrier(keys: str, config: str = CONFIG) -> str:
    return config.replace('name = "carrier"\n', f'name = "carrier"\n{keys}\n')


def stream_net(config: str, transport: str = "tcp", kind: type[Net] = Net) -> tuple[Net, Peer]:
    net = kind(config, streams=("tcp", "tls"))
    address = CARRIER if transport == "tcp" else (CARRIER[0], 5061)
    net.carrier = net.peer(address, "carrier", transport)
    return net, net.carrier


def challenged(net: Net, method: str, nonce: str = "n1") -> Request:
    """The carrier challenges a request and gets it again with credentials."""
    request = net.carrier.take_repeated(method)
    net.carrier.reply(request, 401, headers=asks(nonce=nonce), tag="" if request.to_tag else "challenge")
    if method == "INVITE":
        net.carrier.take("ACK")
    again = net.carrier.take_request(method)
    assert (again.cseq[0], again.call_id) == (request.cseq[0] + 1, request.call_id)
    credentials(again)
    return again


@pytest.mark.parametrize(("config", "transport"), [(TCP_ACCOUNT, "tcp"), (TLS_ACCOUNT, "tls")])
def test_an_account_over_a_stream_answers_each_challenge_in_a_call_3261_22(
    config: str, transport: str
) -> None:
    net, peer = stream_net(config, transport)
    pbx = net.peer(PBX, "pbx", "tcp")
    invite = pbx.invite()
    pbx.take(100)
    offer = challenged(net, "INVITE")
    peer.reply(offer, 200, body=ANSWER)
    answer = pbx.take_response(200)
    pbx.ack(invite, answer)
    credentials_of_ack = peer.take_request("ACK").need(b"Authorization")
    assert credentials_of_ack == offer.need(b"Authorization")  # RFC 3261 22.1
    caller = End.of_caller(pbx, invite, answer)
    reinvite = caller.request("INVITE", body=SDP)
    pbx.take(100)
    again = challenged(net, "INVITE", "n2")
    peer.reply(again, 200, body=ANSWER)
    caller.ack(reinvite)
    pbx.take(200)
    peer.take("ACK")
    for method in ("UPDATE", "INFO", "BYE"):
        caller.request(method)
        peer.reply(challenged(net, method, f"n-{method}"), 200)
        pbx.take(200)
    net.assert_all_freed()


def test_a_branch_over_tls_that_was_challenged_is_cancelled_as_it_was_sent_again_3261_9_1() -> None:
    both = TLS_ACCOUNT.replace('to = ["carrier"]', 'to = ["carrier", "backup"]\nstrategy = "parallel"', 1)
    net, secure = stream_net(both, "tls")
    net.pbx.invite()
    net.pbx.take(100)
    plain = net.backup.take_request("INVITE")
    offer = challenged(net, "INVITE")
    secure.reply(offer, 180)
    net.pbx.take(180)
    net.backup.reply(plain, 200, body=SDP)
    net.pbx.take(200)
    cancel = secure.take_request("CANCEL")
    assert (cancel.via.branch, cancel.cseq[0]) == (offer.via.branch, offer.cseq[0])
    secure.reply(cancel, 200)
    secure.reply(offer, 487)
    secure.take("ACK")
    net.run(40)
    net.pbx.forget()
    net.backup.forget()
    net.assert_all_freed()


def test_our_own_refresh_and_prack_are_challenged_and_the_peers_hear_nothing_4028_7_4() -> None:
    config = carrier('session_timer = "1800s"\nprack = "local"', WITH_ACCOUNT)
    net = Net(config)
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = challenged(net, "INVITE")
    net.carrier.reply(offer, 183, headers="Require: 100rel\nRSeq: 9", body=ANSWER)
    prack = challenged(net, "PRACK", "n2")
    assert text(prack, b"RAck") == f"9 {offer.cseq[0]} INVITE"
    net.carrier.reply(prack, 200)
    net.pbx.take(183)
    session = "Require: timer\nSession-Expires: 1800;refresher=uac"
    net.carrier.reply(offer, 200, headers=f"{session}\n{UPDATES}", body=ANSWER)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    net.run(901)
    refresh = challenged(net, "UPDATE", "n3")
    net.carrier.reply(refresh, 200, headers=session)
    net.run(890)
    net.pbx.nothing()
    caller = End.of_caller(net.pbx, invite, answer)
    net.carrier.forget()
    caller.request("BYE", contact=False)
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_hidden_sides_stay_hidden_when_the_gateway_refreshes_and_redirects_5853_3_1() -> None:
    config = CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nhide_topology = true\nsession_timer = "90s"\n')
    config = carrier('hide_topology = true\nsession_timer = "90s"\nredirect = "follow"', config)
    net = Watched(config)
    invite = net.pbx.invite(headers=UPDATES)
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    moved = "Contact: <sip:2002@192.0.2.3>\nWarning: 399 10.9.9.1 x\nServer: Softswitch"
    net.carrier.reply(first, 302, headers=moved)
    net.carrier.take("ACK")
    offer = net.carrier.take_request("INVITE")
    assert offer.uri == b"sip:2002@192.0.2.3"
    net.carrier.reply(offer, 302, headers="Contact: <sip:x@10.9.9.7>, <sip:y@core.example>;q=0.3")
    net.carrier.take("ACK")
    passed = net.pbx.take_response(302)
    assert passed.values(b"Contact") == [b"<sip:x@192.0.2.1>, <sip:y@192.0.2.1>;q=0.3"]
    net.pbx.ack(invite, passed)
    caller, callee, *_ = call(net, UPDATES, f"{UPDATES}\nRequire: timer\nSession-Expires: 90;refresher=uac")
    refreshed = 0
    for _ in range(200):
        net.run(1)
        for peer in (net.pbx, net.carrier):
            if peer.inbox:
                session = "Session-Expires: 90;refresher=uac\nServer: Softswitch"
                peer.reply(peer.take_repeated("UPDATE"), 200, headers=session)
                refreshed += 1
    assert refreshed >= 6
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_peer_behind_a_nat_is_kept_to_its_connection_3581_4() -> None:
    net = Net(CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nnat = true\n'), streams=("tcp",))
    pbx = net.peer((PBX[0], 41234), "pbx", "tcp")
    lost = net.peer(("10.0.0.5", 5060), "lost", "tcp")
    invite = pbx.invite(contact=False, headers="Contact: <sip:p@10.0.0.5:5060;transport=tcp>")
    pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    answer = pbx.take_response(200)
    pbx.ack(invite, answer)
    net.carrier.take("ACK")
    End.of_callee(net.carrier, offer).request("BYE", contact=False)
    bye = pbx.take_request("BYE")
    assert bye.uri == b"sip:p@10.0.0.5:5060;transport=tcp"
    pbx.reply(bye, 200)
    net.carrier.take(200)
    lost.nothing()
    net.assert_all_freed()


# -- reloads ------------------------------------------------------------------------------------------------

FULL = carrier(
    f'{ACCOUNT}session_timer = "90s"\nprack = "local"\nhide_topology = true\nnumbers = {{region = "DE"}}'
)
BARE = CONFIG
GONE = CONFIG.replace('name = "carrier"', 'name = "other"').replace('to = ["carrier"]', 'to = ["other"]')


@pytest.mark.parametrize("after", [FULL, BARE, GONE])
@pytest.mark.parametrize("before", [FULL, BARE])
@pytest.mark.parametrize("moment", range(6))
def test_a_reload_in_the_middle_of_a_call_breaks_nothing(before: str, after: str, moment: int) -> None:
    net = Net(before)

    def reload_at(now: int) -> None:
        if now == moment:
            net.core.reload(make_setup(after))
            net.core.begin(net.now)

    invite = net.pbx.invite(headers="Supported: timer, 100rel")
    net.pbx.take(100)
    reload_at(0)
    offer = net.carrier.take_request("INVITE")
    if before == FULL:
        net.carrier.reply(offer, 401, headers=asks(), tag="challenge")
        net.carrier.take("ACK")
        offer = net.carrier.take_request("INVITE")
    reload_at(1)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    reload_at(2)
    net.carrier.reply(offer, 200, body=ANSWER)
    answer = net.pbx.take_response(200)
    reload_at(3)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    reload_at(4)
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    callee.request("INFO")
    net.pbx.reply(net.pbx.take_request("INFO"), 200)
    net.carrier.take(200)
    reload_at(5)
    hang_up(caller, callee)
    assert net.only_record.end_reason == "bye"
    net.assert_all_freed()


# -- lost connections ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["asked", "ringing", "answered", "talking", "reinvited", "hanging up"])
def test_whenever_the_callees_connection_is_lost_the_call_comes_to_an_end_3261_17_1_4(moment: str) -> None:
    net, peer = stream_net(TCP_ACCOUNT)
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = challenged(net, "INVITE")
    if moment == "asked":
        net.lose(CARRIER)
        peer.take("INVITE")  # once more, over another connection
        net.lose(CARRIER)
        net.pbx.ack(invite, net.pbx.take_response(503))
        net.assert_all_freed()
        return
    peer.reply(offer, 180)
    net.pbx.take(180)
    if moment == "ringing":
        net.lose(CARRIER)
        net.pbx.ack(invite, net.pbx.take_response(503))
        net.assert_all_freed()
        return
    peer.reply(offer, 200, body=ANSWER)
    answer = net.pbx.take_response(200)
    if moment == "answered":
        net.lose(CARRIER)
    net.pbx.ack(invite, answer)
    peer.take("ACK")
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(peer, offer)
    if moment == "talking":
        net.lose(CARRIER)
    if moment == "reinvited":
        caller.request("INVITE", body=SDP)
        net.pbx.take(100)
        for _ in range(2):
            peer.take("INVITE")
            net.lose(CARRIER)
        net.pbx.take(503)
    if moment == "hanging up":
        caller.request("BYE", contact=False)
        for _ in range(2):
            peer.take("BYE")
            net.lose(CARRIER)
        net.pbx.take(503)
    else:
        hang_up(caller, callee)
    net.pbx.forget()
    net.assert_all_freed()


def test_a_registration_over_tcp_outlives_a_lost_connection_3261_10_2() -> None:
    registering = TCP_ACCOUNT.replace(ACCOUNT, f"{ACCOUNT}register = true\n")
    net, registrar = stream_net(registering)
    net.core.begin(net.now)
    request = challenged(net, "REGISTER")
    assert TCP.encode() in request.need(b"Contact")
    registrar.reply(request, 200, contact=False, headers=f"Contact: {text(request, b'Contact')};expires=600")
    net.run()
    one = net.core.registrations.by_name["carrier"]
    assert one.state == State.REGISTERED
    while not registrar.inbox:
        net.run(1)
    for _ in range(2):
        registrar.take("REGISTER")
        net.lose(CARRIER)
    assert one.state == State.WAITING
    while not registrar.inbox:
        net.run(1)
    again = registrar.take_request("REGISTER")
    registrar.reply(again, 200, contact=False, headers=f"Contact: {text(again, b'Contact')};expires=600")
    net.run()
    assert one.state == State.REGISTERED
    # A call to our contact comes on, whatever connection it comes over; and draining ends it all.
    call_in = registrar.invite(uri=text(again, b"Contact").strip("<>"))
    registrar.take(100)
    net.core.draining = True
    net.core.registrations.stop(net.now)
    gone = registrar.take_request("REGISTER")
    assert text(gone, b"Expires") == "0"
    registrar.reply(gone, 200, contact=False)
    offer = net.pbx.take_request("INVITE")
    net.pbx.reply(offer, 200, body=SDP)
    answer = registrar.take_response(200)
    registrar.ack(call_in, answer)
    net.pbx.take("ACK")
    hang_up(End.of_callee(net.pbx, offer), End.of_caller(registrar, call_in, answer))
    assert not net.core.registrations.are_leaving
    net.run(600)  # the time of the refresh that will not be
    net.assert_all_freed()


# -- forks --------------------------------------------------------------------------------------------------


def test_two_forks_that_ring_reliably_are_each_acknowledged_by_the_gateway_3262_4() -> None:
    local = with_pbx('prack = "local"', carrier('prack = "local"'))
    both = local.replace('to = ["carrier"]', 'to = ["carrier", "backup"]\nstrategy = "parallel"', 1)
    net = Net(both.replace('name = "backup"\n', 'name = "backup"\nprack = "local"\n'))
    invite = net.pbx.invite(headers="Supported: 100rel", seq=7)
    net.pbx.take(100)
    ends = []
    for number, peer in ((3, net.carrier), (30, net.backup)):
        offer = peer.take_request("INVITE")
        peer.reply(offer, 180, headers=f"Require: 100rel\nRSeq: {number}")
        prack = peer.take_request("PRACK")
        assert text(prack, b"RAck") == f"{number} {offer.cseq[0]} INVITE"
        peer.reply(prack, 200)
        ringing = net.pbx.take_response(180)
        end = End.of_caller(net.pbx, invite, ringing)
        end.request("PRACK", headers=f"RAck: {text(ringing, b'RSeq')} 7 INVITE", contact=False)
        net.pbx.take(200)
        ends.append((peer, offer, end))
    (carrier_, lost, _), (backup, won, caller) = ends
    backup.reply(won, 200, body=ANSWER)
    answer = net.pbx.take_response(200)
    cancel = carrier_.take_request("CANCEL")
    carrier_.reply(cancel, 200)
    carrier_.reply(lost, 487)
    carrier_.take("ACK")
    net.pbx.ack(invite, answer)
    backup.take("ACK")
    hang_up(caller, End.of_callee(backup, won))
    net.assert_all_freed()


def test_an_account_is_asked_at_the_next_address_when_the_first_has_failed_3263_4_3() -> None:
    second = WITH_ACCOUNT.replace(
        'target = ["sip:192.0.2.3:5060"]', 'target = ["sip:192.0.2.3:5060", "sip:192.0.2.4:5060"]'
    ).replace('source = ["192.0.2.4"]', 'source = ["192.0.2.99"]')
    net = Net(second)
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = challenged(net, "INVITE")
    net.carrier.reply(offer, 503)
    net.carrier.take("ACK")
    other = net.backup.take_request("INVITE")
    assert other.call_id != offer.call_id
    assert credentials(other)[b"nc"] == b"00000002"  # the nonce serves the same account elsewhere
    net.backup.reply(other, 486)
    net.backup.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


def test_replaces_names_the_hidden_dialog_as_its_own_side_knows_it_3891() -> None:
    config = CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nhide_topology = true\n')
    net = Net(carrier("hide_topology = true", config))
    caller, callee = establish(net)
    value = f"{callee.call_id};to-tag={_tag(callee.remote)};from-tag={_tag(callee.local)}"
    net.carrier.invite(headers=f"Replaces: {value}")
    net.carrier.take(100)
    offer = net.pbx.take_request("INVITE")
    replaces = text(offer, b"Replaces")
    assert replaces == f"{caller.call_id};to-tag={_tag(caller.local)};from-tag={_tag(caller.remote)}"
    net.pbx.reply(offer, 486)
    net.pbx.take("ACK")
    net.carrier.take(486)
    hang_up(caller, callee)
    net.assert_all_freed()


def _tag(value: str) -> str:
    return value.partition(";tag=")[2]
