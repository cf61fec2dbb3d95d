"""The whole engine without sockets: what a rejected and a full call cost from bytes in to bytes out.

The messages are those of SIPp's built-in scenarios. Branches, tags and Call-IDs are cut out of what the
engine sent, as a peer would, but by templates, so that the figures are the engine's and not the peers'.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from gateway.b2bua.core import B2bua, Setup
from gateway.b2bua.record import CallRecord
from gateway.config import parse as parse_config
from gateway.routing.route import Routes
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.rules import compile_rules
from gateway.sip.endpoint import Endpoint
from gateway.sip.flow import Flows, Local
from gateway.toml_source import TomlSource

CONFIG = """
[[trunk]]
name = "pbx"
kind = "pbx"
source = ["127.0.0.1:5070"]
target = ["sip:127.0.0.1:5070"]
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["127.0.0.1:5080"]
target = ["sip:127.0.0.1:5080"]
[[route]]
from = ["pbx"]
to = ["carrier"]
"""
RULE = """
[[rule]]
name = "rule-%d"
when.from = ["kind:carrier"]
when.status = %d
when.q850 = [%d]
then.status = 404
"""
SDP = (
    "v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)
INVITE = (
    "INVITE sip:service@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-{n}-0\r\n"
    'From: "sipp" <sip:sipp@127.0.0.1:5070>;tag={n}SIPpTag001\r\nTo: "sut" <sip:service@127.0.0.1:5060>\r\n'
    "Call-ID: {n}@127.0.0.1\r\nCSeq: 1 INVITE\r\nContact: sip:sipp@127.0.0.1:5070\r\nMax-Forwards: 70\r\n"
    f"Subject: Performance Test\r\nContent-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
)
ACK = (
    "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-{n}-{k}\r\n"
    'From: "sipp" <sip:sipp@127.0.0.1:5070>;tag={n}SIPpTag001\r\nTo: "sut" <sip:service@127.0.0.1:5060>;'
    "tag={tag}\r\nCall-ID: {n}@127.0.0.1\r\nCSeq: {seq}\r\nContact: sip:sipp@127.0.0.1:5070\r\n"
    "Max-Forwards: 70\r\nSubject: Performance Test\r\nContent-Length: 0\r\n\r\n"
)
ANSWER = (
    b"SIP/2.0 %b\r\n%b\r\n%b\r\n%b;tag=uas%d\r\n%b\r\n%b\r\nContact: <sip:127.0.0.1:5080;transport=UDP>\r\n%b"
)
_LINES = re.compile(
    rb"(Via:[^\r]*)\r\n(?:[^\r]*\r\n)*?(From:[^\r]*)\r\n(To:[^\r]*)\r\n(Call-ID:[^\r]*)\r\n(CSeq:[^\r]*)\r\n"
)
_TAG = re.compile(rb"\r\nTo:[^\r]*;tag=([^\r]*)")


class Tokens:
    """Tokens as the gateway's are, but counted, so that two runs are alike."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def __call__(self) -> bytes:
        """Return a token that was not there before; spread, as unguessable ones are."""
        return b"%016x" % (next(self._count) * 0x9E3779B97F4A7C15 % 2**64)


class Null:
    """A ledger that forgets."""

    def record(self, record: CallRecord) -> None:
        """Take a record."""


class Engine:
    """An endpoint and a B2BUA between two peers that are only text."""

    def __init__(self, rules: int = 100) -> None:
        config = parse_config(CONFIG)
        trunks = TrunkTable(Trunk(trunk) for trunk in config.trunks)
        text = "version = 1\n" + "".join(
            RULE % (n, 603 if n == rules - 1 else 480 + n % 20, 1) for n in range(rules)
        )
        ruleset = compile_rules(TomlSource.parse(text, "rules.toml"), None)
        local = Local("udp", "127.0.0.1", 5060)
        self.flows = Flows([local])
        self.endpoint = Endpoint(self.flows, Tokens())
        self.core = B2bua(self.endpoint, Setup(trunks, Routes(config, trunks), ruleset), (Null(),))
        self.caller = self.flows.get(local, ("127.0.0.1", 5070))
        self.callee = self.flows.get(local, ("127.0.0.1", 5080))
        self.now = 1_800_000_000.0
        self._count = itertools.count()

    def feed(self, data: bytes, callee: bool = False) -> list[bytes]:
        """Hand in one datagram and return what comes out."""
        self.endpoint.receive([(data, self.callee if callee else self.caller)], self.now)
        return [out for out, _ in self.endpoint.drain()]

    def answer(self, request: bytes, start: bytes, number: int, rest: bytes) -> list[bytes]:
        """Have the callee answer a request."""
        match = _LINES.search(request)
        assert match is not None
        via, sender, to, call_id, seq = match.groups()
        return self.feed(ANSWER % (start, via, sender, to, number, call_id, seq, rest), callee=True)

    def pass_time(self, seconds: float) -> None:
        """Let timers fire."""
        self.now += seconds
        self.endpoint.tick(self.now)
        self.endpoint.drain()


CONTACT = "sip:127.0.0.1:5060"
EMPTY = b"Content-Length: 0\r\n\r\n"
DECLINE = b'Reason: Q.850;cause=1;text="Unallocated number"\r\nContent-Length: 0\r\n\r\n'
WITH_SDP = b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%b" % (len(SDP), SDP.encode())


def rejected(engine: Engine) -> int:
    """One call that the carrier rejects with 603 and the caller hears 404 of; returns its messages."""
    number = next(engine._count)
    trying, invite = engine.feed(INVITE.format(n=number).encode())
    ack, final = engine.answer(invite, b"603 Decline", number, DECLINE)
    assert final.startswith(b"SIP/2.0 404") and trying.startswith(b"SIP/2.0 100") and ack.startswith(b"ACK")
    tag = _TAG.search(final)[1].decode()  # type: ignore[index]
    uri = "sip:service@127.0.0.1:5060"
    engine.feed(ACK.format(n=number, k=0, tag=tag, uri=uri, seq="1 ACK").encode())
    return 7


def establish(engine: Engine) -> tuple[int, str]:
    """One call that rings and is answered; returns its number and the tag that the caller has heard."""
    number = next(engine._count)
    _, invite = engine.feed(INVITE.format(n=number).encode())
    engine.answer(invite, b"180 Ringing", number, EMPTY)
    (final,) = engine.answer(invite, b"200 OK", number, WITH_SDP)
    tag = _TAG.search(final)[1].decode()  # type: ignore[index]
    engine.feed(ACK.format(n=number, k=5, tag=tag, uri=CONTACT, seq="1 ACK").encode())
    return number, tag


def answered(engine: Engine) -> int:
    """One call that is answered and ends with the caller's BYE; returns its messages."""
    number, tag = establish(engine)
    bye = ACK.format(n=number, k=6, tag=tag, uri=CONTACT, seq="2 BYE").replace("ACK", "BYE", 1)
    (bye_out,) = engine.feed(bye.encode())
    engine.answer(bye_out, b"200 OK", number, EMPTY)
    return 13


FLOWS: dict[str, Callable[[Engine], int]] = {"rejected": rejected, "answered": answered}
