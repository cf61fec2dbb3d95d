"""What workers say to one another, and to their supervisor: MessagePack, one note a datagram.

All of them are of one start of one gateway, so there are no versions, and what arrives is believed.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from gateway.b2bua.record import CallRecord
from gateway.ledger.canaries import CanaryEvent
from gateway.routing.locate import Address
from gateway.rules.trials import News
from gateway.rules.unwanted import Feedback
from gateway.sip.flow import Peer
from gateway.telemetry.metric import Sample
from gateway.wire import WireMessage


class FlowName(NamedTuple):
    """A flow, by what every worker knows: the number of its listening point, the peer, over TLS its trunk."""

    local: int
    peer: Peer
    trunk: str = ""


Row = tuple[int, Peer, str, bytes]
"""FlowName and bytes, in one row."""


class HandedOver(msgspec.Struct, array_like=True, tag=1):
    """Messages that another worker received, for their owner: in order on each flow."""

    messages: list[tuple[FlowName, list[bytes]]]


class Carry(msgspec.Struct, array_like=True, tag=2):
    """Messages that are to be sent over connections, which the first worker holds."""

    messages: list[tuple[int, Peer, str, int, bool, bytes]]
    """FlowName, the flow's reply_port and alias, and bytes, in one row."""


class FlowLost(msgspec.Struct, array_like=True, tag=3):
    """A connection has ended, or could not be had."""

    flow: FlowName
    reached: bool


class Undelivered(msgspec.Struct, array_like=True, tag=4):
    """The start of a datagram that found nobody."""

    data: bytes


class DialogEnd(msgspec.Struct, array_like=True):
    """What another worker must know of one side of a dialog to speak of it."""

    call_id: bytes
    local_tag: bytes
    remote_tag: bytes
    target: bytes
    flow: FlowName
    trunk: str


class Legs(msgspec.Struct, array_like=True):
    """The Call-IDs and trunks of a call's legs."""

    caller_call_id: str
    callee_call_id: str
    caller_trunk: str
    callee_trunk: str


class FarContact(msgspec.Struct, array_like=True):
    """Whom a registered contact stands for. ``source`` is "" for a registration of the gateway's own."""

    token: bytes
    registrar: str
    source: str = ""
    contact: bytes = b""
    flow: FlowName | None = None
    path: bytes = b""
    expires_at: float = 0.0


class Inquiry(msgspec.Struct, array_like=True, tag=5):
    """A request that speaks of what other workers have: it goes from one to the next of these, each adds what
    it knows, and the worker that asked serves the request then.
    """

    asker: int
    left: list[int]
    """Who is still to be asked."""
    flow: FlowName
    data: bytes
    dialogs: list[tuple[bytes, bytes, bytes]]
    """(Call-ID, tag, tag) as the request names them, in either order of tags."""
    calls: list[bytes]
    """Call-IDs that In-Reply-To names."""
    token: bytes
    """The user part that may be a registered contact, or b""."""
    ends: list[tuple[DialogEnd, DialogEnd]] = []
    legs: list[Legs] = []
    contact: FarContact | None = None


class Leading(msgspec.Struct, array_like=True, tag=6):
    """What the first worker says once a second, and when it changes."""

    down: list[tuple[str, bytes]]
    """The pinged targets that are down, all of them: trunk and URI."""
    captures: bool
    """Whether somebody wants to see all messages."""


class Seen(msgspec.Struct, array_like=True, tag=7):
    """Messages that another worker received or sent, for captures."""

    at: float
    sent: bool
    messages: list[Row]


class Look(msgspec.Struct, array_like=True, tag=9):
    """What is in memory of a call? From the first worker."""

    serial: int
    id: str
    record: CallRecord | None


class Found(msgspec.Struct, array_like=True, tag=10):
    """That is, or a part of it."""

    serial: int
    worker: int
    record: CallRecord | None
    messages: list[WireMessage]
    is_last: bool


class Unwanted(msgspec.Struct, array_like=True, tag=11):
    """A callee's word about a caller, for all to count and for the first worker to keep."""

    feedback: Feedback


class FeedbackChanged(msgspec.Struct, array_like=True, tag=13):
    """Somebody has changed what is kept of feedback; from the first worker."""


class EndedCall(msgspec.Struct, array_like=True):
    """What rules that count earlier calls want of a call: a `FinishedCall`."""

    caller: str
    called: str
    callee_trunk: str
    ringing_at: float
    answered_at: float
    ended_at: float
    original_status: int
    origin: str
    attempts: int


class Earlier(msgspec.Struct, array_like=True, tag=14):
    """Calls that have ended, and what befell those of canaries. Each worker numbers its notes, from 1 on."""

    worker: int
    number: int
    ended: list[EndedCall]
    trials: list[News]


class Stops(msgspec.Struct, array_like=True, tag=15):
    """Canaries that are stopped, as far as the database may not say so."""

    events: list[CanaryEvent]


class Rest(msgspec.Struct, array_like=True, tag=12):
    """An address is to be spared until a time."""

    address: Address
    until: float


class MetricNote(msgspec.Struct, array_like=True, tag=8):
    """One metric of one worker, as it is now."""

    worker: int
    pid: int
    name: str
    samples: list[Sample]


class Prepare(msgspec.Struct, array_like=True, tag=20):
    """Read rules, or configuration and rules, and keep them ready; from the supervisor."""

    serial: int
    whole: bool
    digest: str
    slots: dict[str, int]
    """The numbers of limited trunks on the board."""


class Prepared(msgspec.Struct, array_like=True, tag=21):
    """What came of it: the digest of what was read, or the reasons why nothing was."""

    serial: int
    digest: str
    errors: list[str]


class Switch(msgspec.Struct, array_like=True, tag=22):
    """Put to work what is ready, or forget it."""

    serial: int
    to_work: bool


class Changed(msgspec.Struct, array_like=True, tag=23):
    """The rule file or one of its lists has changed; from a worker."""


class Ready(msgspec.Struct, array_like=True, tag=24):
    """A worker serves. ``line`` is what is to be printed of it."""

    line: str


class Drain(msgspec.Struct, array_like=True, tag=25):
    """Take no new calls, and say when there are no calls."""


class Drained(msgspec.Struct, array_like=True, tag=26):
    """There are no calls."""


class Stop(msgspec.Struct, array_like=True, tag=27):
    """End now."""


class StreamsLost(msgspec.Struct, array_like=True, tag=28):
    """The first worker has died, and with it all connections; from the supervisor."""


Note = (
    HandedOver | Carry | FlowLost | Undelivered | Inquiry | Leading | Seen | Look | Found | Unwanted
    | FeedbackChanged | Earlier | Stops
    | Rest | MetricNote | Prepare | Prepared | Switch | Changed | Ready | Drain | Drained | Stop | StreamsLost
)  # fmt: skip

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Note).decode
