"""A scripted user agent on the wire of ``tests.helpers``: it says just what the test tells it to."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from gateway.sip.headers import parse_name_addr
from gateway.sip.message import Message, Request, Response, parse
from gateway.sip.phrases import phrase_for

if TYPE_CHECKING:
    from tests.helpers import Net

GATEWAY = ("192.0.2.1", 5060)

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

Address = tuple[str, int]


class Peer:
    """A scripted user agent at one address, over one transport. What it gets waits in `inbox`."""

    def __init__(self, net: Net, address: Address, user: str, transport: str = "udp") -> None:
        self.net = net
        self.address = address
        self.transport = transport
        self.user = user
        self.inbox: deque[Message] = deque()
        self.raw: deque[bytes] = deque()
        self._count = itertools.count(1)
        net.attach(address, self._receive, transport)

    def _receive(self, data: bytes, _source: Address) -> None:
        self.inbox.append(parse(data))
        self.raw.append(data)

    @property
    def contact(self) -> str:
        """Its Contact URI."""
        parameter = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:{self.user}@{self.address[0]}:{self.address[1]}{parameter}"

    # -- sending ----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send raw bytes to the gateway."""
        self.net.transmit(data, self.address, GATEWAY, self.transport)
        self.net.run()

    def new_branch(self) -> bytes:
        """A branch nobody has used."""
        return b"z9hG4bK%b%d" % (self.user.encode(), next(self._count))

    def request(
        self,
        method: str,
        *,
        uri: str = "sip:1001@192.0.2.1",
        call_id: str | None = None,
        seq: int = 1,
        from_: str | None = None,
        to: str | None = None,
        branch: bytes | None = None,
        headers: str = "",
        body: bytes = b"",
        max_forwards: int = 70,
        contact: bool = True,
    ) -> Request:
        """Send a request and return it as parsed, to answer or repeat by. `headers` are whole lines."""
        host, port = self.address
        number = next(self._count)
        protocol = f"SIP/2.0/{self.transport.upper()}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: {protocol} {host}:{port};branch={(branch or self.new_branch()).decode()}",
            f"Max-Forwards: {max_forwards}",
            f"From: {from_ or f'<sip:{self.user}@{host}>;tag={self.user}{number}'}",
            f"To: {to or '<sip:1001@192.0.2.1>'}",
            f"Call-ID: {call_id or f'{self.user}-call-{number}'}",
            f"CSeq: {seq} {method}",
        ]
        if contact:
            lines.append(f"Contact: <{self.contact}>")
        lines += [line for line in headers.splitlines() if line]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        self.send(data)
        request = parse(data)
        assert isinstance(request, Request)
        return request

    def invite(self, body: bytes = SDP, **more: object) -> Request:
        """Send an INVITE with an offer."""
        return self.request("INVITE", body=body, **more)  # type: ignore[arg-type]

    def again(self, request: Request) -> None:
        """Retransmit a request, byte for byte."""
        self.send(rebuild(request))

    def cancel(self, invite: Request, headers: str = "") -> Request:
        """CANCEL an INVITE of ours: same Request-URI, Via, From, To, Call-ID and CSeq number."""
        return self.request(
            "CANCEL",
            uri=invite.uri.decode(),
            call_id=invite.call_id.decode(),
            seq=invite.cseq[0],
            from_=text(invite, b"From"),
            to=text(invite, b"To"),
            branch=invite.via.branch,
            headers=headers,
            contact=False,
        )

    def ack(self, invite: Request, response: Response, body: bytes = b"", headers: str = "") -> Request:
        """ACK a final response to an INVITE of ours: for a 2xx with a branch of its own."""
        success = response.status < 300
        return self.request(
            "ACK",
            uri=target_of(response).decode() if success else invite.uri.decode(),
            call_id=invite.call_id.decode(),
            seq=invite.cseq[0],
            from_=text(invite, b"From"),
            to=text(response, b"To"),
            branch=None if success else invite.via.branch,
            body=body,
            headers=headers,
            contact=False,
        )

    def reply(
        self,
        request: Request,
        status: int,
        phrase: str | None = None,
        *,
        tag: str | None = None,
        headers: str = "",
        body: bytes = b"",
        contact: bool | None = None,
    ) -> bytes:
        """Answer a request; provisional and successful answers carry our Contact."""
        to = text(request, b"To")
        if tag is None:
            tag = self.user
        if status != 100 and tag and not parse_name_addr(to.encode()).tag:
            to += f";tag={tag}"
        lines = [f"SIP/2.0 {status} {phrase_for(status).decode() if phrase is None else phrase}"]
        lines += [line.decode() for line in request.lines(b"Via")]
        lines += [
            f"From: {text(request, b'From')}",
            f"To: {to}",
            f"Call-ID: {request.call_id.decode()}",
            f"CSeq: {text(request, b'CSeq')}",
        ]
        if contact if contact is not None else 100 < status < 300:
            lines.append(f"Contact: <{self.contact}>")
        lines += [line for line in headers.splitlines() if line]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        self.send(data)
        return data

    # -- receiving --------------------------------------------------------------------------------------

    def take(self, what: str | int) -> Message:
        """Return the next message; it must be this method or this status."""
        self.net.run()
        assert self.inbox, f"{self.user} waits for {what} and got nothing"
        message = self.inbox.popleft()
        self.raw.popleft()
        got = message.method.decode() if isinstance(message, Request) else message.status
        assert got == what, f"{self.user} waits for {what} and got {got}"
        return message

    def take_request(self, method: str) -> Request:
        """Return the next message, a request of this method."""
        message = self.take(method)
        assert isinstance(message, Request)
        return message

    def take_response(self, status: int) -> Response:
        """Return the next message, a response with this status."""
        message = self.take(status)
        assert isinstance(message, Response)
        return message

    def take_repeated(self, method: str) -> Request:
        """Return the next message, a request of this method, and pass over its retransmissions behind it."""
        request = self.take_request(method)
        while self.inbox and self.inbox[0].rows == request.rows:
            self.take(method)
        return request

    def forget(self) -> None:
        """Pass over what has come."""
        self.net.run()
        self.inbox.clear()
        self.raw.clear()

    def nothing(self) -> None:
        """Nothing has come."""
        self.net.run()
        assert not self.inbox, f"{self.user} got {[str(m) for m in self.raw]}"


def text(message: Message, key: bytes) -> str:
    """A header's first value."""
    return message.need(key).decode()


def target_of(message: Message) -> bytes:
    """The URI in Contact."""
    return parse_name_addr(message.need(b"Contact")).uri


def rebuild(message: Message) -> bytes:
    """The bytes of a message, from its start line, rows and body."""
    if isinstance(message, Request):
        start = b"%b %b SIP/2.0" % (message.method, message.uri)
    else:
        start = b"SIP/2.0 %d %b" % (message.status, message.phrase)
    return b"\r\n".join([start, *(line for _, line in message.rows), b"", message.body])
