"""A hostile world around the gateway: peers that answer, call, and lie.

`World` keeps what the gateway has sent lately, and what it was sent, and makes the next datagram out of it:
a request that opens something, a response to a request of the gateway's (whose branch is really the
gateway's, so that it reaches a transaction), a further request in one of its dialogs, a message of the
torture corpus, or an echo of the gateway's own words. About half of them are then mutated. Time passes
between them, so that timers fire in every state that the peers leave the gateway in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random

from gateway.sip.flow import Flow
from gateway.sip.framing import Framer
from gateway.sip.message import MalformedMessageError, Message, Request, Response, parse
from tests.helpers import CARRIER, CARRIER2, PBX, SDP, Address, End, Net, make_setup

from .mutations import mutate, splice
from .setups import CONFIG, EVERYTHING, RULES, over_tcp

CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parent.parent / "corpus").glob("*/*.dat"))]
STRANGER = ("198.51.100.7", 5060)
SOURCES = (PBX, PBX, PBX, CARRIER, CARRIER2, (PBX[0], 40001), ("2001:db8::2", 5060), STRANGER)


class World:
    """The gateway, its peers and a clock. ``sent`` counts the datagrams it was given."""

    config = CONFIG
    streams: tuple[str, ...] = ()

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.net = Net(self.config, RULES, streams=self.streams)
        self.setup = self.net.core.setup
        self.other_setup = make_setup(self.config.replace("hide =", "# hide ="), RULES.replace("404", "484"))
        self.now = self.net.now
        self.sent = 0
        self.requests: deque[tuple[Request, Address]] = deque(maxlen=24)  # the gateway's, and who got them
        self.responses: deque[tuple[Response, Address]] = deque(maxlen=24)
        self.opened: deque[tuple[bytes, Address]] = deque(maxlen=24)  # requests that peers sent
        self.said: deque[bytes] = deque(maxlen=24)
        self._serial = 0
        self._moves: list[tuple[int, Callable[[], tuple[bytes, Address]]]] = [
            (20, self._open),
            (38, self._respond),
            (22, self._go_on),
            (6, self._torture),
            (5, self._repeat),
            (5, self._splice),
            (4, self._noise),
        ]

    def step(self) -> None:
        """Send one datagram to the gateway, let a little time pass, and read what it sends."""
        random = self.random
        [move] = random.choices([move for _, move in self._moves], [weight for weight, _ in self._moves])
        data, source = move()
        self.sent += 1
        endpoint = self.net.endpoint
        flow = self.deliver(data, source)
        chance = random.random()
        if chance < 0.002:
            self.now += random.choice((0.5, 4.0, 33.0))
        elif chance < 0.003:
            endpoint.flow_lost(flow, self.now)
        elif chance < 0.004:
            self.net.core.reload(random.choice((self.setup, self.other_setup)))
        self.now += random.random() * 0.02
        endpoint.tick(self.now)
        self.listen()

    def deliver(self, data: bytes, source: Address) -> Flow:
        """Give a datagram to the gateway; the flow that it came on."""
        flow = self.net.flows.get(self.net.local, source)
        self.net.endpoint.receive([(data, flow)], self.now)
        return flow

    def listen(self) -> None:
        """Read what the gateway sends: whatever it is, it must be a sound message."""
        for data, flow in self.net.endpoint.drain():
            try:
                message = parse(data)
            except MalformedMessageError as error:
                if error.status != 513:
                    raise
                continue  # a line grew over our own limit by what we had to add to it
            self.said.append(data)
            if isinstance(message, Response):
                if message.status in (400, 505, 513):
                    continue  # these give a broken request's lines back as they came
                _ = message.via, message.cseq, message.call_id, message.sender, message.receiver
                self.responses.append((message, flow.peer))
            else:
                if message.method != b"ACK":  # which may repeat a bad To of the peer's
                    message.check()
                self.requests.append((message, flow.peer))

    def alive(self) -> int:
        """How much the gateway keeps: calls, dialogs, transactions and timers."""
        endpoint = self.net.endpoint
        transactions = len(endpoint.servers) + len(endpoint.clients)
        return len(self.net.core.calls) + len(endpoint.dialogs) + transactions + len(endpoint.timers)

    def rest(self, seconds: float) -> None:
        """Let time pass in silence."""
        end = self.now + seconds
        endpoint = self.net.endpoint
        while (due := endpoint.timers.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            endpoint.tick(self.now)
            self.listen()
        self.now = self.net.now = end

    # -- moves ------------------------------------------------------------------------------------------

    def _perhaps_mutated(self, data: bytes) -> bytes:
        return mutate(data, self.random) if self.random.random() < 0.5 else data

    def _open(self) -> tuple[bytes, Address]:
        """A request that opens a call, or a transaction outside any dialog."""
        random = self.random
        source = random.choice(SOURCES)
        self._serial += 1
        method = random.choice(_OPENING)
        uri = random.choice(_URIS)
        data = _request(
            method,
            uri,
            source,
            b"%d" % self._serial,
            b"<sip:p@192.0.2.2>;tag=p%d" % self._serial,
            b"<%b>" % uri,
            b"call%d" % self._serial,
            random.randrange(1, 100),
            self._naming() if random.random() < 0.1 else random.choice(_EXTRAS),
            SDP if random.random() < 0.5 else b"",
        )
        self.opened.append((data, source))
        return self._perhaps_mutated(data), source

    def _naming(self) -> list[bytes]:
        """Headers that name a dialog which the gateway has, or had."""
        seen = self.random.choice([*(message for message, _ in self.responses), *_NO_MESSAGES])
        if seen is None:
            return [b"Replaces: a;to-tag=b;from-tag=c", b"In-Reply-To: x,,y"]
        ends = [seen.to_tag, seen.from_tag]
        self.random.shuffle(ends)
        value = seen.call_id + b";to-tag=%b;from-tag=%b" % tuple(ends)
        header = self.random.choice((b"Replaces", b"Join", b"Target-Dialog"))
        if header == b"Target-Dialog":
            value = value.replace(b"to-tag", b"local-tag").replace(b"from-tag", b"remote-tag")
        return [b"%b: %b" % (header, value), b"In-Reply-To: " + seen.call_id]

    def _respond(self) -> tuple[bytes, Address]:
        """A response to a request of the gateway's."""
        if not self.requests:
            return self._open()
        random = self.random
        request, source = random.choice(self.requests)
        status = random.choice(_STATUSES)
        phrase = random.choice((b"OK", b"Decline", b"Network Blocked", b"", b"\xc3\xa9"))
        to = request.need(b"To")
        if b"tag=" not in to and status > 100 and random.random() < 0.95:
            to += b";tag=f%d" % random.choice((1, 1, 1, 2, self._serial))
        lines = [
            b"SIP/2.0 %d %b" % (status, phrase),
            *request.lines(b"Via"),
            b"From: " + request.need(b"From"),
            b"To: " + to,
        ]
        lines += [b"Call-ID: " + request.call_id, b"CSeq: " + request.need(b"CSeq")]
        if random.random() < 0.8:
            lines.append(b"Contact: <sip:c@%b:%d>" % (source[0].encode(), source[1]))
        body = SDP if random.random() < 0.3 else b""
        lines += [*random.choice(_EXTRAS), b"Content-Length: %d" % len(body), b"", body]
        return self._perhaps_mutated(b"\r\n".join(lines)), source

    def _go_on(self) -> tuple[bytes, Address]:
        """A further request: an ACK, a CANCEL, or one in a dialog, from either side."""
        random = self.random
        if random.random() < 0.5 and self.responses:
            return self._go_on_as_caller(*random.choice(self.responses))
        calls = [(request, peer) for request, peer in self.requests if request.method in _DIALOG_FORMING]
        if not calls:
            return self._open()
        invite, source = random.choice(calls)
        to = invite.need(b"To")
        if b"tag=" not in to:
            to += b";tag=f%d" % random.choice((1, 1, 2))
        return self._inside(invite, to, invite.need(b"From"), source)

    def _go_on_as_caller(self, response: Response, source: Address) -> tuple[bytes, Address]:
        random = self.random
        if 200 <= response.status < 300 and response.cseq[1] == b"INVITE" and random.random() < 0.4:
            ack = _request(
                b"ACK",
                b"sip:1001@192.0.2.1",
                source,
                b"a%d" % self.sent,
                response.need(b"From"),
                response.need(b"To"),
                response.call_id,
                response.cseq[0],
                [],
                SDP if random.random() < 0.2 else b"",
            )
            return ack, source
        if random.random() < 0.6:
            return self._inside(response, response.need(b"From"), response.need(b"To"), source)
        method = random.choice((b"ACK", b"CANCEL"))
        branch = response.via.branch.removeprefix(b"z9hG4bK")
        data = _request(
            method,
            b"sip:1001@192.0.2.1",
            source,
            branch,
            response.need(b"From"),
            response.need(b"To"),
            response.call_id,
            response.cseq[0],
            random.choice(_EXTRAS),
            b"",
        )
        return self._perhaps_mutated(data), source

    def _inside(self, seen: Message, from_: bytes, to: bytes, source: Address) -> tuple[bytes, Address]:
        random = self.random
        self._serial += 1
        method = random.choice(_INSIDE)
        number = seen.cseq[0] if method == b"ACK" else random.choice((1, seen.cseq[0] + 1, self._serial))
        body = SDP if random.random() < 0.3 else b""
        data = _request(
            method,
            b"sip:gw@192.0.2.1",
            source,
            b"i%d" % self._serial,
            from_,
            to,
            seen.call_id,
            number,
            random.choice(_EXTRAS),
            body,
        )
        self.opened.append((data, source))
        return self._perhaps_mutated(data), source

    def _torture(self) -> tuple[bytes, Address]:
        return self._perhaps_mutated(self.random.choice(CORPUS)), self.random.choice(SOURCES)

    def _repeat(self) -> tuple[bytes, Address]:
        """What a peer said before, again; or the gateway's own words, sent back to it."""
        if self.opened and (not self.said or self.random.random() < 0.6):
            return self.random.choice(self.opened)
        if not self.said:
            return self._open()
        return self._perhaps_mutated(self.random.choice(self.said)), self.random.choice(SOURCES)

    def _splice(self) -> tuple[bytes, Address]:
        pool = [*self.said, *(data for data, _ in self.opened), self.random.choice(CORPUS)]
        pick = self.random.choice
        return splice(pick(pool), pick(pool), self.random), pick(SOURCES)

    def _noise(self) -> tuple[bytes, Address]:
        random = self.random
        kind = random.randrange(3)
        if kind == 0:
            return random.choice((b"", b"\r\n\r\n", b"\0" * 4, b"\r\n", b" ")), random.choice(SOURCES)
        if kind == 1:
            return random.randbytes(random.randrange(200)), random.choice(SOURCES)
        return b"SIP/2.0 200 OK\r\n" + random.randbytes(random.randrange(200)), random.choice(SOURCES)


