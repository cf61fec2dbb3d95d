"""Requests that come back to us: loops, spirals, and hops that run out (RFC 3261 16.3, RFC 5393, RFC 7332).

Merged requests, which come by two ways, are in test_outside.py; Max-Breadth is in test_parallel.py.
"""

from __future__ import annotations

import pytest

from gateway.sip.message import Request, parse
from tests.b2bua.account import ACCOUNT, challenge
from tests.helpers import CARRIER, CONFIG, GATEWAY, SDP, End, Net, Peer, text
from tests.peer import rebuild

# Whoever calls is routed to the carrier: the carrier's own calls, too.
BACK = CONFIG.replace('from = ["kind:carrier"]\nto = ["pbx"]', 'from = ["kind:carrier"]\nto = ["carrier"]')


def sent_on(peer: Peer, request: Request, uri: str = "", via_in_one_line: bool = False) -> Request:
    """Send a request back as a proxy does: its Via on top, one hop less, all else as it came."""
    top = f"SIP/2.0/UDP {peer.address[0]}:{peer.address[1]};branch={peer.new_branch().decode()}".encode()
    data = rebuild(request)
    first, _, rest = data.partition(b"\r\n")
    if uri:
        first = b"%b %b SIP/2.0" % (request.method, uri.encode())
    rest = rest.replace(b"Via: ", b"Via: " + top + (b", " if via_in_one_line else b"\r\nVia: "), 1)
    hops = b"Max-Forwards: %d" % request.max_forwards
    rest = rest.replace(hops, b"Max-Forwards: %d" % (request.max_forwards - 1))
    peer.send(first + b"\r\n" + rest)
    message = parse(first + b"\r\n" + rest)
    assert isinstance(message, Request)
    return message


def passed_back(peer: Peer, request: Request, status: int) -> None:
    """Take a rejection as a proxy does: ACK it, and pass it to where the request came from."""
    response = peer.take_response(status)
    peer.ack(request, response)


@pytest.mark.parametrize("via_in_one_line", [False, True])
def test_a_call_that_the_carrier_sends_back_again_and_again_is_482_3261_16_3(via_in_one_line: bool) -> None:
    net = Net(BACK)
    invite = net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    again = sent_on(net.carrier, first, via_in_one_line=via_in_one_line)
    net.carrier.take(100)
    second = net.carrier.take_request("INVITE")  # another trunk calls now, so it might go another way
    looped = sent_on(net.carrier, second, via_in_one_line=via_in_one_line)
    passed_back(net.carrier, looped, 482)
    assert net.core.refused == {"loop": 1}
    # The 482 runs back along the loop, and reaches the caller.
    net.carrier.reply(second, 482)
    net.carrier.take("ACK")
    passed_back(net.carrier, again, 482)
    net.carrier.reply(first, 482)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(482))
    net.carrier.nothing()
    assert [record.emitted_status for record in net.records] == [482, 482]
    net.assert_all_freed()
    assert net.core.descent._parents == {}


def test_a_loop_through_a_trunk_with_an_account_is_482_too_3261_16_3() -> None:
    net = Net(BACK.replace('name = "carrier"\n', f'name = "carrier"\n{ACCOUNT}'))
    invite = net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"))
    first = net.carrier.take_request("INVITE")
    again = sent_on(net.carrier, first)
    net.carrier.take(100)
    second = net.carrier.take_request("INVITE")
    looped = sent_on(net.carrier, second)
    passed_back(net.carrier, looped, 482)
    assert net.core.refused == {"loop": 1}
    net.carrier.reply(second, 482)
    net.carrier.take("ACK")
    passed_back(net.carrier, again, 482)
    net.carrier.reply(first, 482)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(482))
    net.assert_all_freed()


def test_a_loop_of_both_trunks_is_found_when_it_comes_round_3261_16_3() -> None:
    """PBX, carrier, PBX: each sends on what it gets, and the first call's number comes from the PBX again."""
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    sent_on(net.carrier, net.carrier.take_request("INVITE"))
    net.carrier.take(100)
    to_pbx = net.pbx.take_request("INVITE")
    from_pbx = sent_on(net.pbx, to_pbx)
    # Its From is the caller's, as that of the first call was: the same way would be gone again.
    passed_back(net.pbx, from_pbx, 482)
    net.pbx.reply(to_pbx, 482)
    net.pbx.take("ACK")
    net.carrier.take(482)
    assert net.core.refused == {"loop": 1}
    net.pbx.cancel(invite)
    net.pbx.forget()
    net.carrier.forget()
    net.assert_all_freed()
    assert net.core.descent._parents == {}


OUTSIDE = ["MESSAGE", "OPTIONS", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "X-UNKNOWN"]
HEADERS = {"SUBSCRIBE": "Event: presence", "PUBLISH": "Event: presence", "REFER": "Refer-To: <sip:2@x>"}


@pytest.mark.parametrize("account", [False, True], ids=["", "account"])
@pytest.mark.parametrize("method", OUTSIDE)
def test_a_request_outside_of_calls_that_comes_back_again_and_again_is_482_3261_16_3(
    method: str, account: bool
) -> None:
    net = Net(BACK.replace('name = "carrier"\n', f'name = "carrier"\n{ACCOUNT}') if account else BACK)
    net.pbx.request(method, headers=HEADERS.get(method, ""))
    first = net.carrier.take_request(method)
    if account:
        challenge(net, first)
        first = net.carrier.take_request(method)
    sent_on(net.carrier, first)
    second = net.carrier.take_request(method)  # another trunk asks now, so it might go another way
    sent_on(net.carrier, second)
    net.carrier.take(482)
    assert net.core.refused == {"loop": 1}
    # The 482 runs back along the loop, and reaches who asked.
    net.carrier.reply(second, 482)
    net.carrier.take(482)
    net.carrier.reply(first, 482)
    net.pbx.take(482)
    net.carrier.nothing()
    net.assert_all_freed()
    assert net.core.descent._parents == {}


