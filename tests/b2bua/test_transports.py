"""Calls between transports: UDP here, TCP or TLS there; sips; requests that are too large for UDP."""

from __future__ import annotations

import pytest

from gateway.sip.sizing import MAX_UDP_REQUEST
from tests.helpers import (
    CARRIER,
    CARRIER2,
    CONFIG,
    HUNTING,
    PBX,
    SDP,
    End,
    Net,
    Peer,
    establish,
    hang_up,
    target_of,
)

TCP_CARRIER = CONFIG.replace("sip:192.0.2.3:5060", "sip:192.0.2.3:5060;transport=tcp")
TLS_CARRIER = CONFIG.replace("sip:192.0.2.3:5060", "sips:192.0.2.3:5061")
BIG = f"X-Big: {'x' * MAX_UDP_REQUEST}\n"


def stream_net(config: str, transport: str, port: int) -> tuple[Net, Peer]:
    net = Net(config, streams=("tcp", "tls"))
    return net, net.peer((CARRIER[0], port), "carrier", transport)


@pytest.mark.parametrize(
    ("config", "transport", "port"), [(TCP_CARRIER, "tcp", 5060), (TLS_CARRIER, "tls", 5061)]
)
def test_a_call_from_udp_goes_out_on_a_stream_and_both_sides_can_end_it(
    config: str, transport: str, port: int
) -> None:
    net, carrier = stream_net(config, transport, port)
    for by_caller in (True, False):
        caller, callee = establish(net, net.pbx, carrier)
        hang_up(*((caller, callee) if by_caller else (callee, caller)))
    net.assert_all_freed()


def test_a_call_from_a_stream_goes_out_on_udp() -> None:
    net = Net(streams=("tcp",))
    pbx = net.peer(PBX, "pbx", "tcp")
    caller, callee = establish(net, pbx, net.carrier)
    hang_up(callee, caller)
    net.assert_all_freed()


def test_each_leg_says_its_own_transport_in_via_and_contact_rfc_3261_18_1_1() -> None:
    net, carrier = stream_net(TCP_CARRIER, "tcp", 5060)
    invite = net.pbx.invite()
    net.pbx.take(100)
    got = carrier.take_request("INVITE")
    assert got.need(b"Via").startswith(b"SIP/2.0/TCP 192.0.2.1:5060;")
    assert target_of(got) == b"sip:192.0.2.1:5060;transport=tcp"
    carrier.reply(got, 200, body=SDP)
    answer = net.pbx.take_response(200)
    assert target_of(answer) == b"sip:192.0.2.1:5060"
    net.pbx.ack(invite, answer)
    carrier.take("ACK")


def test_nothing_is_repeated_on_a_stream_but_timer_b_runs_rfc_3261_17_1_1_2() -> None:
    net, carrier = stream_net(TCP_CARRIER, "tcp", 5060)
    net.pbx.invite()
    net.pbx.take(100)
    carrier.take("INVITE")
    net.run(31.9)
    carrier.nothing()
    net.run(0.2)
    net.pbx.take(408)


def test_a_connection_lost_while_it_rings_moves_the_hunt_on_rfc_3261_17_1_4() -> None:
    config = HUNTING.replace("sip:192.0.2.3:5060", "sip:192.0.2.3:5060;transport=tcp")
    net, carrier = stream_net(config, "tcp", 5060)
    net.pbx.invite()
    net.pbx.take(100)
    carrier.reply(carrier.take_request("INVITE"), 180)
    net.pbx.take(180)
    net.lose(CARRIER)
    net.backup.take("INVITE")