class FullWorld(World):
    """The same with every ability switched on."""

    config = EVERYTHING

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.net.core.begin(self.now)

    def quieten(self) -> None:
        """End what the gateway does by itself."""
        core = self.net.core
        core.registrations.stop(self.now)
        core.draining = True
        core.reload(make_setup(CONFIG))
        core.begin(self.now)


class StreamWorld(World):
    """The same over connections: what peers say is cut anywhere, and may lose its frame."""

    config = over_tcp(CONFIG)
    streams = ("tcp",)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.unframed = 0
        self._local = self.net.flows.locals[1]
        self._connections: dict[Address, tuple[Flow, Framer]] = {}

    def deliver(self, data: bytes, source: Address) -> Flow:
        """Write to the connection of a peer, in pieces; one that loses its frame is closed."""
        endpoint = self.net.endpoint
        flow, framer = self._connections.get(source) or (Flow(self._local, source), Framer())
        self._connections[source] = flow, framer
        while data:
            at = self.random.choice((1, 2, 7, 100, 5000))
            piece, data = data[:at], data[at:]
            messages = framer.feed(piece)
            if messages:
                endpoint.receive([(message, flow) for message in messages], self.now)
            if framer.error is not None:
                endpoint.unframed(framer.error, flow)
                data = b""
        if framer.error is not None or self.random.random() < 0.02:
            self.unframed += framer.error is not None
            del self._connections[source]
            endpoint.flow_lost(flow, self.now)
        return flow


