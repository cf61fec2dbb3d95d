"""A simulated telephone: a SIP user agent just large enough to play one side of a call over real UDP.

It builds its messages by itself and reads them with the gateway's parser. It never repeats what it sends,
because nothing is lost on loopback, and passes over what it has seen before, because a busy machine may
keep the gateway waiting until that repeats something (RFC 3261 17.1.1.2).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Self

import trio

from gateway.sip.headers import parse_name_addr
from gateway.sip.message import MAX_DATAGRAM, MalformedMessageError, Message, Request, Response, parse

HOST = "127.0.0.1"
_PATIENCE = 5.0  # seconds that a phone waits for a message
_SDP = "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"


class UnexpectedError(Exception):
    """A phone did not get what the call asked for; `str()` says what it got instead."""


class Phone:
    """One telephone, or a whole PBX or carrier as far as the gateway can see, on a free UDP port."""

    def __init__(self, name: str, socket: trio.socket.SocketType) -> None:
        self.name = name
        self.port: int = socket.getsockname()[1]
        self._socket = socket
        self._gateway_port = 0
        self._waiting: list[Message] = []
        self._seen: set[bytes] = set()
        self._numbers = itertools.count(1)

    @classmethod
    async def open(cls, name: str) -> Self:
        """Make a phone with a socket of its own."""
        socket = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await socket.bind((HOST, 0))
        return cls(name, socket)

    async def connect(self, port: int) -> None:
        """Talk to the gateway at this port, and to nobody else."""
        self._gateway_port = port
        await self._socket.connect((HOST, port))

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    # -- the side that calls ----------------------------------------------------------------------------

    async def invite(self, caller: str, called: str) -> Request:
        """Call a number, and return the INVITE that was sent."""
        number = next(self._numbers)
        sender = f"<sip:{caller}@{HOST}>;tag={self.name}-{number}"
        receiver = f"<sip:{called}@{HOST}:{self._gateway_port}>"
        uri = f"sip:{called}@{HOST}:{self._gateway_port}"
        ends = (sender, receiver, f"{self.name}-call-{number}")
        return await self._request("INVITE", uri, ends, 1, offer=True)

    async def cancel(self, invite: Request) -> None:
        """Give up a call of ours (RFC 3261 9.1)."""
        ends = (_text(invite, b"From"), _text(invite, b"To"), invite.call_id.decode())
        await self._request("CANCEL", invite.uri.decode(), ends, 1, branch=invite.via.branch.decode())

    async def acknowledge(self, invite: Request, final: Response) -> None:
        """Send the ACK that a final response to a call of ours is owed."""
        success = final.status < 300
        uri = _contact(final) if success else invite.uri.decode()
        branch = "" if success else invite.via.branch.decode()  # RFC 3261 17.1.1.3
        await self._request("ACK", uri, _ends(final), 1, branch=branch)

    async def hang_up(self, answer: Response) -> None:
        """End a call of ours that was answered."""
        await self._request("BYE", _contact(answer), _ends(answer), 2)

    async def hear_ringing(self) -> Response:
        """Wait for a 180."""
        return await self._response(lambda response: response.status == 180, "180")

    async def hear_final(self, method: str) -> Response:
        """Wait for whatever final response a request of this method gets."""

        def wanted(response: Response) -> bool:
            return response.status >= 200 and response.cseq[1] == method.encode()

        return await self._response(wanted, f"a final response to {method}")

    # -- the side that is called ------------------------------------------------------------------------

    async def hear(self, method: str) -> Request:
        """Wait for a request of this method."""

        def wanted(message: Message) -> bool:
            return isinstance(message, Request) and message.method == method.encode()

        message = await self._wait_for(wanted, method)
        assert isinstance(message, Request)
        return message

    async def say(
        self, request: Request, status: int, phrase: str, headers: tuple[str, ...] = ()
    ) -> Response:
        """Answer a request, a call with our SDP, and return the response that was sent."""
        to = _text(request, b"To")
        if not request.to_tag:
            to += f";tag={self.name}"
        lines = [f"SIP/2.0 {status} {phrase}"]
        lines += [line.decode() for line in request.lines(b"Via")]
        lines += [f"From: {_text(request, b'From')}", f"To: {to}", f"Call-ID: {request.call_id.decode()}"]
        lines += [f"CSeq: {_text(request, b'CSeq')}", *headers]
        accepts = request.method == b"INVITE" and status < 300
        if accepts:
            lines.append(f"Contact: <sip:{self.name}@{HOST}:{self.port}>")
        response = await self._send(lines, body=accepts and status >= 200)
        assert isinstance(response, Response)
        return response

    # -- in private -------------------------------------------------------------------------------------

    async def _request(
        self,
        method: str,
        uri: str,
        ends: tuple[str, str, str],
        seq: int,
        *,
        branch: str = "",
        offer: bool = False,
    ) -> Request:
        """Send a request; `ends` are From, To and Call-ID."""
        sender, receiver, call_id = ends
        branch = branch or f"z9hG4bK-{self.name}-{next(self._numbers)}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST}:{self.port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {sender}",
            f"To: {receiver}",
            f"Call-ID: {call_id}",
            f"CSeq: {seq} {method}",
        ]
        if method == "INVITE":
            lines.append(f"Contact: <sip:{self.name}@{HOST}:{self.port}>")
        request = await self._send(lines, body=offer)
        assert isinstance(request, Request)
        return request

    async def _send(self, lines: list[str], *, body: bool) -> Message:
        content = _SDP.format(host=HOST) if body else ""
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(content)}")
        data = "\r\n".join([*lines, "", content]).encode()
        await self._socket.send(data)
        return parse(data)

    async def _response(self, wanted: Callable[[Response], bool], what: str) -> Response:
        message = await self._wait_for(lambda found: isinstance(found, Response) and wanted(found), what)
        assert isinstance(message, Response)
        return message

    async def _wait_for(self, wanted: Callable[[Message], bool], what: str) -> Message:
        """Return the first message that is wanted; what else comes waits for its turn."""
        with trio.move_on_after(_PATIENCE):
            while True:
                for message in self._waiting:
                    if wanted(message):
                        self._waiting.remove(message)
                        return message
                await self._receive()
        got = ", ".join(map(_name, self._waiting)) or "nothing"
        raise UnexpectedError(f"{self.name} waited for {what} and got {got}")

    async def _receive(self) -> None:
        try:
            data = await self._socket.recv(MAX_DATAGRAM)
            message = parse(data)
        except OSError as error:
            raise UnexpectedError(f"{self.name} cannot reach the gateway ({error.strerror})") from None
        except MalformedMessageError as error:
            raise UnexpectedError(f"{self.name} got a message that is malformed ({error})") from None
        if data not in self._seen:
            self._seen.add(data)
            self._waiting.append(message)


def _text(message: Message, key: bytes) -> str:
    return message.need(key).decode()


def _ends(response: Response) -> tuple[str, str, str]:
    """From, To and Call-ID of the next request in the dialog, or of the ACK, of a response to us."""
    return _text(response, b"From"), _text(response, b"To"), response.call_id.decode()


def _contact(response: Response) -> str:
    return parse_name_addr(response.need(b"Contact")).uri.decode()


def _name(message: Message) -> str:
    return message.method.decode() if isinstance(message, Request) else str(message.status)
