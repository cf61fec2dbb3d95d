"""The words that legs say to their call, and the call's states.

Legs never pass SIP to each other: what happens on a leg reaches the call as one of these words, and what the
call decides comes back to a leg as a method call.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from gateway.sip.dialog import Dialog
from gateway.sip.message import Request, Response
from gateway.sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from .leg import CalleeLeg, Leg


class State(IntEnum):
    """Where a call stands."""

    CALLING = 0  # INVITEs are out, or are about to be, and nothing has come back
    RINGING = 1  # a provisional response came
    DECIDING = 2  # a final rejection came; go on hunting, wait for others, or tell the caller?
    ANSWERED = 3  # the 2xx went to the caller, whose ACK has not come
    TALKING = 4  # both dialogs stand
    ENDING = 5  # a BYE is on its way to the other leg
    ENDED = 6


class Event(IntEnum):
    """What can happen to a call."""

    PROGRESS = 0  # callee: a provisional response but 100
    ANSWERED = 1  # callee: a 2xx
    REJECTED = 2  # callee: a 3xx-6xx, or none at all
    HUNT = 3  # decided: try the next target
    WAIT = 4  # decided: other targets are still ringing
    GIVE_UP = 5  # decided: tell the caller
    CANCELLED = 6  # caller: CANCEL, or BYE while ringing
    RING_TIMEOUT = 7  # a target has not answered in time
    ACKED = 8  # caller: ACK for the 2xx
    NO_ACK = 9  # caller: that ACK never came
    BYE = 10  # either: the call is over
    BYE_DONE = 11  # the other side has answered the BYE
    BYE_CHALLENGED = 12  # the other side wants credentials for the BYE
    TOO_LONG = 13  # max_duration
    NO_PRACK = 14  # caller: a reliable provisional response was never acknowledged
    LOST = 15  # either: the peer is gone
    STOPPED = 16  # the gateway ends
    EXPIRED = 17  # caller: its invitation holds no longer


class Progress:
    """A provisional response on a callee's leg and its early dialog (None without a To tag)."""

    __slots__ = ("dialog", "leg", "response")

    def __init__(self, leg: CalleeLeg, response: Response, dialog: Dialog | None) -> None:
        self.leg = leg
        self.response = response
        self.dialog = dialog


class Answered:
    """A 2xx on a callee's leg, the dialog it confirms, and the CSeq number of its INVITE."""

    __slots__ = ("dialog", "leg", "response", "seq")

    def __init__(self, leg: CalleeLeg, response: Response, dialog: Dialog, seq: int) -> None:
        self.leg = leg
        self.response = response
        self.dialog = dialog
        self.seq = seq


class Rejected:
    """A final rejection on a callee's leg. ``local`` tells that the gateway made it: nobody answered."""

    __slots__ = ("leg", "local", "response")

    def __init__(self, leg: CalleeLeg, response: Response, local: bool) -> None:
        self.leg = leg
        self.response = response
        self.local = local


class Bye:
    """A BYE that came on ``leg``."""

    __slots__ = ("dialog", "leg", "request", "transaction")

    def __init__(self, leg: Leg, dialog: Dialog, transaction: ServerTransaction, request: Request) -> None:
        self.leg = leg
        self.dialog = dialog
        self.transaction = transaction
        self.request = request
