"""With ``hide_topology`` nothing of one side's network is seen on the other (RFC 5853 3.1).

Everything that a call can show is played, and each byte that leaves is looked into for the addresses and
names of the hidden side. What becomes of each header is in test_topology.py.
"""

from __future__ import annotations

import pytest

from gateway.sip.message import Response
from tests.b2bua.watched import CARRIER_SAYS, PBX_SAYS, ROUTE, Watched, hidden, mixed, sdp
from tests.helpers import CARRIER, End, give_up, text


def test_no_byte_of_the_other_side_leaves_in_a_whole_call() -> None:
    net = Watched(hidden())
    invite = net.pbx.invite(
        headers=PBX_SAYS + ROUTE,
        body=sdp("1000", "10.0.0.5"),
        call_id="7f@pbx.corp.example",
        from_='"Alice" <sip:+4930123456@pbx.corp.example:5070;transport=tcp>;tag=a;epid=10.0.0.5',
        to="<sip:1001@192.0.2.1;at=10.0.0.1>",
    )
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert text(offer, b"From").startswith('"Alice" <sip:+4930123456@192.0.2.1>;tag=')
    assert "epid" not in text(offer, b"From")
    assert offer.need(b"P-Asserted-Identity") == b'"1000" <sip:1000@192.0.2.1;user=phone>, <tel:+4930123456>'
    net.carrier.reply(offer, 183, headers=CARRIER_SAYS, body=sdp("sw", "10.9.9.9"))
    net.pbx.take(183)
    net.carrier.reply(offer, 200, headers=CARRIER_SAYS, body=sdp("sw", "10.9.9.9", 2))
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer, headers=PBX_SAYS, body=sdp("1000", "10.0.0.5"))
    net.carrier.take("ACK")
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    everything_inside(caller, callee, (PBX_SAYS, "10.0.0.5"), (CARRIER_SAYS, "10.9.9.9"))
    everything_inside(callee, caller, (CARRIER_SAYS, "10.9.9.9"), (PBX_SAYS, "10.0.0.5"))
    callee.request("BYE", headers=CARRIER_SAYS, contact=False)
    bye = net.pbx.take_request("BYE")
    net.pbx.reply(bye, 200, headers=PBX_SAYS)
    net.carrier.take(200)
    assert net.seen > 30
    net.assert_all_freed()


def everything_inside(one: End, other: End, ours: tuple[str, str], theirs: tuple[str, str]) -> None:
    """Requests inside the dialog in one direction, each with its answer, and a re-INVITE with its ACK."""
    (said, host), (answered, other_host) = ours, theirs
    for method in ("INFO", "UPDATE", "MESSAGE", "OPTIONS"):
        one.request(method, headers=said, body=sdp("u", host))
        got = other.peer.take_request(method)
        other.peer.reply(got, 200, headers=answered, body=sdp("v", other_host))
        one.peer.take(200)
    refer = f"Refer-To: <sip:+4940@{host};method=INVITE?Replaces=9%40{host}%3Bto-tag%3D1%3Bfrom-tag%3D2>"
    one.request("REFER", headers=f"{said}\n{refer}")
    got = other.peer.take_request("REFER")
    assert text(got, b"Refer-To") == "<sip:+4940@192.0.2.1;method=INVITE>"
    other.peer.reply(got, 202)
    one.peer.take(202)
    frag = f"SIP/2.0 486 Busy Here\r\nContact: <sip:a@{other_host}>\r\nVia: SIP/2.0/UDP {other_host}\r\n"
    progress = "Event: refer\nSubscription-State: terminated;reason=noresource\nContent-Type: message/sipfrag"
    other.request("NOTIFY", headers=progress, body=frag.encode())
    notify = one.peer.take_request("NOTIFY")
    assert notify.body == b"SIP/2.0 486 Busy Here\r\n"
    one.peer.reply(notify, 488, headers=said)
    other.peer.take(488)
    again = one.peer.invite(**in_dialog(one), headers=said, body=sdp("u", host, 3))
    one.seq += 1
    one.peer.take(100)
    reinvite = other.peer.take_request("INVITE")
    other.peer.reply(reinvite, 200, headers=answered, body=sdp("v", other_host, 2))
    ok = one.peer.take_response(200)
    kind = "Content-Type: multipart/mixed;boundary=b0"
    one.peer.ack(again, ok, headers=f"{said}\n{kind}", body=mixed("u", host))
    ack = other.peer.take_request("ACK")
    assert b"Content-ID: <s@192.0.2.1>" in ack.body and b"sip:a@192.0.2.1" in ack.body


