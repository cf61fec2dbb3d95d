"""A call: two legs and one table.

Read :data:`Call.TABLE` first: it says what each word from a leg does in each state; the actions say how. A
call holds no timers of SIP (the transactions have them); its own are the ring timeout and the longest
duration. When it is over it hands out its record, lets go of both legs and is gone; a leg that still has to
cancel an INVITE, or to hang up on an answer that came too late, does so by itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gateway.routing.locate import Address
from gateway.routing.route import Hop
from gateway.routing.trunk import Trunk
from gateway.rules.unwanted import BEFORE_ANSWER, MIDCALL
from gateway.sip.build import TRY_LATER
from gateway.sip.dialog import Dialog
from gateway.sip.message import Request, Response
from gateway.sip.phrases import phrase_for
from gateway.sip.transaction import ImpossibleInputError, InviteServer, ServerTransaction
from gateway.sip.transaction.base import Compiled, Table, compile_table
from gateway.sip.uri import Uri

from .events import Answered, Bye, Event, Progress, Rejected, State
from .extensions import admit, note_sent
from .feedback import note_reason
from .inside import pass_inside
from .leg import CalleeLeg, CallerLeg, Leg
from .liveness import DIALOG_LOST
from .policy import Policy
from .record import CallRecord
from .relay import Answer, Relay, back_lines
from .search import Search, cancel_reason

if TYPE_CHECKING:
    from .core import B2bua

# A timer keeps its target alive until it fires, so a long one is set in steps: a call that has ended is not
# kept for three minutes.
_TIMER_STEP: Final = 2.0


class Call:
    """One INVITE from a trunk and everything that becomes of it."""

    __slots__ = (
        "_deadline",
        "_looks_at",
        "_search",
        "callee",
        "caller",
        "core",
        "endpoint",
        "record",
        "state",
    )
    TABLE: ClassVar[Table]
    STEPS: ClassVar[Compiled]  # of the TABLE

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
        self.callee: CalleeLeg | None = None  # the leg that answered
        self._search: Search | None = Search(self, core, request, uri)
        self._deadline = math.inf
        self._looks_at = math.inf  # when on_timer is due

    # -- what happens to a call -------------------------------------------------------------------------

    def start(self, hops: tuple[Hop, ...], together: bool, now: float) -> None:
        """Call the targets, one after the other or all ``together``."""
        search = self._searching
        too_small = admit(self.caller, search.request) if self.caller.trunk.has_own else b""
        if too_small:
            self.refuse(422, "session interval too small", now, too_small)
        elif not search.begin(hops, together, now):
            self.refuse(503, "no room on the trunk", now, TRY_LATER)

    def refuse(
        self, status: int, reason: str, now: float, lines: bytes = b"", warning_code: int = 399
    ) -> None:
        """Reject the call ourselves, before any target was tried; ``reason`` goes into a Warning."""
        warning = b'Warning: %d gateway "%b"\r\n%b' % (warning_code, reason.encode(), lines)
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

    def on_located(self, leg: CalleeLeg, addresses: tuple[Address, ...], now: float) -> None:
        """Take the addresses of a target whose name has been looked up."""
        self._searching.located(leg, addresses, now)

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
        policy = self.policy(leg, twin.user)
        lines = policy.lines(request.rows)
        answer.acked(self.endpoint, lines, policy.body(request), max(request.max_forwards - 1, 0), now)
        note_sent(twin.user, request, policy)
        if self.state == State.ANSWERED:
            self.feed(Event.ACKED, None, now)

    def on_no_ack(self, now: float) -> None:
        """The 2xx of a re-INVITE was never acknowledged."""
        if self.state == State.TALKING:
            self.feed(Event.NO_ACK, None, now)

    def on_no_prack(self, now: float) -> None:
        """The caller never acknowledged a reliable provisional response."""
        if self.state in (State.CALLING, State.RINGING):
            self.feed(Event.NO_PRACK, None, now)

    def on_gone(self, now: float) -> None:
        """A peer has no dialog any more, or is silent, as the other one's re-INVITE or UPDATE has found."""
        self.on_lost(DIALOG_LOST, now)

    def on_lost(self, reason: str, now: float) -> None:
        """A leg has found that its peer is gone."""
        if self.state == State.TALKING:
            self.feed(Event.LOST, reason, now)

    def on_timer(self, now: float) -> None:
        """Look whether a target has rung long enough, or the longest duration is over."""
        if self.state == State.ENDED or self._looks_at > now:
            return
        self._looks_at = math.inf
        if self._deadline > now:
            self.watch(self._deadline, now)
            return
        self._deadline = math.inf
        if self.state == State.ENDING:
            self.watch(now + _TIMER_STEP, now)  # should the BYE be challenged, the call stands again
        elif self._search is not None:
            self._ring_out_all(self._search, now)
        elif self.state in (State.ANSWERED, State.TALKING):
            self.feed(Event.TOO_LONG, None, now)

    def _ring_out_all(self, search: Search, now: float) -> None:
        if search.expires_at <= now:
            self.feed(Event.EXPIRED, None, now)
            return
        for leg in search.overdue(now):
            if leg.call is not None:
                self.feed(Event.RING_TIMEOUT, leg, now)
        if search.legs:
            self.watch(search.deadline, now)

    def watch(self, deadline: float, now: float) -> None:
        """Have :meth:`on_timer` called once ``deadline`` has come, or an earlier one that was set."""
        self._deadline = min(self._deadline, deadline)
        at = min(self._deadline, now + _TIMER_STEP)
        if at < self._looks_at and self._deadline < math.inf:
            self._looks_at = at
            self.endpoint.timers.at(at, self)

    def policy(self, source: Leg, target: Leg) -> Policy:
        """What passes from one leg to the other."""
        return self.core.policies.between(source.trunk, target.trunk)

    # -- actions ----------------------------------------------------------------------------------------

    @property
    def _searching(self) -> Search:
        assert self._search is not None, "a call that nobody has answered is searching"
        return self._search

    def _hunt(self, leg: CalleeLeg, now: float) -> None:
        """Call the target that takes the place of one that refused."""
        self._searching.send(leg, now)

    def _progress(self, progress: Progress, now: float) -> None:
        if not self.record.ringing_at:
            self.record.ringing_at = now
        self.caller.progress(progress, self.policy(progress.leg, self.caller), now)

    def _answer(self, answered: Answered, now: float) -> None:
        """The first 2xx wins: pass it on, and cancel what else is ringing."""
        search, callee = self._searching, answered.leg
        search.drop(callee)
        search.note(callee, answered.response, False, now)
        search.abandon(search.legs, cancel_reason(answered.response), now)
        self._search = None
        self.callee = callee
        record = self.record
        record.answered_at = now
        record.callee_trunk = callee.trunk.name
        record.callee_call_id = callee.call_id.decode()
        self.core.names.note(record)
        record.original_status = record.emitted_status = answered.response.status
        record.original_phrase = record.emitted_phrase = _text(answered.response.phrase)
        record.origin = "peer"
        if self.core.on_answer is not None:
            self.core.on_answer(record)
        self.caller.answer(answered, self.policy(callee, self.caller), now)
        self._deadline = math.inf
        for trunk in (self.caller.trunk, callee.trunk):
            if trunk.max_duration is not None:
                self.watch(now + trunk.max_duration, now)

    def _decide(self, rejected: Rejected, now: float) -> None:
        """Hunt on, wait or give up: by what the callee said, not by what a rule makes of it."""
        search = self._searching
        successor = search.succeed(rejected, now)
        if successor is not None:
            self.feed(Event.HUNT, successor, now)
        else:
            self.feed(Event.GIVE_UP if search.is_over else Event.WAIT, None, now)

    def _give_up(self, _detail: object, now: float) -> None:
        """Tell the caller the best rejection, as the rules want it told, and cancel what still rings."""
        search = self._searching
        if search.decisive is not None and search.legs:
            search.abandon(search.legs, cancel_reason(search.decisive), now)
        verdict = search.best
        assert verdict is not None, "giving up follows a rejection"
        original, decision = verdict.response, verdict.decision
        emitted = original.restated(decision.status, decision.phrase, verdict.rows)
        policy = self.core.policies.between(verdict.trunk, self.caller.trunk)
        lines = back_lines(policy, emitted, self.caller.invite)
        self.caller.reject(decision.status, decision.phrase, lines, policy.body(emitted), now)
        self.record.callee_call_id = verdict.call_id.decode()
        self.core.note(self.record, verdict)
        if verdict.local:
            self._finish("gateway", "unreachable" if original.status == 503 else "no answer", now)
        else:
            self._finish("callee", "rejected", now)

    def _cancelled(self, request: Request, now: float) -> None:
        """The caller gave up: 487 to it, CANCEL to every target with the caller's Reason."""
        search = self._searching
        if self.core.feedback is not None:
            note_reason(self.core.feedback, self, request, BEFORE_ANSWER, now)
        self.caller.reject(487, phrase_for(487), b"", b"", now)
        self.record.emitted_status = 487
        self.record.emitted_phrase = "Request Terminated"
        for leg in list(search.legs):
            search.abandon((leg,), self.policy(self.caller, leg).cancel_lines(request.rows), now)
        self._finish("caller", "cancelled", now)

    def _no_prack(self, _detail: object, now: float) -> None:
        """The caller does not acknowledge."""
        self._break_off(504, "no PRACK", now)

    def _expire(self, _detail: object, now: float) -> None:
        """Nobody has answered as long as the caller's invitation held."""
        self._break_off(487, "invitation expired", now)

    def _stop_searching(self, _detail: object, now: float) -> None:
        """The gateway ends before anybody has answered."""
        self._break_off(503, "gateway stopped", now)

    def _break_off(self, status: int, reason: str, now: float) -> None:
        """Refuse the call ourselves, and CANCEL it to every target."""
        search = self._searching
        self.caller.reject(status, phrase_for(status), b"", b"", now)
        self.record.emitted_status = status
        self.record.emitted_phrase = phrase_for(status).decode()
        search.abandon(search.legs, b'Reason: SIP;cause=%d;text="%b"\r\n' % (status, reason.encode()), now)
        self._finish("gateway", reason, now)

    def _ring_out(self, leg: CalleeLeg, now: float) -> None:
        """A target has not answered in time: cancel it and go on as if it had said 408."""
        self._searching.abandon((leg,), b'Reason: SIP;cause=408;text="Ring timeout"\r\n', now)
        response = Response(408, phrase_for(408), [], {})
        self.feed(Event.REJECTED, Rejected(leg, response, True), now)

    def _pass_bye(self, bye: Bye, now: float) -> None:
        """Pass the BYE on; the call is over when the other side has answered it."""
        twin = bye.dialog.twin
        assert twin is not None and isinstance(twin.user, Leg), "confirmed dialogs are paired"
        other = twin.user
        self._acknowledge_all(now)
        self.record.ended_at = now
        self.record.ended_by = "caller" if bye.leg is self.caller else "callee"
        if self.core.feedback is not None and bye.leg is not self.caller:
            note_reason(self.core.feedback, self, bye.request, MIDCALL, now)
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

    def _stopped(self, _detail: object, now: float) -> None:
        self._hang_up("gateway stopped", now, 503)

    def _hang_up(self, reason: str, now: float, cause: int = 408) -> None:
        """End both legs ourselves."""
        line = b'Reason: SIP;cause=%d;text="%b"\r\n' % (cause, reason.encode())
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
        callee = self.callee
        if callee is not None:
            if self.core.subscriptions.pairs:
                self.core.subscriptions.outlive(self.caller, callee)
            self._acknowledge_all(now)
            callee.close(now)
        self.caller.close(now)
        self._search = None
        self.core.finished(self)


