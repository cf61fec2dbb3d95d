"""A trunk with ``register = true`` is kept registered (RFC 3261 10.2).

Each has a :class:`Registration`: one table of states, one REGISTER at a time, to one of the trunk's targets.
It is refreshed at about four fifths of what was granted. After a registrar that fails, the trunk's next
target has its turn; after the last one a wait that doubles (RFC 5626 4.5), or that Retry-After asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote
from zlib import crc32

from gateway.routing.locate import Address
from gateway.routing.route import Plan, hop_to
from gateway.routing.trunk import Target, Trunk, TrunkTable
from gateway.sip.build import MAX_FORWARDS
from gateway.sip.dialog import Dialog
from gateway.sip.errors import MalformedError
from gateway.sip.flow import Flow
from gateway.sip.headers import parse_retry_after
from gateway.sip.message import Request, Response
from gateway.sip.phrases import phrase_for
from gateway.sip.transaction import ClientTransaction, ImpossibleInputError
from gateway.sip.transaction.base import Compiled, Table, compile_table
from gateway.sip.uri import Uri, parse_uri

from .contacts import expires_of, our_contact, read_contacts, read_seconds, token_of
from .credentials import ask

if TYPE_CHECKING:
    from .core import B2bua

BASE_WAIT = 30.0
"""Seconds before the second round of targets; each further one waits twice as long (RFC 5626 4.5)."""
LONGEST_WAIT = 1800.0
LONGEST_RETRY_AFTER = 3600.0
SHORTEST_REFRESH = 5.0
"""Seconds: a registrar that grants less is not refreshed more often."""
LONGEST_EXPIRES = 86_400
_USER_SAFE = "-_.!~*'()&=+$,;?/"  # RFC 3261 25.1: unreserved and user-unreserved


class State(IntEnum):
    """Where a registration stands."""

    OFF = 0  # not begun, or ended
    TRYING = 1  # a REGISTER is out, and nothing is registered that we know of
    REGISTERED = 2
    REFRESHING = 3  # registered, and a REGISTER is out to keep it so
    WAITING = 4  # every target has failed; until the next try
    STOPPING = 5  # to end, as soon as the REGISTER that is out has its answer
    LEAVING = 6  # a REGISTER is out that removes the contact


class Input(IntEnum):
    """What can happen to it."""

    START = 0
    GRANTED = 1  # a 2xx
    TOO_BRIEF = 2  # a 423 that asks for more than we did
    ELSEWHERE = 3  # this target has failed, and another is left
    FAILED = 4  # refused, or no target is left
    TIMER = 5
    STOP = 6


class Registration:
    """One trunk's registration. ``log`` is told each change in one line."""

    TABLE: ClassVar[Table]
    STEPS: ClassVar[Compiled]  # of the TABLE

    def __init__(self, core: B2bua, trunk: Trunk, log: Callable[[str], None]) -> None:
        self.trunk = trunk
        self.registrar = trunk.name
        self.state: Any = State.OFF
        self.status = 0
        """The last final status; 408 and 503 also for silence and for no way to send."""
        self.expires_at = 0.0
        """Until when the last grant holds."""
        self.token = token_of(*_whose(trunk))
        self._core = core
        self._log = log
        self._said: tuple[State, int, int] | None = None
        self._half: Dialog | None = None
        self._index = 0  # of the target in use
        self._addresses: tuple[Address, ...] = ()  # of that target, not tried yet
        self._wanted = 0  # seconds that the REGISTER under way asks for
        self._tried = 0  # targets that have failed in this round
        self._failures = 0  # rounds that have failed
        self._expires = int(trunk.settings.register_expires)
        self._was_brief = False
        self._due = math.inf
        core.contacts[self.token] = self

    def feed(self, given: Input, detail: Any, now: float) -> None:
        """Take one step of the table. Raises ImpossibleInputError on a cell that is not there."""
        step = self.STEPS[self.state][given]
        if step is None:
            raise ImpossibleInputError(f"registration: {given.name} in state {self.state.name}")
        self.state, action = step
        if action is not None:
            action(self, detail, now)
        if self.state == State.OFF and self._core.contacts.get(self.token) is self:
            del self._core.contacts[self.token]

    def reach(self, request: Request, uri: Uri, _trunks: TrunkTable, _now: float) -> tuple[Uri, Plan | None]:
        """Return whom a request to our contact is for. The routes know the way."""
        return dialled(request, uri, self.trunk), None

    # -- what the transaction and the clock say ---------------------------------------------------------

    def on_response(self, _transaction: ClientTransaction, response: Response, now: float) -> None:
        """Take the answer to a REGISTER."""
        status = response.status
        if status < 200:
            return
        self.status = status
        if status < 300:
            self._on_success(response, now)
        elif status == 423 and self._may_ask_longer(response):
            self.feed(Input.TOO_BRIEF, response, now)
        else:
            self._fail(response, now)

    def on_no_response(self, _transaction: ClientTransaction | None, status: int, now: float) -> None:
        """Nobody answered, or there is no way there."""
        self.status = status
        self._fail(Response(status, phrase_for(status), [], {}), now)

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Send the REGISTER to the first address of the target; the others are for when that one fails
        (RFC 3263 4.3).
        """
        self._addresses = addresses[1:]
        flow = None
        if addresses and self.state != State.STOPPING:
            flow = self._core.endpoint.flows.towards(*addresses[0], self.trunk.name)
        if flow is None:
            self.on_no_response(None, 503, now)
            return
        half = self._half = self._half or self._open(self._target, flow)
        half.flow = flow
        contact = our_contact(flow.local, self.token)
        lines = b"Contact: <%b>\r\nExpires: %d\r\n" % (contact, self._wanted)
        ask(self._core.endpoint, self.trunk, b"REGISTER", half, lines, b"", self, now, MAX_FORWARDS)

    def on_timer(self, now: float) -> None:
        """Refresh, or try again, when it is time."""
        if self._due <= now:
            self._due = math.inf
            self.feed(Input.TIMER, None, now)

    def _on_success(self, response: Response, now: float) -> None:
        granted = self._granted(response)
        if granted or self.state == State.LEAVING:
            self.feed(Input.GRANTED, granted, now)
        else:
            self._fail(response, now)  # a 2xx that grants nothing

    def _fail(self, response: Response, now: float) -> None:
        """Go to another target when this one could not serve; a refusal would be the same elsewhere."""
        status = response.status
        cannot_serve = status == 408 or 300 <= status < 400 or 500 <= status < 600
        left = self._addresses or self._tried + 1 < len(self.trunk.targets)
        self.feed(Input.ELSEWHERE if cannot_serve and left else Input.FAILED, response, now)

    def _granted(self, response: Response) -> int:
        """Return the seconds granted to our contact, one among those that are listed (RFC 3261 10.2.4)."""
        for value in response.values(b"Contact"):
            try:
                for item in read_contacts(value):
                    if item.expires is not None and parse_uri(item.uri).user == self.token:
                        return min(item.expires, LONGEST_EXPIRES)
            except MalformedError:
                continue
        expires = expires_of(response)
        return self._expires if expires is None else min(expires, LONGEST_EXPIRES)

    def _may_ask_longer(self, response: Response) -> bool:
        """Tell whether a 423 names a longer time that we can ask for, once in a row (RFC 3261 10.2.8)."""
        least = read_seconds(response.get(b"Min-Expires"))
        if self._was_brief or least is None or not self._expires < least <= LONGEST_EXPIRES:
            return False
        self._expires = least
        self._was_brief = True
        return True

    # -- actions ----------------------------------------------------------------------------------------

    def _register(self, _detail: object, now: float) -> None:
        self._send(self._expires, now)

    def _unregister(self, _detail: object, now: float) -> None:
        self._due = math.inf
        self._send(0, now)

    def _keep(self, granted: int, now: float) -> None:
        self._tried = self._failures = 0
        self._addresses = ()
        self._was_brief = False
        self.expires_at = now + granted
        self._wake(max(SHORTEST_REFRESH, granted * (0.75 + 0.15 * self._chance())), now)
        self._say(f"registered at {self._target.uri.decode()} for {granted} s")

    def _try_next(self, _response: Response, now: float) -> None:
        if self._addresses:
            self.on_located(self._addresses, now)
            return
        self._tried += 1
        self._use((self._index + 1) % len(self.trunk.targets))
        self._send(self._expires, now)

    def _back_off(self, response: Response, now: float) -> None:
        wait = min(LONGEST_WAIT, BASE_WAIT * 2 ** min(self._failures, 10)) * (0.5 + 0.5 * self._chance())
        try:
            retry_after = parse_retry_after(response.index.get(b"Retry-After", b"0"))
        except MalformedError:
            retry_after = 0
        wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
        self._failures += 1
        self._tried = 0
        self._was_brief = False
        self._use(0)
        self._wake(wait, now)
        phrase = phrase_for(self.status).decode()
        self._say(f"not registered ({self.status} {phrase}); the next try is in {wait:.0f} s")

    def _wait_for_answer(self, _detail: object, _now: float) -> None:
        self._due = math.inf

    def _end(self, _detail: object, _now: float) -> None:
        self._due = math.inf
        if self.expires_at:
            self.expires_at = 0.0
            self._say("no longer registered")

    # -- in private -------------------------------------------------------------------------------------

    @property
    def _target(self) -> Target:
        return self.trunk.targets[self._index]

    def _use(self, index: int) -> None:
        if index != self._index:
            self._index = index
            self._half = None

    def _send(self, expires: int, now: float) -> None:
        """Send a REGISTER, once the target's address is known."""
        self._wanted = expires
        target = self._target
        address = hop_to(self.trunk, target).address
        found = self._core.locator.locate(target, self, now) if address is None else (address,)
        if found is not None:
            self.on_located(found, now)

    def _open(self, target: Target, flow: Flow) -> Dialog:
        """Make what all REGISTERs to one target share: Call-ID, From tag, and the count of CSeq (10.2)."""
        uri = parse_uri(target.uri)
        address = b"<sip:%b@%b>" % (_user(self.trunk), uri.host)
        tag = self._core.endpoint.new_token()
        call_id = self._core.endpoint.new_token() + b"@" + flow.local.host.encode()
        host_port = b"%b:%d" % (uri.host, uri.port) if uri.port else uri.host
        return Dialog(None, call_id, address + b";tag=" + tag, tag, address, b"", b"sip:" + host_port, flow)

    def _wake(self, seconds: float, now: float) -> None:
        self._due = now + seconds
        self._core.endpoint.timers.at(self._due, self)

    def _chance(self) -> float:
        """A number from 0 to 1 that nobody knows ahead, so that many gateways do not act at once."""
        return crc32(self._core.endpoint.new_token()) / 0xFFFF_FFFF

    def _say(self, text: str) -> None:
        """Log a change, and nothing that was said already."""
        what = (self.state, self.status, self._index)
        if what != self._said:
            self._said = what
            self._log(f"trunk {self.trunk.name}: {text}")


