"""Subscriptions: dialogs without a call, and what lives in a call's dialog beside the call.

A SUBSCRIBE opens a dialog (RFC 6665), and so does a REFER outside of one (RFC 3515); both may as well come
in a dialog that a call has opened. Then NOTIFYs come the other way until the notifier says that it is over,
the subscription runs out, or one side no longer knows it. The call may end before: the dialog lives on for
what else uses it (RFC 5057), so that whoever transfers a call hears of the outcome after it has hung up.

A dialog has its twin on the other leg, as those of calls have. :class:`Subscription` is one usage of such a
pair and knows nothing of SIP but its life, in a table; :class:`Subscriptions` passes the messages and keeps
the pairs; :class:`Opening` waits for the dialogs that one SUBSCRIBE or REFER may still make.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.routing.trunk import Trunk
from gateway.sip.dialog import Dialog, OpenHalf
from gateway.sip.headers import parse_params
from gateway.sip.message import Request, Response
from gateway.sip.rows import Rows
from gateway.sip.transaction import ImpossibleInputError, ServerTransaction
from gateway.sip.transaction.base import Compiled, Table, compile_table

from .leg import MAX_EARLY_DIALOGS, Leg
from .naming import trunk_of
from .relay import OnFinal, Relay

if TYPE_CHECKING:
    from .core import B2bua

OPENING = frozenset((b"SUBSCRIBE", b"REFER"))
SUBSCRIBING = OPENING | {b"NOTIFY"}
# These speak of a session; a dialog without one does not know them (RFC 5057 5.2, RFC 6086 4.2.2).
_OF_CALLS = frozenset((b"INVITE", b"BYE", b"UPDATE", b"PRACK", b"INFO"))
# Answers to a NOTIFY or to a refresh that end the subscription (RFC 6665 4.1.2.2, 4.2.2).
_ENDING = frozenset((404, 405, 410, 416, *range(480, 486), 489, 501, 604))
_MAX_IN_DIALOG = 16
_LONGEST = 86_400  # seconds a subscription stands without a refresh, whatever was granted
_USUAL = 3_600  # seconds, where nobody said how long
# A timer keeps its target alive until it fires, so a long one is set in steps.
_TIMER_STEP = 30.0

EventKey = tuple[bytes, bytes | None]


class State(IntEnum):
    """States of RFC 6665 figure 1, where pending and active differ for the subscriber only."""

    ASKED = 0  # the SUBSCRIBE or REFER is on its way
    NOTIFY_WAIT = 1  # granted, and the first NOTIFY is due
    STANDING = 2
    ENDED = 3


class Input(IntEnum):
    """What can happen to a subscription."""

    GRANTED = 0  # a 2xx to SUBSCRIBE or REFER
    NOTIFIED = 1  # a NOTIFY that did not end it was answered by a 2xx
    TERMINATED = 2  # likewise one that says "terminated"
    GONE = 3  # refused, or no longer known to one of the sides
    EXPIRED = 4  # its time is over and no refresh came


class Subscription:
    """One subscription in a pair of dialogs: ``near`` is the subscriber's, ``far`` the notifier's.

    ``near_key`` and ``far_key`` are package and id of its Event, as either side knows them: for a REFER the
    id is the number of its CSeq (RFC 3515 2.4.6), and each leg counts for itself. A challenged REFER comes to
    the notifier again, with the next number.
    """

    __slots__ = ("_granted", "_looks_at", "_owner", "_until", "far", "far_key", "near", "near_key", "state")
    TABLE: ClassVar[Table]
    STEPS: ClassVar[Compiled]  # of the TABLE

    def __init__(
        self,
        owner: Subscriptions,
        near: Dialog,
        far: Dialog,
        near_key: EventKey,
        far_key: EventKey,
        now: float,
    ) -> None:
        self.near = near
        self.far = far
        self.near_key = near_key
        self.far_key = far_key
        self.state: Any = State.ASKED
        self._owner = owner
        self._granted = _USUAL
        self._until = math.inf
        self._looks_at = math.inf  # when on_timer is due
        self._wait(None, now)

    def feed(self, given: Input, seconds: int | None, now: float) -> None:
        """Take one step of the table; ``seconds`` is for how long the subscription was granted.

        Raises ImpossibleInputError on a cell that is not there.
        """
        step = self.STEPS[self.state][given]
        if step is None:
            raise ImpossibleInputError(f"subscription: {given.name} in state {self.state.name}")
        self.state, action = step
        if action is not None:
            action(self, seconds, now)

    def numbered(self) -> None:
        """Its REFER has gone out to the notifier, or again: the last number there is its own."""
        self.far_key = (self.far_key[0], b"%d" % self.far.seq)

    def on_timer(self, now: float) -> None:
        """Look whether it has run out, or its dialog was closed by whoever owns it."""
        if self.state == State.ENDED or self._looks_at > now:
            return
        self._looks_at = math.inf
        if self._until <= now or self.near.twin is None:
            self.feed(Input.EXPIRED, None, now)
        else:
            self._watch(now)

    def _wait(self, seconds: int | None, now: float) -> None:
        """A NOTIFY is due at once: wait for it as long as timer N (RFC 6665 4.1.2.4)."""
        if seconds is not None:
            self._granted = seconds
        self._until = now + 64 * self._owner.endpoint.timing.t1
        self._watch(now)

    def _begin(self, seconds: int | None, now: float) -> None:
        self._extend(self._granted if seconds is None else seconds, now)

    def _extend(self, seconds: int | None, now: float) -> None:
        """It stands for so long, and until the NOTIFY that says it is over has had time to come."""
        if seconds is not None:
            self._until = now + min(seconds, _LONGEST) + 64 * self._owner.endpoint.timing.t1
            self._watch(now)

    def _end(self, _seconds: int | None, _now: float) -> None:
        self._owner.ended(self)

    def _watch(self, now: float) -> None:
        at = min(self._until, now + _TIMER_STEP)
        if at < self._looks_at:
            self._looks_at = at
            self._owner.endpoint.timers.at(at, self)


Subscription.TABLE = {
    (State.ASKED, Input.GRANTED): (State.NOTIFY_WAIT, Subscription._wait),  # RFC 6665 4.1.2.1
    (State.ASKED, Input.NOTIFIED): (State.STANDING, Subscription._begin),  # RFC 6665 4.1.2.4: before the 2xx
    (State.ASKED, Input.TERMINATED): (State.ENDED, Subscription._end),  # RFC 6665 4.1.3
    (State.ASKED, Input.GONE): (State.ENDED, Subscription._end),  # RFC 6665 4.1.2.1: refused
    (State.ASKED, Input.EXPIRED): (State.ENDED, Subscription._end),  # RFC 6665 4.1.2.4: timer N
    (State.NOTIFY_WAIT, Input.GRANTED): (
        State.NOTIFY_WAIT,
        Subscription._wait,
    ),  # RFC 6665 4.1.2.2
    (State.NOTIFY_WAIT, Input.NOTIFIED): (State.STANDING, Subscription._begin),  # RFC 6665 4.1.2.4
    (State.NOTIFY_WAIT, Input.TERMINATED): (State.ENDED, Subscription._end),  # RFC 6665 4.4.1
    (State.NOTIFY_WAIT, Input.GONE): (State.ENDED, Subscription._end),  # RFC 6665 4.1.2.2, 4.2.2
    (State.NOTIFY_WAIT, Input.EXPIRED): (State.ENDED, Subscription._end),  # RFC 6665 4.1.2.4: timer N
    (State.STANDING, Input.GRANTED): (State.STANDING, Subscription._extend),  # RFC 6665 4.1.2.2, 4.1.2.3
    (State.STANDING, Input.NOTIFIED): (
        State.STANDING,
        Subscription._extend,
    ),  # RFC 6665 4.1.3: or shorten
    (State.STANDING, Input.TERMINATED): (State.ENDED, Subscription._end),  # RFC 6665 4.4.1
    (State.STANDING, Input.GONE): (State.ENDED, Subscription._end),  # RFC 6665 4.1.2.2, 4.2.2
    (State.STANDING, Input.EXPIRED): (State.ENDED, Subscription._end),  # RFC 6665 4.4.1
    (State.ENDED, Input.GRANTED): (State.ENDED, None),  # an answer that crossed its end
    (State.ENDED, Input.NOTIFIED): (State.ENDED, None),  # likewise
    (State.ENDED, Input.TERMINATED): (State.ENDED, None),  # likewise
    (State.ENDED, Input.GONE): (State.ENDED, None),  # likewise
}
Subscription.STEPS = compile_table(State, Input, Subscription.TABLE)


class Side:
    """Whoever owns the dialogs of one trunk that no call owns."""

    __slots__ = ("_subscriptions", "trunk")

    def __init__(self, subscriptions: Subscriptions, trunk: Trunk) -> None:
        self._subscriptions = subscriptions
        self.trunk = trunk

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """Pass a request to the twin dialog, unless it speaks of a call that is not there."""
        if dialog.twin is None or request.method in _OF_CALLS:
            transaction.reject(481, b"", now)
        else:
            self._subscriptions.pass_inside(dialog, transaction, request, now)

    def on_ack(self, _dialog: Dialog, _request: Request, _now: float) -> None:
        """Take the ACK for the call that is over; nobody waits for it."""


class Subscriptions:
    """Every subscription that stands, by the dialogs that it stands in: ``pairs``, empty when there is none.
    More than ``limit`` of them and of the requests that open them are refused.
    """

    def __init__(self, core: B2bua, limit: int) -> None:
        self.core = core
        self.endpoint = core.endpoint
        self.openings = 0
        self.pairs: dict[Dialog, list[Subscription]] = {}
        self._limit = limit
        self._count = 0

    def __len__(self) -> int:
        return self._count + self.openings

    @property
    def is_full(self) -> bool:
        """Whether no more may be opened."""
        return len(self) >= self._limit

    def pass_inside(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """Pass a request (no INVITE) to the twin of ``dialog``; see what becomes of its subscription.

        Those of subscriptions move the remote targets of both sides, once they are accepted (RFC 6665 4.4.1).
        """
        twin = dialog.twin
        assert twin is not None, "who owns the dialog has looked"
        core, method = self.core, request.method
        source, target = trunk_of(dialog), trunk_of(twin)
        forth, back = core.policies.between(source, target), core.policies.between(target, source)
        relay = Relay(self.endpoint, transaction, forth, back)
        rows = core.names.rename(request, target)
        if method in SUBSCRIBING:
            judge: OnFinal | None = None
            subscription = self._find(dialog, request)
            if subscription is None and method in OPENING and not self.is_full:
                subscription = self._ask(dialog, request, now)
            if subscription is not None:
                rows = _rename_event(rows, subscription, dialog is subscription.near)
                watch = self._watch_notify if method == b"NOTIFY" else self._watch_refresh
                judge = watch(subscription, request)
                if method == b"REFER":
                    relay.on_numbered = subscription.numbered
            relay.on_final = self._follow_targets(dialog, twin, request, judge)
        relay.send(twin, request, forth.lines(rows), now)

    def _follow_targets(
        self, dialog: Dialog, twin: Dialog, request: Request, judge: OnFinal | None
    ) -> OnFinal:
        """Go to where both sides want to be found after a 2xx; then ``judge`` hears of the final response."""

        def answered(response: Response | None, now: float) -> None:
            if response is not None and response.status < 300:
                dialog.retarget(request, self.endpoint.flows)
                twin.retarget(response, self.endpoint.flows)
            if judge is not None:
                judge(response, now)

        return answered

    def outlive(self, *legs: Leg) -> None:
        """Take over the dialogs of a call that is over but for its subscriptions (RFC 5057 4.1)."""
        for leg in legs:
            kept = [dialog for dialog in leg.dialogs if dialog in self.pairs and dialog.twin is not None]
            for dialog in kept:
                dialog.user = Side(self, leg.trunk)
            leg.dialogs = [dialog for dialog in leg.dialogs if dialog not in kept]

    def begin(self, near: Dialog, near_key: EventKey, far_key: EventKey, now: float) -> Subscription:
        """Note a subscription that was asked for in ``near`` and its twin."""
        twin = near.twin
        assert twin is not None, "dialogs come in pairs"
        subscription = Subscription(self, near, twin, near_key, far_key, now)
        standing = self.pairs.get(near)
        if standing is None:
            standing = self.pairs[near] = self.pairs[twin] = []
        standing.append(subscription)
        self._count += 1
        return subscription

    def ended(self, subscription: Subscription) -> None:
        """Forget a subscription, and the dialogs too when nothing else is in them."""
        near, far = subscription.near, subscription.far
        standing = self.pairs[near]
        standing.remove(subscription)
        self._count -= 1
        if standing:
            return
        del self.pairs[near], self.pairs[far]
        for dialog in (near, far):
            if isinstance(dialog.user, Side):
                self.endpoint.close(dialog)

    def _find(self, dialog: Dialog, request: Request) -> Subscription | None:
        """Return the subscription that a SUBSCRIBE or NOTIFY speaks of (RFC 6665 8.2.1)."""
        if dialog not in self.pairs or request.method == b"REFER":
            return None
        package, number = event_of(request)
        for subscription in self.pairs[dialog]:
            asks = dialog is subscription.near
            if asks == (request.method == b"NOTIFY"):
                continue
            key = subscription.near_key if asks else subscription.far_key
            # The NOTIFYs of a dialog's first REFER need not say which REFER it was (RFC 3515 2.4.6).
            if key == (package, number) or (package == key[0] == b"refer" and number is None):
                return subscription
        return None

    def _ask(self, dialog: Dialog, request: Request, now: float) -> Subscription | None:
        if len(self.pairs.get(dialog, ())) >= _MAX_IN_DIALOG:
            return None
        key = event_of(request)  # of a REFER the notifier's differs, once it has gone out
        return self.begin(dialog, key, key, now)

    def _watch_refresh(self, subscription: Subscription, request: Request) -> OnFinal:
        """See what the answer to a SUBSCRIBE or REFER in a dialog makes of the subscription."""

        def answered(response: Response | None, now: float) -> None:
            if response is not None and response.status < 300:
                refused = request.method == b"REFER" and _has_no_subscription(response)
                subscription.feed(Input.GONE if refused else Input.GRANTED, _seconds(response, request), now)
            elif subscription.state == State.ASKED or (response is not None and response.status in _ENDING):
                subscription.feed(Input.GONE, None, now)

        return answered

    def _watch_notify(self, subscription: Subscription, notify: Request) -> OnFinal:
        """See what a NOTIFY, once it is answered, makes of the subscription. Raises MalformedError."""
        said, semicolon, rest = notify.index.get(b"Subscription-State", b"").partition(b";")
        seconds = _number(parse_params(semicolon + rest).get(b"expires"))
        given = Input.TERMINATED if said.strip().lower() == b"terminated" else Input.NOTIFIED

        def answered(response: Response | None, now: float) -> None:
            if response is None or response.status == 408 or response.status in _ENDING:
                subscription.feed(Input.GONE, None, now)
            elif response.status < 300:
                subscription.feed(given, seconds, now)

        return answered


class Opening:
    """A SUBSCRIBE or REFER outside of dialogs that was sent on, as long as dialogs may come of it.

    A response makes one, and so does a NOTIFY from a tag that no response had: the first, when it has
    overtaken the response, and one for each further fork (RFC 6665 4.4.1), until timer N (4.1.2.4).
    """

    __slots__ = ("_far", "_half", "_key", "_made", "_owner", "_request", "_server", "trunk")

    def __init__(
        self,
        owner: Subscriptions,
        server: ServerTransaction,
        request: Request,
        near: Trunk,
        half: OpenHalf,
        far: Trunk,
        now: float,
    ) -> None:
        """Wait for what comes to ``half``. Raises MalformedError when the Event cannot be read."""
        self._key = event_of(request)
        self.trunk = near
        self._owner = owner
        self._server = server
        self._request = request
        self._far = Side(owner, far)
        self._half = half
        self._made: dict[bytes, tuple[Dialog, bytes]] = {}  # by the notifier's tag: its dialog, our near tag
        owner.openings += 1
        half.user = self
        owner.endpoint.open(half)
        owner.endpoint.timers.at(now + 64 * owner.endpoint.timing.t1, self)

    @property
    def has_dialogs(self) -> bool:
        """Whether a notifier has been heard."""
        return bool(self._made)

    def on_request(self, half: Dialog, transaction: ServerTransaction, request: Request, now: float) -> None:
        """Take the first NOTIFY of a notifier."""
        tag = request.from_tag
        # A tag that is known here had its dialog, which is over.
        is_new = request.method == b"NOTIFY" and tag and tag not in self._made
        if not is_new or len(self._made) >= MAX_EARLY_DIALOGS or self._owner.is_full:
            transaction.reject(481, b"", now)
            return
        far = half.fork_by_notify(request, self._far, self._owner.endpoint.flows)
        self._pair(far, now)
        self._owner.pass_inside(far, transaction, request, now)

    def on_ack(self, _half: Dialog, _request: Request, _now: float) -> None:
        """Take a stray ACK."""

    def granted(self, response: Response, now: float) -> bytes:
        """Take the 2xx, and return the To tag that it has on the subscriber's leg; b"" when the response
        makes no dialog.
        """
        tag = response.to_tag
        if not tag or (self._request.method == b"REFER" and _has_no_subscription(response)):
            return b""
        if tag not in self._made:
            self._pair(self._half.fork(response, self._far, self._owner.endpoint.flows), now)
        far, near_tag = self._made[tag]
        for subscription in self._owner.pairs.get(far, ()):  # none when a NOTIFY has ended it already
            subscription.feed(Input.GRANTED, _seconds(response, self._request), now)
        return near_tag

    def refused(self, now: float) -> None:
        """No 2xx will come: what NOTIFYs have opened is over too."""
        for far, _ in self._made.values():
            for subscription in list(self._owner.pairs.get(far, ())):
                subscription.feed(Input.GONE, None, now)
        self.close()

    def close(self) -> None:
        """Take no more dialogs; those that were made go their own way."""
        if self._half.user is not None:
            self._owner.openings -= 1
            self._owner.endpoint.close(self._half)

    def on_timer(self, _now: float) -> None:
        """Timer N is over."""
        self.close()

    def _pair(self, far: Dialog, now: float) -> None:
        """Open the dialog and its twin on the subscriber's leg, with the subscription in it."""
        endpoint, request = self._owner.endpoint, self._request
        side, tag = Side(self._owner, self.trunk), endpoint.new_token()
        near = Dialog.answering(side, request, tag, self._server.flow, endpoint.flows, self.trunk.nat)
        near.twin = far
        far.twin = near
        endpoint.open(near)
        endpoint.open(far)
        self._made[far.remote_tag] = (far, near.local_tag)
        subscription = self._owner.begin(near, self._key, self._key, now)
        if request.method == b"REFER":
            subscription.numbered()  # the half has sent nothing else, and its number is the dialog's