_DIALOG_FORMING = (b"INVITE", b"SUBSCRIBE", b"REFER")
_NO_MESSAGES = (None,)
_OPENING = (b"INVITE",) * 10 + (b"SUBSCRIBE",) * 2 + (b"REFER",) * 2 + (
    b"MESSAGE", b"OPTIONS", b"SUBSCRIBE", b"PUBLISH", b"REGISTER", b"NEWMETHOD", b"BYE", b"CANCEL", b"ACK",
    b"PRACK",
)  # fmt: skip
_INSIDE = (b"ACK",) * 6 + (b"BYE",) * 4 + (b"INVITE",) * 3 + (
    b"UPDATE", b"PRACK", b"INFO", b"OPTIONS", b"MESSAGE", b"NOTIFY", b"NOTIFY", b"REFER",
    b"SUBSCRIBE", b"CANCEL", b"NEWMETHOD",
)  # fmt: skip
_URIS = (
    b"sip:1001@192.0.2.1", b"sip:1001@192.0.2.1", b"sip:1001@192.0.2.1;user=phone", b"sip:9911@192.0.2.1",
    b"tel:+1-201-555",
    b"sips:1001@192.0.2.1", b"sip:192.0.2.1", b"sip:192.0.2.1:5060", b"http://x", b"sip:%00@h",
    b"sip:a@[2001:db8::1]:5060",
)  # fmt: skip
_STATUSES = (
    100, 180, 180, 183, 183, 199, 200, 200, 200, 200, 200, 202, 299, 300, 302, 400, 401, 404, 407, 408,
    480, 486, 486, 487,
    491, 500, 503, 600, 603, 603, 603, 607, 608, 699,
)  # fmt: skip
_EXTRAS: tuple[list[bytes], ...] = (
    [], [], [],
    [b"Record-Route: <sip:192.0.2.9;lr>"],
    [b"Record-Route: <sip:192.0.2.9>, <sip:h;lr>", b"Record-Route: <sip:x@192.0.2.8;lr>"],
    [b"Reason: Q.850;cause=1;text=\"unallocated\";location=LN", b"Server: test"],
    [b'Reason: SIP;cause=603;text="v=analytics1;url=https://a.example";location=RLN, Q.850;cause=21'],
    [b"Retry-After: 120 (busy)", b'Warning: 399 h "why"', b"User-Agent: x"],
    [b"Require: 100rel", b"RSeq: 1", b"RAck: 1 1 INVITE"],
    [b"Supported: timer, 100rel", b"Session-Expires: 100;refresher=uac", b"Allow: UPDATE"],
    [b"Session-Expires: 5 ;refresher=uas;x", b"Min-SE: 9999", b"Require: timer, 100rel"],
    [b"RAck: 99999999999 1", b"Timestamp: 54.2 0.1"],
    [b"P-Asserted-Identity: <tel:+1>", b"Privacy: id", b"Max-Forwards: 0"],
    [b"Event: dialog;id=1", b"Expires: 60", b"Subscription-State: active;expires=99999999999"],
    [b"Event: refer;id=2", b"Subscription-State: terminated;reason=x"],
    [b"Event: refer", b"Subscription-State: active", b"Refer-Sub: false"],
    [b"Event: refer;;id=", b"Subscription-State: ;x=\""],
    [b"Refer-To: <sip:a@b?Replaces=x%3Bto-tag%3Dy%3bfrom-tag=z>", b"In-Reply-To: a, b"],
    [b"Proxy-Require: foo", b"Supported: timer,\r\n 100rel"],
)  # fmt: skip


