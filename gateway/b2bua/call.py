"""A call: two legs and one table.

Read :data:`Call.TABLE` first: it says what each word from a leg does in each state; the actions say how. A
call holds no timers of SIP (the transactions have them); its own are the ring timeout and the longest
duration. When it is over it hands out its record, lets go of both legs and is gone; a leg that still has to
cancel an INVITE, or to hang up on an answer that came too late, does so by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.routing.route import Hop
from gateway.routing.trunk import Trunk
from gateway.sip.dialog import Dialog
from gateway.sip.message import Request, Response
from gateway.sip.phrases import phrase_for
from gateway.sip.transaction import ImpossibleInputError, InviteServer, ServerTransaction
from gateway.sip.transaction.base import compile_table
from gateway.sip.uri import Uri

from .events import Answered, Bye, Event, Progress, Rejected, State
from .hunting import Verdict, advances, better
from .inside import pass_inside
from .leg import CalleeLeg, CallerLeg, Leg
from .naming import rename_dialogs
from .policy import Policy
from .record import CallRecord
from .relay import Answer, Relay, back_lines

if TYPE_CHECKING:
    from .core import B2bua

# A timer keeps its target alive until it fires, so a long one is set in steps: a call that has ended is not
# kept for three minutes.
_TIMER_STEP = 2.0

Action = Callable[[Any, Any, float], None] | None


class Call:
    """One INVITE from a trunk and everything that becomes of it."""

    __slots__ = (
        "_best",
        "_deadline",
        "_hops",
        "_looks_at",
        "_request",
        "_uri",
        "callee",
        "caller",
        "core",
        "endpoint",
        "record",
        "state",
    )

    def __init__(
        self,
        core: B2bua,
        trunk: Trunk,
        invite: InviteServer,
        request: Request,
        uri: Uri,
        record: CallRecord,
        now: float,
    ) -> None:
        self.core = core
        self.endpoint = core.endpoint
        self.record = record
        self.state: Any = State.CALLING
        self.caller = CallerLeg(self, trunk, core.endpoint, invite, request, now)
        self.callee: CalleeLeg | None = None
        self._request: Request | None = request
        self._uri: Uri | None = uri
        self._hops: list[Hop] = []
        self._best: Verdict | None = None
        self._deadline = math.inf
        self._looks_at = math.inf  # when on_timer is due

    # -- what happens to a call -------------------------------------------------------------------------

    def start(self, hops: tuple[Hop, ...], now: float) -> None:
        """Call the first of the targets."""
        self._hops = list(hops)
        self._call_next(None, now)

    def refuse(self, status: int, reason: str, now: float, code: int = 399) -> None:
        """Reject the call ourselves, before any target was tried; ``reason`` goes into a Warning."""
        warning = b'Warning: %d gateway "%b"\r\n' % (code, reason.encode())
        phrase = phrase_for(status)
        record = self.record
        record.original_status = record.emitted_status = status
        record.original_phrase = record.emitted_phrase = phrase.decode()
        record.origin = "local"
        self.caller.reject(status, phrase, warning, b"", now)
        self._finish("gateway", reason, now)

    def feed(self, event: Event, detail: Any, now: float) -> None:
        """Take one step of the table. Raises ImpossibleInputError on a cell that is not there."""
        step = self.STEPS[self.state][event]
        if step is None:
            raise ImpossibleInputError(f"call: {event.name} in state {self.state.name}")
        self.state, action = step
        if action is not None:
            action(self, detail, now)

    def on_request(
        self, leg: Leg, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """Take a request inside one of the call's dialogs."""
        if request.method != b"BYE":
            pass_inside(self, leg, dialog, transaction, request, now)
        elif self.state >= State.ANSWERED:
            self.feed(Event.BYE, Bye(leg, dialog, transaction, request), now)
        elif leg is self.caller:
            transaction.reject(200, b"", now)
            self.feed(Event.CANCELLED, request, now)
        else:
            transaction.reject(481, b"", now)  # a callee has no BYE in an early dialog (RFC 3261 15)

    def on_ack(self, leg: Leg, dialog: Dialog, answer: Answer, request: Request, now: float) -> None:
        """Take the ACK for a 2xx: of the call's INVITE or of a re-INVITE."""
        twin = dialog.twin
        if answer.is_acked or twin is None or not isinstance(twin.user, Leg):
            return
        lines = self.policy(leg, twin.user).lines(request.rows)
        answer.acked(self.endpoint, lines, request.body, max(request.max_forwards - 1, 0), now)
        if self.state == State.ANSWERED:
            self.feed(Event.ACKED, None, now)

    def on_no_ack(self, now: float) -> None:
        """The 2xx of a re-INVITE was never acknowledged."""
        if self.state == State.TALKING:
            self.feed(Event.NO_ACK, None, now)

    def on_timer(self, now: float) -> None:
        """Look whether the ring timeout or the longest duration is over."""
        if self.state == State.ENDED or self._looks_at > now:
            return
        self._looks_at = math.inf
        if self._deadline > now:
            self._watch(now)
            return
        self._deadline = math.inf
        if self.state == State.ENDING:
            self._deadline = now + _TIMER_STEP  # should the BYE be challenged, the call stands again
            self._watch(now)
        elif self.state in (State.CALLING, State.RINGING):
            self.feed(Event.RING_TIMEOUT, None, now)
        elif self.state in (State.ANSWERED, State.TALKING):
            self.feed(Event.TOO_LONG, None, now)

    def policy(self, source: Leg, target: Leg) -> Policy:
        """What passes from one leg to the other."""
        return self.core.policies.between(source.trunk, target.trunk)

    # -- actions ----------------------------------------------------------------------------------------

    def _call_next(self, _detail: object, now: float) -> None:
        """Send the INVITE to the next target."""
        hop = self._hops.pop(0)
        record = self.record
        request, uri = self._request, self._uri
        assert request is not None and uri is not None, "kept until a final response went out"
        record.attempts += 1
        record.callee_trunk = hop.trunk.name
        callee = self.callee = CalleeLeg(self, hop.trunk, self.endpoint)
        target = hop.target
        flow = self.endpoint.flows.towards(target.host, target.port, target.transport, hop.trunk.name)
        if flow is None:
            callee.on_no_response(None, 503, now)
            return
        rows = rename_dialogs(request, self.endpoint, hop.trunk)
        lines = self.policy(self.caller, callee).lines(rows)
        if hop.trunk.x_cid:
            lines += b"X-CID: %b\r\n" % request.call_id
        self._deadline = now + hop.trunk.ring_timeout
        self._watch(now)
        callee.call_out(request, uri, hop.target, flow, lines, now)
        record.callee_call_id = callee.call_id.decode()

    def _progress(self, progress: Progress, now: float) -> None:
        assert self.callee is not None
        if not self.record.ringing_at:
            self.record.ringing_at = now
        self.caller.progress(progress, self.policy(self.callee, self.caller), now)

    def _answer(self, answered: Answered, now: float) -> None:
        callee = self.callee
        assert callee is not None
        record = self.record
        record.answered_at = now
        record.original_status = record.emitted_status = answered.response.status
        record.original_phrase = record.emitted_phrase = _text(answered.response.phrase)
        record.origin = "peer"
        self.caller.answer(answered, self.policy(callee, self.caller), now)
        self._request = self._uri = self._best = None
        longest = callee.trunk.max_duration
        self._deadline = math.inf if longest is None else now + longest
        self._watch(now)

    def _decide(self, rejected: Rejected, now: float) -> None:
        """Judge a rejection; hunt on or give up by what the callee said, not by what a rule makes of it."""
        callee, request = self.callee, self._request
        assert callee is not None and request is not None
        facts = self.core.facts(self.record, rejected, callee.trunk, self.caller.trunk, request)
        facts.after = now - callee.invited_at if callee.invited_at else None
        facts.rang = callee.rang_at > 0.0
        facts.ringing = now - callee.rang_at if callee.rang_at else None
        verdict = self.core.judge(facts, callee.trunk)
        self._best = better(self._best, verdict)
        callee.close(now)
        self.feed(Event.HUNT if self._hops and advances(verdict) else Event.GIVE_UP, None, now)

    def _give_up(self, _detail: object, now: float) -> None:
        """Tell the caller the best rejection, as the rules want it told."""
        verdict = self._best
        assert verdict is not None, "giving up follows a rejection"
        original, decision = verdict.response, verdict.decision
        emitted = Response(decision.status, decision.phrase, verdict.rows, original.index, body=original.body)
        policy = self.core.policies.between(verdict.trunk, self.caller.trunk)
        lines = back_lines(policy, emitted, self.caller.invite)
        self.caller.reject(decision.status, decision.phrase, lines, emitted.body, now)
        self.core.note(self.record, verdict)
        if verdict.local:
            self._finish("gateway", "unreachable" if original.status == 503 else "no answer", now)
        else:
            self._finish("callee", "rejected", now)

    def _cancelled(self, request: Request, now: float) -> None:
        """The caller gave up: 487 to it, CANCEL to the callee with the caller's Reason."""
        callee = self.callee
        assert callee is not None
        self.caller.reject(487, phrase_for(487), b"", b"", now)
        self.record.emitted_status = 487
        self.record.emitted_phrase = "Request Terminated"
        callee.abandon(self.policy(self.caller, callee).cancel_lines(request.rows), now)
        self._finish("caller", "cancelled", now)

    def _ring_out(self, _detail: object, now: float) -> None:
        """Nobody answered in time: cancel this target and go on as if it had said 408."""
        callee = self.callee
        assert callee is not None
        callee.abandon(b'Reason: SIP;cause=408;text="Ring timeout"\r\n', now)
        response = Response(408, phrase_for(408), [], {})
        self.feed(Event.REJECTED, Rejected(response, True), now)

    def _pass_bye(self, bye: Bye, now: float) -> None:
        """Pass the BYE on; the call is over when the other side has answered it."""
        twin = bye.dialog.twin
        assert twin is not None and isinstance(twin.user, Leg), "confirmed dialogs are paired"
        other = twin.user
        self._acknowledge_all(now)
        self.record.ended_at = now
        self.record.ended_by = "caller" if bye.leg is self.caller else "callee"
        forth = self.policy(bye.leg, other)
        relay = Relay(self.endpoint, bye.transaction, forth, self.policy(other, bye.leg), self._on_bye_answer)
        relay.send(twin, bye.request, forth.lines(bye.request.rows), now)

    def _on_bye_answer(self, response: Response | None, now: float) -> None:
        if self.state == State.ENDING:
            challenged = response is not None and response.status in (401, 407)
            self.feed(Event.BYE_CHALLENGED if challenged else Event.BYE_DONE, None, now)

    def _bye_crossed(self, bye: Bye, now: float) -> None:
        """Both sides hung up at once: the second BYE is simply right."""
        bye.transaction.reject(200, b"", now)

    def _bye_done(self, _detail: object, now: float) -> None:
        self._finish(self.record.ended_by, "bye", now)

    def _resume(self, _detail: object, _now: float) -> None:
        """The BYE was challenged: the call stands until it comes again with credentials."""
        self.record.ended_at = 0.0
        self.record.ended_by = ""

    def _no_ack(self, _detail: object, now: float) -> None:
        self._hang_up("no ACK", now)

    def _too_long(self, _detail: object, now: float) -> None:
        self._hang_up("max_duration", now)

    def _hang_up(self, reason: str, now: float) -> None:
        """End both legs ourselves."""
        line = b'Reason: SIP;cause=408;text="%b"\r\n' % reason.encode()
        self._acknowledge_all(now)
        self.caller.hang_up(line, now)
        assert self.callee is not None
        self.callee.hang_up(line, now)
        self._finish("gateway", reason, now)

    def _acknowledge_all(self, now: float) -> None:
        """Settle each 2xx that has no ACK: its sender still needs one, and we wait for none any more."""
        assert self.callee is not None
        for answer in (*self.caller.answers.values(), *self.callee.answers.values()):
            answer.acked(self.endpoint, b"", b"", 70, now)

    # -- the end ----------------------------------------------------------------------------------------

    def _finish(self, ended_by: str, reason: str, now: float) -> None:
        """Hand out the record and let go of everything."""
        self.state = State.ENDED
        record = self.record
        record.ended_at = record.ended_at or now
        record.ended_by = ended_by
        record.end_reason = reason
        self.caller.close(now)
        if self.callee is not None:
            self.callee.close(now)
        self._request = self._uri = self._best = None
        self._hops = []
        self.core.finished(self)

    def _watch(self, now: float) -> None:
        at = min(self._deadline, now + _TIMER_STEP)
        if self._deadline < math.inf and at < self._looks_at:
            self._looks_at = at
            self.endpoint.timers.at(at, self)

    TABLE: ClassVar[Mapping[tuple[Any, Any], tuple[Any, Action]]] = {
        (State.CALLING, Event.PROGRESS): (State.RINGING, _progress),
        (State.CALLING, Event.ANSWERED): (State.ANSWERED, _answer),
        (State.CALLING, Event.REJECTED): (State.DECIDING, _decide),
        (State.CALLING, Event.CANCELLED): (State.ENDED, _cancelled),  # RFC 3261 9.2
        (State.CALLING, Event.RING_TIMEOUT): (State.CALLING, _ring_out),  # RFC 3261 16.8, timer C's twin
        (State.RINGING, Event.PROGRESS): (State.RINGING, _progress),
        (State.RINGING, Event.ANSWERED): (State.ANSWERED, _answer),
        (State.RINGING, Event.REJECTED): (State.DECIDING, _decide),
        (State.RINGING, Event.CANCELLED): (State.ENDED, _cancelled),
        (State.RINGING, Event.RING_TIMEOUT): (State.CALLING, _ring_out),
        (State.DECIDING, Event.HUNT): (State.CALLING, _call_next),  # RFC 3261 16.7
        (State.DECIDING, Event.GIVE_UP): (State.ENDED, _give_up),
        (State.ANSWERED, Event.ACKED): (State.TALKING, None),
        (State.ANSWERED, Event.NO_ACK): (State.ENDED, _no_ack),  # RFC 3261 13.3.1.4
        (State.ANSWERED, Event.BYE): (State.ENDING, _pass_bye),  # a BYE that overtook the ACK
        (State.ANSWERED, Event.TOO_LONG): (State.ENDED, _too_long),
        (State.TALKING, Event.NO_ACK): (State.ENDED, _no_ack),  # of a re-INVITE, RFC 3261 14.2
        (State.TALKING, Event.BYE): (State.ENDING, _pass_bye),  # RFC 3261 15.1
        (State.TALKING, Event.TOO_LONG): (State.ENDED, _too_long),
        (State.ENDING, Event.BYE): (State.ENDING, _bye_crossed),
        (State.ENDING, Event.BYE_DONE): (State.ENDED, _bye_done),
        (State.ENDING, Event.BYE_CHALLENGED): (State.TALKING, _resume),  # RFC 3261 22.2
    }
    STEPS = compile_table(State, Event, TABLE)


def _text(phrase: bytes) -> str:
    return phrase.decode("utf-8", "replace")
