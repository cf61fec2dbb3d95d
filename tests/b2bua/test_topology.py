"""With ``hide_topology`` nothing of one side's network is seen on the other (RFC 5853 3.1).

The first tests play everything that a call can show and look for every address and name of the hidden side
in every byte that leaves; the tables behind it say what becomes of each header.
"""

from __future__ import annotations

import re

import pytest

from gateway.sip.message import Message, Request
from tests.helpers import CONFIG, GATEWAY, PBX, Address, End, Net, give_up, text

PBX_SIDE = (b"192.0.2.2", b"10.0.0.", b"corp.example", b"Softphone", b"pbx-call")
CARRIER_SIDE = (b"192.0.2.3", b"10.9.9.", b"core.example", b"Softswitch")
"""Addresses, names and equipment of each side; neither may be seen by the other."""
_MEDIA = re.compile(rb"^(?:[cm]=|a=(?:candidate|rtcp):)[^\r\n]*", re.MULTILINE)


def hidden(*trunks: str) -> str:
    config = CONFIG
    for name in trunks or ("pbx", "carrier"):
        config = config.replace(f'name = "{name}"\n', f'name = "{name}"\nhide_topology = true\n')
    return config


class Watched(Net):
    """A net that looks into all that leaves the gateway for what must not be seen there."""

    seen = 0

    def transmit(self, data: bytes, source: Address, destination: Address, transport: str = "udp") -> None:
        if source == GATEWAY:
            self.seen += 1
            shown = _MEDIA.sub(b"", data)
            for secret in CARRIER_SIDE if destination == PBX else PBX_SIDE:
                assert secret not in shown, (
                    f"{secret!r} towards {destination}: {data.decode(errors='replace')}"
                )
        super().transmit(data, source, destination, transport)


def names(host: str) -> tuple[str, str]:
    """The domain and the equipment of the side that has this host."""
    return ("corp.example", "Softphone") if host.startswith("10.0.0.") else ("core.example", "Softswitch")


def sdp(user: str, host: str, version: int = 1) -> bytes:
    domain, name = names(host)
    return (
        f"v=0\r\no={user} 8000 {version} IN IP4 {host}\r\ns={name} at {host}\r\ni=about {host}\r\n"
        f"u=http://{host}/\r\ne=me@{domain}\r\np=+1 617 555-6011\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"a=tool:{name} 3\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001 IN IP4 {host}\r\n"
        f"a=candidate:1 1 UDP 2130706431 {host} 4000 typ host\r\na=rtpmap:0 PCMU/8000\r\n"
    ).encode()


def mixed(user: str, host: str) -> bytes:
    domain, _ = names(host)
    inner = f"Content-Type: application/pidf+xml\r\n\r\n<presence c='sip:a@{domain}:5070;x'/>"
    lines = [
        "--b0\r\nContent-Type: application/sdp",
        f"Content-ID: <s@{host}>\r\n",
        sdp(user, host).decode(),
        '--b0\r\nContent-Type: multipart/related;boundary="b 1"\r\n',
        f"--b 1\r\n{inner}\r\n--b 1--\r\n--b0--\r\n",
    ]
    return "\r\n".join(lines).encode()


