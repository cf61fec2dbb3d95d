"""What each leg owns and what passes, byte for byte and in order (RFC 7092's list for this gateway)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.b2bua.policy import OWNED
from gateway.sip.message import Message, Request, Response
from tests.helpers import CONFIG, End, Net, establish, hang_up, make_setup, text
from tests.sip.strategies import Draft, drafts

PASSING = """\
Identity: eyJhbGciOiJFUzI1NiJ9..sv5CTo05KqpSmtHt3dcEiO_1CWTSZtnG3iV;info=<https://c.example/c.pem>;alg=ES256
Date: Thu, 21 Feb 2002 13:02:03 GMT
X-Unknown:   two  spaces and a tail\t
sUbJeCt: odd spelling
s: compact
History-Info: <sip:a@b>;index=1, <sip:c@d>;index=1.1
History-Info: <sip:e@f>;index=1.2
Diversion: <sip:+4930@c>;reason=unconditional
Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000
Geolocation: <cid:target123@atlanta.example.com>
Call-Info: <https://c.example/jcard>;purpose=jwscard
Alert-Info: <urn:alert:service:call-waiting>
User-to-User: 56a390f3d2b7310023a2;encoding=hex
Feature-Caps: *;+sip.607
Reason: Q.850;cause=16;text="a, b; c"
k: timer, 100rel
Allow: INVITE
User-Agent: phone/1
P-Preferred-Identity: <sip:a@b>
X-Folded: one
  two
