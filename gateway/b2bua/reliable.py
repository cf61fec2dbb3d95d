"""Reliable provisional responses that the gateway speaks by itself on one leg (RFC 3262).

On the caller's leg a :class:`Reliable` sends what rings on the other leg reliably: for each early dialog one
:class:`Sender` numbers the responses, repeats the one that is out until its PRACK comes, and lets the next
one wait meanwhile. A 2xx waits too while a session description is out (RFC 3262 3). On the callee's leg
:class:`Pracks` acknowledges what comes, in order, and hands it on as a plain response.

Both only serve an INVITE with an offer: then a reliable response is at most the answer to it, and its PRACK
needs nothing that only the other side could say.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from gateway.sip.dialog import Dialog
from gateway.sip.headers import parse_rack
from gateway.sip.message import Request, Response
from gateway.sip.transaction import InviteClient, ServerTransaction
from gateway.sip.transaction.base import OFF, compile_table

from .credentials import ask
from .machine import Machine
from .option_tags import demands, without_option

if TYPE_CHECKING:
    from .leg import CalleeLeg, CallerLeg

OPTION = b"100rel"
MAX_WAITING = 8
_LAST_RSEQ = 2**32 - 1


class State(IntEnum):
    """Where one early dialog's reliable responses stand."""

    IDLE = 0  # each has its PRACK
    WAITING = 1  # one is out without its PRACK
    SETTLED = 2  # a final response went out, or nobody cares any more


class Input(IntEnum):
    """What can happen to them."""

    PROGRESS = 0  # another one is to be sent
    PRACK = 1  # for the one that is out
    AGAIN = 2  # time to repeat it
    TIMEOUT = 3  # 64*T1 without a PRACK
    FINAL = 4  # the final response goes out, or the leg is closed


class Provisional(msgspec.Struct, eq=False):
    """A provisional response as it is to be sent: ``lines`` are whole header lines, without RSeq."""

    status: int
    phrase: bytes
    lines: bytes
    body: bytes


