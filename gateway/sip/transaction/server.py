"""Server transactions: what both kinds share, and the non-INVITE one (RFC 3261 17.2.2, RFC 4320)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar, Final

from gateway import speedups
from gateway.sip.build import echo_of, response_bytes
from gateway.sip.flow import Flow
from gateway.sip.headers import Via
from gateway.sip.message import Request
from gateway.sip.phrases import phrase_for

from .base import OFF, ServerUser, Transaction, Wire, compile_table

_LEAST_SILENCE: Final = 32.0  # seconds: the client's T1 may be longer than ours, and its timer F with it
_ACK_VIA: Final = re.compile(
    rb"ACK [^\s]+ SIP/2\.0\r\nVia: SIP/2\.0/UDP ((?:[\w.\-]+|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4})"
    rb";branch=(z9hG4bK[\w.\-]+)[;,\r]"
)


def server_key(request: Request, via: Via, method: bytes, source: bytes) -> bytes:
    """Return the key of the server transaction that a request from the host ``source`` belongs to
    (RFC 3261 17.2.3).

    An ACK belongs to its INVITE. Without the magic cookie the RFC 2543 fields serve instead. What a Via says
    of its sender is only its word: without the source, who guesses a branch could cancel another's call.
    """
    name = b"INVITE" if method == b"ACK" else method
    if via.has_cookie:
        return b"%b %b:%d %b %b" % (via.branch, via.host, via.port, name, source)
    seq = request.cseq[0]
    parts = (request.uri, request.from_tag, request.call_id, b"%d" % seq, via.raw, name, source)
    return b"2543 " + b" ".join(parts)


def ack_key_pure(data: bytes) -> bytes | None:
    """Return the key of the INVITE's transaction that an ACK belongs to, but for the source, found by its
    topmost Via alone; None where that is not of the usual form.
    """
    match = _ACK_VIA.match(data)
    if match is None:
        return None
    sent_by, branch = match.groups()
    return b"%b %b INVITE" % (branch, sent_by)


ack_key: Final = speedups.native("ack_key", ack_key_pure)


class ServerTransaction(Transaction):
    """A peer's request that we answer. ``echo`` is what each response repeats of it (RFC 3261 8.2.6.2);
    ``request`` is dropped with the final response; ``merge_key`` finds merged requests (8.2.2.2).
    """

    __slots__ = ("_tag_needed", "echo", "merge_key", "method", "request", "user")
    _PROVISIONAL: ClassVar[IntEnum]
    _SUCCESS: ClassVar[IntEnum]
    _FAILURE: ClassVar[IntEnum]
    REQUEST: ClassVar[IntEnum]
    FIRST: ClassVar[IntEnum]

    def __init__(
        self, wire: Wire, key: bytes, flow: Flow, request: Request, source: Flow, tagged: bool
    ) -> None:
        """``flow`` is where responses go, ``source`` where the request came from; ``tagged`` tells that its
        To has a tag already.
        """
        self.wire = wire
        self.key = key
        self.flow = flow
        self.state = self.FIRST
        self.last = b""
        self._again_at = self._until = OFF
        self._again_every = 0.0
        self.method = request.method
        self.request: Request | None = request
        self.echo = echo_of(request, source)
        self.merge_key: tuple[bytes, ...] | None = None
        self.user: ServerUser | None = None
        self._tag_needed = not tagged

    @property
    def contact(self) -> bytes:
        """Our Contact in a response: sips where the request over TLS asked for that (RFC 3261 12.1.1)."""
        local, request = self.flow.local, self.request
        if local.transport == "tls" and request is not None and request.uri[:5].lower() == b"sips:":
            return local.secure_contact
        return local.contact

    def respond(self, status: int, phrase: bytes, tag: bytes, lines: bytes, body: bytes, now: float) -> None:
        """Answer. ``tag`` is our To tag, used where the request came without one; ``lines`` are whole header
        lines, each ended by CRLF, without those that the transaction owns (Via, From, To, Call-ID, CSeq,
        Content-Length).
        """
        flow = self.flow
        (flow.tally or self.wire.tally(flow)).sent.add(self.method, status)
        to_tag = tag if self._tag_needed and status != 100 else b""
        data = response_bytes(status, phrase, self.echo, to_tag, lines, body)
        if status >= 300:
            given = self._FAILURE
            self.wire.unmerge(self)
        elif status >= 200:
            given = self._SUCCESS
        else:
            given = self._PROVISIONAL
        self.feed(given, data, now)

    def reject(self, status: int, tag: bytes, now: float, lines: bytes = b"") -> None:
        """Answer with a final response of our own, without a body."""
        self.respond(status, phrase_for(status), tag, lines, b"", now)

    def _send(self, data: bytes, _now: float) -> None:
        self.last = data
        self.wire.send(data, self.flow)

    def _send_last(self, _message: object, _now: float) -> None:
        if self.last:
            self.wire.send(self.last, self.flow)

    def _finish(self, data: bytes, now: float) -> None:
        """Send the final response and drop what no longer matters."""
        self._send(data, now)
        self.request = None
        self.echo = b""


class State(IntEnum):
    """States of figure 8, and one for what has been silent for too long (RFC 4320 4.2)."""

    TRYING = 0
    PROCEEDING = 1
    COMPLETED = 2
    SILENT = 3
    TERMINATED = 4


class Input(IntEnum):
    """What can happen to it."""

    REQUEST = 0
    FINAL = 1
    LATE = 2  # the answer: the client's timer E is at T2 by now
    TIMEOUT = 3  # the client's timer F has fired
    TIMER_J = 4
    TRANSPORT_ERROR = 5


class NonInviteServer(ServerTransaction):
    """RFC 3261 17.2.2, figure 8, with RFC 4320: the clock sends the one provisional response that there is,
    a 100, and a client that has given up gets no final one.
    """

    __slots__ = ()
    FIRST = State.TRYING
    REPEAT = Input.LATE  # but once
    DEADLINE: ClassVar[Mapping[IntEnum, IntEnum]] = {
        State.TRYING: Input.TIMEOUT,
        State.PROCEEDING: Input.TIMEOUT,
        State.COMPLETED: Input.TIMER_J,
        State.SILENT: Input.TIMER_J,
    }
    REQUEST = Input.REQUEST
    _SUCCESS = Input.FINAL
    _FAILURE = Input.FINAL

    def start(self, now: float) -> None:
        """Follow the clocks of the client, which has just sent the request, as long as there is no answer:
        when it begins to repeat it every T2 a 100 is due, but to a BYE, and after 64*T1 it gives up.
        """
        timing = self.wire.timing
        # Who hangs up need not know that we are alive, which is what the 100 is for; and many, SIPp's own
        # scenarios among them, take the first answer to a BYE for the last one.
        self._again_at = OFF if self.method == b"BYE" else now + timing.until_t2
        self._until = now + 64 * timing.t1
        self.wire.timers.at(min(self._again_at, self._until), self)

    def respond(self, status: int, phrase: bytes, tag: bytes, lines: bytes, body: bytes, now: float) -> None:
        """Answer; a provisional response (RFC 4320 4.1) and a 408 (4.2) are not sent: the clocks go on as if
        nothing had been said.
        """
        if status == 408:
            self.wire.unmerge(self)
        elif status >= 200:
            super().respond(status, phrase, tag, lines, body, now)

    def _say_trying(self, _message: object, now: float) -> None:
        self._again_at = OFF
        self.wire.tally(self.flow).sent.add(self.method, 100)
        self._send(response_bytes(100, phrase_for(100), self.echo, b"", b"", b""), now)
        self.wire.timers.at(self._until, self)

    def _fall_silent(self, _message: object, now: float) -> None:
        self.wire.unmerge(self)
        self.user = self.request = None
        self.echo = self.last = b""
        self._linger(max(_LEAST_SILENCE, 64 * self.wire.timing.t1), now)

    def _complete(self, data: bytes, now: float) -> None:
        self._finish(data, now)
        self.user = None
        self._linger(64 * self.wire.timing.t1, now)  # timer J

    def _lose(self, _message: object, now: float) -> None:
        self.user = None
        self._end(None, now)


NonInviteServer.TABLE = {
    (State.TRYING, Input.REQUEST): (State.TRYING, None),  # 17.2.2: retransmission, nothing to repeat yet
    (State.TRYING, Input.FINAL): (State.COMPLETED, NonInviteServer._complete),  # 17.2.2
    (State.TRYING, Input.LATE): (State.PROCEEDING, NonInviteServer._say_trying),  # RFC 4320 4.1
    (State.TRYING, Input.TIMEOUT): (State.SILENT, NonInviteServer._fall_silent),  # RFC 4320 4.2
    (State.TRYING, Input.TRANSPORT_ERROR): (State.TERMINATED, NonInviteServer._lose),  # 17.2.4
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, ServerTransaction._send_last),  # 17.2.2
    (State.PROCEEDING, Input.FINAL): (State.COMPLETED, NonInviteServer._complete),  # 17.2.2
    (State.PROCEEDING, Input.TIMEOUT): (State.SILENT, NonInviteServer._fall_silent),  # RFC 4320 4.2
    (State.PROCEEDING, Input.TRANSPORT_ERROR): (State.TERMINATED, NonInviteServer._lose),  # 17.2.4
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, ServerTransaction._send_last),  # 17.2.2
    (State.COMPLETED, Input.FINAL): (State.COMPLETED, None),  # 17.2.2: any other final is discarded
    (State.COMPLETED, Input.TIMER_J): (State.TERMINATED, Transaction._end),  # 17.2.2
    (State.COMPLETED, Input.TRANSPORT_ERROR): (State.TERMINATED, Transaction._end),  # 17.2.4
    (State.SILENT, Input.REQUEST): (State.SILENT, None),  # a straggler, and no new request
    (State.SILENT, Input.FINAL): (State.SILENT, None),  # RFC 4320 4.2: too late
    (State.SILENT, Input.TIMER_J): (State.TERMINATED, Transaction._end),  # 17.2.2
    (State.SILENT, Input.TRANSPORT_ERROR): (State.TERMINATED, Transaction._end),  # 17.2.4
    (State.TERMINATED, Input.FINAL): (State.TERMINATED, None),  # RFC 4320 4.2: too late
}
NonInviteServer.STEPS = compile_table(State, Input, NonInviteServer.TABLE)
