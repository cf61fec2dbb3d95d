"""The INVITE server transaction (RFC 3261 17.2.1 with RFC 6026 7.1 and 8.7).

Beyond the RFC's figure, the 2xx is repeated here until its ACK has come (RFC 3261 13.3.1.4 asks that of the
user, on exactly this transaction's clocks); its ACK, which has a branch of its own, is fed by the user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar

from .base import OFF, Transaction, compile_table
from .server import ServerTransaction

_LAST_TO_TAG = re.compile(rb"\r\nTo: [^\r]*;tag=([^\r]+)\r\n")  # as response_bytes writes it


class State(IntEnum):
    """States of RFC 6026 figure 7 (which replaces RFC 3261 figure 7)."""

    PROCEEDING = 0
    COMPLETED = 1
    CONFIRMED = 2
    ACCEPTED = 3
    TERMINATED = 4


class Input(IntEnum):
    """What can happen to it."""

    REQUEST = 0
    ACK = 1
    PROVISIONAL = 2
    SUCCESS = 3
    FAILURE = 4
    ACKNOWLEDGED = 5  # the ACK for a 2xx, matched by its dialog
    TIMER_G = 6  # and the 2xx's own repetition, which keeps G's times
    TIMER_H = 7
    TIMER_I = 8
    TIMER_L = 9
    TRANSPORT_ERROR = 10


class InviteServer(ServerTransaction):
    """RFC 6026 figure 7."""

    __slots__ = ()
    FIRST = State.PROCEEDING
    REPEAT = Input.TIMER_G
    DEADLINE: ClassVar[Mapping[IntEnum, IntEnum]] = {
        State.COMPLETED: Input.TIMER_H,
        State.CONFIRMED: Input.TIMER_I,
        State.ACCEPTED: Input.TIMER_L,
    }
    REQUEST = Input.REQUEST
    _PROVISIONAL = Input.PROVISIONAL
    _SUCCESS = Input.SUCCESS
    _FAILURE = Input.FAILURE
    _TERMINATED = State.TERMINATED

    @property
    def awaits_final(self) -> bool:
        """Whether the INVITE can still be cancelled (RFC 3261 9.2)."""
        return self.state == State.PROCEEDING

    @property
    def is_accepted(self) -> bool:
        """Whether a 2xx was sent, so that an ACK belongs to the dialog and not to this transaction."""
        return self.state == State.ACCEPTED

    @property
    def own_tag(self) -> bytes:
        """The To tag that its final response has or will have, so that the answer to its CANCEL has it too
        (RFC 3261 9.2); b"" when that cannot be told any more.
        """
        if self.awaits_final:
            return b"" if self.user is None else self.user.tag
        match = _LAST_TO_TAG.search(self.last)
        return b"" if match is None else match[1]

    def acknowledged(self, now: float) -> None:
        """Take notice that the ACK for the 2xx has come (RFC 3261 13.3.1.4)."""
        self.feed(Input.ACKNOWLEDGED, None, now)

    def _fail(self, data: bytes, now: float) -> None:
        self._finish(data, now)
        self.user = None
        t1 = self.wire.timing.t1
        self._repeat(t1, now, now + 64 * t1)  # timers G and H

    def _accept(self, data: bytes, now: float) -> None:
        self._finish(data, now)
        # Over TCP too a 2xx is repeated: a hop behind us may have lost it (RFC 3261 13.3.1.4).
        t1 = self.wire.timing.t1
        self._again_every = t1
        self._again_at = now + t1
        self._until = now + 64 * t1  # timer L
        self.wire.timers.at(self._again_at, self)

    def _again(self, _message: object, now: float) -> None:
        self._send_again(now, self.wire.timing.t2)

    def _again_2xx(self, _message: object, now: float) -> None:
        self.wire.send(self.last, self.flow)
        self._again_every = min(2 * self._again_every, self.wire.timing.t2)
        self._again_at = now + self._again_every
        self.wire.timers.at(min(self._again_at, self._until), self)

    def _confirm(self, _ack: object, now: float) -> None:
        self.last = b""
        self._linger(self.wire.timing.t4, now)  # timer I

    def _acknowledge(self, _ack: object, _now: float) -> None:
        self.last = b""
        self.user = None
        self._again_at = OFF
        self.wire.timers.at(self._until, self)

    def _expire(self, _message: object, now: float) -> None:
        user, self.user = self.user, None
        self._end(None, now)
        if user is not None and self.last:
            user.on_no_ack(self, now)


InviteServer.TABLE = {
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, ServerTransaction._send_last),  # 17.2.1
    (State.PROCEEDING, Input.ACK): (State.PROCEEDING, None),  # an ACK for nothing: stray
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ServerTransaction._send),  # 17.2.1
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, InviteServer._accept),  # RFC 6026 8.7
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, InviteServer._fail),  # 17.2.1
    (State.PROCEEDING, Input.TRANSPORT_ERROR): (State.PROCEEDING, None),  # RFC 6026 8.8
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, ServerTransaction._send_last),  # 17.2.1
    (State.COMPLETED, Input.ACK): (State.CONFIRMED, InviteServer._confirm),  # 17.2.1
    (State.COMPLETED, Input.PROVISIONAL): (State.COMPLETED, None),  # late, after a CANCEL was answered
    (State.COMPLETED, Input.SUCCESS): (State.COMPLETED, None),  # the first final stands
    (State.COMPLETED, Input.FAILURE): (State.COMPLETED, None),  # the first final stands
    (State.COMPLETED, Input.TIMER_G): (State.COMPLETED, InviteServer._again),  # 17.2.1
    (State.COMPLETED, Input.TIMER_H): (State.TERMINATED, Transaction._end),  # 17.2.1
    (State.COMPLETED, Input.TRANSPORT_ERROR): (State.COMPLETED, None),  # RFC 6026 8.8: G and H go on
    (State.CONFIRMED, Input.REQUEST): (State.CONFIRMED, None),  # 17.2.1: absorbed
    (State.CONFIRMED, Input.ACK): (State.CONFIRMED, None),  # 17.2.1: absorbed
    (State.CONFIRMED, Input.TIMER_I): (State.TERMINATED, Transaction._end),  # 17.2.1
    (State.CONFIRMED, Input.TRANSPORT_ERROR): (State.CONFIRMED, None),  # nothing is sent any more
    (State.ACCEPTED, Input.REQUEST): (State.ACCEPTED, None),  # RFC 6026 7.1: absorbed
    (State.ACCEPTED, Input.ACK): (State.ACCEPTED, None),  # the dialog has it
    (State.ACCEPTED, Input.PROVISIONAL): (State.ACCEPTED, None),  # late
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, None),  # one answer a leg: the first stands
    (State.ACCEPTED, Input.FAILURE): (State.ACCEPTED, None),  # the first final stands
    (State.ACCEPTED, Input.ACKNOWLEDGED): (State.ACCEPTED, InviteServer._acknowledge),  # 13.3.1.4
    (State.ACCEPTED, Input.TIMER_G): (State.ACCEPTED, InviteServer._again_2xx),  # 13.3.1.4
    (State.ACCEPTED, Input.TIMER_L): (State.TERMINATED, InviteServer._expire),  # RFC 6026 7.1, 13.3.1.4
    (State.ACCEPTED, Input.TRANSPORT_ERROR): (State.ACCEPTED, None),  # RFC 6026 8.8
    (State.TERMINATED, Input.ACKNOWLEDGED): (State.TERMINATED, None),  # the user gave up waiting, after L
}
InviteServer.STEPS = compile_table(State, Input, InviteServer.TABLE)
