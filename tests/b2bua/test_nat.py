"""A trunk with ``nat``: what it says of its own address is not believed (RFC 3581 4, RFC 5626's problem)."""

from __future__ import annotations

from gateway.sip.message import Request, parse
from tests.helpers import CONFIG, GATEWAY, SDP, End, Net, Peer, hang_up

SENDS_FROM = ("192.0.2.2", 41000)
MOVED_TO = ("192.0.2.2", 42000)


def config(trunk: str) -> str:
    return CONFIG.replace(f'name = "{trunk}"\n', f'name = "{trunk}"\nnat = true\n')


def behind_nat(net: Net, data: bytes, address: tuple[str, int] = SENDS_FROM) -> None:
    """Send what the PBX says, as it arrives from its NAT."""
    net.transmit(data, address, GATEWAY)
    net.run()


def draft(net: Net, method: str, end: End | None = None, **more: object) -> bytes:
    """The bytes that the PBX sends, with its own inner address in Via and Contact; nothing is sent."""
    sent: list[bytes] = []
    transmit, net.transmit = net.transmit, lambda data, *_: sent.append(data)  # type: ignore[method-assign]
    if end is None:
        net.pbx.request(method, **more)  # type: ignore[arg-type]
    else:
        end.request(method, **more)
    net.transmit = transmit  # type: ignore[method-assign]
    return sent[0].replace(b"192.0.2.2:5060", b"10.0.0.5:5060")


def test_answers_go_where_the_request_came_from_as_if_rport_were_there_3581_4() -> None:
    net = Net(config("pbx"))
    outside = net.peer(SENDS_FROM, "pbx")
    invite = draft(net, "INVITE", body=SDP)
    behind_nat(net, invite)
    trying = outside.take_response(100)
    assert b"received=192.0.2.2" in trying.need(b"Via")
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486)
    outside.take(486)
    net.carrier.take("ACK")
    net.pbx.nothing()
    behind_nat(net, b"NONSENSE sip:x@y SIP/3.0\r\n" + invite.partition(b"\r\n")[2])
    outside.take(505)  # without state, too
    net.run(0.6)
    outside.take(486)  # again, since nobody acknowledged it
    net.assert_all_freed()


def test_without_nat_answers_go_to_the_port_in_the_via_3261_18_2_2() -> None:
    net = Net()
    outside = net.peer(SENDS_FROM, "outside")
    behind_nat(net, draft(net, "INVITE", body=SDP))
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    outside.nothing()
    net.assert_all_freed()


def answered_from_nat(net: Net, outside: Peer) -> tuple[End, End]:
    """A call from behind the NAT, up to its ACK."""
    sent = draft(net, "INVITE", body=SDP)
    behind_nat(net, sent)
    outside.take(100)
    got = net.carrier.take_request("INVITE")
    net.carrier.reply(got, 200, body=SDP)
    answer = outside.take_response(200)
    invite = parsed(sent)
    caller = End.of_caller(net.pbx, invite, answer)
    caller.seq = 1
    behind_nat(net, draft(net, "ACK", caller, seq=1, contact=False))
    net.carrier.take("ACK")
    return caller, End.of_callee(net.carrier, got)


def parsed(data: bytes) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def test_requests_inside_the_dialog_go_to_the_observed_address_and_name_the_contact_3261_12_2_1_1() -> None:
    net = Net(config("pbx"))
    outside = net.peer(SENDS_FROM, "pbx")
    caller, callee = answered_from_nat(net, outside)
    callee.request("INFO", contact=False)
    info = outside.take_request("INFO")
    assert info.uri == b"sip:pbx@10.0.0.5:5060"
    behind_nat(net, reply(info, 200))
    net.carrier.take(200)
    moved = net.peer(MOVED_TO, "pbx")  # the NAT has a new idea of the port
    behind_nat(net, draft(net, "INFO", caller, contact=False), MOVED_TO)
    net.carrier.reply(net.carrier.take_request("INFO"), 200)
    moved.take(200)
    callee.request("BYE", contact=False)
    bye = moved.take_request("BYE")
    assert bye.uri == b"sip:pbx@10.0.0.5:5060"
    behind_nat(net, reply(bye, 200), MOVED_TO)
    net.carrier.take(200)
    outside.nothing()
    net.pbx.nothing()
    net.assert_all_freed()


def reply(request: Request, status: int) -> bytes:
    """An answer to a request, by its headers."""
    kept = [line for key, line in request.rows if key in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")]
    return b"\r\n".join([b"SIP/2.0 %d OK" % status, *kept, b"Content-Length: 0", b"", b""])


def test_a_request_out_of_order_moves_nothing() -> None:
    net = Net(config("pbx"))
    outside = net.peer(SENDS_FROM, "pbx")
    caller, callee = answered_from_nat(net, outside)
    elsewhere = net.peer(MOVED_TO, "thief")
    behind_nat(net, draft(net, "INFO", caller, seq=1, contact=False), MOVED_TO)
    elsewhere.take(500)
    callee.request("BYE", contact=False)
    behind_nat(net, reply(outside.take_request("BYE"), 200))
    net.carrier.take(200)
    elsewhere.nothing()
    net.assert_all_freed()


def test_a_called_peer_behind_nat_is_reached_where_it_was_called() -> None:
    """Its Contact and its Record-Route name addresses that nobody can reach."""
    net = Net(config("carrier"))
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    answer = "Record-Route: <sip:10.9.9.9;lr>\nContact: <sip:carrier@10.9.9.8:5080>"
    net.carrier.reply(offer, 200, headers=answer, body=SDP, contact=False)
    accepted = net.pbx.take_response(200)
    net.pbx.ack(invite, accepted)
    ack = net.carrier.take_request("ACK")
    assert (ack.uri, ack.values(b"Route")) == (b"sip:carrier@10.9.9.8:5080", [b"<sip:10.9.9.9;lr>"])
    hang_up(End.of_caller(net.pbx, invite, accepted), End.of_callee(net.carrier, offer))
    net.assert_all_freed()