def test_a_connection_lost_in_the_middle_of_a_call_leaves_the_call_up() -> None:
    net, carrier = stream_net(TCP_CARRIER, "tcp", 5060)
    caller, callee = establish(net, net.pbx, carrier)
    net.lose(CARRIER)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_the_contact_of_an_answer_may_name_another_transport_rfc_3261_12_1_2() -> None:
    net = Net(streams=("tcp",))
    invite = net.pbx.invite()
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    other = net.peer(CARRIER2, "other", "tcp")
    net.carrier.reply(got, 200, contact=False, headers="Contact: <sip:o@192.0.2.4;Transport=TCP>", body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    assert other.take_request("ACK").need(b"Via").startswith(b"SIP/2.0/TCP ")


# -- too large for UDP (RFC 3261 18.1.1) ----------------------------------------------------------------


def answered(net: Net, phone: Peer, contact: str) -> End:
    """A call of a phone that names this Contact, up to the ACK; the callee's end of it."""
    invite = phone.invite(contact=False, headers=f"Contact: <{contact}>")
    phone.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, body=SDP)
    phone.ack(invite, phone.take_response(200))
    net.carrier.take("ACK")
    return End.of_callee(net.carrier, offer)


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_caller_that_takes_no_connections_is_met_on_its_own_rfc_5923_1(transport: str) -> None:
    """It names a port where nobody listens: a phone on TLS has no certificate to be called with."""
    net = Net(streams=("tcp", "tls"))
    phone = net.peer((PBX[0], 41000), "phone", transport)
    callee = answered(net, phone, f"sip:phone@{PBX[0]}:5066;transport={transport}")
    for method in ("INFO", "BYE"):
        callee.request(method)
        asked = phone.take_request(method)
        assert asked.uri == f"sip:phone@{PBX[0]}:5066;transport={transport}".encode()
        phone.reply(asked, 200)
        net.carrier.take(200)
    net.assert_all_freed()


def test_a_503_of_a_caller_on_a_stream_is_not_asked_for_twice() -> None:
    net = Net(streams=("tcp",))
    phone, listening = net.peer((PBX[0], 41000), "phone", "tcp"), net.peer(PBX, "pbx", "tcp")
    answered(net, phone, f"sip:phone@{PBX[0]}:{PBX[1]};transport=tcp").request("INFO")
    listening.reply(listening.take_request("INFO"), 503)
    net.carrier.take(503)
    phone.nothing()


