"""What ``hide_topology`` makes of each header and body (RFC 3323 5.1, RFC 5853 3.1).

That nothing leaks from all of them together is proved in test_topology_bytes.py.
"""

from __future__ import annotations

import re

import pytest

from gateway.sip.message import Message, Request
from tests.b2bua.watched import Watched, hidden, mixed, sdp
from tests.helpers import End, Net, text

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
        ("Content-Type: text/plain; charset=UTF-8", "Content-Type: text/plain; charset=UTF-8"),
        ('Content-Type: multipart/related; start="<s@h.example>";boundary=a@b',
         'Content-Type: multipart/related; start="<s@192.0.2.1>";boundary=a@b'),
        ("Feature-Caps: *;+sip.607;+a=\"<sip:x@h>\";+b=\"10.1.2.3\";+c=\"one\\\"two\"",
         "Feature-Caps: *;+sip.607;+c=\"one\\\"two\""),
        ("Identity-Info: <https://c.example/c>", None),
        ("Subject:  two  spaces", "Subject:  two  spaces"),
        ("s: compact", "s: compact"),
        ("rEASON: SIP ;cause=486", "rEASON: SIP ;cause=486"),
        ("X-Anything: 1", None),
        ("Path: <sip:h>", None),
        ("From-Nowhere: <sip:h>", None),
    ],
)  # fmt: skip
def test_other_headers_pass_change_or_go(line: str, shown: str | None) -> None:
    offer = seen(line, body=b"")
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


def test_a_signature_over_all_that_we_change_goes_4474_9() -> None:
    """Without ``info`` it is one of RFC 4474, which covers Contact, Call-ID and body."""
    offer = seen('Identity: "ZYNBbHC00"\nIdentity-Info: <https://c.example/c>', from_="<sip:+4930@h>;tag=1")
    assert b"Identity" not in offer.index and b"Identity-Info" not in offer.index


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