Registration.TABLE = {
    (State.OFF, Input.START): (State.TRYING, Registration._register),  # 10.2
    (State.OFF, Input.STOP): (State.OFF, None),  # twice
    (State.TRYING, Input.GRANTED): (State.REGISTERED, Registration._keep),  # 10.2.4
    (State.TRYING, Input.TOO_BRIEF): (State.TRYING, Registration._register),  # 10.2.8
    (State.TRYING, Input.ELSEWHERE): (State.TRYING, Registration._try_next),  # RFC 3263 4.3
    (State.TRYING, Input.FAILED): (State.WAITING, Registration._back_off),  # RFC 5626 4.5
    (State.TRYING, Input.STOP): (State.STOPPING, Registration._wait_for_answer),  # 10.2: one at a time
    (State.REGISTERED, Input.TIMER): (State.REFRESHING, Registration._register),  # 10.2.4
    (State.REGISTERED, Input.STOP): (State.LEAVING, Registration._unregister),  # 10.2.2
    (State.REFRESHING, Input.GRANTED): (State.REGISTERED, Registration._keep),  # 10.2.4
    (State.REFRESHING, Input.TOO_BRIEF): (State.REFRESHING, Registration._register),  # 10.2.8
    (State.REFRESHING, Input.ELSEWHERE): (State.TRYING, Registration._try_next),  # RFC 3263 4.3
    (State.REFRESHING, Input.FAILED): (State.WAITING, Registration._back_off),  # RFC 5626 4.5
    (State.REFRESHING, Input.STOP): (State.STOPPING, Registration._wait_for_answer),  # 10.2: one at a time
    (State.WAITING, Input.TIMER): (State.TRYING, Registration._register),  # RFC 5626 4.5
    (State.WAITING, Input.STOP): (State.OFF, Registration._end),  # what may be registered still expires
    (State.STOPPING, Input.GRANTED): (State.LEAVING, Registration._unregister),  # 10.2.2
    (State.STOPPING, Input.TOO_BRIEF): (State.OFF, Registration._end),  # nothing to remove
    (State.STOPPING, Input.ELSEWHERE): (State.OFF, Registration._end),  # nothing to remove
    (State.STOPPING, Input.FAILED): (State.OFF, Registration._end),  # nothing to remove
    (State.STOPPING, Input.STOP): (State.STOPPING, None),  # twice
    (State.LEAVING, Input.GRANTED): (State.OFF, Registration._end),  # 10.2.2
    (State.LEAVING, Input.TOO_BRIEF): (State.OFF, Registration._end),  # it expires
    (State.LEAVING, Input.ELSEWHERE): (State.OFF, Registration._end),  # it expires
    (State.LEAVING, Input.FAILED): (State.OFF, Registration._end),  # it expires
    (State.LEAVING, Input.STOP): (State.LEAVING, None),  # twice
}
Registration.STEPS = compile_table(State, Input, Registration.TABLE)


