"""Requests outside any dialog: relayed, answered for the gateway, or refused (RFC 3261 8.2, RFC 4320)."""

from __future__ import annotations

import pytest

from tests.helpers import CONFIG, SDP, End, Net, Peer, establish, hang_up, text

METHODS = ["MESSAGE", "SUBSCRIBE", "OPTIONS", "PUBLISH", "NOTIFY", "INFO", "REFER", "FOO"]
UNWANTED = """
version = 1
[[rule]]
name = "messages-only"
when.method = "MESSAGE"
when.status = 603
then.status = 404
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_request_and_its_answer_cross_the_gateway(method: str) -> None:
    net = Net()
    sent = net.pbx.request(method, headers="Event: presence\nX-Own: forth", body=b"\x00hello", seq=31)
    net.pbx.nothing()  # the answer comes from the other side
    got = net.carrier.take_request(method)
    assert got.uri == b"sip:1001@192.0.2.3:5060"
    assert (got.body, text(got, b"x-own"), text(got, b"Event")) == (b"\x00hello", "forth", "presence")
    assert got.call_id != sent.call_id
    assert (got.from_tag != sent.from_tag, got.cseq) == (True, (1, method.encode()))
    assert (got.max_forwards, text(got, b"Contact")) == (69, "<sip:192.0.2.1:5060>")
    assert b"X-CID" not in got.index
    net.carrier.reply(got, 202, "Noted", headers="Expires: 600\nSIP-ETag: x1", body=b"bye")
    response = net.pbx.take_response(202)
    assert (response.phrase, response.body, text(response, b"Expires")) == (b"Noted", b"bye", "600")
    assert text(response, b"SIP-ETag") == "x1"
    assert response.to_tag
    assert bool(net.endpoint.dialogs) == (method in ("SUBSCRIBE", "REFER"))
    net.assert_all_freed()


@pytest.mark.parametrize("uri", ["sip:1001@192.0.2.1", "sip:192.0.2.1"])
@pytest.mark.parametrize("method", ["BYE", "PRACK", "UPDATE"])
def test_what_makes_sense_in_a_dialog_alone_gets_481_3261_15_1_2_3262_3_3311_5_2(
    method: str, uri: str
) -> None:
    """Without a To tag it is for no dialog; the other side would not know it either."""
    net = Net()
    net.pbx.request(method, uri=uri)
    net.pbx.take(481)
    net.carrier.nothing()
    net.assert_all_freed()


@pytest.mark.parametrize("method", METHODS)
def test_a_request_that_comes_again_is_relayed_once_and_its_answer_repeated(method: str) -> None:
    net = Net()
    sent = net.pbx.request(method)
    got = net.carrier.take_request(method)
    net.pbx.again(sent)
    net.carrier.nothing()
    net.carrier.reply(got, 200)
    first = net.pbx.take_response(200)
    net.pbx.again(sent)
    assert net.pbx.take_response(200).rows == first.rows
    net.carrier.nothing()
    net.assert_all_freed()


@pytest.mark.parametrize("method", METHODS)
def test_silence_is_passed_on_as_silence_and_never_as_408_4320_4_2(method: str) -> None:
    net = Net()
    net.pbx.request(method)
    net.run(33)
    assert {message.method.decode() for message in net.carrier.inbox} == {method}
    assert len(net.carrier.inbox) == 11  # timer E: after 0.5, 1.5, 3.5 s and then every 4 s
    net.pbx.take(100)
    net.pbx.nothing()
    net.run(32)  # the server lingers for stragglers
    assert (len(net.endpoint.servers), len(net.endpoint.clients)) == (0, 0)
    net.assert_all_freed()


def test_rules_see_the_method() -> None:
    net = Net(rules=UNWANTED)
    net.pbx.request("MESSAGE", body=b"hi")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 603)
    response = net.pbx.take_response(404)
    assert response.lines(b"Reason")[0].startswith(b"Reason: Q.850;cause=1;")
    assert net.core.rewrites == {("messages-only", "carrier", "pbx", 603, 404): 1}
    net.pbx.request("SUBSCRIBE")
    net.carrier.reply(net.carrier.take_request("SUBSCRIBE"), 603)
    net.pbx.take(603)
    net.assert_all_freed()


def test_rules_are_for_invites_unless_they_name_a_method() -> None:
    net = Net()
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 603, headers="Reason: Q.850;cause=1")
    net.pbx.take(603)
    net.assert_all_freed()


def test_607_from_a_message_is_translated_by_what_the_peer_supports_8197_3() -> None:
    net = Net()
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 607, "Unwanted", body=b"no!")
    response = net.pbx.take_response(603)
    assert b'Reason: SIP;cause=607;text="Unwanted"' in response.lines(b"Reason")
    assert response.body == b"no!"
    assert net.core.guards == {"unwanted-607": 1}
    net.assert_all_freed()
    net = Net(CONFIG.replace('kind = "pbx"', 'kind = "pbx"\nsupports = ["607"]'))
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 607)
    net.pbx.take(607)
    net.assert_all_freed()


def test_a_302_to_a_message_keeps_its_contact() -> None:
    net = Net()
    net.pbx.request("MESSAGE")
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 302, headers="Contact: <sip:new@198.51.100.7>")
    assert text(net.pbx.take_response(302), b"Contact") == "<sip:new@198.51.100.7>"
    net.assert_all_freed()


def test_a_late_answer_to_a_relayed_request_is_dropped() -> None:
    net = Net()
    net.pbx.request("MESSAGE")
    got = net.carrier.take_request("MESSAGE")
    net.run(33)
    net.carrier.reply(got, 200)
    net.pbx.take(100)
    net.pbx.nothing()
    assert net.endpoint.dropped["stray response"] == 1
    net.assert_all_freed()


# -- for the gateway itself --------------------------------------------------------------------------------


def test_options_to_the_gateway_says_what_it_can_3261_11_2() -> None:
    net = Net()
    net.pbx.request("OPTIONS", uri="sip:192.0.2.1", to="<sip:192.0.2.1>")
    response = net.pbx.take_response(200)
    allowed = text(response, b"Allow").split(", ")
    assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER"} <= set(allowed)
    assert response.to_tag
    net.carrier.nothing()
    net.assert_all_freed()


def test_options_to_the_gateway_may_have_no_hops_left_3261_11() -> None:
    net = Net()
    net.pbx.request("OPTIONS", uri="sip:192.0.2.1:5060", max_forwards=0)
    net.pbx.take(200)
    net.pbx.request("OPTIONS", uri="sip:1001@192.0.2.1:5060", max_forwards=0)
    net.pbx.take(483)
    net.assert_all_freed()


def test_options_to_a_gateway_that_drains_hears_what_an_invite_would_3261_11_2() -> None:
    """So a peer that asks by OPTIONS goes elsewhere before a call of its is refused."""
    net = Net()
    caller, callee = establish(net)
    net.core.draining = True
    net.pbx.request("OPTIONS", uri="sip:192.0.2.1")
    assert text(net.pbx.take_response(503), b"Retry-After") == "5"
    refused = net.pbx.invite()
    net.pbx.ack(refused, net.pbx.take_response(503))
    net.pbx.request("OPTIONS")  # for somebody behind the gateway
    net.carrier.reply(net.carrier.take_request("OPTIONS"), 200)
    net.pbx.take(200)
    hang_up(caller, callee)
    net.assert_all_freed()


@pytest.mark.parametrize(("method", "status"), [("INVITE", 405), ("MESSAGE", 405), ("FOO", 501)])
def test_other_methods_to_the_gateway_itself_are_refused_with_allow_3261_8_2_1(
    method: str, status: int
) -> None:
    net = Net()
    net.pbx.request(method, uri="sip:192.0.2.1")
    assert b"Allow" in net.pbx.take_response(status).index
    net.carrier.nothing()
    net.assert_all_freed()


def test_options_that_require_an_extension_get_420_3261_8_2_2_3() -> None:
    net = Net()
    net.pbx.request("OPTIONS", uri="sip:192.0.2.1", headers="Require: teleport")
    assert text(net.pbx.take_response(420), b"Unsupported") == "teleport"
    net.assert_all_freed()


# -- refused at the door -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "MESSAGE", "CANCEL", "BYE", "REGISTER"])
def test_an_unknown_source_gets_403_and_costs_no_state(method: str) -> None:
    net = Net()
    stranger = net.peer(("203.0.113.66", 5060), "stranger")
    sent = stranger.request(method)
    response = stranger.take_response(403)
    assert not net.endpoint.servers
    assert not net.core.calls
    stranger.again(sent)
    assert stranger.take_response(403).to_tag == response.to_tag  # RFC 3261 8.2.7: the same tag again
    assert net.endpoint.dropped["unknown source"] == 2
    net.carrier.nothing()
    net.assert_all_freed()


def test_an_ack_from_an_unknown_source_gets_nothing() -> None:
    net = Net()
    stranger = net.peer(("203.0.113.66", 5060), "stranger")
    stranger.request("ACK")
    stranger.request("ACK", to="<sip:1001@192.0.2.1>;tag=x")
    stranger.nothing()
    net.assert_all_freed()


def test_no_hops_left_is_483() -> None:
    net = Net()
    net.pbx.invite(max_forwards=0)
    net.pbx.take(483)
    net.carrier.nothing()
    net.pbx.invite(max_forwards=1)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.max_forwards == 0
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_a_request_that_arrives_by_two_ways_is_482_the_second_time_3261_8_2_2_2(method: str) -> None:
    net = Net()
    net.pbx.request(method, call_id="forked", from_="<sip:pbx@192.0.2.2>;tag=f")
    if method == "INVITE":
        net.pbx.take(100)
    got = net.carrier.take_request(method)
    net.pbx.request(method, call_id="forked", from_="<sip:pbx@192.0.2.2>;tag=f")  # with a branch of its own
    net.pbx.take(482)
    net.carrier.nothing()
    net.carrier.reply(got, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_call_that_a_proxy_forks_to_two_numbers_behind_us_is_two_calls_3261_16_6() -> None:
    """The copies of a fork have one Call-ID, From tag and CSeq; whom they are for tells them apart."""
    net = Net()
    forked = {"call_id": "forked", "from_": "<sip:anna@192.0.2.9>;tag=f", "to": "<sip:sales@192.0.2.9>"}
    branches = [net.carrier.invite(uri=f"sip:{number}@192.0.2.1", **forked) for number in ("1001", "1002")]
    net.carrier.take(100)
    net.carrier.take(100)
    offers = [net.pbx.take_request("INVITE") for _ in branches]
    assert [offer.uri for offer in offers] == [b"sip:1001@192.0.2.2:5060", b"sip:1002@192.0.2.2:5060"]
    net.pbx.reply(offers[0], 200, tag="phone-1", body=SDP)
    net.carrier.ack(branches[0], net.carrier.take_response(200))
    net.pbx.take("ACK")
    net.pbx.reply(offers[1], 180, tag="phone-2")
    net.carrier.take(180)
    net.carrier.cancel(branches[1])
    net.carrier.take(200)
    net.carrier.ack(branches[1], net.carrier.take_response(487))
    net.pbx.reply(net.pbx.take_request("CANCEL"), 200)
    net.pbx.reply(offers[1], 487, tag="phone-2")
    net.pbx.take("ACK")
    End.of_callee(net.pbx, offers[0], "phone-1").request("BYE", contact=False)
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.take(200)
    net.assert_all_freed()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"uri": "http://example.com"}, 416),
        ({"headers": "Proxy-Require: gin"}, 420),
        ({"uri": "sip:1001@192.0.2.1?X=y"}, 400),
    ],
)
def test_what_cannot_be_served_is_said_so(change: dict[str, str], status: int) -> None:
    net = Net()
    net.pbx.invite(**change)
    net.pbx.take(status)
    net.carrier.nothing()
    net.assert_all_freed()


def test_a_tel_uri_is_called_as_a_sip_uri_with_user_phone_3261_19_1_6() -> None:
    net = Net()
    net.pbx.invite(uri="tel:+49-30-1234;phone-context=example.com")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.uri == b"sip:+49-30-1234;phone-context=example.com@192.0.2.3:5060;user=phone"
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    assert net.only_record.called == "+49301234"
    net.assert_all_freed()


def test_the_user_part_passes_byte_for_byte_and_parameters_of_the_hop_do_not() -> None:
    net = Net()
    net.pbx.invite(
        uri="sip:%2B1%20x;npdi;rn=+1:pw@192.0.2.1:5060;transport=udp;lr;user=phone;x=%41;maddr=1.2.3.4"
    )
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.uri == b"sip:%2B1%20x;npdi;rn=+1:pw@192.0.2.3:5060;user=phone;x=%41"
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_keepalives_and_noise_are_dropped_without_an_answer() -> None:
    net = Net()
    for data in (b"", b"\r\n\r\n", b"\0", b"\x16\x03\x01 tls?", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100):
        net.pbx.send(data)
    net.pbx.nothing()
    net.assert_all_freed()


# -- bodies and packages -----------------------------------------------------------------------------------

CPIM = b"From: <im:a@x>\r\nTo: <im:b@y>\r\nNS: MyFeatures <mid:1@x>\r\n\r\nContent-Type: text/plain\r\n\r\nhi"
MULTIPART = b"--b\r\nContent-Type: text/plain\r\n\r\nSIP/2.0 200 OK\r\n\r\n--b\r\n\r\n\0\1\r\n--b--\r\n"
BODIES = {
    "binary": (b"application/octet-stream", bytes(range(256)) * 4),
    "large": (b"text/plain", b"0123456789abcdef" * 3500),
    "multipart": (b'multipart/mixed;boundary="b"', MULTIPART),
    "cpim": (b"message/cpim", CPIM),
    "utf-8": (b"text/plain;charset=utf-8", "Grüße, 世界\r\n\r\n".encode()),
    "empty": (b"text/plain", b""),
}


def send_body(peer: Peer, method: str, kind: bytes, body: bytes, end: End | None = None) -> None:
    """Send a request with a body of this type, in a dialog or outside of any."""
    to, from_ = ("<sip:1001@192.0.2.1>", "<sip:a@x>;tag=1") if end is None else (end.remote, end.local)
    call_id = "a message" if end is None else end.call_id
    host, port = peer.address
    peer.send(
        f"{method} {'sip:1001@192.0.2.1' if end is None else end.target} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:{port};branch={peer.new_branch().decode()}\r\nMax-Forwards: 70\r\n"
        f"From: {from_}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: 900 {method}\r\n".encode()
        + b"c: %b\r\nContent-Disposition: render\r\nContent-Language: fr\r\nl: %d\r\n\r\n" % (kind, len(body))
        + body
    )


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_a_message_passes_with_any_body_3428(name: str, inside: bool) -> None:
    kind, body = BODIES[name]
    net = Net()
    ends = establish(net) if inside else None
    send_body(net.pbx, "MESSAGE", kind, body, ends[0] if ends else None)
    got = net.carrier.take_request("MESSAGE")
    assert (got.body, got.need(b"Content-Type")) == (body, kind)
    assert (text(got, b"Content-Disposition"), text(got, b"Content-Language")) == ("render", "fr")
    net.carrier.reply(got, 200)
    net.pbx.take(200)
    if ends:
        ends[0].seq = 900
        hang_up(*ends)
    net.assert_all_freed()


@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_info_packages_pass_with_their_negotiation_6086(asking: str) -> None:
    net = Net()
    caller, callee = establish(net, headers="Recv-Info: dtmf, vnd.x;p=1")
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    one.request("INFO", headers="Info-Package: dtmf\nContent-Disposition: Info-Package", body=b"Signal=5")
    got = other.peer.take_request("INFO")
    assert (text(got, b"Info-Package"), text(got, b"Content-Disposition")) == ("dtmf", "Info-Package")
    other.peer.reply(got, 200)
    one.peer.take(200)
    one.request("INFO", headers="Info-Package: unheard-of")
    other.peer.reply(other.peer.take_request("INFO"), 469, "Bad Info Package", headers="Recv-Info: dtmf")
    refused = one.peer.take_response(469)
    assert (refused.phrase, text(refused, b"Recv-Info")) == (b"Bad Info Package", "dtmf")
    hang_up(one, other)
    net.assert_all_freed()


def test_recv_info_of_both_sides_passes_with_the_call_6086_4_2() -> None:
    net = Net()
    invite = net.pbx.invite(headers="Recv-Info: a, b")
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    assert text(got, b"Recv-Info") == "a, b"
    net.carrier.reply(got, 200, headers="Recv-Info: c", body=b"v=0")
    answer = net.pbx.take_response(200)
    assert text(answer, b"Recv-Info") == "c"
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, got))
    net.assert_all_freed()


def test_a_publication_passes_with_its_entity_tags_3903() -> None:
    net = Net()
    for match, status, tag in (("", 200, "v1"), ("v1", 200, "v2"), ("v1", 412, "")):
        condition = f"\nSIP-If-Match: {match}" if match else ""
        net.pbx.request("PUBLISH", headers=f"Event: presence\nExpires: 60{condition}", body=b"<presence/>")
        got = net.carrier.take_request("PUBLISH")
        assert got.values(b"SIP-If-Match") == ([match.encode()] if match else [])
        net.carrier.reply(got, status, headers=f"SIP-ETag: {tag}\nExpires: 50" if tag else "")
        response = net.pbx.take_response(status)
        assert response.values(b"SIP-ETag") == ([tag.encode()] if tag else [])
    assert not net.endpoint.dialogs
    net.assert_all_freed()