def _request(
    method: bytes,
    uri: bytes,
    source: Address,
    branch: bytes,
    from_: bytes,
    to: bytes,
    call_id: bytes,
    number: int,
    extras: list[bytes],
    body: bytes,
) -> bytes:
    host = b"[%b]" % source[0].encode() if ":" in source[0] else source[0].encode()
    lines = [
        b"%b %b SIP/2.0" % (method, uri),
        b"Via: SIP/2.0/UDP %b:%d;branch=z9hG4bK%b%b"
        % (host, source[1], branch, b";rport" if len(branch) % 2 else b""),
        b"From: " + from_,
        b"To: " + to,
        b"Call-ID: " + call_id,
        b"CSeq: %d %b" % (number, method),
        b"Contact: <sip:p@%b:%d>" % (host, source[1]),
        *extras,
        b"Content-Length: %d" % len(body),
        b"",
        body,
    ]
    return b"\r\n".join(lines)


def assert_serves_a_call(net: Net) -> None:
    """The gateway carries a call as if nothing had happened: INVITE, 180, 200, ACK, BYE."""
    for peer in (net.pbx, net.carrier, net.backup):
        peer.inbox.clear()
        peer.raw.clear()
    invite = net.pbx.invite()
    net.pbx.take(100)
    offered = net.carrier.take_request("INVITE")
    net.carrier.reply(offered, 180)
    net.pbx.take(180)
    net.carrier.reply(offered, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    End.of_caller(net.pbx, invite, answer).request("BYE")
    bye = net.carrier.take_request("BYE")
    net.carrier.reply(bye, 200)
    net.pbx.take(200)
    assert net.records[-1].end_reason == "bye"