def about(user: str, host: str) -> str:
    """Everything that a side can say of itself in headers."""
    domain, name = names(host)
    return f"""\
P-Asserted-Identity: "{user}" <sip:{user}@{host}:5070;transport=tcp;user=phone>, <tel:+4930123456>
P-Preferred-Identity: <sip:{user}@{host}>
Remote-Party-ID: <sip:{user}@{host}>;party=calling;screen=yes;host={host}
Diversion: "d" <sip:+4930@{host}>;reason=unconditional;x={host}
History-Info: <sip:1@{host}?Reason=SIP%3Bcause%3D302&X-Via={host}>;index=1, <sip:2@{domain}>;index=1.1
Referred-By: <sip:{user}@{domain}>;cid="20398823.2UWQFN309shb3@{host}"
Reply-To: <sip:{user}@{host}>
Call-Info: <http://{host}/photo.jpg>;purpose=icon, <sip:{host}>;answer-after=0
Alert-Info: <http://{host}/ring.wav>
Alert-Info: <urn:alert:service:call-waiting>
Error-Info: <sip:announcement@{host}>
Organization: {domain}
User-Agent: {name} 3
Server: {name}/7
Warning: 392 {host}:5060 "req_src_ip={host}", 370 {domain} "Insufficient bandwidth"
X-CID: 1@{host}
X-Vendor: {host}
X-Sip-Switch: {domain}
In-Reply-To: 7@{host}
Replaces: 7@{host};to-tag=1;from-tag=2
Join: 7@{host};to-tag=1;from-tag=2
Target-Dialog: 7@{host};local-tag=1;remote-tag=2
Path: <sip:{host};lr>
Service-Route: <sip:{host};lr>
P-Charging-Vector: icid-value=1;icid-generated-at={host};orig-ioi={domain}
P-Access-Network-Info: 3GPP-UTRAN-TDD;utran-cell-id-3gpp=23;"{host}"
P-Visited-Network-ID: {domain}
P-Called-Party-ID: <sip:1@{host}>
Geolocation: <cid:loc@{host}>
Content-ID: <loc@{host}>
User-to-User: 56a390f3;encoding=hex
Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000
Reason: Q.850;cause=16;text="Terminated"
Privacy: none"""


PBX_SAYS = about("1000", "10.0.0.5")
CARRIER_SAYS = about("trunk", "10.9.9.9")
ROUTE = "\nRecord-Route: <sip:192.0.2.2;lr;at=10.0.0.1>"


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


@pytest.mark.parametrize("status", [302, 380, 404, 407, 485, 503, 603])
def test_no_byte_of_the_callee_leaves_with_a_rejection(status: int) -> None:
    net = Watched(hidden())
    invite = net.pbx.invite()
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    contact = (
        'Contact: "C" <sip:new@10.9.9.8:5080;transport=tcp>;q=0.5;x=10.9.9.8, <http://core.example/help>'
    )
    net.carrier.reply(offer, status, headers=CARRIER_SAYS + "\n" + contact, body=sdp("sw", "10.9.9.9"))
    response = net.pbx.take_response(status)
    if status in (302, 380, 485):
        assert response.values(b"Contact") == [b'"C" <sip:new@192.0.2.1>;q=0.5']
    net.pbx.ack(invite, response)
    net.assert_all_freed()


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


# -- header by header ---------------------------------------------------------------------------------------


def seen(headers: str, config: str = "", **more: object) -> Request:
    """An INVITE as the hidden side's peer sees it."""
    text_ = hidden("carrier").replace("hide_topology = true\n", f"hide_topology = true\n{config}")
    net = Net(text_)
    net.pbx.invite(headers=headers, **more)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.take(486)
    net.assert_all_freed()
    return offer


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('"A B" <sip:a@h:5070>', '"A B" <sip:a@192.0.2.1>'),
        ("sip:a@h;privacy=off", "<sip:a@192.0.2.1>;privacy=off"),
        ("<sips:a:pw@[2001:db8::1]:5061;lr;maddr=1.2.3.4;user=phone>", "<sips:a:pw@192.0.2.1;user=phone>"),
        ("<sip:+4930;npdi;phone-context=h.example@h>", "<sip:+4930;npdi@192.0.2.1>"),
        ("<tel:7042;phone-context=h.example>", "<tel:7042;phone-context=192.0.2.1>"),
        ("<tel:863-1234;phone-context=+1-914-555>", "<tel:863-1234;phone-context=+1-914-555>"),
        ("<sip:h>", "<sip:192.0.2.1>"),
        ("10.1.2.3 <sip:a@h>", "<sip:a@192.0.2.1>"),
        ("<sip:anonymous@anonymous.invalid>", "<sip:anonymous@anonymous.invalid>"),
        ("<mailto:a@h>, <sip:b@h>", "<sip:b@192.0.2.1>"),
        ("<mailto:a@h>", None),
        ("<sip:a@h", None),
        ('"open <sip:a@h>', None),
        ("", None),
        ("<sip:a@h?Reason=SIP%3Bcause%3D480&Privacy=history&Body=h>",
         "<sip:a@192.0.2.1?Reason=SIP%3Bcause%3D480&Privacy=history>"),
    ],
)  # fmt: skip
def test_addresses_keep_their_user_at_our_host(said: str, shown: str | None) -> None:
    for name in ("P-Asserted-Identity", "History-Info", "Diversion", "Refer-To"):
        offer = seen(f"{name}: {said}")
        assert offer.lines(name.encode()) == ([] if shown is None else [f"{name}: {shown}".encode()])


