"""Route sets: Record-Route learned on either leg, loose and strict routers (RFC 3261 12.1, 12.2.1.1)."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.helpers import SDP, End, Net, Peer, begin, text

PROXY_A, PROXY_B = ("192.0.2.61", 5060), ("192.0.2.62", 5062)


def answered(net: Net, invite_routes: str = "", answer_routes: str = "") -> tuple[End, End]:
    """Establish a call whose INVITE, and whose 2xx, have these Record-Route lines. No ACK is sent yet."""
    invite = net.pbx.invite(headers=invite_routes)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert b"Record-Route" not in offer.index  # the other leg's is its own affair
    net.carrier.reply(offer, 200, headers=answer_routes, body=SDP)
    answer = net.pbx.take_response(200)
    lines = [line for line in invite_routes.splitlines() if line.startswith("Record-Route")]
    assert answer.lines(b"Record-Route") == [line.encode() for line in lines]  # RFC 3261 12.1.1
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    caller.ack(invite)
    return caller, callee


def take(proxy: Peer, method: str, uri: str, routes: list[str]) -> Request:
    """The next request at a proxy, with this Request-URI and these Route values."""
    request = proxy.take_request(method)
    assert request.uri.decode() == uri
    assert ", ".join(value.decode() for value in request.values(b"Route")) == ", ".join(routes)
    return request


def test_requests_to_the_callee_follow_the_2xx_backwards_3261_12_1_2() -> None:
    net = Net()
    near, far = "<sip:192.0.2.61;lr>", "<sip:192.0.2.62:5062;lr;x=1>"
    proxy = net.peer(PROXY_A, "proxy")
    caller, callee = answered(net, answer_routes=f"Record-Route: {far}\nRecord-Route: {near}")
    take(proxy, "ACK", "sip:carrier@192.0.2.3:5060", [near, far])
    caller.request("BYE", contact=False)
    bye = take(proxy, "BYE", "sip:carrier@192.0.2.3:5060", [near, far])
    proxy.reply(bye, 200)
    net.pbx.take(200)
    net.assert_all_freed()
    del callee


def test_requests_to_the_caller_follow_the_invite_forwards_3261_12_1_1() -> None:
    net = Net()
    near, far = "<sip:192.0.2.62:5062;lr>", "<sip:192.0.2.61;lr>"
    proxy = net.peer(PROXY_B, "proxy")
    _caller, callee = answered(net, invite_routes=f"Record-Route: {near}, {far}")
    net.carrier.take("ACK")
    callee.request("BYE", contact=False)
    bye = take(proxy, "BYE", "sip:pbx@192.0.2.2:5060", [near, far])
    proxy.reply(bye, 200)
    net.carrier.take(200)
    net.assert_all_freed()


def test_an_early_dialog_has_the_route_of_its_18x() -> None:
    net = Net()
    proxy = net.peer(PROXY_A, "proxy")
    invite = net.pbx.invite(headers="Record-Route: <sip:192.0.2.62:5062;lr>")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180, headers="Record-Route: <sip:192.0.2.61;lr>")
    ringing = net.pbx.take_response(180)
    assert text(ringing, b"Record-Route") == "<sip:192.0.2.62:5062;lr>"
    End.of_caller(net.pbx, invite, ringing).request("PRACK", headers="RAck: 1 1 INVITE", contact=False)
    prack = take(proxy, "PRACK", "sip:carrier@192.0.2.3:5060", ["<sip:192.0.2.61;lr>"])
    proxy.reply(prack, 200)
    net.pbx.take(200)
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_reinvite_with_its_ack_and_cancel_follow_the_route() -> None:
    net = Net()
    proxy = net.peer(PROXY_A, "proxy")
    route = "<sip:192.0.2.61;lr>"
    caller, _callee = answered(net, answer_routes=f"Record-Route: {route}")
    take(proxy, "ACK", "sip:carrier@192.0.2.3:5060", [route])
    sent = caller.request("INVITE", body=SDP)
    net.pbx.take(100)
    reinvite = take(proxy, "INVITE", "sip:carrier@192.0.2.3:5060", [route])
    proxy.reply(reinvite, 100)
    net.pbx.cancel(sent)
    net.pbx.take(200)
    proxy.reply(take(proxy, "CANCEL", "sip:carrier@192.0.2.3:5060", [route]), 200)
    proxy.reply(reinvite, 487, tag="carrier")
    take(proxy, "ACK", "sip:carrier@192.0.2.3:5060", [route])
    net.pbx.take(487)
    caller.request("BYE", contact=False)
    proxy.reply(take(proxy, "BYE", "sip:carrier@192.0.2.3:5060", [route]), 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_strict_router_is_the_request_uri_3261_12_2_1_1() -> None:
    net = Net()
    strict, loose = "<sip:192.0.2.61>", "<sip:192.0.2.62:5062;lr>"
    proxy = net.peer(PROXY_A, "proxy")
    caller, _callee = answered(net, answer_routes=f"Record-Route: {loose}\nRecord-Route: {strict}")
    take(proxy, "ACK", "sip:192.0.2.61", [loose, "<sip:carrier@192.0.2.3:5060>"])
    caller.request("BYE", contact=False)
    bye = take(proxy, "BYE", "sip:192.0.2.61", [loose, "<sip:carrier@192.0.2.3:5060>"])
    proxy.reply(bye, 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_new_target_behind_a_strict_router_goes_to_the_end_of_the_route() -> None:
    net = Net()
    proxy = net.peer(PROXY_A, "proxy")
    caller, _callee = answered(net, answer_routes="Record-Route: <sip:192.0.2.61>")
    take(proxy, "ACK", "sip:192.0.2.61", ["<sip:carrier@192.0.2.3:5060>"])
    caller.request("UPDATE", body=SDP)
    update = take(proxy, "UPDATE", "sip:192.0.2.61", ["<sip:carrier@192.0.2.3:5060>"])
    proxy.reply(update, 200, contact=False, headers="Contact: <sip:moved@192.0.2.9>")
    net.pbx.take(200)
    caller.request("BYE", contact=False)
    proxy.reply(take(proxy, "BYE", "sip:192.0.2.61", ["<sip:moved@192.0.2.9>"]), 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_a_new_target_behind_a_loose_router_is_the_request_uri() -> None:
    net = Net()
    proxy = net.peer(PROXY_A, "proxy")
    caller, _callee = answered(net, answer_routes="Record-Route: <sip:192.0.2.61;lr>")
    take(proxy, "ACK", "sip:carrier@192.0.2.3:5060", ["<sip:192.0.2.61;lr>"])
    caller.request("UPDATE", body=SDP)
    update = take(proxy, "UPDATE", "sip:carrier@192.0.2.3:5060", ["<sip:192.0.2.61;lr>"])
    # Only the target is refreshed, the route set stays as it was (RFC 3261 12.2).
    moved = "Contact: <sip:moved@192.0.2.9>\nRecord-Route: <sip:192.0.2.77;lr>"
    proxy.reply(update, 200, contact=False, headers=moved)
    net.pbx.take(200)
    caller.request("BYE", contact=False)
    proxy.reply(take(proxy, "BYE", "sip:moved@192.0.2.9", ["<sip:192.0.2.61;lr>"]), 200)
    net.pbx.take(200)
    net.assert_all_freed()


def test_the_route_of_a_request_to_us_names_us_and_is_not_passed() -> None:
    net = Net()
    net.pbx.invite(headers="Route: <sip:192.0.2.1;lr>")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert b"Route" not in offer.index
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_contact_with_a_name_leaves_requests_where_messages_came_from() -> None:
    """Names are looked up when a target is configured, not inside calls."""
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, contact=False, headers="Contact: <sip:gw@pop.carrier.example>", body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    assert net.carrier.take_request("ACK").uri == b"sip:gw@pop.carrier.example"
    End.of_caller(net.pbx, invite, answer).request("BYE", contact=False)
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


# -- the 2xx has the last word (RFC 3261 13.2.2.4) --------------------------------------------------------


def rung_and_answered(net: Net, ringing: str, answering: str) -> None:
    """A call that rings and is answered with these header lines, up to its ACK."""
    invite, offer = begin(net)
    net.carrier.reply(offer, 180, headers=ringing)
    net.pbx.take(180)
    net.carrier.reply(offer, 200, headers=answering, body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))


def test_a_route_that_only_the_2xx_has_is_followed_3261_13_2_2_4() -> None:
    net = Net()
    proxy = net.peer(PROXY_A, "proxy")
    rung_and_answered(net, "", "Record-Route: <sip:192.0.2.61;lr>")
    take(proxy, "ACK", "sip:carrier@192.0.2.3:5060", ["<sip:192.0.2.61;lr>"])
    net.carrier.nothing()


def test_a_route_that_the_2xx_has_no_more_is_left_3261_13_2_2_4() -> None:
    net = Net()
    proxy = net.peer(PROXY_A, "proxy")
    rung_and_answered(net, "Record-Route: <sip:192.0.2.61;lr>", "")
    assert net.carrier.take_request("ACK").values(b"Route") == []
    proxy.nothing()


def test_behind_a_strict_router_the_target_outlives_a_2xx_without_contact() -> None:
    net = Net()
    proxy, other = net.peer(PROXY_A, "proxy"), net.peer(PROXY_B, "other")
    invite, offer = begin(net)
    net.carrier.reply(offer, 180, headers="Record-Route: <sip:192.0.2.61>")
    net.pbx.take(180)
    loose = "Record-Route: <sip:192.0.2.62:5062;lr>"
    net.carrier.reply(offer, 200, headers=loose, body=SDP, contact=False)
    net.pbx.ack(invite, net.pbx.take_response(200))
    take(other, "ACK", "sip:carrier@192.0.2.3:5060", ["<sip:192.0.2.62:5062;lr>"])
    proxy.nothing()


# -- maddr (RFC 3263 4) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["192.0.2.3:5060", "phone.example.com"])
def test_a_contact_with_maddr_is_reached_there_3263_4(host: str) -> None:
    net = Net()
    there = net.peer(PROXY_A, "there")
    invite, offer = begin(net)
    contact = f"Contact: <sip:x@{host};maddr=192.0.2.61>"
    net.carrier.reply(offer, 200, body=SDP, contact=False, headers=contact)
    net.pbx.ack(invite, net.pbx.take_response(200))
    assert there.take_request("ACK").uri == f"sip:x@{host};maddr=192.0.2.61".encode()
    net.carrier.nothing()


def test_a_router_with_maddr_is_reached_there_3263_4() -> None:
    net = Net()
    there = net.peer(PROXY_A, "there")
    router = "<sip:192.0.2.62;maddr=192.0.2.61;lr>"
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, body=SDP, headers=f"Record-Route: {router}")
    net.pbx.ack(invite, net.pbx.take_response(200))
    take(there, "ACK", "sip:carrier@192.0.2.3:5060", [router])