@pytest.mark.parametrize("method", OUTSIDE)
def test_a_request_outside_of_calls_that_loops_through_both_trunks_is_482_3261_16_3(method: str) -> None:
    net = Net()
    net.pbx.request(method, headers=HEADERS.get(method, ""))
    out = net.carrier.take_request(method)
    sent_on(net.carrier, out)
    back = net.pbx.take_request(method)
    sent_on(net.pbx, back)
    net.pbx.take(482)
    net.pbx.reply(back, 482)
    net.carrier.take(482)
    net.carrier.reply(out, 482)
    net.pbx.take(482)
    assert net.core.refused == {"loop": 1}
    net.assert_all_freed()
    assert net.core.descent._parents == {}


@pytest.mark.parametrize("answer", [200, 404, None])
@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "SUBSCRIBE"])
def test_a_request_to_a_neighbour_reaches_it_by_the_carrier_5393_4_2_1(
    method: str, answer: int | None
) -> None:
    """A spiral: from another trunk, another way. However it ends, nothing is remembered of it."""
    net = Net()
    net.pbx.request(method, headers=HEADERS.get(method, ""))
    out = net.carrier.take_request(method)
    sent_on(net.carrier, out)
    inside = net.pbx.take_request(method)
    assert len(net.core.descent._parents) == 1
    if answer is not None:
        net.pbx.reply(inside, answer, headers="Expires: 0")
        told = net.carrier.take_response(answer)
        net.carrier.reply(out, answer, tag=told.to_tag.decode(), headers="Expires: 0")
        net.pbx.take(answer)
    assert net.core.refused == {}
    net.assert_all_freed()
    assert net.core.descent._parents == {}


def test_a_pbx_that_dials_its_own_number_reaches_itself_by_the_carrier_5393_4_2_1() -> None:
    """A spiral is no loop: it comes from another trunk, and goes another way."""
    net = Net()
    invite = net.pbx.invite()
    net.pbx.take(100)
    out = net.carrier.take_request("INVITE")
    back = sent_on(net.carrier, out)
    net.carrier.take(100)
    inside = net.pbx.take_request("INVITE")
    net.pbx.reply(inside, 200, body=SDP)
    # A proxy that records no route is asked nothing more after the answer: our legs talk to each other.
    answer = net.carrier.take_response(200)
    contact = f"Contact: {text(answer, b'Contact')}"
    net.carrier.reply(out, 200, tag=answer.to_tag.decode(), contact=False, headers=contact, body=SDP)
    told = net.pbx.take_response(200)
    net.pbx.ack(invite, told)
    net.pbx.take("ACK")
    net.carrier.nothing()
    End.of_callee(net.pbx, inside).request("BYE", contact=False)
    net.pbx.reply(net.pbx.take_request("BYE"), 200)
    net.pbx.take(200)
    assert back.call_id == out.call_id
    assert len(net.records) == 2
    net.assert_all_freed()


def test_a_call_that_the_carrier_forwards_to_another_number_is_no_loop_5393_4_2_1() -> None:
    net = Net(BACK)
    invite = net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.carrier.reply(first, 100)
    for number in ("2002", "3003"):
        forwarded = sent_on(net.carrier, first, f"sip:{number}@192.0.2.1")
        net.carrier.take(100)
        offer = net.carrier.take_request("INVITE")
        assert offer.uri.startswith(b"sip:%b@" % number.encode())
        net.carrier.reply(offer, 486)
        net.carrier.take("ACK")
        passed_back(net.carrier, forwarded, 486)
    net.carrier.reply(first, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


def test_vias_of_other_hops_are_no_loop_and_hostile_ones_no_harm() -> None:
    net = Net()
    for vias in (
        "Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKnotours",
        "Via: nonsense;branch=;branch==;;;BRANCH = z9hG4bKt4",
        "\r\n".join(f"Via: SIP/2.0/UDP h;branch=z9hG4bK{number}" for number in range(200)),
        "Via: " + ", ".join(["SIP/2.0/UDP h;branch=z9hG4bKx"] * 200),
    ):
        net.pbx.invite(headers=vias)
        net.pbx.take(100)
        net.carrier.reply(net.carrier.take_request("INVITE"), 486)
        net.carrier.take("ACK")
        net.pbx.take(486)
    assert net.core.refused == {}


def test_a_loop_through_peers_that_hide_our_via_ends_by_its_hops_7332_4() -> None:
    """A back-to-back user agent that keeps Max-Forwards, as it must, and everything else anew."""
    net = Net(BACK)
    seen: list[Request] = []

    def send_back(data: bytes, _source: tuple[str, int]) -> None:
        message = parse(data)
        if isinstance(message, Request) and message.method == b"INVITE" and message.max_forwards:
            seen.append(message)
            number = len(seen)
            anew = rebuild(message).replace(message.call_id, b"anew%d" % number)
            anew = anew.replace(b"192.0.2.1:5060;branch=z9hG4bK", b"192.0.2.3:5060;branch=z9hG4bKanew")
            anew = anew.replace(
                b"Max-Forwards: %d" % message.max_forwards, b"Max-Forwards: %d" % (message.max_forwards - 1)
            )
            net.transmit(anew, CARRIER, GATEWAY)

    net.attach(CARRIER, send_back)
    net.pbx.invite(max_forwards=20)
    net.run()
    assert [request.max_forwards for request in seen] == list(range(19, 0, -2))
    net.run(400)
    assert net.core.calls == set()
    net.assert_all_freed()