CARD = "Call-Info: <https://c.example/jcard>;purpose=jwscard"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (CARD, CARD),
        ("Call-Info: <data:,a>;purpose=icon", "Call-Info: <data:,a>;purpose=icon"),
        ("Geolocation: <https://held.example/1>", "Geolocation: <https://held.example/1>"),
        ("Geolocation: <cid:a@h.example>", "Geolocation: <cid:a@192.0.2.1>"),
        ("Content-ID: <a@h.example>", "Content-ID: <a@192.0.2.1>"),
        ("Warning: 399 h \"ask bob\"", "Warning: 399 192.0.2.1 \"ask bob\""),
        ("Warning: 399 h \"see pbx.example\", bad", "Warning: 399 192.0.2.1 \"\""),
        ("Warning: bad", None),
        ("Subject:  two  spaces", "Subject:  two  spaces"),
        ("s: compact", "s: compact"),
        ("rEASON: SIP ;cause=486", "rEASON: SIP ;cause=486"),
        ("X-Anything: 1", None),
        ("Path: <sip:h>", None),
        ("From-Nowhere: <sip:h>", None),
    ],
)  # fmt: skip
def test_other_headers_pass_change_or_go(line: str, shown: str | None) -> None:
    offer = seen(line)
    name = line.partition(":")[0].lower()
    found = [row.decode() for _, row in offer.rows if row.decode().lower().startswith(name + ":")]
    assert found == ([] if shown is None else [shown])


def test_a_trunk_keeps_the_headers_it_names() -> None:
    offer = seen("X-Account: a@h\nUser-Agent: u/1\nX-Other: 1", 'keep = ["x-account", "User-Agent"]\n')
    assert offer.lines(b"x-account") == [b"X-Account: a@h"]
    assert offer.lines(b"User-Agent") == [b"User-Agent: u/1"]
    assert b"x-other" not in offer.index


IDENTITY = "Identity: e30..c2ln;info=<https://c.example/c>;alg=ES256"


@pytest.mark.parametrize(
    ("from_", "to", "signed"),
    [
        ("<sip:+4930123456@h>;tag=1", "<sip:1001@192.0.2.1>", True),
        ("<tel:+4930123456>;tag=1", "<sip:+44-20@h;user=phone>", True),
        ("<sip:alice@h>;tag=1", "<sip:1001@192.0.2.1>", False),
        ("<sip:+4930123456@h>;tag=1", "<sip:bob@h>", False),
    ],
)
def test_a_signature_passes_while_what_it_signs_does_8224_8_3(from_: str, to: str, signed: bool) -> None:
    offer = seen(IDENTITY, from_=from_, to=to)
    assert offer.lines(b"Identity") == ([IDENTITY.encode()] if signed else [])


@pytest.mark.parametrize("from_", ["<mailto:a@corp.example>;tag=1", "<sip:a@corp.example:99999>;tag=1"])
def test_an_address_that_cannot_be_shown_becomes_nobodys_3323_4_1_1_3(from_: str) -> None:
    offer = seen("", from_=from_)
    assert text(offer, b"From").startswith("<sip:anonymous@anonymous.invalid>;tag=")