\tthree
X-Empty:
X-Unknown: again"""


def passed(message: Message) -> list[bytes]:
    """The header lines that neither leg owns."""
    return [line for key, line in message.rows if key not in OWNED]


def as_sent(headers: str) -> list[bytes]:
    """Header lines as they travel: a continuation belongs to the line before it, CRLF included."""
    lines: list[str] = []
    for line in headers.split("\n"):
        if line[:1] in (" ", "\t"):
            lines[-1] += "\r\n" + line
        else:
            lines.append(line)
    return [line.encode() for line in lines]


def test_a_request_passes_its_headers_byte_for_byte_and_in_order() -> None:
    net = Net()
    net.pbx.invite(headers=PASSING, body=b"\x00\r\n\r\n\xff")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert passed(offer) == [*as_sent(PASSING), b"Content-Type: application/sdp"]
    assert offer.body == b"\x00\r\n\r\n\xff"
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_responses_pass_their_headers_byte_for_byte_and_in_order() -> None:
    for status in (183, 200, 486):
        net = Net()
        net.pbx.invite()
        net.pbx.take(100)
        offer = net.carrier.take_request("INVITE")
        net.carrier.reply(offer, status, headers=PASSING, body=b"\x00\r\n\r\n\xff")
        response = net.pbx.take_response(status)
        assert passed(response) == [*as_sent(PASSING), b"Content-Type: application/sdp"]
        assert response.body == b"\x00\r\n\r\n\xff"
        if status == 183:
            net.carrier.reply(offer, 486)
        net.run(40)
        net.assert_all_freed()


def test_what_a_leg_owns_is_written_anew() -> None:
    net = Net()
    invite = net.pbx.invite(
        headers="Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKbehind\nRoute: <sip:192.0.2.1;lr>"
    )
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert [line.partition(b";")[0] for line in offer.lines(b"Via")] == [b"Via: SIP/2.0/UDP 192.0.2.1:5060"]
    assert offer.lines(b"Contact") == [b"Contact: <sip:192.0.2.1:5060>"]
    assert (b"Route" in offer.index, offer.max_forwards) == (False, invite.max_forwards - 1)
    for key in OWNED:
        assert len(offer.lines(key)) <= 1
    net.carrier.reply(offer, 200, headers="Record-Route: <sip:10.8.8.8;lr>")
    answer = net.pbx.take_response(200)
    assert answer.lines(b"Via") == [
        b"Via: " + invite.via.raw,
        b"Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKbehind",
    ]
    assert answer.lines(b"Contact") == [b"Contact: <sip:192.0.2.1:5060>"]
    assert b"Record-Route" not in answer.index  # of the other leg
    assert (answer.call_id, answer.cseq, answer.from_tag) == (invite.call_id, invite.cseq, invite.from_tag)
    net.run(33)
    net.assert_all_freed()


def test_from_and_to_keep_all_but_their_tags() -> None:
    net = Net()
    net.pbx.invite(
        from_='"Böb, \\"B\\"" <sip:+4930;ext=5@a.example;user=phone?x=y>;x=1;tag=abc;y="2"',
        to='"C" <tel:+1555>;z',
    )
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    sender = text(offer, b"From")
    assert sender.startswith('"Böb, \\"B\\"" <sip:+4930;ext=5@a.example;user=phone?x=y>;x=1;y="2";tag=')
    assert text(offer, b"To") == '"C" <tel:+1555>;z'
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


# -- trust, hide, set, X-CID -------------------------------------------------------------------------------


def untrusted(host: str) -> str:
    """The configuration with the trunk at this address not trusted."""
    target = f'target = ["sip:{host}:5060"]\n'
    return CONFIG.replace(target + "trusted = true", target)


ASSERTED = """P-Asserted-Identity: "A" <sip:+4930@a>
P-Asserted-Identity: <tel:+4930>
Privacy: id
Remote-Party-ID: "A" <sip:+4930@a>;party=calling;privacy=full;screen=yes"""
TRUSTED_ONLY = (b"P-Asserted-Identity", b"Privacy", b"Remote-Party-ID")


def asserted(net: Net) -> list[bytes]:
    """Which of these headers reach the callee, and come back from it."""
    net.pbx.invite(headers=ASSERTED)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486, headers=ASSERTED)
    response = net.pbx.take_response(486)
    net.assert_all_freed()
    found = [key for message in (offer, response) for key, _ in message.rows]
    return [key for key in found if key in TRUSTED_ONLY]


def test_asserted_identities_pass_between_trusted_trunks_only_3325() -> None:
    one_way = [b"P-Asserted-Identity", *TRUSTED_ONLY]
    assert asserted(Net()) == one_way * 2
    assert asserted(Net(untrusted("192.0.2.3"))) == []
    assert asserted(Net(untrusted("192.0.2.2"))) == []


def test_a_trunk_hides_and_sets_headers_on_what_is_sent_to_it() -> None:
    config = CONFIG.replace(
        'name = "carrier"\n',
        'name = "carrier"\nhide = ["User-Agent", "x-secret", "s"]\n'
        'set = {X-Account = "4711", Organization = "We"}\n',
    )
    net = Net(config)
    headers = "User-Agent: pbx/1\nX-Secret: 1\nX-SECRET: 2\nSubject: s\nX-Account: forged\nX-Kept: yes"
    invite = net.pbx.invite(headers=headers)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for key in (b"User-Agent", b"x-secret", b"Subject"):
        assert key not in offer.index
    assert offer.lines(b"x-account") == [b"X-Account: 4711"]
    assert (text(offer, b"Organization"), text(offer, b"x-kept")) == ("We", "yes")
    net.carrier.reply(offer, 200, headers="User-Agent: carrier/1\nX-Secret: 3")
    answer = net.pbx.take_response(200)  # what the carrier sends to the PBX is the PBX's affair
    assert (text(answer, b"User-Agent"), text(answer, b"x-secret")) == ("carrier/1", "3")
    assert b"x-account" not in answer.index
    net.pbx.ack(invite, answer, headers="X-Secret: 4")
    ack = net.carrier.take_request("ACK")
    assert (b"x-secret" in ack.index, text(ack, b"x-account")) == (False, "4711")
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    callee.request("INFO", headers="X-Account: theirs", contact=False)
    info = net.pbx.take_request("INFO")
    assert info.lines(b"x-account") == [b"X-Account: theirs"]
    net.pbx.reply(info, 200, headers="X-Secret: 5")
    response = net.carrier.take_response(200)
    assert (b"x-secret" in response.index, text(response, b"x-account")) == (False, "4711")
    hang_up(caller, callee)
    net.assert_all_freed()


def test_what_a_trunk_hides_and_sets_holds_for_cancel_too() -> None:
    config = CONFIG.replace(
        'name = "carrier"\n',
        'name = "carrier"\nhide = ["X-Secret"]\nset = {X-Account = "4711", Require = "x"}\n',
    )
    net = Net(config)
    invite = net.pbx.invite(headers="X-Secret: 1")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert (b"x-secret" in offer.index, text(offer, b"Require")) == (False, "x")
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.pbx.cancel(invite, headers="X-Secret: 1\nX-Account: forged\nReason: SIP;cause=200")
    net.pbx.take(200)
    net.pbx.take(487)
    cancel = net.carrier.take_request("CANCEL")
    assert cancel.lines(b"x-account") == [b"X-Account: 4711"]
    assert text(cancel, b"Reason") == "SIP;cause=200"
    assert b"x-secret" not in cancel.index
    assert b"Require" not in cancel.index  # a CANCEL can require nothing (RFC 3261 9.1)
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    net.assert_all_freed()


def test_x_cid_joins_the_legs_of_a_call_for_tracing_tools() -> None:
    net = Net()
    invite = net.pbx.invite(headers="X-CID: of-an-earlier-hop")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert offer.lines(b"X-CID") == [b"X-CID: " + invite.call_id]
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_x_cid_can_be_turned_off_towards_a_trunk() -> None:
    net = Net(CONFIG.replace('name = "carrier"\n', 'name = "carrier"\nx_cid = false\n'))
    net.pbx.invite(headers="X-CID: of-an-earlier-hop")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert b"X-CID" not in offer.index
    net.carrier.reply(offer, 486)
    net.pbx.take(486)
    net.assert_all_freed()


def test_hide_and_set_take_effect_on_new_calls_after_a_reload() -> None:
    net = Net()
    caller, callee = establish(net)
    net.core.reload(make_setup(CONFIG.replace('name = "carrier"\n', 'name = "carrier"\nhide = ["X-Own"]\n')))
    caller.request("INFO", headers="X-Own: 1", contact=False)  # a call goes on as it began
    info = net.carrier.take_request("INFO")
    assert b"x-own" in info.index
    net.carrier.reply(info, 200)
    net.pbx.take(200)
    net.pbx.invite(headers="X-Own: 1")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert b"x-own" not in offer.index
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.take(486)
    hang_up(caller, callee)
    net.assert_all_freed()


# -- the property ------------------------------------------------------------------------------------------

_PLAIN = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def as_invite(draft: Draft) -> bytes:
    """The draft as an INVITE to somebody behind the gateway, that can be served."""
    lines = [b"Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKown"]
    for key, line, value in draft.lines:
        if key == b"CSeq":
            line = b"CSeq: 7 INVITE"
        elif key == b"Max-Forwards":
            line = b"Max-Forwards: 70"
        elif key == b"To":
            line = b"To: " + value.rpartition(b";tag=")[0]
        lines.append(line)
    return b"\r\n".join([b"INVITE sip:1001@192.0.2.1 SIP/2.0", *lines, b"", draft.body])


@given(drafts("request"), drafts("response"))
@_PLAIN
def test_whatever_invite_and_answer_come_only_owned_headers_differ(request: Draft, answer: Draft) -> None:
    net = Net()
    net.pbx.send(as_invite(request))
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert passed(offer) == [line for key, line, _ in request.lines if key not in OWNED]
    assert offer.body == request.body
    lines = [line for key, line, _ in answer.lines if key not in OWNED]
    head = rebuild_head(offer, 480)
    net.carrier.send(
        b"\r\n".join([*head, *lines, b"Content-Length: %d" % len(answer.body), b"", answer.body])
    )
    response = net.pbx.take_response(480)
    assert isinstance(response, Response)
    assert passed(response) == lines
    assert response.body == answer.body
    net.assert_all_freed()


def rebuild_head(offer: Message, status: int) -> list[bytes]:
    """The start line and the headers that a response copies from its request."""
    copied = [line for key, line in offer.rows if key in (b"Via", b"From", b"Call-ID", b"CSeq")]
    to = b"To: " + offer.need(b"To") + b";tag=callee"
    return [b"SIP/2.0 %d Refused" % status, *copied, to]


@pytest.mark.parametrize("status", [180, 200, 302, 486])
def test_a_response_has_the_timestamp_of_its_request_and_no_second_one_3261_20_38(status: int) -> None:
    net = Net()
    net.pbx.invite(headers="Timestamp: 54.2")
    assert net.pbx.take_response(100).lines(b"Timestamp") == [b"Timestamp: 54.2"]
    offer = net.carrier.take_request("INVITE")
    assert offer.lines(b"Timestamp") == [b"Timestamp: 54.2"]
    net.carrier.reply(offer, status, headers="Timestamp: 54.2 0.1")
    (passed,) = [message for message in net.pbx.inbox if not isinstance(message, Request)]
    assert passed.lines(b"Timestamp") == [b"Timestamp: 54.2"]