class Sender(Machine):
    """The reliable responses of one early dialog with the caller. ``out`` is the one without a PRACK."""

    __slots__ = ("_again_at", "_every", "_rseq", "_tag", "_until", "_waiting", "out", "owner")

    def __init__(self, owner: Reliable, tag: bytes) -> None:
        super().__init__(State.IDLE)
        self.owner: Reliable | None = owner
        self.out: Provisional | None = None
        self._tag = tag
        # RFC 3262 3 asks for a first number chosen evenly from 1 to 2**31 - 1; the tag is random.
        self._rseq = crc32(tag) % (2**31 - 1)
        self._waiting: deque[Provisional] = deque()
        self._every = 0.0
        self._again_at = self._until = OFF

    def on_timer(self, now: float) -> None:
        """Repeat what is out, or give up; a call for nothing does nothing."""
        if self._until <= now:
            self.feed(Input.TIMEOUT, None, now)
        elif self._again_at <= now:
            self.feed(Input.AGAIN, None, now)

    @property
    def number_out(self) -> int:
        """The number of the one that is out, 0 for none."""
        return 0 if self.out is None else self._rseq

    def _send(self, provisional: Provisional, now: float) -> None:
        assert self.owner is not None
        self._rseq += 1
        self.out = provisional
        timing = self.owner.leg.endpoint.timing
        self._every = timing.t1
        self._until = now + 64 * timing.t1
        self._repeat(None, now)

    def _repeat(self, _detail: object, now: float) -> None:
        """Send what is out; the next time after twice the wait, over any transport (RFC 3262 3)."""
        owner, out = self.owner, self.out
        assert owner is not None and out is not None
        lines = b"%bRequire: %b\r\nRSeq: %d\r\n" % (out.lines, OPTION, self._rseq)
        owner.leg.invite.respond(out.status, out.phrase, self._tag, lines, out.body, now)
        self._again_at = now + self._every
        self._every *= 2
        owner.leg.endpoint.timers.at(min(self._again_at, self._until), self)

    def _queue(self, provisional: Provisional, _now: float) -> None:
        """One is out at a time (RFC 3262 3); of too many that wait, the oldest says least."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
        self._waiting.append(provisional)

    def _next(self, _detail: object, now: float) -> None:
        self.out = None
        self._again_at = self._until = OFF
        if self._waiting:
            self.feed(Input.PROGRESS, self._waiting.popleft(), now)

    def _give_up(self, _detail: object, now: float) -> None:
        owner = self.owner
        assert owner is not None
        self._settle(None, now)
        owner.on_no_prack(now)

    def _settle(self, _detail: object, _now: float) -> None:
        self._waiting.clear()
        self._again_at = self._until = OFF
        self.owner = None

    def _acknowledged_late(self, _detail: object, _now: float) -> None:
        self.out = None


Sender.TABLE = {
    (State.IDLE, Input.PROGRESS): (State.WAITING, Sender._send),  # RFC 3262 3
    (State.IDLE, Input.FINAL): (State.SETTLED, Sender._settle),  # RFC 3262 3
    (State.WAITING, Input.PROGRESS): (State.WAITING, Sender._queue),  # RFC 3262 3: one at a time
    (State.WAITING, Input.PRACK): (State.IDLE, Sender._next),  # RFC 3262 3
    (State.WAITING, Input.AGAIN): (State.WAITING, Sender._repeat),  # RFC 3262 3
    (State.WAITING, Input.TIMEOUT): (State.SETTLED, Sender._give_up),  # RFC 3262 3: a 5xx
    (State.WAITING, Input.FINAL): (State.SETTLED, Sender._settle),  # RFC 3262 3: repeated no more
    (State.SETTLED, Input.PRACK): (State.SETTLED, Sender._acknowledged_late),  # RFC 3262 3: crossed the final
    (State.SETTLED, Input.FINAL): (State.SETTLED, None),  # closed after it was answered
}
Sender.STEPS = compile_table(State, Input, Sender.TABLE)


class Reliable:
    """What makes the caller's leg send its provisional responses reliably."""

    __slots__ = ("_held", "_senders", "leg")

    def __init__(self, leg: CallerLeg) -> None:
        self.leg = leg
        self._senders: dict[bytes, Sender] = {}  # by our tag: no more than the leg has early dialogs
        # A 2xx that waits for the PRACK to what this sender has out. One of another fork takes its place: the
        # callee repeats it.
        self._held: tuple[Sender, CalleeLeg, InviteClient, Response] | None = None

    def send(self, tag: bytes, provisional: Provisional, now: float) -> None:
        """Send a provisional response in the early dialog with this tag of ours, now or in its turn."""
        sender = self._senders.get(tag)
        if sender is None:
            sender = self._senders[tag] = Sender(self, tag)
        sender.feed(Input.PROGRESS, provisional, now)

    def holds(
        self, callee: CalleeLeg, invite: InviteClient, response: Response, dialog: Dialog | None
    ) -> bool:
        """Tell whether a 2xx of the callee has to wait, and keep it if so: in its dialog a session
        description is out that the caller has not acknowledged (RFC 3262 3).
        """
        ours = None if dialog is None else dialog.twin
        sender = None if ours is None else self._senders.get(ours.local_tag)
        if sender is None or sender.state != State.WAITING or sender.out is None or not sender.out.body:
            return False
        self._held = (sender, callee, invite, response)
        return True

    def on_prack(self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float) -> None:
        """Answer a PRACK (RFC 3262 3). Raises MalformedError when its RAck cannot be read."""
        sender = self._senders.get(dialog.local_tag)
        if sender is None or not acknowledges(request, sender.number_out, self.leg.invite_seq):
            transaction.reject(481, b"", now)
            return
        # An offer in it would have to be answered by the callee, which sees no PRACK (RFC 3262 5).
        transaction.reject(488 if request.body else 200, b"", now)
        held = self._held
        if held is None or held[0] is not sender:
            sender.feed(Input.PRACK, None, now)
            return
        self._held = None
        sender.feed(Input.FINAL, None, now)  # what waited behind it has lost its sense
        sender.feed(Input.PRACK, None, now)
        _, callee, client, response = held
        callee.on_response(client, response, now)

    def number_out(self, tag: bytes) -> int:
        """Return the number of what is out in the early dialog with this tag of ours, 0 for nothing."""
        sender = self._senders.get(tag)
        return 0 if sender is None else sender.number_out

    def on_no_prack(self, now: float) -> None:
        """A response was never acknowledged."""
        if self.leg.call is not None:
            self.leg.call.on_no_prack(now)

    def stop(self, now: float) -> None:
        """A final response goes out: nothing is repeated any more, but a PRACK may still come."""
        self._held = None
        for sender in self._senders.values():
            sender.feed(Input.FINAL, None, now)


