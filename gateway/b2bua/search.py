"""The search for somebody who answers a call: which targets ring, and which are tried after them.

A serial search has one leg out at a time, a parallel one a leg for each target (RFC 3261 16.6, 16.7, with our
caller in the place of the upstream). Each leg carries its own ``fallbacks``, so both kinds are one: what a
rejection leads to is decided for its leg, and the search is over when no leg is out any more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.routing.health import REST
from gateway.routing.locate import Address
from gateway.routing.route import Hop, over_tls
from gateway.sip.errors import MalformedError
from gateway.sip.message import Request, Response
from gateway.sip.rows import Rows
from gateway.sip.uri import Uri

from .contacts import expires_of
from .events import Rejected
from .extensions import prepare
from .hunting import Verdict, better, has_failed, next_hops, stops_all
from .leg import CalleeLeg
from .record import Branch
from .redirects import Redirects

if TYPE_CHECKING:
    from .call import Call
    from .core import B2bua

MAX_BREADTH: Final = 60  # branches at a time where the caller sets no bound (RFC 5393 5.3.3.1)


class Search:
    """Lives from the INVITE until somebody answers or nobody is left. ``legs`` are out; ``best`` is the
    rejection that the caller would be told now; ``decisive`` one that speaks for every target; ``finals``
    what targets have said, before any rule; ``expires_at`` is how long the caller's invitation holds.
    """

    __slots__ = (
        "_call",
        "_core",
        "_redirects",
        "_share",
        "best",
        "decisive",
        "expires_at",
        "finals",
        "legs",
        "request",
        "uri",
    )

    def __init__(self, call: Call, core: B2bua, request: Request, uri: Uri) -> None:
        self.legs: list[CalleeLeg] = []
        self.best: Verdict | None = None
        self.decisive: Response | None = None
        self.finals: tuple[int, ...] = ()
        self.expires_at = math.inf
        self.request = request
        self.uri = uri
        self._call = call
        self._core = core
        self._redirects: Redirects | None = None
        self._share = 0  # of Max-Breadth, for each of several legs

    # -- trying targets ---------------------------------------------------------------------------------

    def begin(self, hops: tuple[Hop, ...], together: bool, now: float) -> bool:
        """Call the first target, or all of them ``together``. False when no target's trunk has room.

        A caller's Max-Breadth bounds how many ring at a time, and is shared out among them; the others come
        after them (RFC 5393 5.3.3). Its Expires bounds how long they may take together (RFC 3261 13.3.1).
        """
        expires = expires_of(self.request)
        if expires is not None:
            self.expires_at = now + expires
            self._call.watch(self.expires_at, now)
        breadth = 1
        if together and len(hops) > 1:
            allowed = max_breadth(self.request)
            breadth = min(len(hops), allowed)
            self._share = allowed // breadth
        for lane in range(breadth):
            self.next_leg(hops[lane::breadth], now)
        out = tuple(self.legs)
        for leg in out:
            if leg.call is not None:  # else one before it has ended the search
                self.send(leg, now)
        return bool(out)

    def next_leg(self, hops: tuple[Hop, ...], now: float) -> CalleeLeg | None:
        """Make a leg of the first hop whose trunk has room for it; None when there is none."""
        while hops:
            hop, hops = hops[0], hops[1:]
            load = hop.trunk.load
            if load is None or load.enter(now):
                leg = CalleeLeg(self._call, self._core.endpoint, hop, hops, now + hop.trunk.ring_timeout)
                self.legs.append(leg)
                return leg
        return None

    def send(self, leg: CalleeLeg, now: float) -> None:
        """Send the INVITE to a leg's target, once its address is known."""
        call = self._call
        call.record.attempts += 1
        call.record.callee_trunk = leg.trunk.name
        call.watch(leg.deadline, now)
        address = leg.hop.address
        if address is None:
            addresses = self._core.locator.locate(leg.hop.target, leg, now)
            if addresses is not None:
                self.located(leg, addresses, now)
        else:
            self._invite(leg, address, now)

    def located(self, leg: CalleeLeg, addresses: tuple[Address, ...], now: float) -> None:
        """Call the first address of a target's name; the others are for when it fails (RFC 3263 4.3)."""
        if not addresses:
            leg.on_no_response(None, 503, now)
            return
        health = self._core.health
        first, *others = sorted(addresses, key=health.is_resting)
        alternates = tuple(replace(leg.hop, address=other, is_alternate=True) for other in others)
        leg.fallbacks = alternates + leg.fallbacks
        leg.hop = replace(leg.hop, address=first)
        self._invite(leg, first, now)

    def _invite(self, leg: CalleeLeg, address: Address, now: float) -> None:
        call, core = self._call, self._core
        flow = core.endpoint.flows.towards(address.host, address.port, address.transport, leg.trunk.name)
        if flow is None:
            leg.on_no_response(None, 503, now)
            return
        policy = call.policy(call.caller, leg)
        request, uri = policy.opening(self.request, self.uri)
        rows = core.names.rename(request, leg.trunk)
        if leg.trunk.has_own or call.caller.own is not None:
            rows = prepare(call.caller, leg, request, rows)
        lines = policy.lines(rows if not self._share else self._shared(rows))
        if leg.trunk.x_cid:
            lines += b"X-CID: %b\r\n" % request.call_id
        leg.call_out(request, uri, flow, lines, policy.body(request), now)
        call.record.callee_call_id = leg.call_id.decode()
        if core.on_silent_leg is not None and not leg.trunk.x_cid:
            core.on_silent_leg(leg.call_id, request.call_id)

    def _shared(self, rows: Rows) -> Rows:
        share = (b"Max-Breadth", b"Max-Breadth: %d" % self._share)
        return [*(row for row in rows if row[0] != b"Max-Breadth"), share]

    # -- what comes of it -------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nobody can answer any more."""
        return self.decisive is not None or not self.legs

    def succeed(self, rejected: Rejected, now: float) -> CalleeLeg | None:
        """Take a leg out that was rejected, and return the one that takes its place, or None."""
        leg = rejected.leg
        if leg in self.legs:
            self.drop(leg)
            self.note(leg, rejected.response, rejected.local, now)
        leg.close(now)
        if leg.trunk.follows_redirects and 300 <= rejected.response.status < 400:
            hops = self._follow(rejected)
            if self.uri.scheme == b"sips":
                hops = over_tls(hops)
            successor = self.next_leg(hops + leg.fallbacks, now) if hops else None
            if successor is not None:
                return successor
        verdict = self._judge(rejected, now)
        if stops_all(verdict):
            self.decisive = rejected.response
            return None
        return self.next_leg(next_hops(leg, verdict), now)

    def drop(self, leg: CalleeLeg) -> None:
        """Count a leg out."""
        self.legs.remove(leg)

    def note(self, leg: CalleeLeg, response: Response | None, local: bool, now: float) -> None:
        """Write into the record what became of a branch; None is a branch that was given up."""
        branches = self._call.record.branches
        if branches is None:
            return
        address = leg.hop.address
        branches.append(
            Branch(
                trunk=leg.trunk.name,
                address="" if address is None else f"{address.host}:{address.port}",
                transport="" if address is None else address.transport,
                call_id=leg.call_id.decode(),
                invited_at=leg.invited_at or now,
                rang_at=leg.rang_at,
                ended_at=now,
                status=0 if response is None else response.status,
                phrase="" if response is None else response.phrase.decode("utf-8", "replace"),
                origin="local" if local else "peer",
            )
        )

    def _follow(self, rejected: Rejected) -> tuple[Hop, ...]:
        """Return where a redirection leads, in the order that it prefers (RFC 3261 8.1.3.4)."""
        if self._redirects is None:
            call = self._call
            signed = self.request.has(b"Identity")
            self._redirects = Redirects(self._core, call.caller.trunk, call.record.caller, self.uri, signed)
        return self._redirects.hops(rejected.response, rejected.leg.trunk)

    def _judge(self, rejected: Rejected, now: float) -> Verdict:
        """Ask guards and rules about a rejection, and remember the best."""
        call, core, leg = self._call, self._core, rejected.leg
        facts = core.facts(call.record, rejected.response, leg.trunk, call.caller.trunk, self.request)
        facts.local = rejected.local
        facts.now = now
        facts.finals, facts.pending = self.finals, len(self.legs)
        facts.after = now - leg.invited_at if leg.invited_at else None
        facts.rang = leg.rang_at > 0.0
        facts.ringing = now - leg.rang_at if leg.rang_at else None
        verdict = core.judge(facts, leg.trunk)
        verdict.call_id = leg.call_id
        self.best = better(self.best, verdict)
        failed = has_failed(rejected.response.status, rejected.local)
        # A failure of one address is not yet what the target has to say.
        if not (failed and leg.fallbacks and leg.fallbacks[0].is_alternate):
            self.finals += (rejected.response.status,)
        if leg.hop.address is not None and failed:
            silent = rejected.local and not leg.was_heard
            # A 503 without Retry-After speaks for this call only (RFC 3261 21.5.4).
            core.health.rest(leg.hop.address, REST if silent else facts.retry_after or 0, now)
        return verdict

    def abandon(self, legs: Iterable[CalleeLeg], lines: bytes, now: float) -> None:
        """Give legs up: each cancels its INVITE, and hangs up should an answer cross the CANCEL."""
        for leg in list(legs):
            self.drop(leg)
            self.note(leg, None, False, now)
            leg.abandon(lines, now)

    def overdue(self, now: float) -> list[CalleeLeg]:
        """Return the legs that have rung long enough."""
        return [leg for leg in self.legs if leg.deadline <= now]

    @property
    def deadline(self) -> float:
        """When the next of the legs has rung long enough, or all of them."""
        return min(self.expires_at, min(leg.deadline for leg in self.legs))


def max_breadth(request: Request) -> int:
    """Return how many branches a request may have at a time (RFC 5393 5.3.3). Raises MalformedError."""
    value = request.get(b"Max-Breadth")
    if value is None:
        return MAX_BREADTH
    if not (value.isdigit() and len(value) < 10):
        raise MalformedError("bad Max-Breadth")
    return min(int(value), MAX_BREADTH)


def cancel_reason(response: Response) -> bytes:
    """Return the Reason of the CANCEL to other targets: what the one that decided said (RFC 3326 3.1)."""
    if response.status < 300:
        return b'Reason: SIP;cause=200;text="Call completed elsewhere"\r\n'
    text = response.phrase.replace(b"\\", b"").replace(b'"', b"")
    return b'Reason: SIP;cause=%d;text="%b"\r\n' % (response.status, text)