class Registrations:
    """The registrations of all trunks. ``log`` may be set to hear of each change in one line."""

    def __init__(self, core: B2bua) -> None:
        self.by_name: dict[str, Registration] = {}
        """The registrations that are to stand, by trunk, for whoever wants to show them."""
        self.log: Callable[[str], None] = _say_nothing
        self._core = core
        self._leaving: list[Registration] = []

    def update(self, trunks: Iterable[Trunk], now: float) -> None:
        """Register the trunks that want it, and end what stands for others. A registration whose account and
        targets are as they were goes on.
        """
        wanted = {trunk.name: trunk for trunk in trunks if trunk.settings.register}
        for name, registration in list(self.by_name.items()):
            trunk = wanted.get(name)
            if trunk is not None and _account(trunk) == _account(registration.trunk):
                registration.trunk = trunk
            else:
                self._stop(self.by_name.pop(name), now)
        for name, trunk in wanted.items():
            if name not in self.by_name:
                registration = Registration(self._core, trunk, self._tell)
                self.by_name[name] = registration
                registration.feed(Input.START, None, now)

    def stop(self, now: float) -> None:
        """Remove every contact from its registrar."""
        while self.by_name:
            self._stop(self.by_name.popitem()[1], now)

    @property
    def are_leaving(self) -> bool:
        """Whether a registrar has still to answer that our contact is removed."""
        self._leaving = [registration for registration in self._leaving if registration.state != State.OFF]
        return bool(self._leaving)

    def _stop(self, registration: Registration, now: float) -> None:
        registration.feed(Input.STOP, None, now)
        self._leaving.append(registration)

    def _tell(self, text: str) -> None:
        self.log(text)