def test_replaces_passes_where_the_receiver_knows_the_dialog_3891() -> None:
    net = Watched(hidden())
    one = net.pbx.invite()
    net.pbx.take(100)
    first = net.carrier.take_request("INVITE")
    net.carrier.reply(first, 200)
    answer = net.pbx.take_response(200)
    net.pbx.ack(one, answer)
    net.carrier.take("ACK")
    tags = answer.to_tag.decode(), one.from_tag.decode()
    replaces = f"{one.call_id.decode()};to-tag={tags[0]};from-tag={tags[1]}"
    two = net.pbx.invite(headers=f"Replaces: {replaces}")
    net.pbx.take(100)
    second = net.carrier.take_request("INVITE")
    assert text(second, b"Replaces").startswith(first.call_id.decode() + ";")
    net.carrier.reply(second, 486)
    net.carrier.take("ACK")
    net.pbx.ack(two, net.pbx.take_response(486))
    caller, callee = End.of_caller(net.pbx, one, answer), End.of_callee(net.carrier, first)
    escaped = replaces.replace(";", "%3B").replace("=", "%3D")
    caller.request("REFER", headers=f"Refer-To: <sip:y@10.0.0.9?Replaces={escaped}&X-A=10.0.0.9>")
    refer = net.carrier.take_request("REFER")
    assert text(refer, b"Refer-To").startswith(
        f"<sip:y@192.0.2.1?Replaces={first.call_id.decode().replace('@', '%40')}"
    )
    assert b"10.0.0.9" not in refer.need(b"Refer-To")
    net.carrier.reply(refer, 603)
    net.pbx.take(603)
    callee.request("BYE", contact=False)
    net.pbx.reply(net.pbx.take_request("BYE"), 200)
    net.carrier.take(200)
    net.assert_all_freed()


def test_a_hidden_caller_can_be_called_back_through_us() -> None:
    """The address that the carrier saw comes back as the target of a call, and reaches the PBX."""
    net = Net(hidden())
    offer = seen("", from_="<sip:+4930123456@pbx.corp.example>;tag=1")
    back = text(offer, b"From").partition("<")[2].partition(">")[0]
    net.carrier.invite(uri=back, to=f"<{back}>")
    net.carrier.take(100)
    got = net.pbx.take_request("INVITE")
    assert got.uri == b"sip:+4930123456@192.0.2.2:5060"
    net.pbx.reply(got, 486)
    net.pbx.take("ACK")
    net.carrier.take(486)
    net.assert_all_freed()


# -- bodies -------------------------------------------------------------------------------------------------


def origin(message: Message) -> list[str]:
    return message.body.decode().partition("\no=")[2].partition("\r")[0].split()


def test_the_origin_keeps_its_version_and_one_session_id_per_session_3264_8() -> None:
    net = Net(hidden())
    ids = []
    for version in (1, 2):
        net.pbx.invite(body=sdp("1000", "10.0.0.5", version))
        net.pbx.take(100)
        offer = net.carrier.take_request("INVITE")
        user, session, said, *rest = origin(offer)
        assert (user, said, rest) == ("-", str(version), ["IN", "IP4", "192.0.2.1"])
        ids.append(session)
        net.carrier.reply(offer, 486)
        net.carrier.take("ACK")
        net.pbx.forget()
    net.pbx.invite(body=sdp("1001", "10.0.0.5"))
    net.pbx.take(100)
    other = net.carrier.take_request("INVITE")
    assert ids[0] == ids[1] != origin(other)[1]
    net.carrier.reply(other, 486)
    net.assert_all_freed()


