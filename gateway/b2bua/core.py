"""The back-to-back user agent as the endpoint's user: who may call, where calls go, how answers are judged.

Routing and rules are swapped whole between two messages (:meth:`B2bua.reload`); a call keeps the trunks it
began with. What other parts want to know stands here in plain counters, and in the record each call leaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from gateway.routing.health import Health
from gateway.routing.locate import Locator, NoLocator
from gateway.routing.route import Hop, Plan, Routes, over_tls
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.rules import Facts, RuleSet, emit, emitted_q850
from gateway.rules.history import History
from gateway.rules.trials import Trials
from gateway.rules.unwanted import FeedbackSink
from gateway.sip.build import TRY_LATER
from gateway.sip.endpoint import Endpoint
from gateway.sip.fields import NAMING_DIALOGS
from gateway.sip.flow import Flow
from gateway.sip.message import Request, Response
from gateway.sip.transaction import InviteServer, ServerTransaction
from gateway.sip.uri import Uri, number_of

from .aiming import Aiming
from .bindings import Bindings
from .call import Call
from .contacts import ContactTable
from .events import Event
from .feedback import note_final
from .hunting import Verdict
from .loops import Descent
from .naming import Names
from .outside import OutsideRelay, RegisterRelay
from .ping import Pinger
from .policy import PolicyTable
from .record import CallRecord, RecordSink
from .registration import Registrations
from .search import max_breadth
from .subscription import OPENING, Subscriptions
from .tracing import Tracing, context_of


class Refusal(NamedTuple):
    """Why a request goes nowhere."""

    status: int
    why: str
    lines: bytes = b""
    code: int = 399  # of the Warning


_NO_DIALOG = Refusal(481, "no such dialog")  # RFC 3891 3, RFC 3911 4
_NO_ROUTE = Refusal(404, "no route")
_NONE_UP = Refusal(503, "no target is up", TRY_LATER)
_NO_TLS = Refusal(480, "SIPS Not Allowed", code=380)  # no target of the route has TLS (RFC 5630)
_TOO_MANY_SUBSCRIPTIONS = Refusal(503, "too many subscriptions", TRY_LATER)
_TOO_MANY_REQUESTS = Refusal(503, "too many requests under way", TRY_LATER)


@dataclass(slots=True, frozen=True)
class Setup:
    """What operations people may change while calls run."""

    trunks: TrunkTable
    routes: Routes
    rules: RuleSet


class B2bua:
    """Serves an :class:`Endpoint`. ``sinks`` get the record of each call as it ends; ``locator`` finds
    targets that are names; ``mark`` ends the ids of records, where gateways share a ledger.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        setup: Setup,
        sinks: tuple[RecordSink, ...] = (),
        max_calls: int = 200_000,
        locator: Locator | None = None,
        max_subscriptions: int = 200_000,
        mark: str = "",
        max_relays: int = 50_000,
    ) -> None:
        self.endpoint = endpoint
        self.setup = setup
        self.locator = locator or NoLocator()
        self.health = Health()
        self.pinger = Pinger(self)
        self.names = Names(endpoint)
        self.policies = PolicyTable(endpoint, self.names)
        self.calls: set[Call] = set()
        self.relays: set[OutsideRelay] = set()  # requests outside of calls that wait for their answer
        self.subscriptions = Subscriptions(self, max_subscriptions)
        self.ahead = 0.0  # seconds by which the clock on the wall is ahead of `now`
        self.begun = 0  # calls since the start
        self.active: defaultdict[str, int] = defaultdict(int)  # calls that are up, by the caller's trunk
        self.notes_branches = False  # whether records tell what became of each branch
        self.tracing = Tracing("", None)
        self.on_answer: Callable[[CallRecord], None] | None = None  # who wants to know of answers at once
        self.rewrites: defaultdict[tuple[str, str, str, int, int], int] = defaultdict(int)
        self.guards: defaultdict[str, int] = defaultdict(int)
        self.near_misses: defaultdict[str, int] = defaultdict(int)  # of 603+, by trunk
        self.defects: defaultdict[tuple[str, str], int] = defaultdict(int)  # of 603+, by trunk and kind
        self.refused: defaultdict[str, int] = defaultdict(int)
        self.keeps_evidence = True  # whether a sink takes what decisions were made by
        self.history: History | None = None  # where rules ask for earlier calls
        self.feedback: FeedbackSink | None = None  # who wants to know of unwanted calls
        self.on_silent_leg: Callable[[bytes, bytes], None] | None = None
        """Told the Call-IDs of the callee's and the caller's leg where the first does not name the second."""
        self.trials: Trials | None = None  # where rules decide only a share of calls
        self._sinks = sinks
        self._serial = 0
        self._mark = mark
        self._max_calls = max_calls
        self._max_relays = max_relays
        self.descent = Descent(endpoint)
        self.contacts: ContactTable = {}
        self.registrations = Registrations(self)
        self.bindings = Bindings(endpoint, self.contacts)
        endpoint.core = self
        endpoint.flows.on_name = Aiming(self).aim

    def reload(self, setup: Setup) -> None:
        """Put new trunks, routes and rules to work from the next message on."""
        for trunk in setup.trunks:
            trunk.carry_over(self.setup.trunks.by_name.get(trunk.name))
        self.setup = setup
        self.policies.clear()
        self.endpoint.flows.forget_trunks()

    def add_sink(self, sink: RecordSink) -> None:
        """Have one more get the record of each call as it ends."""
        self._sinks += (sink,)

    def begin(self, now: float) -> None:
        """Start what the trunks ask for by themselves; again after each reload."""
        self.pinger.begin(now)
        if not self.draining:
            self.registrations.update(self.setup.trunks, now)

    def end_calls(self, now: float) -> None:
        """End the calls that are up, since the gateway stops: peers hear of it, and the records tell."""
        for call in list(self.calls):
            call.feed(Event.STOPPED, None, now)

    @property
    def draining(self) -> bool:
        """Whether new calls are refused, since the gateway is to stop."""
        return self.endpoint.itself.is_closed

    @draining.setter
    def draining(self, is_draining: bool) -> None:
        self.endpoint.itself.is_closed = is_draining

    # -- what the endpoint asks -------------------------------------------------------------------------

    def knows(self, flow: Flow) -> bool:
        """Tell whether a trunk has this source; who is refused else is noted for the log."""
        trunks = self.setup.trunks
        if trunks.of(flow) is not None:
            return True
        trunks.strangers.note(flow)
        return False

    def trunks(self) -> TrunkTable:
        """The trunks that are served now."""
        return self.setup.trunks

    def is_behind_nat(self, flow: Flow) -> bool:
        """Tell whether this source is of a trunk with ``nat``."""
        trunk = self.setup.trunks.of(flow)
        return trunk is not None and trunk.nat

    def name_of(self, flow: Flow) -> str:
        """Return the name of the trunk that messages on this flow are counted for, "" for a stranger."""
        trunk = None if flow.sought else self.setup.trunks.of(flow)
        return flow.sought if trunk is None else trunk.name

    def on_request(
        self, transaction: ServerTransaction, request: Request, uri: Uri, source: Flow, now: float
    ) -> None:
        """Begin a call, or relay a transaction outside of any dialog."""
        trunk = self.setup.trunks.of(source)
        assert trunk is not None, "the endpoint asked whether we know the source"
        plan = None
        contact = self.contacts.get(uri.user)
        if contact is not None and contact.registrar == trunk.name:
            uri, plan = contact.reach(request, uri, self.setup.trunks, now)
            if plan is None and request.method == b"OPTIONS":
                # The registrar asks whether we live.
                self.endpoint.itself.answer(transaction, request, self.endpoint.new_token(), now)
                return
        if trunk.numbers is not None:
            request, uri = trunk.numbers.read(request, uri)
        self._serial += 1
        # Rising ids (milliseconds, then a serial number), so that a database's index of them grows at its
        # end; several gateways may share it.
        number = int(now * 1000) << 20 | self._serial & 0xFFFFF
        record = CallRecord(
            id=hex(number)[2:].zfill(16) + self._mark,
            caller_call_id=request.call_id.decode("utf-8", "replace"),
            callee_call_id="",
            caller_trunk=trunk.name,
            callee_trunk="",
            caller=number_of(request.sender.uri),
            called=uri.number.decode("utf-8", "replace"),
            invited_at=now,
        )
        if isinstance(transaction, InviteServer):
            self._begin_call(trunk, transaction, request, uri, record, plan, now)
        else:
            self._relay(trunk, transaction, request, uri, record, plan, now)

    # -- what calls ask ---------------------------------------------------------------------------------

    def facts(
        self, record: CallRecord, response: Response, source: Trunk, target: Trunk, request: Request
    ) -> Facts:
        """Gather what the rules may look at: ``source`` answered, ``target`` will get the answer."""
        facts = Facts(response, request, source, target, request.method, record.called, record.caller)
        facts.history = self.history
        facts.ahead = self.ahead
        return facts

    def judge(self, facts: Facts, trunk: Trunk) -> Verdict:
        """Ask guards and rules about a final response that ``trunk`` gave."""
        rules = self.setup.rules
        decision = rules.decide(facts)
        if self.feedback is not None and facts.response.status in (603, 607):
            note_final(self.feedback, facts)
        return Verdict(
            facts.response,
            decision,
            emit(decision, facts),
            emitted_q850(decision, facts),
            trunk,
            facts.local,
            facts,
            rules.version_hash,
        )

    def note(self, record: CallRecord, verdict: Verdict) -> None:
        """Write into the record and the counters what was answered and what was made of it."""
        original, decision = verdict.response, verdict.decision
        record.original_status = original.status
        record.original_phrase = original.phrase.decode("utf-8", "replace")
        record.original_q850 = verdict.facts.reasons.q850
        record.emitted_status = decision.status
        record.emitted_phrase = decision.phrase.decode("utf-8", "replace")
        record.emitted_q850 = verdict.q850
        record.origin = "local" if verdict.local else "peer"
        record.callee_trunk = verdict.trunk.name
        record.rule = decision.rule
        record.guard = decision.guard
        record.mode = decision.mode
        record.shadow_rule = decision.shadow_rule
        record.shadow_status = decision.shadow_status
        record.label = decision.note
        record.rules_hash = verdict.rules_hash
        if self.trials is not None:
            self.trials.told(verdict.facts, decision)
        if self.keeps_evidence:
            record.evidence = verdict
        self._count(record.caller_trunk, verdict)

    def finished(self, call: Call) -> None:
        """A call is over: hand out its record."""
        self.calls.discard(call)
        self.active[call.record.caller_trunk] -= 1
        if not call.record.answered_at:
            self.names.note(call.record)
        self.descent.forget(call.record)
        if self.history is not None:
            self.history.record(call.record)
        for sink in self._sinks:
            sink.record(call.record)

    # -- in private -------------------------------------------------------------------------------------

    def _begin_call(
        self,
        trunk: Trunk,
        invite: InviteServer,
        request: Request,
        uri: Uri,
        record: CallRecord,
        plan: Plan | None,
        now: float,
    ) -> None:
        if self.draining or len(self.calls) >= self._max_calls:
            self.refused["draining" if self.draining else "too many calls"] += 1
            invite.reject(503, self.endpoint.new_token(), now, TRY_LATER)
            return
        if request.has(b"Max-Breadth") and not max_breadth(request):
            invite.reject(440, self.endpoint.new_token(), now)  # RFC 5393 5.3.3.1
            return
        parent = self.descent.parent_of(request)
        if parent is not None and self.descent.is_loop(parent, record):
            self._refuse_loop(invite, now)
            return
        if trunk.load is not None and not trunk.load.enter(now):
            self.refused["trunk limit"] += 1
            invite.reject(503, self.endpoint.new_token(), now, TRY_LATER)
            return
        if self.notes_branches:
            record.branches = []
        if trunk.trace_context:
            record.trace = context_of(request)
        call = Call(self, trunk, invite, request, uri, record, now)
        self.calls.add(call)
        self.active[trunk.name] += 1
        if parent is not None:
            self.descent.add(record, parent)
        self.begun += 1
        if self.trials is not None:
            self.trials.begun(record.caller, record.called, now)
        hops, together = self._hops(trunk, request, uri, record, plan, now)
        if isinstance(hops, Refusal):
            self.refused[hops.why] += 1
            call.refuse(hops.status, hops.why, now, hops.lines, hops.code)
        else:
            call.start(hops, together, now)

    def _hops(
        self,
        trunk: Trunk,
        request: Request,
        uri: Uri,
        record: CallRecord,
        plan: Plan | None,
        now: float,
    ) -> tuple[tuple[Hop, ...] | Refusal, bool]:
        """Return where a request goes, or why nowhere, and whether to all of these places together. ``plan``
        is known where the request came to a contact that we have registered.
        """
        if plan is None:
            if request.has_any(NAMING_DIALOGS):
                place = self.names.place(request)
                if place is not None:
                    return (place,), False
                if not uri.user and self.endpoint.itself.is_named_by(uri):
                    return _NO_DIALOG, False
            plan = self.setup.routes.plan(trunk, record.called, record.caller)
        if plan is None or not plan.hops:
            return _NO_ROUTE, False
        hops = plan.hops if not plan.is_weighted else plan.draw(crc32(self.endpoint.new_token()))
        if uri.scheme == b"sips":
            hops = over_tls(hops)
            if not hops:
                return _NO_TLS, False
        return self.health.choose(hops, now) or _NONE_UP, plan.strategy == "parallel"

    def _relay(
        self,
        trunk: Trunk,
        transaction: ServerTransaction,
        request: Request,
        uri: Uri,
        record: CallRecord,
        plan: Plan | None,
        now: float,
    ) -> None:
        """Pass a MESSAGE, SUBSCRIBE, OPTIONS, PUBLISH ... on as a transaction of two legs."""
        parent = self.descent.parent_of(request)
        if parent is not None and self.descent.is_loop(parent, record):
            self._refuse_loop(transaction, now)
            return
        hops, _ = self._hops(trunk, request, uri, record, plan, now)
        if request.method in OPENING and self.subscriptions.is_full:
            hops = _TOO_MANY_SUBSCRIPTIONS
        if len(self.relays) >= self._max_relays:
            hops = _TOO_MANY_REQUESTS
        if isinstance(hops, Refusal):
            self.refused[hops.why] += 1
            lines = b'Warning: %d gateway "%b"\r\n%b' % (hops.code, hops.why.encode(), hops.lines)
            transaction.reject(hops.status, self.endpoint.new_token(), now, lines)
        else:
            kind = RegisterRelay if request.method == b"REGISTER" else OutsideRelay
            relay = kind(self, trunk, transaction, request, uri, record, hops)
            if parent is not None:
                self.descent.add(record, parent)
            relay.start(now)

    def _refuse_loop(self, transaction: ServerTransaction, now: float) -> None:
        self.refused["loop"] += 1
        transaction.reject(482, self.endpoint.new_token(), now)

    def _count(self, caller_trunk: str, verdict: Verdict) -> None:
        decision = verdict.decision
        if decision.guard:
            self.guards[decision.guard] += 1
        if decision.near_miss:
            self.near_misses[verdict.trunk.name] += 1
        for defect in decision.defects:
            self.defects[verdict.trunk.name, defect] += 1
        if decision.changed:
            key = (
                decision.rule,
                verdict.trunk.name,
                caller_trunk,
                verdict.response.status,
                decision.status,
            )
            self.rewrites[key] += 1
