"""Whether the peer of a leg is still there: the clock that both ways of asking share, and the plain one.

:class:`DialogPing` asks by OPTIONS inside the dialog, for peers without session timers. Only an answer that
says that the dialog is gone, or silence, ends the call (RFC 5057 5.1 and 5.3); any other answer comes from
somebody alive.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from gateway.sip.dialog import Dialog
from gateway.sip.message import Response
from gateway.sip.transaction import ClientTransaction
from gateway.sip.transaction.base import OFF, compile_table

from .credentials import ask
from .events import State as CallState
from .machine import Machine

if TYPE_CHECKING:
    from .leg import Leg

DIALOG_IS_GONE = (408, 481)  # RFC 5057 5.1: these end the dialog, whatever they answer
DIALOG_LOST = "dialog lost"  # the end that the record tells of
WAIT_A_MOMENT = 2.0
# A timer keeps its target until it fires: a long one is set in steps, so that what is left of a call that has
# ended is not kept for hours.
_TIMER_STEP = 60.0


class Keeper(Machine):
    """Looks after one leg's confirmed dialog, by a table of its own. ``leg`` is None once that is over."""

    __slots__ = ("_acts_at", "_looks_at", "leg")

    def __init__(self, leg: Leg, state: IntEnum) -> None:
        super().__init__(state)
        self.leg: Leg | None = leg
        self._acts_at = OFF  # when the next thing is to be done
        self._looks_at = OFF  # when on_timer is due

    def on_timer(self, now: float) -> None:
        """Look whether something is due; while the call is not simply up, look again soon."""
        if self.leg is None or self._looks_at > now:
            return
        self._looks_at = OFF
        if self._acts_at > now:
            self._watch(self._acts_at, now)
        elif self.leg.call is not None and self.leg.call.state == CallState.TALKING:
            self._acts_at = OFF
            self._due(now)
        else:
            self._watch(now + WAIT_A_MOMENT, now)

    def _due(self, now: float) -> None:
        """Do what is due."""
        raise NotImplementedError

    def stop(self, _now: float) -> None:
        """The leg is closed."""
        self.leg = None
        self._acts_at = OFF

    def _watch(self, at: float, now: float) -> None:
        """Act at this time."""
        self._acts_at = at
        step = min(at, now + _TIMER_STEP)
        if self.leg is not None and step < self._looks_at:
            self._looks_at = step
            self.leg.endpoint.timers.at(step, self)

    def _dialog(self) -> Dialog:
        """The dialog that is looked after."""
        assert self.leg is not None and self.leg.dialogs, "a call that is up has its dialog"
        return self.leg.dialogs[0]

    def _lose(self, reason: str, now: float) -> None:
        """The peer is gone: end the call on both sides."""
        if self.leg is not None and self.leg.call is not None:
            self.leg.call.on_lost(reason, now)


class State(IntEnum):
    """What a ping waits for."""

    QUIET = 0  # the time of the next one
    ASKING = 1  # an answer


class Input(IntEnum):
    """What can happen to it."""

    DUE = 0
    ALIVE = 1
    GONE = 2


class DialogPing(Keeper):
    """OPTIONS inside the dialog every so many seconds (``dialog_ping`` of the trunk)."""

    __slots__ = ("_every", "_silences")

    def __init__(self, leg: Leg, every: float) -> None:
        super().__init__(leg, State.QUIET)
        self._every = every
        self._silences = 0  # pings without an answer, in a row

    def start(self, now: float) -> None:
        """The dialog is confirmed."""
        self._watch(now + self._every, now)

    def on_response(self, _transaction: ClientTransaction, response: Response, now: float) -> None:
        """Take the answer: any final one but "gone" is a sign of life."""
        if response.status >= 200 and self.leg is not None:
            self._silences = 0
            gone = response.status in DIALOG_IS_GONE
            self.feed(Input.GONE if gone else Input.ALIVE, None, now)

    def on_no_response(self, _transaction: ClientTransaction, status: int, now: float) -> None:
        """Silence means gone, once every address of the dialog was asked (RFC 3263 4.3); a transport that is
        broken now may work the next time.
        """
        if self.leg is not None:
            self._silences += status == 408
            gone = status == 408 and self._silences > len(self._dialog().others)
            self.feed(Input.GONE if gone else Input.ALIVE, None, now)

    def _due(self, now: float) -> None:
        self.feed(Input.DUE, None, now)

    def _ask(self, _detail: object, now: float) -> None:
        dialog = self._dialog()
        assert self.leg is not None
        ask(self.leg.endpoint, self.leg.trunk, b"OPTIONS", dialog, b"", b"", self, now, 70)

    def _rest(self, _detail: object, now: float) -> None:
        self.start(now)

    def _gone(self, _detail: object, now: float) -> None:
        self._lose(DIALOG_LOST, now)


DialogPing.TABLE = {
    (State.QUIET, Input.DUE): (State.ASKING, DialogPing._ask),  # RFC 3261 11
    (State.ASKING, Input.ALIVE): (
        State.QUIET,
        DialogPing._rest,
    ),  # RFC 5057 5.3: it stays
    (State.ASKING, Input.GONE): (State.QUIET, DialogPing._gone),  # RFC 5057 5.1
}
DialogPing.STEPS = compile_table(State, Input, DialogPing.TABLE)
