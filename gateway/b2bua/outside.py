"""Requests outside of dialogs: MESSAGE, OPTIONS, PUBLISH, REGISTER, SUBSCRIBE, REFER, unknown methods.

Each is a transaction on either leg. A target that is silent, cannot be reached or says 503 is left for the
next one of the plan (RFC 3263 4.3), and so is one that says 408, which must not be passed on (RFC 4320 4.2);
who asked waits no longer for it, because all attempts together take the time of one transaction.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.routing.locate import Address
from gateway.routing.route import Hop
from gateway.routing.trunk import Trunk
from gateway.sip.dialog import Dialog, OpenHalf
from gateway.sip.errors import MalformedError
from gateway.sip.flow import Flow
from gateway.sip.message import Request, Response
from gateway.sip.transaction import ClientTransaction, ServerTransaction
from gateway.sip.uri import Uri

from .bindings import TooManyContactsError, check_path
from .leg import outgoing_ends, target_uri
from .record import CallRecord
from .relay import Relay, back_lines, record_route
from .subscription import OPENING, Opening, event_of

if TYPE_CHECKING:
    from .core import B2bua

_LEFT_FOR: Final = (408, 503)


class _Lookup:
    """Waits for the addresses of one target's name."""

    __slots__ = ("_hop", "_relay")

    def __init__(self, relay: OutsideRelay, hop: Hop) -> None:
        self._relay = relay
        self._hop = hop

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Take the addresses; none when the name leads nowhere."""
        self._relay.located(self._hop, addresses, now)


class OutsideRelay(Relay):
    """A request outside of dialogs on its way, from target to target of its plan. Its final response is
    judged by the rules like an INVITE's.
    """

    __slots__ = (
        "_client",
        "_core",
        "_gives_up_at",
        "_hop",
        "_hops",
        "_opening",
        "_request",
        "_sent_at",
        "_source",
        "_target",
        "_until",
        "_uri",
        "record",
    )

    def __init__(
        self,
        core: B2bua,
        source: Trunk,
        server: ServerTransaction,
        request: Request,
        uri: Uri,
        record: CallRecord,
        hops: tuple[Hop, ...],
    ) -> None:
        """Raises MalformedError when the Event of a subscription cannot be read."""
        if request.method in OPENING:
            event_of(request)
        self._target = hops[0].trunk
        policies = core.policies
        forth, back = policies.between(source, self._target), policies.between(self._target, source)
        super().__init__(core.endpoint, server, forth, back)
        self._core = core
        self._source = source
        self._request = request
        self._uri = uri
        self.record = record
        self._hops = list(hops)
        self._hop: Hop | None = None  # where the attempt that counts goes; None when all is said
        self._client: ClientTransaction | None = None  # of that attempt
        self._opening: Opening | None = None  # likewise, where it may open dialogs
        self._sent_at = 0.0
        self._until = 0.0
        self._gives_up_at = 0.0

    def start(self, now: float) -> None:
        """Send the request to the first target."""
        self._until = now + 64 * self.endpoint.timing.t1
        self._core.relays.add(self)
        try:
            self._try_next(now)
        except MalformedError:
            self._core.relays.discard(self)
            raise

    def _try_next(self, now: float) -> None:
        """Send it to the next target; the time that is left is shared by those that are left."""
        self._close_opening(now)
        hop = self._hops.pop(0)
        self._sent_at = now
        policies = self._core.policies
        self._target = hop.trunk
        self.forth, self.back = (
            policies.between(self._source, hop.trunk),
            policies.between(hop.trunk, self._source),
        )
        self._client = None
        self._hop = hop
        if hop.address is not None:
            self.located(hop, (hop.address,), now)
            return
        addresses = self._core.locator.locate(hop.target, _Lookup(self, hop), now)
        if addresses is not None:
            self.located(hop, addresses, now)
        else:
            self._share_time(now)

    def _share_time(self, now: float) -> None:
        if self._hops:
            self._gives_up_at = now + (self._until - now) / (len(self._hops) + 1)
            self.endpoint.timers.at(self._gives_up_at, self)

    def located(self, hop: Hop, addresses: tuple[Address, ...], now: float) -> None:
        """Send the request to a target's first address; the others are for when it fails (RFC 3263 4.3)."""
        if hop is not self._hop or self._client is not None:
            return  # it was left while its name was looked up
        flow = None
        if addresses:
            first, *others = sorted(addresses, key=self._core.health.is_resting)
            self._hops[:0] = [replace(hop, address=other, is_alternate=True) for other in others]
            flow = self.endpoint.flows.towards(*first, hop.trunk.name)
        if flow is None:
            self._fail(503, now)
            return
        self._share_time(now)
        request, uri = self.forth.opening(self._request, self._uri)
        half = self._half(hop, request, uri, flow, now)
        lines = self._lines(request, hop, flow, now)
        self.send(half, request, lines, now)

    def follow(self, client: ClientTransaction) -> None:
        """The request went out, or again with credentials: that is the attempt that counts now."""
        self._client = client

    def _lines(self, request: Request, hop: Hop, _flow: Flow, _now: float) -> bytes:
        """Return the header lines of the request as they pass."""
        return self.forth.lines(self._core.names.rename(request, hop.trunk))

    def _half(self, hop: Hop, request: Request, uri: Uri, flow: Flow, now: float) -> Dialog:
        kind = OpenHalf if self._request.method in OPENING else Dialog
        half = kind(
            None,
            self.endpoint.new_token() + b"@" + flow.local.host.encode(),
            *outgoing_ends(request, self.endpoint.new_token()),
            b"",
            hop.uri or target_uri(uri, hop.target),
            flow,
            hop.trunk.nat,
        )
        half.route = hop.route
        if isinstance(half, OpenHalf):
            subscriptions = self._core.subscriptions
            self._opening = Opening(
                subscriptions, self.server, self._request, self._source, half, hop.trunk, now
            )
        return half

    def on_timer(self, now: float) -> None:
        """This target has had its share of the time."""
        if self._hop is not None and self._hops and self._gives_up_at <= now:
            self._fail(408, now)

    def on_response(self, client: ClientTransaction, response: Response, now: float) -> None:
        """Pass a final response back, unless it comes from a target that was left."""
        if client is not self._client:
            return
        if response.status < 200:
            self._gives_up_at = math.inf  # it lives and works on it, and has until timer F
        else:
            super().on_response(client, response, now)

    def on_no_response(self, client: ClientTransaction, status: int, now: float) -> None:
        """The target was silent (408) or could not be reached (503)."""
        if client is self._client:
            self._fail(status, now)

    def pass_back(self, response: Response, now: float) -> None:
        """Answer as the rules want it told, or go on to the next target."""
        status = response.status
        if status < 300:
            self._succeed(response, now)
            return
        core, source = self._core, self._source
        facts = core.facts(self.record, response, self._target, source, self._request)
        facts.now = now
        facts.after = now - self._sent_at
        verdict = core.judge(facts, self._target)
        decision = verdict.decision
        if status != 503:  # the target has answered, so its other addresses would say the same
            self._hops = [hop for hop in self._hops if not hop.is_alternate]
        goes_on = decision.hunt == "continue" if decision.hunt else status in _LEFT_FOR
        if goes_on and self._hops:
            self._try_next(now)
            return
        self._finish(now)
        core.note(self.record, verdict)
        emitted = response.restated(decision.status, decision.phrase, verdict.rows)
        lines = back_lines(self.back, emitted, self.server)
        tag = self.endpoint.new_token()
        self.server.respond(decision.status, decision.phrase, tag, lines, self.back.body(response), now)

    def _succeed(self, response: Response, now: float) -> None:
        """Pass a 2xx back; one to SUBSCRIBE or REFER opens a dialog on both legs."""
        tag = lines = b""
        if self._opening is not None:
            tag = self._opening.granted(response, now)
            lines = record_route(self.server.request) if tag else b""
            if not tag:
                self._opening.close()
        self._settle()
        lines += back_lines(self.back, response, self.server)
        tag = tag or self.endpoint.new_token()
        self.server.respond(response.status, response.phrase, tag, lines, self.back.body(response), now)

    def _fail(self, status: int, now: float) -> None:
        if self._opening is not None and self._opening.has_dialogs:
            self._settle()  # a NOTIFY came: the request has succeeded (RFC 6665 4.1.2.4), without an answer
        elif self._hops:
            self._try_next(now)
        else:
            self._finish(now)
            self.server.reject(status, self.endpoint.new_token(), now)

    def _finish(self, now: float) -> None:
        self._settle()
        self._close_opening(now)

    def _settle(self) -> None:
        self._client = self._hop = None
        self._core.relays.discard(self)
        self._core.descent.forget(self.record)

    def _close_opening(self, now: float) -> None:
        if self._opening is not None:
            self._opening.refused(now)
            self._opening = None


