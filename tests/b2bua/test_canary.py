"""A canary in calls: a share of the callers hears of it, and it stops when they do not believe it."""

from __future__ import annotations

from gateway.rules.trials import CANARY, REST, Stop, Trials
from tests.helpers import Net

RULES = """\
version = 1
[[rule]]
name = "say-busy"
when.from = "carrier"
when.status = 603
then.status = 486
share = 0.3
stop_when = "retries > 2x in 15m"
"""


class Field:
    """A net whose gateway tries a canary."""

    def __init__(self) -> None:
        self.net = Net(rules=RULES)
        self.stops: list[Stop] = []
        self.trials = Trials(self.net.core.setup.rules.rules, self.stops.append)
        self.net.core.trials = self.trials

    def call(self, caller: int) -> int:
        """Let a caller be declined; return the status that it hears."""
        net = self.net
        invite = net.pbx.invite(from_=f"<sip:+1215555{caller:04}@pbx.example>;tag=x{caller}")
        net.pbx.take(100)
        net.carrier.reply(net.carrier.take_request("INVITE"), 603)
        net.carrier.take("ACK")
        heard = net.records[-1].emitted_status
        net.pbx.ack(invite, net.pbx.take_response(heard))
        return heard


def test_a_share_of_the_callers_hears_the_canary_and_records_tell_the_rest() -> None:
    field = Field()
    for caller in range(60):
        heard = field.call(caller)
        record = field.net.records[-1]
        assert field.call(caller) == heard, "the same pair is treated alike"
        if heard == 486:
            assert (record.rule, record.mode, record.shadow_rule) == ("say-busy", CANARY, "")
        else:
            assert (record.rule, record.mode) == ("", "shadow")
            assert (record.shadow_rule, record.shadow_status) == ("say-busy", 486)
    heard = [record.emitted_status for record in field.net.records]
    assert 16 < heard.count(486) < 56  # of 120; 36 by chance, with a deviation of 7 for 60 pairs taken twice
    field.net.assert_all_freed()


def test_callers_who_try_again_stop_the_canary_and_then_hear_what_was_said() -> None:
    field = Field()
    calls = 0
    while not field.stops:
        calls += 1
        assert calls < 300
        if field.call(calls) == 486:
            field.call(calls)  # nobody believes it
    (stop,) = field.stops
    assert stop.rule == "say-busy"
    assert field.trials.calls["say-busy", REST] >= 20
    assert field.trials.retries["say-busy", REST] == 0
    field.net.run(1)
    assert {field.call(caller) for caller in range(300, 340)} == {603}
    assert {record.mode for record in field.net.records[-40:]} == {"shadow"}
    field.net.assert_all_freed()


def test_no_message_but_an_invite_counts() -> None:
    field = Field()
    net = field.net
    for number in range(5):
        net.pbx.request("MESSAGE", from_=f"<sip:{number}@pbx.example>;tag=x{number}", contact=False)
        net.carrier.reply(net.carrier.take_request("MESSAGE"), 603, contact=False)
        net.pbx.take_response(603)
    assert not field.trials.calls