class LatePrack:
    """Waits for the PRACK of an early dialog that is over: it may cross the final response, or the answer of
    another fork, and has its 200 all the same (RFC 3262 3). ``number`` is that of the response.
    """

    __slots__ = ("_dialog", "_endpoint", "_invite_seq", "_number", "trunk")

    def __init__(self, leg: CallerLeg, dialog: Dialog, number: int, now: float) -> None:
        self.trunk = leg.trunk
        self._dialog = dialog
        self._endpoint = leg.endpoint
        self._invite_seq = leg.invite_seq
        self._number = number
        dialog.user = self
        leg.endpoint.open(dialog)
        leg.endpoint.timers.at(now + 64 * leg.endpoint.timing.t1, self)

    def on_timer(self, _now: float) -> None:
        """No PRACK will come any more."""
        self._endpoint.close(self._dialog)

    def on_request(
        self, _dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """Answer what comes. Raises MalformedError when the RAck of a PRACK cannot be read."""
        if request.method != b"PRACK" or not acknowledges(request, self._number, self._invite_seq):
            transaction.reject(481, b"", now)
            return
        transaction.reject(200, b"", now)
        self._endpoint.close(self._dialog)

    def on_ack(self, _dialog: Dialog, _request: Request, _now: float) -> None:
        """There is no 2xx here."""


class Pracks:
    """What acknowledges the callee's reliable responses, in the order of their numbers."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}  # RSeq by To tag: no more than the leg has early dialogs

    def take(self, leg: CalleeLeg, dialog: Dialog, response: Response, now: float) -> Response | None:
        """Return the response as a plain one, its PRACK sent; None for one that came before or too early,
        which its sender repeats (RFC 3262 4).
        """
        rseq = rseq_of(response)
        if not rseq or not demands(response, OPTION):
            return plain(response)
        last = self._last.get(dialog.remote_tag)
        if last is not None and rseq != last + 1:
            return None
        self._last[dialog.remote_tag] = rseq
        lines = b"RAck: %d %d INVITE\r\n" % (rseq, leg.invite_seq)
        ask(leg.endpoint, leg.trunk, b"PRACK", dialog, lines, b"", None, now, 70)
        return plain(response)


def plain(response: Response) -> Response:
    """Return a provisional response without what makes it reliable."""
    rows = [row for row in without_option(response.rows, OPTION) if row[0] != b"RSeq"]
    return response.restated(response.status, response.phrase, rows)


def acknowledges(prack: Request, number: int, invite_seq: int) -> bool:
    """Tell whether a PRACK is for the reliable response with this number, 0 for none, to the INVITE with this
    CSeq number (RFC 3262 3). Raises MalformedError when its RAck cannot be read.
    """
    rack = parse_rack(prack.need(b"RAck"))
    return (rack.rseq, rack.cseq, rack.method) == (number, invite_seq, b"INVITE") and number != 0


def rseq_of(response: Response) -> int:
    """Return the response number, 0 when there is none that can be read (RFC 3262 7.1)."""
    value = response.get(b"RSeq") or b""
    if not value.isdigit() or len(value) > 10:
        return 0
    number = int(value)
    return number if number <= _LAST_RSEQ else 0