class RegisterRelay(OutsideRelay):
    """A REGISTER, whose contacts are mapped on the way there and back (``bindings.py``)."""

    __slots__ = ("_registering",)

    def start(self, now: float) -> None:
        """Send it to the first target. Raises MalformedError when its Path cannot be followed."""
        check_path(self._request)
        super().start(now)

    def located(self, hop: Hop, addresses: tuple[Address, ...], now: float) -> None:
        """Send it, unless it would bind more contacts than we keep."""
        try:
            super().located(hop, addresses, now)
        except TooManyContactsError as error:
            self._core.refused["too many contacts"] += 1
            self._finish(now)
            self.server.reject(error.status, self.endpoint.new_token(), now)

    def _lines(self, request: Request, hop: Hop, flow: Flow, now: float) -> bytes:
        bindings, came_on = self._core.bindings, self.server.flow
        self._registering = bindings.begin(request, self._source, came_on, hop.trunk, flow.local, now)
        return self.forth.lines_with_contact(self._registering.rows)

    def pass_back(self, response: Response, now: float) -> None:
        """Take note of a refusal, whoever is asked next."""
        if response.status >= 300:
            self._registering.refused(response)
        super().pass_back(response, now)

    def _succeed(self, response: Response, now: float) -> None:
        """Take note of what was granted, and pass it back."""
        self._registering.answered(response, now)
        super()._succeed(response, now)
