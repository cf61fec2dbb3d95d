"""With no rule and nothing hidden, a message leaves as it came but for what each leg owns.

Header lines of every kind are made up (known names and unknown ones in any spelling, compact forms, repeats,
folds, UTF-8, no value at all) with bodies of any bytes, and sent in every kind of message that a call has.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.b2bua.policy import OWNED
from gateway.sip.headers import without_tag
from gateway.sip.message import Message, Response
from gateway.sip.names import COMPACT, NAMES
from gateway.sip.rows import header_key
from tests.helpers import End, Net, Peer, establish, text
from tests.sip.strategies import bodies, phrases, tokens

# What the gateway acts on, so that it cannot hold just anything.
_READ = {
    b"Event", b"Expires", b"Max-Breadth", b"Min-SE", b"Proxy-Require", b"RAck", b"Require", b"RSeq",
    b"Session-Expires", b"Subscription-State", b"Supported", b"Timestamp", b"Content-Type", b"Replaces",
}  # fmt: skip
_OTHERS = sorted(set(NAMES) - OWNED - _READ)
_SHORT = sorted(short for short, name in COMPACT.items() if name in _OTHERS)
_VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40).map(str.encode),
    st.sampled_from([b"", b'"', b"<", b"<sip:a@h>;x, <tel:+1>", b'Q.850;cause=16;text="a;b"', b"\t\xff\xfe"]),
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """One header line, folded perhaps."""
    known = st.sampled_from([*_OTHERS, *_SHORT])
    name = draw(st.one_of(known, known, tokens.map(lambda token: b"X-" + token)))
    spelt = draw(st.sampled_from([name, name.lower(), name.upper(), name.swapcase()]))
    colon = draw(st.sampled_from([b":", b": ", b" : ", b":\t"]))
    fold = draw(st.sampled_from([b"", b"", b"\r\n ", b"\r\n\t  "]))
    more = draw(_VALUES) if fold else b""
    return spelt + colon + draw(_VALUES) + (fold + b"x" + more if fold else b"")


@dataclass
class Load:
    """What a message carries from end to end."""

    lines: list[bytes]
    body: bytes

    def put_into(self, data: bytes) -> bytes:
        """A bodiless message that carries this."""
        head = data.partition(b"\r\nContent-Length: 0\r\n")[0]
        return b"\r\n".join([head, *self.lines, b"Content-Length: %d" % len(self.body), b"", self.body])


loads = st.builds(Load, st.lists(lines(), max_size=8), bodies)


class Carrying:
    """Has the next message that a peer sends carry a load."""

    def __init__(self, peer: Peer, load: Load) -> None:
        self.peer = peer
        self.load = load

    def __enter__(self) -> None:
        send = self.peer.send
        self.peer.send = lambda data: send(self.load.put_into(data))  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        del self.peer.send  # type: ignore[method-assign]


def assert_carried(message: Message, load: Load) -> None:
    passed = [line for key, line in message.rows if key not in OWNED]
    assert (passed, message.body) == (load.lines, load.body)


def assert_same_ends(one: Message, other: Message) -> None:
    for key in (b"From", b"To"):
        assert without_tag(one.need(key)) == without_tag(other.need(key))


_MANY = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@given(st.lists(loads, min_size=6, max_size=6), phrases)
@_MANY
def test_a_whole_call_differs_in_owned_headers_only(given_: list[Load], phrase: bytes) -> None:
    offered, ringing, answered, acked, asked, told = given_
    net = Net()
    with Carrying(net.pbx, offered):
        invite = net.pbx.invite(body=b"")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    assert_carried(offer, offered)
    assert_same_ends(invite, offer)
    with Carrying(net.carrier, ringing):
        net.carrier.reply(offer, 183, phrase.decode())
    progress = net.pbx.take_response(183)
    assert_carried(progress, ringing)
    assert progress.phrase == phrase
    with Carrying(net.carrier, answered):
        net.carrier.reply(offer, 200, phrase.decode())
    answer = net.pbx.take_response(200)
    assert_carried(answer, answered)
    assert_same_ends(invite, answer)
    with Carrying(net.pbx, acked):
        net.pbx.ack(invite, answer)
    assert_carried(net.carrier.take("ACK"), acked)
    caller, callee = End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer)
    for method, one, other in (
        ("INFO", caller, callee),
        ("UPDATE", callee, caller),
        ("NEW", caller, callee),
        ("BYE", callee, caller),
    ):
        assert_passes_inside(method, one, other, asked, told)
    net.assert_all_freed()


def assert_passes_inside(method: str, one: End, other: End, asked: Load, told: Load) -> None:
    with Carrying(one.peer, asked):
        one.request(method)
    got = other.peer.take_request(method)
    assert_carried(got, asked)
    with Carrying(other.peer, told):
        other.peer.reply(got, 200)
    assert_carried(one.peer.take(200), told)


@given(loads, loads, st.integers(300, 699).filter(lambda status: status not in (401, 407)))
@_MANY
def test_a_rejected_call_differs_in_owned_headers_only(offered: Load, refused: Load, status: int) -> None:
    net = Net()
    with Carrying(net.pbx, offered):
        net.pbx.invite(body=b"")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    with Carrying(net.carrier, refused):
        net.carrier.reply(offer, status, "As It Came")
    response = net.pbx.inbox[-1]
    assert isinstance(response, Response)
    if response.status == status:  # 607 and 608 become a 603 that says so, where they are not understood
        assert_carried(response, refused)
        assert response.phrase == b"As It Came"
    else:
        assert (status in (607, 608), response.status) == (True, 603)
    net.carrier.take("ACK")
    net.assert_all_freed()


@given(loads, loads, st.sampled_from(["MESSAGE", "OPTIONS", "PUBLISH", "SOMETHING"]))
@_MANY
def test_transactions_outside_of_dialogs_differ_in_owned_headers_only(
    asked: Load, told: Load, method: str
) -> None:
    net = Net()
    with Carrying(net.pbx, asked):
        request = net.pbx.request(method)
    got = net.carrier.take_request(method)
    assert_carried(got, asked)
    assert_same_ends(request, got)
    with Carrying(net.carrier, told):
        net.carrier.reply(got, 200)
    assert_carried(net.pbx.take(200), told)
    net.assert_all_freed()


ACTED_ON = """\
Event: conference;id=7
Expires: 300
Max-Breadth: 30
Min-SE: 120
Session-Expires: 1800;refresher=uac;x=y
s: what the gateway does not know
Supported: timer,  100rel , replaces
k: path, outbound
Require: precondition, 100rel
Timestamp: 54.21
Content-Disposition: session;handling=required
Target-Dialog: not-ours;local-tag=a;remote-tag=b
Join: not-ours;to-tag=a;from-tag=b
In-Reply-To: not-ours , nor-this
Refer-To: <sip:a@b.example?Replaces=not-ours%3Bto-tag%3Da%3Bfrom-tag%3Db&Subject=x>
Authorization: Digest username="u", realm="r"
Proxy-Authorization: Digest username="u", realm="r"
Reason: SIP;cause=200 ; text="x", Q.850 ;cause=16"""


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "UPDATE"])
def test_headers_that_the_gateway_acts_on_pass_as_they_came_too(method: str) -> None:
    """What the loads leave out, because it cannot hold just anything."""
    load = Load(ACTED_ON.encode().splitlines(), b"")
    net = Net()
    if method == "UPDATE":
        caller, _ = establish(net)
        with Carrying(net.pbx, load):
            caller.request(method)
    else:
        with Carrying(net.pbx, load):
            net.pbx.request(method)
    if method == "INVITE":
        net.pbx.take(100)
    got = net.carrier.take_request(method)
    assert_carried(got, load)
    back = Load([line for line in load.lines if not line.startswith(b"Timestamp")], b"")
    with Carrying(net.carrier, back):
        net.carrier.reply(got, 500)
    refused = net.pbx.take_response(500)
    stamp = b"Timestamp: 54.21"  # is the asker's own, copied from its request (RFC 3261 8.2.6.1)
    passed = [line for key, line in refused.rows if key not in OWNED and line != stamp]
    assert passed == back.lines


def test_the_loads_have_every_header_that_passes() -> None:
    """The names that are made up of are those the parser knows, but for those that the gateway acts on."""
    assert {b"Identity", b"Date", b"History-Info", b"Diversion", b"Session-ID", b"Geolocation"} < set(_OTHERS)
    assert {b"P-Charging-Vector", b"Privacy", b"P-Preferred-Identity", b"Call-Info"} < set(_OTHERS)
    assert {header_key(short) for short in _SHORT} <= set(_OTHERS)


# -- identity (RFC 8224) ----------------------------------------------------------------------------------

SIGNED = """\
Identity: eyJhbGciOiJFUzI1NiIsInBwdCI6InNoYWtlbiJ9.eyJhdHRlc3QiOiJBIn0.c2ln;info=<https://c.example/c.pem>;alg=ES256;ppt=shaken
y: eyJhbGciOiJFUzI1NiIsInBwdCI6ImRpdiJ9.eyJkZXN0Ijp7fX0.c2ln;info=<https://c.example/d.pem>;ppt="div"
Date: Thu, 21 Feb 2002 13:02:03 GMT"""

FORMS = [
    ("<sip:+12155551212@h.example;user=phone>", "<sip:+12155551213@192.0.2.1;user=phone>"),
    ("<tel:+12155551212>", "<tel:+1-215-555-1213>"),
    ('"J. D." <sip:+1(215)555.1212;cpc=ordinary;verstat=TN-Validation-Passed@h.example>', "<tel:911>"),
    ("sip:12155551212@h.example", "<sips:%2B12155551213@192.0.2.1>"),
]


def test_what_is_signed_passes_byte_for_byte_8224_4() -> None:
    for sender, receiver in FORMS:
        net = Net()
        asserted = f"P-Asserted-Identity: {sender}"
        headers = f"{SIGNED}\n{asserted}"
        net.pbx.invite(from_=f"{sender};tag=1", to=receiver, headers=headers)
        net.pbx.take(100)
        offer = net.carrier.take_request("INVITE")
        assert offer.lines(b"Identity") == [line.encode() for line in SIGNED.split("\n")[:2]]
        assert text(offer, b"Date") == "Thu, 21 Feb 2002 13:02:03 GMT"
        assert offer.need(b"From").rpartition(b";tag=")[0] == sender.encode()
        assert offer.need(b"To") == receiver.encode()
        assert offer.lines(b"P-Asserted-Identity") == [asserted.encode()]
        net.carrier.reply(offer, 486)
        net.carrier.take("ACK")
        net.pbx.take(486)
        net.assert_all_freed()


def test_the_called_number_keeps_its_form_in_the_request_uri_8224_8_3() -> None:
    for uri, called in (
        ("sip:+1215;npdi;rn=+1@192.0.2.1;user=phone", "sip:+1215;npdi;rn=+1@192.0.2.3:5060;user=phone"),
        ("sip:+1(215)555.1213@192.0.2.1", "sip:+1(215)555.1213@192.0.2.3:5060"),
        ("sip:%2B12155551213@192.0.2.1", "sip:%2B12155551213@192.0.2.3:5060"),
        ("tel:+1-215-555-1213", "sip:+1-215-555-1213@192.0.2.3:5060;user=phone"),
    ):  # fmt: skip
        net = Net()
        net.pbx.invite(uri=uri)
        net.pbx.take(100)
        offer = net.carrier.take_request("INVITE")
        assert offer.uri.decode() == called
        net.carrier.reply(offer, 486)
        net.carrier.take("ACK")
        net.pbx.take(486)
        net.assert_all_freed()