def test_media_stays_where_it_is() -> None:
    body = sdp("1000", "10.0.0.5")
    offer = seen("", body=body)
    lines = offer.body.split(b"\r\n")
    kept = [
        line for line in body.split(b"\r\n") if line[:2] not in (b"o=", b"s=", b"i=", b"u=", b"e=", b"p=")
    ]
    kept.remove(b"a=tool:Softphone 3")
    assert [line for line in lines if line[:2] not in (b"o=", b"s=")] == kept
    assert lines[2] == b"s=-"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"v=0\no=a 1 2 IN IP4 10.0.0.5\ns=x\n", rb"v=0\no=- \d+ 2 IN IP4 192.0.2.1\ns=-\n"),
        (b"v=0\r\no=10.0.0.5\r\n", rb"v=0\r\no=- \d+ 0 IN IP4 192.0.2.1\r\n"),
        (b"v=0\r\no=\r\n", rb"v=0\r\no=- \d+ 0 IN IP4 192.0.2.1\r\n"),
        (b"v=0\r\no=a b c d 10.0.0.5 f g h\r\n", rb"v=0\r\no=- \d+ 0 IN IP4 192.0.2.1\r\n"),
        (b"\xff\x00\xfe", rb"\xff\x00\xfe"),
    ],
)
def test_an_origin_of_any_shape_is_replaced(said: bytes, shown: bytes) -> None:
    assert re.fullmatch(shown, seen("", body=said).body)


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        ("message/sipfrag;version=2.0", b"SIP/2.0 200 OK\r\nVia: x\r\n", b"SIP/2.0 200 OK\r\n"),
        ("message/sipfrag", b"INVITE sip:a@10.0.0.5 SIP/2.0\r\n", b""),
        ("Application/Dialog-Info+XML", b"<a b='sip:x@h:1;lr'/>sip:h<sips:h>",
         b"<a b='sip:x@192.0.2.1;lr'/>sip:192.0.2.1<sips:192.0.2.1>"),
        ("text/plain", b"call me at sip:a@h", b"call me at sip:a@h"),
        ("multipart/mixed", b"--x\r\n", b"--x\r\n"),
        ("multipart/mixed;boundary=", b"--x\r\n", b"--x\r\n"),
        ('multipart/mixed;boundary="', b"--x\r\n", b"--x\r\n"),
        ("multipart/mixed;boundary=x", b"--x", b"--x"),
        ("multipart/mixed;boundary=x", b"pre\r\n--x\r\nContent-ID: <a@h>\r\n\r\ntext\r\n--x--\r\nafter",
         b"pre\r\n--x\r\nContent-ID: <a@192.0.2.1>\r\n\r\ntext\r\n--x--\r\nafter"),
    ],
)  # fmt: skip
def test_other_bodies(kind: str, body: bytes, shown: bytes) -> None:
    net = Net(hidden("carrier"))
    net.pbx.request("MESSAGE", headers=f"Content-Type: {kind}\nContent-Type: ignored/ignored", body=b"")
    net.carrier.take("MESSAGE")
    data = b"MESSAGE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\n"
    data += b"From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 9\r\nCSeq: 1 MESSAGE\r\n"
    net.pbx.send(data + f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    got = net.carrier.take_request("MESSAGE")
    assert got.body == shown
    assert got.need(b"Content-Length") == b"%d" % len(shown)


def test_multiparts_in_multiparts_are_looked_into() -> None:
    net = Watched(hidden("carrier"))
    body = mixed("u", "10.0.0.5")
    data = b"MESSAGE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\n"
    data += b"From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 9\r\nCSeq: 1 MESSAGE\r\n"
    kind = b'Content-Type: multipart/mixed; boundary="b0"\r\n'
    net.pbx.send(data + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    got = net.carrier.take_request("MESSAGE")
    assert got.body.count(b"--b0") == 3 and b"'sip:a@192.0.2.1;x'" in got.body
    deep = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed;boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(500)
    )
    net.pbx.send(data.replace(b"Call-ID: 9", b"Call-ID: 8").replace(b"Kx", b"Ky") + kind + b"\r\n" + deep)
    assert net.carrier.take_request("MESSAGE").body == deep
    net.assert_all_freed()
