"""Messages as they come and go, for somebody who asked for those of a trunk or a number."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable

import trio

from gateway.sip.errors import MalformedError
from gateway.sip.flow import Flow
from gateway.sip.message import Request, parse
from gateway.sip.uri import dialled
from gateway.wall import Wall
from gateway.wire import WireMessage, without_secrets

from .identity import call_id_of, x_cid_of
from .tap import Batch, copy_of

_WAITING = 20_000  # messages that may wait to be looked at
_CALLS = 10_000  # dialogs of the number that are followed
_SLICE = 64  # messages that are looked at in one go
_USER = re.compile(rb"(?:sips?|tel):([^@;>\s]+)", re.IGNORECASE)
_IDENTITIES = (b"From", b"To", b"P-Asserted-Identity")

TrunkOf = Callable[[Flow], str]
"""The name of the trunk at the other end of a flow, "" of a stranger."""


class Choice:
    """Which messages are wanted: those exchanged with ``trunk``, of calls from or to ``number``; "" is any.

    A number is meant by its last digits, with or without a leading "+" and separators. A call's other legs
    are known by the X-CID that the gateway puts on them, or by the number where it stands on them, too.
    """

    def __init__(self, trunk: str, number: str, trunk_of: TrunkOf) -> None:
        self._trunk = trunk
        self._number = dialled(number.encode()).lstrip(b"+")
        self._trunk_of = trunk_of
        self._calls: OrderedDict[bytes, None] = OrderedDict()

    def takes(self, data: bytes, flow: Flow) -> bool:
        """Tell whether a message is wanted. They must be shown in the order in which they came."""
        if self._number and not self._is_of_number(data):
            return False
        return not self._trunk or self._trunk_of(flow) == self._trunk

    def _is_of_number(self, data: bytes) -> bool:
        call_id = call_id_of(data)
        if call_id in self._calls:
            return True
        if x_cid_of(data) not in self._calls and not self._names_number(data):
            return False
        self._calls[call_id] = None
        if len(self._calls) > _CALLS:
            self._calls.popitem(last=False)
        return True

    def _names_number(self, data: bytes) -> bool:
        if data.startswith(b"SIP/2.0") or self._number not in data:
            return False
        try:
            message = parse(data)
        except MalformedError:
            return False
        if not isinstance(message, Request):
            return False
        places = [message.uri, *(value for key in _IDENTITIES for value in message.values(key))]
        users = (match[1] for place in places for match in _USER.finditer(place))
        return any(user.endswith(self._number) for user in users)


class Capture:
    """Listens to the tap for a while. ``dropped`` counts messages that came faster than they were taken."""

    def __init__(self, choice: Choice, wall: Wall | None = None) -> None:
        self.dropped = 0
        self._choice = choice
        self._wall = wall or Wall()
        self._waiting: deque[Batch] = deque()
        self._count = 0
        self._more = trio.Event()

    def take(self, batch: Batch) -> None:
        """Take what has come. Returns at once and never raises."""
        count = len(batch[2])
        if self._count + count > _WAITING:
            self.dropped += count
        else:
            self._count += count
            self._waiting.append(batch)
        self._more.set()

    async def next(self) -> list[WireMessage]:
        """Wait for messages, and return those that are wanted, by the wall clock and without credentials."""
        while not self._waiting:
            self._more = trio.Event()
            await self._more.wait()
        at, sent, messages = self._waiting.popleft()
        self._count -= len(messages)
        found = []
        for index, (data, flow) in enumerate(messages):
            if index % _SLICE == 0:
                await trio.lowlevel.checkpoint()
            if self._choice.takes(data, flow):
                message = copy_of(self._wall.shows(at), sent, data, flow)
                found.append(message._replace(payload=without_secrets(data)))
        return found
