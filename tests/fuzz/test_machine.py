"""Calls in every order of events: whatever the two peers do within the rules, each call ends as it must.

A hypothesis state machine plays caller and callee: they ring, answer, cancel, acknowledge, ask inside the
dialog, hang up, repeat themselves and fall silent, in any order, while time passes. Invariants: the caller
gets exactly one final response to its INVITE (however often it comes), the call leaves one record, and once
all timers have run nothing is left.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.sip.message import Message, Request, Response
from tests.helpers import SDP, End, Net, Peer

CONFIG = """
[[trunk]]
name = "pbx"
kind = "pbx"
source = ["192.0.2.2"]
target = ["sip:192.0.2.2:5060"]
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["192.0.2.3"]
target = ["sip:192.0.2.3:5060"]
ring_timeout = "60s"
max_duration = "100s"
[[route]]
from = ["pbx"]
to = ["carrier"]
"""


class Calls(RuleBasedStateMachine):
    """One call at a time, from the pbx to the carrier."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(CONFIG)
        self.finals: set[tuple[int, str]] = set()  # of the caller's INVITE, however often they came
        self.answer: Response | None = None
        self.offered: Request | None = None
        self.pending: list[tuple[Peer, Request]] = []  # other requests that a peer still has to answer
        self.final_from_callee = False
        self.caller_end: End | None = None
        self.callee_end: End | None = None
        self.acked = False

    @initialize(offer=st.booleans())
    def call(self, offer: bool) -> None:
        """The caller sends its INVITE."""
        self.began = self.net.now
        self.invite = self.net.pbx.invite(SDP if offer else b"")
        self.read()

    def read(self) -> None:
        """Take in what the gateway sent to both."""
        for peer in (self.net.pbx, self.net.carrier):
            while peer.inbox:
                message = peer.inbox.popleft()
                peer.raw.popleft()
                self._read_one(peer, message)

    def _read_one(self, peer: Peer, message: Message) -> None:
        if isinstance(message, Request):
            if message.method == b"INVITE" and self.offered is None:
                self.offered = message
            elif message.method != b"ACK" and not self._is_the_offer_again(message):
                self.pending.append((peer, message))
        elif peer is self.net.pbx and message.cseq == self.invite.cseq and message.status >= 200:
            self.finals.add((message.status, message.to_tag.decode()))
            self.answer = message

    def _is_the_offer_again(self, request: Request) -> bool:
        return (
            self.offered is not None
            and request.via.branch == self.offered.via.branch
            and request.method == b"INVITE"
        )

    # -- what the callee does ---------------------------------------------------------------------------

    @precondition(lambda self: self.offered is not None and not self.final_from_callee)
    @rule(status=st.sampled_from([100, 180, 183, 199]), fork=st.sampled_from(["carrier", "other"]))
    def ring(self, status: int, fork: str) -> None:
        assert self.offered is not None
        self.net.carrier.reply(self.offered, status, tag=fork)
        self.read()

    @precondition(lambda self: self.offered is not None)
    @rule(
        status=st.sampled_from([200, 302, 404, 486, 487, 503, 603]),
        fork=st.sampled_from(["carrier", "other"]),
    )
    def decide(self, status: int, fork: str) -> None:
        """A final response; a second one is a repetition, a fork that answers too, or nonsense."""
        assert self.offered is not None
        self.net.carrier.reply(self.offered, status, tag=fork)
        if not self.final_from_callee and status == 200:
            self.callee_end = End.of_callee(self.net.carrier, self.offered, fork)
        self.final_from_callee = True
        self.read()

    # -- what the caller does ---------------------------------------------------------------------------

    # Who has acknowledged the answer has it, and after 32 s timer B has ended the INVITE (17.1.1.2).
    @precondition(lambda self: not self.acked and self.net.now < self.began + 30)
    @rule()
    def repeat_invite(self) -> None:
        self.net.pbx.again(self.invite)
        self.read()

    @rule()
    def cancel(self) -> None:
        self.net.pbx.cancel(self.invite)
        self.read()

    @precondition(lambda self: self.answer is not None)
    @rule()
    def acknowledge(self) -> None:
        assert self.answer is not None
        self.net.pbx.ack(self.invite, self.answer)
        if self.answer.status < 300 and self.caller_end is None:
            self.caller_end = End.of_caller(self.net.pbx, self.invite, self.answer)
        self.acked = True
        self.read()

    # -- what both do -----------------------------------------------------------------------------------

    def _end(self, caller: bool) -> End | None:
        return self.caller_end if caller else self.callee_end

    @precondition(lambda self: self.caller_end is not None)
    @rule(caller=st.booleans(), method=st.sampled_from(["INFO", "UPDATE", "INVITE", "PRACK", "BYE"]))
    def ask_inside(self, caller: bool, method: str) -> None:
        end = self._end(caller)
        if end is not None:
            body = SDP if method in ("INVITE", "UPDATE") else b""
            end.request(method, body=body, headers="RAck: 1 1 INVITE\n" if method == "PRACK" else "")
            self.read()

    @precondition(lambda self: bool(self.pending))
    @rule(data=st.data(), status=st.sampled_from([100, 180, 200, 200, 401, 481, 486, 491]))
    def answer_inside(self, data: st.DataObject, status: int) -> None:
        at = data.draw(st.integers(0, len(self.pending) - 1))
        peer, request = self.pending[at]
        peer.reply(request, status)
        if status >= 200:
            del self.pending[at]
        self.read()

    @rule(seconds=st.sampled_from([0.0, 0.6, 5.0, 33.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.net.run(seconds)
        self.read()

    # -- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def one_final_response(self) -> None:
        assert len(self.finals) <= 1, self.finals

    def teardown(self) -> None:
        """Everybody falls silent: the timers bring everything to its end."""
        if not hasattr(self, "invite"):
            return
        self.net.run(400)
        self.read()
        assert len(self.finals) == 1, self.finals
        assert len(self.net.records) == 1
        self.net.assert_all_freed()


Calls.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestCalls = Calls.TestCase