def in_dialog(end: End) -> dict[str, object]:
    return {
        "uri": end.target, "call_id": end.call_id, "seq": end.seq + 1, "from_": end.local, "to": end.remote
    }  # fmt: skip


STATUSES = [300, 301, 302, 305, 380, *range(400, 424), 428, 433, *range(436, 441), 469, *range(480, 490)]
STATUSES += [491, 493, 494, *range(500, 506), 513, 580, 600, 603, 604, 606, 607, 608, 699]


@pytest.mark.parametrize("status", STATUSES)
def test_no_byte_of_the_callee_leaves_with_a_rejection(status: int) -> None:
    net = Watched(hidden().replace('kind = "pbx"', 'kind = "pbx"\nsupports = ["607", "608"]'))
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    contact = (
        'Contact: "C" <sip:new@10.9.9.8:5080;transport=tcp>;q=0.5;x=10.9.9.8, <http://core.example/help>'
    )
    net.carrier.reply(offer, status, headers=CARRIER_SAYS + "\n" + contact, body=sdp("sw", "10.9.9.9"))
    response = net.pbx.take_response(status)
    if status < 400 or status == 485:
        assert response.values(b"Contact") == [b'"C" <sip:new@192.0.2.1>;q=0.5']
    net.pbx.ack(invite, response)
    net.assert_all_freed()


def test_no_byte_of_the_callee_leaves_with_what_comes_before_the_answer_3262() -> None:
    net = Watched(hidden())
    invite = net.pbx.invite(headers=PBX_SAYS + "\nSupported: 100rel")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 100, headers=CARRIER_SAYS)
    for status in (180, 181, 182, 183, 199):
        net.carrier.reply(offer, status, headers=CARRIER_SAYS, body=sdp("sw", "10.9.9.9"))
        net.pbx.take(status)
    reliable = f"{CARRIER_SAYS}\nRequire: 100rel\nRSeq: 4711"
    net.carrier.reply(offer, 183, tag="fork", headers=reliable, body=sdp("sw", "10.9.9.9"))
    early = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    for method, more in (("PRACK", f"\nRAck: 4711 {invite.cseq[0]} INVITE"), ("UPDATE", "")):
        early.request(method, headers=PBX_SAYS + more, body=sdp("1000", "10.0.0.5"))
        net.carrier.reply(net.carrier.take_request(method), 200, headers=CARRIER_SAYS)
        net.pbx.take(200)
    net.carrier.reply(offer, 487, tag="fork", headers=CARRIER_SAYS)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(487), headers=PBX_SAYS)
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
@pytest.mark.parametrize("mishap", ["unreachable", "silent", "no such name"])
def test_no_byte_of_the_callee_leaves_when_it_cannot_be_reached_3261_8_1_3_1(
    method: str, mishap: str
) -> None:
    config = hidden()
    if mishap == "no such name":
        config = config.replace("sip:192.0.2.3:5060", "sip:gw.core.example")
    net = Watched(config)
    sent = net.pbx.request(method, headers=PBX_SAYS, body=sdp("1000", "10.0.0.5"))
    if mishap == "unreachable":  # as ICMP tells it
        net.lose(CARRIER, "udp")
    net.run(65)
    told = {100: 0} if method == "INVITE" else {}
    while net.pbx.inbox:
        message = net.pbx.inbox.popleft()
        assert isinstance(message, Response)
        told[message.status] = told.get(message.status, 0) + 1
        if method == "INVITE" and message.status >= 400:
            net.pbx.ack(sent, message)
    final = {"unreachable": 503, "silent": 408, "no such name": 503}[mishap]
    expected = set() if (method, mishap) == ("MESSAGE", "silent") else {final}  # RFC 4320 4.1
    assert set(told) - {100} == expected
    net.assert_all_freed()