def event_of(request: Request) -> EventKey:
    """Return package and id of a request's Event; for a REFER, which has none, those of its NOTIFYs
    (RFC 3515 2.4.4, 2.4.6). Raises MalformedError.
    """
    if request.method == b"REFER":
        return b"refer", b"%d" % request.cseq[0]
    package, semicolon, rest = request.index.get(b"Event", b"").partition(b";")
    return package.strip(), parse_params(semicolon + rest).get(b"id")


def _rename_event(rows: Rows, subscription: Subscription, asks: bool) -> Rows:
    """Say the id of an Event as the other leg knows it: for a REFER it is a CSeq number of that leg."""
    ours, theirs = subscription.near_key[1], subscription.far_key[1]
    if ours == theirs or theirs is None:
        return rows
    if not asks:
        ours, theirs = theirs, ours
    renamed = []
    for key, line in rows:
        if key == b"Event":
            parts = line.split(b";")
            line = b";".join(
                b"id=%b" % theirs if part.strip().lower() == b"id=%b" % (ours or b"") else part
                for part in parts
            )
        renamed.append((key, line))
    return renamed


def _seconds(response: Response, request: Request) -> int | None:
    """Return how long a 2xx grants: by what it says, else by what was asked for (RFC 6665 4.2.1.1)."""
    granted = _number(response.index.get(b"Expires"))
    return granted if granted is not None else _number(request.index.get(b"Expires"))


def _number(value: bytes | None) -> int | None:
    if value is None or not value.isdigit():
        return None
    return min(int(value[:10]), _LONGEST)


def _has_no_subscription(response: Response) -> bool:
    """Whether a 2xx to REFER says that no subscription comes of it (RFC 4488 4)."""
    return response.index.get(b"Refer-Sub", b"").partition(b";")[0].strip().lower() == b"false"