def test_a_large_invite_goes_over_tcp_its_ack_and_bye_over_udp_rfc_3261_18_1_1() -> None:
    net = Net(streams=("tcp",))
    stream = net.peer(CARRIER, "carrier", "tcp")
    invite = net.pbx.invite(headers=BIG)
    net.pbx.take(100)
    got = stream.take_request("INVITE")
    assert got.need(b"Via").startswith(b"SIP/2.0/TCP 192.0.2.1:5060;")
    assert target_of(got) == b"sip:192.0.2.1:5060"
    net.carrier.nothing()
    # Its Contact says nothing of TCP, so what follows and is small stays on UDP.
    stream.reply(got, 200, contact=False, headers="Contact: <sip:carrier@192.0.2.3>", body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    assert net.carrier.take_request("ACK").need(b"Via").startswith(b"SIP/2.0/UDP ")


def test_the_cancel_and_the_ack_of_a_large_invite_go_where_it_went_rfc_3261_9_1() -> None:
    net = Net(streams=("tcp",))
    stream = net.peer(CARRIER, "carrier", "tcp")
    invite = net.pbx.invite(headers=BIG)
    net.pbx.take(100)
    got = stream.take_request("INVITE")
    stream.reply(got, 180)
    net.pbx.take(180)
    net.pbx.cancel(invite)
    cancel = stream.take_request("CANCEL")
    assert cancel.via == got.via
    stream.reply(cancel, 200)
    stream.reply(got, 487)
    stream.take("ACK")
    net.carrier.nothing()


def test_a_large_invite_falls_back_to_udp_where_there_is_no_tcp_and_the_peer_is_remembered() -> None:
    net = Net(streams=("tcp",))
    for _ in range(2):
        net.pbx.invite(headers=BIG)
        net.pbx.take(100)
        got = net.carrier.take_request("INVITE")
        assert got.need(b"Via").startswith(b"SIP/2.0/UDP ")
        net.run(0.6)
        net.carrier.take("INVITE")  # UDP's timers run from here on
        net.carrier.reply(got, 486)
        net.carrier.take("ACK")
        net.pbx.take(486)
    net.assert_all_freed()


def test_a_large_invite_that_reached_a_peer_is_not_sent_again_over_udp() -> None:
    net = Net(streams=("tcp",))
    stream = net.peer(CARRIER, "carrier", "tcp")
    net.pbx.invite(headers=BIG)
    net.pbx.take(100)
    for _ in range(2):
        stream.take("INVITE")
        net.lose(CARRIER)
    net.pbx.take(503)
    net.carrier.nothing()


def test_a_bye_outlives_the_connection_of_its_call() -> None:
    net = Net(CONFIG.replace("sip:192.0.2.3:5060", "sip:192.0.2.3:5060;transport=tcp"), streams=("tcp",))
    stream = net.peer(CARRIER, "carrier", "tcp")
    caller, _ = establish(net, callee=stream)
    caller.request("BYE", contact=False)
    bye = stream.take_request("BYE")
    net.lose(CARRIER)
    again = stream.take_request("BYE")
    assert again.via.branch == bye.via.branch
    stream.reply(again, 200)
    net.pbx.take(200)
    net.assert_all_freed()


@pytest.mark.parametrize(
    "config",
    [
        CONFIG.replace("sip:192.0.2.3:5060", "sip:192.0.2.3:5060;transport=udp"),
        CONFIG.replace(
            'target = ["sip:192.0.2.3:5060"]', 'target = ["sip:192.0.2.3:5060"]\ntransport = "udp"'
        ),
    ],
)
def test_a_large_invite_stays_on_udp_where_that_was_asked_for(config: str) -> None:
    net = Net(config, streams=("tcp",))
    stream = net.peer(CARRIER, "carrier", "tcp")
    net.pbx.invite(headers=BIG)
    net.pbx.take(100)
    assert net.carrier.take_request("INVITE").uri == b"sip:1001@192.0.2.3:5060;transport=udp"
    stream.nothing()


def test_a_gateway_without_tcp_sends_large_requests_over_udp() -> None:
    net = Net()
    net.pbx.invite(headers=BIG)
    net.pbx.take(100)
    net.carrier.take("INVITE")


# -- sips (RFC 3261 26.2.2, RFC 5630) --------------------------------------------------------------------


def test_a_call_to_a_sips_uri_without_a_target_over_tls_gets_480_rfc_5630() -> None:
    net = Net(streams=("tls",))
    net.pbx.invite(uri="sips:1001@192.0.2.1")
    net.pbx.take(100)
    refused = net.pbx.take_response(480)
    assert refused.need(b"Warning") == b'380 gateway "SIPS Not Allowed"'
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_message_to_a_sips_uri_without_a_target_over_tls_gets_480_rfc_5630() -> None:
    net = Net(streams=("tls",))
    net.pbx.request("MESSAGE", uri="sips:1001@192.0.2.1")
    assert net.pbx.take_response(480).need(b"Warning") == b'380 gateway "SIPS Not Allowed"'
    net.carrier.nothing()


def test_a_call_to_a_sips_uri_passes_over_targets_without_tls() -> None:
    config = HUNTING.replace("sip:192.0.2.4:5060", "sip:192.0.2.4:5061;transport=tls")
    net = Net(config, streams=("tls",))
    backup = net.peer((CARRIER2[0], 5061), "backup", "tls")
    net.pbx.invite(uri="sips:1001@192.0.2.1")
    net.pbx.take(100)
    got = backup.take_request("INVITE")
    assert got.uri == b"sips:1001@192.0.2.4:5061"
    assert target_of(got) == b"sips:192.0.2.1:5061"
    net.carrier.nothing()


def test_in_a_sips_dialog_both_contacts_are_sips_rfc_3261_12_1_1() -> None:
    net = Net(TLS_CARRIER, streams=("tls",))
    pbx, carrier = net.peer(PBX, "pbx", "tls"), net.peer((CARRIER[0], 5061), "carrier", "tls")
    invite = pbx.invite(uri="sips:1001@192.0.2.1")
    pbx.take(100)
    got = carrier.take_request("INVITE")
    assert target_of(got) == b"sips:192.0.2.1:5061"
    carrier.reply(got, 200, body=SDP)
    answer = pbx.take_response(200)
    assert target_of(answer) == b"sips:192.0.2.1:5061"
    pbx.ack(invite, answer)
    carrier.take("ACK")
