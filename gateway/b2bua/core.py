"""The back-to-back user agent as the endpoint's user: who may call, where calls go, how answers are judged.

Routing and rules are swapped whole between two messages (:meth:`B2bua.reload`); a call keeps the trunks it
began with. What other parts want to know stands here in plain counters, and in the record each call leaves.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from zlib import crc32

from gateway.routing.health import Health
from gateway.routing.locate import Address, Locator, NoLocator
from gateway.routing.route import Hop, Plan, Routes, over_tls
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.rules import Facts, RuleSet, emit, emitted_q850, q850_of
from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.errors import MalformedError
from gateway.sip.flow import Flow
from gateway.sip.message import Request, Response
from gateway.sip.remember import remembered
from gateway.sip.transaction import InviteServer, ServerTransaction
from gateway.sip.uri import Uri, parse_uri

from .bindings import Bindings, TooManyContactsError
from .call import Call
from .contacts import ContactTable
from .hunting import Verdict
from .leg import outgoing_ends, target_uri
from .naming import rename_dialogs
from .ping import Pinger
from .policy import PolicyTable
from .record import CallRecord, RecordSink
from .registration import Registrations
from .relay import Relay, back_lines
from .search import max_breadth

_RETRY_AFTER = b"Retry-After: 5\r\n"


@dataclass(slots=True, frozen=True)
class Setup:
    """What operations people may change while calls run."""

    trunks: TrunkTable
    routes: Routes
    rules: RuleSet


_SIPS_NOT_ALLOWED = "SIPS Not Allowed"  # with 480 and code 380: no target of the route has TLS (RFC 5630)


class B2bua:
    """Serves an :class:`Endpoint`. ``sinks`` get the record of each call as it ends; ``locator`` finds
    targets that are names.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        setup: Setup,
        sinks: tuple[RecordSink, ...] = (),
        max_calls: int = 200_000,
        locator: Locator | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.setup = setup
        self.locator = locator or NoLocator()
        self.health = Health()
        self.pinger = Pinger(self)
        self.policies = PolicyTable(endpoint)
        self.calls: set[Call] = set()
        self.begun = 0  # calls since the start
        self.draining = False
        self.rewrites: defaultdict[tuple[str, str, str, int, int], int] = defaultdict(int)
        self.guards: defaultdict[str, int] = defaultdict(int)
        self.near_misses: defaultdict[str, int] = defaultdict(int)  # of 603+, by trunk
        self.refused: defaultdict[str, int] = defaultdict(int)
        self._sinks = sinks
        self._serial = 0
        self._max_calls = max_calls
        self.contacts: ContactTable = {}
        self.registrations = Registrations(self)
        self.bindings = Bindings(endpoint, self.contacts)
        endpoint.core = self

    def reload(self, setup: Setup) -> None:
        """Put new trunks, routes and rules to work from the next message on."""
        for trunk in setup.trunks:
            trunk.carry_over(self.setup.trunks.by_name.get(trunk.name))
        self.setup = setup
        self.policies.clear()

    def begin(self, now: float) -> None:
        """Start what the trunks ask for by themselves; again after each reload."""
        self.pinger.begin(now)
        if not self.draining:
            self.registrations.update(self.setup.trunks, now)

    # -- what the endpoint asks -------------------------------------------------------------------------

    def knows(self, flow: Flow) -> bool:
        """Tell whether a trunk has this source."""
        return self.setup.trunks.of(flow) is not None

    def trunks(self) -> TrunkTable:
        """The trunks that are served now."""
        return self.setup.trunks

    def is_behind_nat(self, flow: Flow) -> bool:
        """Tell whether this source is of a trunk with ``nat``."""
        trunk = self.setup.trunks.find(flow.peer[0], flow.peer[1])
        return trunk is not None and trunk.nat

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
                self.endpoint.serve_own(transaction, request, now)  # the registrar asks whether we live
                return
        if trunk.numbers is not None:
            request, uri = trunk.numbers.read(request, uri)
        self._serial += 1
        record = CallRecord(
            # Rising ids, so that a database's index of them grows at its end.
            id=f"{int(now * 1000):011x}{self._serial & 0xFFFFF:05x}",
            caller_call_id=request.call_id.decode("utf-8", "replace"),
            callee_call_id="",
            caller_trunk=trunk.name,
            callee_trunk="",
            caller=_number(request.sender.uri),
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
        return Facts(response, request, source, target, request.method, record.called, record.caller)

    def judge(self, facts: Facts, trunk: Trunk) -> Verdict:
        """Ask guards and rules about a final response that ``trunk`` gave."""
        decision = self.setup.rules.decide(facts)
        return Verdict(
            facts.response, decision, emit(decision, facts), emitted_q850(decision, facts), trunk, facts.local
        )

    def note(self, record: CallRecord, verdict: Verdict) -> None:
        """Write into the record and the counters what was answered and what was made of it."""
        original, decision = verdict.response, verdict.decision
        record.original_status = original.status
        record.original_phrase = original.phrase.decode("utf-8", "replace")
        record.original_q850 = q850_of(original)
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
        record.label = decision.label
        self._count(record.caller_trunk, verdict)

    def finished(self, call: Call) -> None:
        """A call is over: hand out its record."""
        self.calls.discard(call)
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
            invite.reject(503, self.endpoint.new_token(), now, _RETRY_AFTER)
            return
        if b"Max-Breadth" in request.index and not max_breadth(request):
            invite.reject(440, self.endpoint.new_token(), now)  # RFC 5393 5.3.3.1
            return
        if trunk.load is not None and not trunk.load.enter(now):
            self.refused["trunk limit"] += 1
            invite.reject(503, self.endpoint.new_token(), now, _RETRY_AFTER)
            return
        call = Call(self, trunk, invite, request, uri, record, now)
        self.calls.add(call)
        self.begun += 1
        plan = plan or self._plan(trunk, record)
        if plan is None or not plan.hops:
            self.refused["no route"] += 1
            call.refuse(404, "no route", now)
            return
        hops = plan.hops if not plan.is_weighted else plan.draw(crc32(self.endpoint.new_token()))
        if uri.scheme == b"sips":
            hops = over_tls(hops)
            if not hops:
                self.refused["no TLS for sips"] += 1
                call.refuse(480, _SIPS_NOT_ALLOWED, now, warning_code=380)
                return
        hops = self.health.choose(hops, now)
        if hops:
            call.start(hops, plan.strategy == "parallel", now)
        else:
            self.refused["no target is up"] += 1
            call.refuse(503, "no target is up", now, _RETRY_AFTER)

    def _plan(self, trunk: Trunk, record: CallRecord) -> Plan | None:
        plan = self.setup.routes.plan(trunk, record.called, record.caller)
        return plan if plan is not None and plan.hops else None

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
        plan = plan or self._plan(trunk, record)
        if plan is None or not plan.hops:
            self.refused["no route"] += 1
            warning = b'Warning: 399 gateway "no route"\r\n'
            transaction.reject(404, self.endpoint.new_token(), now, warning)
            return
        hops = plan.hops if uri.scheme != b"sips" else over_tls(plan.hops)
        if not hops:
            self.refused["no TLS for sips"] += 1
            warning = b'Warning: 380 gateway "%b"\r\n' % _SIPS_NOT_ALLOWED.encode()
            transaction.reject(480, self.endpoint.new_token(), now, warning)
            return
        hop = hops[0]
        kind = _RegisterRelay if request.method == b"REGISTER" else _OutsideRelay
        relay = kind(self, transaction, request, uri, record, trunk, hop, now)
        addresses = self.locator.locate(hop.target, relay, now) if hop.address is None else (hop.address,)
        if addresses is not None:
            relay.on_located(addresses, now)

    def _count(self, caller_trunk: str, verdict: Verdict) -> None:
        decision = verdict.decision
        if decision.guard:
            self.guards[decision.guard] += 1
        if decision.near_miss:
            self.near_misses[verdict.trunk.name] += 1
        if decision.changed:
            key = (
                decision.rule,
                verdict.trunk.name,
                caller_trunk,
                verdict.response.status,
                decision.status,
            )
            self.rewrites[key] += 1


class _OutsideRelay(Relay):
    """A transaction outside any dialog; its final response is judged by the rules like an INVITE's."""

    __slots__ = ("_core", "_hop", "_record", "_request", "_sent_at", "_source", "_target", "_uri")

    def __init__(
        self,
        core: B2bua,
        server: ServerTransaction,
        request: Request,
        uri: Uri,
        record: CallRecord,
        source: Trunk,
        hop: Hop,
        now: float,
    ) -> None:
        policies, target = core.policies, hop.trunk
        super().__init__(
            core.endpoint, server, policies.between(source, target), policies.between(target, source)
        )
        self._core = core
        self._request = request
        self._uri = uri
        self._hop = hop
        self._record = record
        self._source = source
        self._target = target
        self._sent_at = now

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Send the request to the first address of its target."""
        core, request, hop = self._core, self._request, self._hop
        endpoint = core.endpoint
        flow = endpoint.flows.towards(*addresses[0], hop.trunk.name) if addresses else None
        if flow is None:
            self.server.reject(503, endpoint.new_token(), now)
            return
        request, uri = self.forth.opening(request, self._uri)
        half = Dialog(
            None,
            endpoint.new_token() + b"@" + flow.local.host.encode(),
            *outgoing_ends(request, endpoint.new_token()),
            b"",
            hop.uri or target_uri(uri, hop.target),
            flow,
        )
        self._sent_at = now
        self.send(half, request, self._lines(request, flow, now), now)

    def _lines(self, request: Request, _flow: Flow, _now: float) -> bytes:
        """Return the header lines of the request as they pass."""
        return self.forth.lines(rename_dialogs(request, self.endpoint, self._target))

    def pass_back(self, response: Response, now: float) -> None:
        """Answer as the rules want it told."""
        if response.status < 300:
            super().pass_back(response, now)
            return
        core, source = self._core, self._source
        facts = core.facts(self._record, response, self._target, source, self._request)
        facts.after = now - self._sent_at
        verdict = core.judge(facts, self._target)
        core.note(self._record, verdict)
        decision = verdict.decision
        emitted = Response(decision.status, decision.phrase, verdict.rows, response.index)
        lines = back_lines(self.back, emitted, self.server)
        tag = self.endpoint.new_token()
        self.server.respond(decision.status, decision.phrase, tag, lines, self.back.body(response), now)


class _RegisterRelay(_OutsideRelay):
    """A REGISTER, whose contacts are mapped on the way there and back."""

    __slots__ = ("_registering",)

    def on_located(self, addresses: tuple[Address, ...], now: float) -> None:
        """Send it, unless it would bind more contacts than we keep."""
        try:
            super().on_located(addresses, now)
        except TooManyContactsError as error:
            self._core.refused["too many contacts"] += 1
            self.server.reject(error.status, self.endpoint.new_token(), now)

    def _lines(self, request: Request, flow: Flow, now: float) -> bytes:
        bindings, local = self._core.bindings, flow.local
        self._registering = bindings.begin(request, self._source, self._target, local, now)
        return self.forth.lines_with_contact(self._registering.rows)

    def pass_back(self, response: Response, now: float) -> None:
        """Take note of what was granted."""
        if 200 <= response.status < 300:
            self._registering.answered(response, now)
        super().pass_back(response, now)


@remembered
def _number(uri: bytes) -> str:
    """Return the number or user of a URI, "" when it cannot be read."""
    try:
        return parse_uri(uri).number.decode("utf-8", "replace")
    except MalformedError:
        return ""
