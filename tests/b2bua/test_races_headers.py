"""Headers as peers write them, on the way of a call: Contacts, transports, routers, and hops left."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request
from tests.helpers import PBX, SDP, End, Net, Peer, text

ROUTER_A, ROUTER_B = ("192.0.2.61", 5060), ("192.0.2.62", 5062)

# What stands in Contact, and the Request-URI that later requests must have.
CONTACTS = {
    "<sip:bob@192.0.2.9;transport=UDP>": "sip:bob@192.0.2.9;transport=UDP",
    "<SIP:bob@192.0.2.9;TRANSPORT=udp>": "SIP:bob@192.0.2.9;TRANSPORT=udp",
    '"Bob, the \\"builder\\"" <sip:bob@192.0.2.9>': "sip:bob@192.0.2.9",
    "Bob Builder <sip:bob@192.0.2.9>": "sip:bob@192.0.2.9",
    "Bob<sip:bob@192.0.2.9>;expires=60": "sip:bob@192.0.2.9",
    "sip:bob@192.0.2.9": "sip:bob@192.0.2.9",
    "sip:bob@192.0.2.9;expires=3600;q=0.5": "sip:bob@192.0.2.9",  # RFC 3261 20: parameters of the header
    '<sip:bob@192.0.2.9>;+sip.instance="<urn:uuid:0-1>";+sip.ice;audio': "sip:bob@192.0.2.9",
    "<sip:bob@192.0.2.9?Subject=hello&Priority=urgent>": "sip:bob@192.0.2.9",  # 19.1.1: no headers there
    "<sip:b%6Fb;x=1:secret@192.0.2.9:5060;ob>": "sip:b%6Fb;x=1:secret@192.0.2.9:5060;ob",
    "<sip:192.0.2.9>": "sip:192.0.2.9",
    "\t<sip:bob@192.0.2.9> ": "sip:bob@192.0.2.9",
    "<sip:bob@192.0.2.9>, <sip:bob@192.0.2.10>": "sip:bob@192.0.2.9",  # the first of two is taken
}
EACH_CONTACT = pytest.mark.parametrize(("contact", "uri"), CONTACTS.items())


def take(peer: Peer, method: str, uri: str, routes: str = "") -> Request:
    """The next request, with this Request-URI and this Route."""
    request = peer.take_request(method)
    assert request.uri.decode() == uri
    assert ", ".join(value.decode() for value in request.values(b"Route")) == routes
    return request


def answered(net: Net, invite_headers: str = "", answer_headers: str = "") -> tuple[End, End]:
    """A call up to its ACK, which nobody has taken. A Contact in the headers is the only one."""
    invite = net.pbx.invite(headers=invite_headers, contact="Contact" not in invite_headers)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 200, headers=answer_headers, contact="Contact" not in answer_headers, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    return End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)


@EACH_CONTACT
def test_the_callees_contact_is_where_requests_go_3261_12_1_2(contact: str, uri: str) -> None:
    net = Net()
    bob = net.peer(("192.0.2.9", 5060), "bob")
    caller, _ = answered(net, answer_headers=f"Contact: {contact}")
    take(bob, "ACK", uri)
    caller.request("BYE", contact=False)
    bob.reply(take(bob, "BYE", uri), 200)
    net.pbx.take(200)
    net.assert_all_freed()


@EACH_CONTACT
def test_the_callers_contact_is_where_requests_go_3261_12_1_1(contact: str, uri: str) -> None:
    net = Net()
    bob = net.peer(("192.0.2.9", 5060), "bob")
    _, callee = answered(net, f"Contact: {contact}")
    net.carrier.take("ACK")
    callee.request("BYE", contact=False)
    bob.reply(take(bob, "BYE", uri), 200)
    net.carrier.take(200)
    net.assert_all_freed()


@pytest.mark.parametrize(
    "uri", ["sip:1001@192.0.2.1;transport=UDP", "sip:1001@192.0.2.1:5060;Transport=Udp;user=phone"]
)
def test_the_transport_of_a_request_uri_is_the_hops_own_whatever_its_case_3261_19_1_1(uri: str) -> None:
    net = Net()
    net.pbx.invite(uri=uri)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert b"ransport" not in offer.uri
    assert offer.uri.startswith(b"sip:1001@192.0.2.3:5060")
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


# -- routers (RFC 3261 12.2.1.1, 16.12.1.2) ----------------------------------------------------------------

LOOSE, STRICT = "<sip:192.0.2.61;lr>", "<sip:192.0.2.61>"
FAR, FAR_STRICT = "<sip:192.0.2.62:5062;lr=on>", "<sip:192.0.2.62:5062>"
CALLER, CALLEE = "sip:pbx@192.0.2.2:5060", "sip:carrier@192.0.2.3:5060"

# The routers as the request meets them, and the Request-URI and Route it must have.
ROUTERS = {
    "loose": ([LOOSE], "", LOOSE),
    "upper-case-lr": (["<sip:192.0.2.61;LR>"], "", "<sip:192.0.2.61;LR>"),
    "with-names": (['"Edge, 1" <sip:192.0.2.61;lr>;x=1'], "", '"Edge, 1" <sip:192.0.2.61;lr>;x=1'),
    "loose-then-strict": ([LOOSE, FAR_STRICT], "", f"{LOOSE}, {FAR_STRICT}"),
    "strict": ([STRICT], "sip:192.0.2.61", "<{target}>"),
    "strict-then-loose": ([STRICT, FAR], "sip:192.0.2.61", f"{FAR}, <{{target}}>"),
    "strict-then-strict": ([STRICT, FAR_STRICT], "sip:192.0.2.61", f"{FAR_STRICT}, <{{target}}>"),
}  # fmt: skip
EACH_ROUTER = pytest.mark.parametrize(("routers", "uri", "route"), ROUTERS.values(), ids=ROUTERS)


@EACH_ROUTER
@pytest.mark.parametrize("towards", ["callee", "caller"])
def test_routers_of_either_kind_on_either_side_3261_12_2_1_1(
    towards: str, routers: list[str], uri: str, route: str
) -> None:
    net = Net()
    router = net.peer(ROUTER_A, "router")
    if towards == "callee":  # the answer has the routers as the INVITE met them: the nearest is last
        lines = "\n".join(f"Record-Route: {value}" for value in reversed(routers))
        asking, _ = answered(net, answer_headers=lines)
        target = CALLEE
        take(router, "ACK", uri or target, route.format(target=target))
    else:
        lines = "\n".join(f"Record-Route: {value}" for value in routers)
        _, asking = answered(net, lines)
        target = CALLER
        net.carrier.take("ACK")
    asking.request("INFO", contact=False)
    router.reply(take(router, "INFO", uri or target, route.format(target=target)), 200)
    asking.peer.take(200)
    asking.request("BYE", contact=False)
    router.reply(take(router, "BYE", uri or target, route.format(target=target)), 200)
    asking.peer.take(200)
    net.assert_all_freed()


def test_strict_routers_on_both_sides_at_once_3261_12_2_1_1() -> None:
    net = Net()
    near, far = net.peer(ROUTER_A, "near"), net.peer(ROUTER_B, "far")
    caller, callee = answered(net, f"Record-Route: {STRICT}", f"Record-Route: {FAR_STRICT}")
    take(far, "ACK", "sip:192.0.2.62:5062", f"<{CALLEE}>")
    callee.request("INFO", contact=False)
    near.reply(take(near, "INFO", "sip:192.0.2.61", f"<{CALLER}>"), 200)
    net.carrier.take(200)
    caller.request("BYE", contact=False)
    far.reply(take(far, "BYE", "sip:192.0.2.62:5062", f"<{CALLEE}>"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


# -- hops left (RFC 3261 8.2.2, 16.3, 20.22) ---------------------------------------------------------------


def invite_with(net: Net, hops: str | None) -> None:
    """Send an INVITE whose Max-Forwards line reads so, or is not there."""
    host, port = PBX
    lines = [
        "INVITE sip:1001@192.0.2.1 SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKhops",
        "From: <sip:pbx@192.0.2.2>;tag=hops",
        "To: <sip:1001@192.0.2.1>",
        "Call-ID: hops",
        "CSeq: 1 INVITE",
        *([] if hops is None else [f"Max-Forwards:{hops}"]),
        "Content-Length: 0",
    ]
    net.pbx.send("\r\n".join([*lines, "", ""]).encode())


@pytest.mark.parametrize(
    ("hops", "left"),
    [(None, 69), (" 1", 0), (" 70", 69), (" 255", 254), ("  0070 ", 69), ("\t70", 69), ("2", 1)],
)
def test_the_other_leg_has_one_hop_less_3261_16_6(hops: str | None, left: int) -> None:
    net = Net()
    invite_with(net, hops)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.max_forwards == left
    assert len(offer.lines(b"Max-Forwards")) == 1
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


@pytest.mark.parametrize(
    ("hops", "status"),
    [
        (" 0", 483),
        (" 00", 483),
        (" -1", 400),
        (" 256", 400),
        (" 4294967296", 400),
        (" seventy", 400),
        (" 70 70", 400),
        ("", 400),
        (" 70\r\nMax-Forwards: 69", 400),
        (" 0x46", 400),
    ],
)
def test_no_hops_left_is_483_and_no_number_400_3261_16_3(hops: str, status: int) -> None:
    net = Net()
    invite_with(net, hops)
    response = net.pbx.take_response(status)
    assert text(response, b"Call-ID") == "hops"
    net.carrier.nothing()
    assert net.core.begun == 0
    net.assert_all_freed()