def _say_nothing(_text: str) -> None:
    """Nobody listens."""


def _account(trunk: Trunk) -> tuple[object, ...]:
    settings = trunk.settings
    return settings.username, settings.password_env, settings.register_expires, trunk.targets


def _whose(trunk: Trunk) -> tuple[bytes, ...]:
    """Return whose a trunk's contact is: what makes another account of it makes another contact, too."""
    account = trunk.settings
    words = (trunk.name, account.username, account.password_env, str(account.register_expires))
    targets = [b"%b %b" % (target.transport.encode(), target.uri) for target in trunk.targets]
    return (*(word.encode() for word in words), *targets)


def dialled(request: Request, uri: Uri, trunk: Trunk) -> Uri:
    """Return whom a request to a trunk's registered contact is for: the number in To, which the caller
    dialled, or the account's own name when To has none. Who calls the account as such may write the contact
    itself into To, as into the Request-URI (RFC 3261 8.1.1.2): Asterisk does, and means no number by it.
    """
    try:
        user = parse_uri(request.receiver.uri).user
    except MalformedError:
        user = b""
    if user == uri.user:
        user = b""
    return Uri(uri.raw, uri.scheme, user or _user(trunk), uri.host, uri.port)


def _user(trunk: Trunk) -> bytes:
    """The account's name as the user part of a URI."""
    return quote(trunk.settings.username, safe=_USER_SAFE).encode()
