"""Calls that were unwanted (RFC 8197): who hears of it, and rules that count earlier calls."""

from __future__ import annotations

import pytest

from gateway.rules.history import History
from gateway.rules.unwanted import BEFORE_ANSWER, MIDCALL, Feedback
from tests.helpers import CONFIG, RULES, Net, begin, establish, give_up

CALLER = "<sip:+12155551212@pbx.example>;tag=x"
ANONYMOUS = "<sip:anonymous@anonymous.invalid>;tag=x"
UNWANTED = 'Reason: SIP;cause=607;text="Unwanted"'
COUNTING = """
version = 1
[[rule]]
name = "seldom-declines"
when.status = 603
when.number.declined = "<2 in 7d"
then.status = 486
[[rule]]
name = "nuisance"
when.status = 480
when.caller.unwanted = ">=1 in 30d"
then.status = 603
then.label = "nuisance"
"""


class ListeningNet(Net):
    """A net whose gateway hands feedback to us, and counts it for the rules."""

    def __init__(self, rules: str = RULES) -> None:
        super().__init__(CONFIG, rules)
        self.heard: list[Feedback] = []
        self.core.feedback = self
        watches = self.core.setup.rules.watches
        self.core.history = History(watches, self.now - 400 * 86400.0) if watches else None

    def feedback(self, feedback: Feedback) -> None:
        self.heard.append(feedback)
        if self.core.history is not None:
            self.core.history.unwanted(feedback.callers, "", feedback.attested, feedback.at)

    def reject(self, status: int, headers: str = "", caller: str = CALLER) -> int:
        """Play a call that the carrier rejects; return what the PBX is told."""
        sent = self.pbx.invite(from_=caller)
        self.pbx.take(100)
        self.carrier.reply(self.carrier.take_request("INVITE"), status, headers=headers)
        self.carrier.take("ACK")
        self.run()
        told = self.records[-1].emitted_status
        self.pbx.ack(sent, self.pbx.take_response(told))
        return told


@pytest.mark.parametrize(("status", "headers"), [(607, ""), (603, UNWANTED)])
def test_a_607_or_a_603_that_stands_for_one_is_heard_before_the_answer_8197_3(
    status: int, headers: str
) -> None:
    net = ListeningNet()
    net.reject(status, headers)
    (heard,) = net.heard
    assert (heard.callers, heard.callee, heard.trunk) == (["+12155551212"], "1001", "carrier")
    assert (heard.stage, heard.attested, heard.at) == (BEFORE_ANSWER, False, net.now)
    net.assert_all_freed()


def test_what_is_no_607_is_no_feedback() -> None:
    net = ListeningNet()
    net.reject(603)
    net.reject(608)
    net.reject(486, UNWANTED)
    assert not net.heard


def test_an_anonymous_caller_is_not_tallied_3323() -> None:
    net = ListeningNet()
    net.reject(607, caller=ANONYMOUS)
    assert not net.heard


def test_the_asserted_identity_of_a_trusted_trunk_is_tallied_3325() -> None:
    net = ListeningNet()
    sent = net.pbx.invite(from_=ANONYMOUS, headers="P-Asserted-Identity: <sip:+12155550777@pbx.example>")
    net.pbx.take(100)
    net.carrier.reply(net.carrier.take_request("INVITE"), 607)
    net.carrier.take("ACK")
    net.pbx.ack(sent, net.pbx.take_response(603))
    assert [heard.callers for heard in net.heard] == [["+12155550777"]]


def test_a_message_that_is_unwanted_is_heard_too_8197_3() -> None:
    net = ListeningNet()
    net.pbx.request("MESSAGE", from_=CALLER)
    net.carrier.reply(net.carrier.take_request("MESSAGE"), 607)
    net.pbx.take(603)
    assert [(heard.callers, heard.stage) for heard in net.heard] == [(["+12155551212"], BEFORE_ANSWER)]


def test_a_callee_that_hangs_up_with_607_is_heard_mid_call_8197_3() -> None:
    net = ListeningNet()
    _, callee = establish(net, from_=CALLER)
    callee.request("BYE", headers=UNWANTED, contact=False)
    net.pbx.reply(net.pbx.take_request("BYE"), 200)
    net.carrier.take(200)
    (heard,) = net.heard
    assert (heard.callers, heard.stage, heard.trunk) == (["+12155551212"], MIDCALL, "carrier")
    net.assert_all_freed()


def test_long_after_the_answer_the_caller_is_who_its_record_says() -> None:
    net = ListeningNet()
    _, callee = establish(net, from_=CALLER)
    net.run(600)
    callee.request("BYE", headers=UNWANTED, contact=False)
    net.pbx.reply(net.pbx.take_request("BYE"), 200)
    net.carrier.take(200)
    assert [heard.callers for heard in net.heard] == [["+12155551212"]]
    net.assert_all_freed()


def test_a_caller_that_hangs_up_with_607_says_nothing_of_itself() -> None:
    net = ListeningNet()
    caller, _ = establish(net, from_=CALLER)
    caller.request("BYE", headers=UNWANTED, contact=False)
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.take(200)
    assert not net.heard


def test_a_cancel_with_607_tells_what_another_branch_said_8197_3() -> None:
    net = ListeningNet()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite, headers=UNWANTED)
    (heard,) = net.heard
    assert (heard.callers, heard.stage, heard.trunk) == (["pbx@192.0.2.2"], BEFORE_ANSWER, "pbx")


def test_rules_see_the_calls_before_the_one_at_hand() -> None:
    net = ListeningNet(COUNTING)
    assert [net.reject(603) for _ in range(3)] == [486, 486, 603]
    assert [record.label for record in net.records] == [
        "number.declined was 0 in 7d",
        "number.declined was 1 in 7d",
        "",
    ]
    net.run(8 * 86400.0)
    assert net.reject(603) == 486
    net.assert_all_freed()


def test_a_caller_that_was_unwanted_is_known_to_the_rules_8197_4() -> None:
    net = ListeningNet(COUNTING)
    assert net.reject(480) == 480
    net.reject(607)
    assert net.reject(480) == 603
    assert net.records[-1].label == "nuisance; caller.unwanted was 1 in 30d"
    assert net.reject(480, caller=ANONYMOUS) == 480
    net.assert_all_freed()