Call.TABLE = {
    (State.CALLING, Event.PROGRESS): (State.RINGING, Call._progress),
    (State.CALLING, Event.ANSWERED): (State.ANSWERED, Call._answer),
    (State.CALLING, Event.REJECTED): (State.DECIDING, Call._decide),
    (State.CALLING, Event.CANCELLED): (State.ENDED, Call._cancelled),  # RFC 3261 9.2
    (State.CALLING, Event.RING_TIMEOUT): (State.CALLING, Call._ring_out),  # RFC 3261 16.8, timer C's twin
    (State.RINGING, Event.PROGRESS): (State.RINGING, Call._progress),
    (State.RINGING, Event.ANSWERED): (State.ANSWERED, Call._answer),
    (State.RINGING, Event.REJECTED): (State.DECIDING, Call._decide),
    (State.RINGING, Event.CANCELLED): (State.ENDED, Call._cancelled),
    (State.RINGING, Event.RING_TIMEOUT): (State.CALLING, Call._ring_out),
    (State.CALLING, Event.NO_PRACK): (State.ENDED, Call._no_prack),  # after the target that rang was left
    (State.RINGING, Event.NO_PRACK): (State.ENDED, Call._no_prack),  # RFC 3262 3
    (State.CALLING, Event.EXPIRED): (State.ENDED, Call._expire),  # RFC 3261 13.3.1
    (State.RINGING, Event.EXPIRED): (State.ENDED, Call._expire),  # RFC 3261 13.3.1
    (State.DECIDING, Event.HUNT): (State.CALLING, Call._hunt),  # RFC 3261 16.7
    (State.DECIDING, Event.WAIT): (State.CALLING, None),  # RFC 3261 16.7 step 6
    (State.DECIDING, Event.GIVE_UP): (State.ENDED, Call._give_up),
    (State.ANSWERED, Event.ACKED): (State.TALKING, None),
    (State.ANSWERED, Event.NO_ACK): (State.ENDED, Call._no_ack),  # RFC 3261 13.3.1.4
    (State.ANSWERED, Event.BYE): (State.ENDING, Call._pass_bye),  # a BYE that overtook the ACK
    (State.ANSWERED, Event.TOO_LONG): (State.ENDED, Call._too_long),
    (State.TALKING, Event.LOST): (State.ENDED, Call._hang_up),  # RFC 3261 14.1, 4028 10, 5057 5.1
    (State.TALKING, Event.NO_ACK): (State.ENDED, Call._no_ack),  # of a re-INVITE, RFC 3261 14.2
    (State.TALKING, Event.BYE): (State.ENDING, Call._pass_bye),  # RFC 3261 15.1
    (State.TALKING, Event.TOO_LONG): (State.ENDED, Call._too_long),
    (State.ENDING, Event.BYE): (State.ENDING, Call._bye_crossed),
    (State.ENDING, Event.BYE_DONE): (State.ENDED, Call._bye_done),
    (State.CALLING, Event.STOPPED): (State.ENDED, Call._stop_searching),
    (State.RINGING, Event.STOPPED): (State.ENDED, Call._stop_searching),
    (State.ANSWERED, Event.STOPPED): (State.ENDED, Call._stopped),
    (State.TALKING, Event.STOPPED): (State.ENDED, Call._stopped),
    (State.ENDING, Event.STOPPED): (State.ENDED, Call._bye_done),  # its BYE is out
    (State.ENDING, Event.BYE_CHALLENGED): (State.TALKING, Call._resume),  # RFC 3261 22.2
}
Call.STEPS = compile_table(State, Event, Call.TABLE)


def _text(phrase: bytes) -> str:
    return phrase.decode("utf-8", "replace")