def test_no_byte_leaves_in_subscriptions_6665() -> None:
    """What NOTIFYs tell of calls, phones and voice mail is full of addresses (RFC 4235, 3680, 3842)."""
    net = Watched(hidden())
    sent = net.pbx.request("SUBSCRIBE", headers=f"Event: dialog\n{PBX_SAYS}")
    got = net.carrier.take_request("SUBSCRIBE")
    net.carrier.reply(got, 200, headers=f"Expires: 600\n{CARRIER_SAYS}")
    subscriber = End.of_caller(net.pbx, sent, net.pbx.take_response(200))
    notifier = End.of_callee(net.carrier, got)
    for kind, said, shown in NOTIFIED:
        headers = f"Event: dialog\nSubscription-State: active\nContent-Type: {kind}\n{CARRIER_SAYS}"
        notifier.request("NOTIFY", headers=headers, body=said.encode())
        notify = net.pbx.take_request("NOTIFY")
        assert notify.body.decode() == shown
        net.pbx.reply(notify, 200, headers=PBX_SAYS)
        net.carrier.take(200)
    subscriber.request("SUBSCRIBE", headers=f"Event: dialog\nExpires: 0\n{PBX_SAYS}")
    net.carrier.reply(net.carrier.take_request("SUBSCRIBE"), 200, headers="Expires: 0")
    net.pbx.take(200)
    net.assert_all_freed()


NOTIFIED = [
    (
        "application/dialog-info+xml",
        "<dialog-info entity='sip:a@core.example'><dialog id='1' call-id='7f@10.9.9.9' local-tag='1'>"
        '<target uri="sips:a@10.9.9.9:5061;gr"/></dialog><dialog id="2" call-id="8f"/></dialog-info>',
        "<dialog-info entity='sip:a@192.0.2.1'><dialog id='1' call-id='7f@192.0.2.1' local-tag='1'>"
        '<target uri="sips:a@192.0.2.1;gr"/></dialog><dialog id="2" call-id="8f"/></dialog-info>',
    ),
    (
        "application/reginfo+xml",
        "<contact callid='9@10.9.9.9'><uri>sip:a@10.9.9.9:5071</uri></contact>",
        "<contact callid='9@192.0.2.1'><uri>sip:a@192.0.2.1</uri></contact>",
    ),
    (
        "application/simple-message-summary",
        "Messages-Waiting: yes\r\nMessage-Account: sip:a@10.9.9.9:5070;x=1\r\nVoice-Message: 2/8 (0/2)\r\n",
        "Messages-Waiting: yes\r\nMessage-Account: sip:a@192.0.2.1;x=1\r\nVoice-Message: 2/8 (0/2)\r\n",
    ),
    (
        "message/sipfrag;version=2.0",
        "SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK1\r\nContact: <sip:a@10.9.9.9>\r\n"
        'Warning: 399 10.9.9.9 "x"\r\nServer: Softswitch\r\n\r\nv=0\r\no=- 1 1 IN IP4 10.9.9.9\r\n',
        "SIP/2.0 302 Moved\r\n",
    ),
    (
        "multipart/mixed;boundary=b",
        "--b\r\nContent-Type: message/sipfrag\r\nContent-Location: http://core.example/\r\n"
        "X-Node:\r\n 10.9.9.9\r\nContent-Disposition: render\r\n\r\n"
        "SIP/2.0 100 Trying\r\nVia: 10.9.9.9\r\n--b--",
        "--b\r\nContent-Type: message/sipfrag\r\nContent-Disposition: render\r\n\r\n"
        "SIP/2.0 100 Trying\r\n\r\n--b--",
    ),
]


def test_no_byte_of_the_caller_leaves_with_cancel() -> None:
    net = Watched(hidden("carrier"))
    invite = net.pbx.invite(headers=PBX_SAYS)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite, headers=PBX_SAYS)
    cancel = net.carrier.take_request("CANCEL")
    assert text(cancel, b"Reason") == 'Q.850;cause=16;text="Terminated"'
    net.carrier.reply(cancel, 200)
    net.carrier.reply(offer, 487)
    net.carrier.take("ACK")
    net.assert_all_freed()


@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "PUBLISH"])
def test_no_byte_leaves_outside_of_dialogs(method: str) -> None:
    net = Watched(hidden())
    net.pbx.request(
        method, headers=PBX_SAYS, from_="<sip:1000@pbx.corp.example>;tag=a", body=sdp("u", "10.0.0.5")
    )
    got = net.carrier.take_request(method)
    net.carrier.reply(got, 480, headers=CARRIER_SAYS, body=sdp("sw", "10.9.9.9"))
    net.pbx.take(480)
    net.assert_all_freed()


def test_the_watch_sees_what_leaves_without_hiding() -> None:
    """The test that looks into every byte can fail."""
    net = Watched()
    with pytest.raises(AssertionError, match="towards"):
        net.pbx.invite(headers=PBX_SAYS)
