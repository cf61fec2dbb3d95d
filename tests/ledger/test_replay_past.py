"""Replay of a ledger under the rules that produced it shows no difference: also where rules look at earlier
calls, and where canaries decide a share, stop by themselves, and are enabled again.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import trio

from gateway.commands.replay import from_ledger
from gateway.ledger.canaries import ENABLED, STOPPED, CanaryEvent, apply_pauses, pauses
from gateway.ledger.database import open_for_reading
from gateway.ledger.packing import emitted_checksum
from gateway.ledger.query import Selection
from gateway.ledger.writer import Ledger
from gateway.rules import RuleSet, compile_rules
from gateway.rules.history import History
from gateway.rules.replay import Replay
from gateway.rules.trials import Stop, Trials
from gateway.toml_source import TomlSource
from tests.helpers import HUNTING, Net
from tests.ledger.test_evidence import FINALS, is_invite

RULES = """\
version = 1
[[rule]]
name = "keeps-declining"
when.status = 603
when.number.declined = ">=3 in 1h"
then.status = 404
share = 0.6
stop_when = "retries > 1.2x in 1h"
[[rule]]
name = "everybody-declines"
when.status = "4xx"
when.trunk.share_486 = ">8% in 30m"
then.status = 480
share = 0.3
[[rule]]
name = "often"
when.caller.calls = ">20 in 1h"
when.status = [500, 503]
then.status = 486
then.hunt = "stop"
[[rule]]
name = "watched"
mode = "shadow"
when.number.busy = ">=2 in 1h"
then.status = 600
[[rule]]
name = "half"
when.status = "4xx-5xx"
then.status = 410
share = 0.5
""".replace('"4xx-5xx"', '["4xx", "5xx"]')


class Place:
    """A gateway whose rules look back and try canaries; one that was stopped is enabled after a while."""

    def __init__(self) -> None:
        self.net = Net(HUNTING, RULES)
        self.rules = self.net.core.setup.rules
        self.events: list[CanaryEvent] = []
        self.net.core.history = History(self.rules.watches, self.net.now)
        self.trials = self.net.core.trials = Trials(self.rules.rules, self.stopped)

    def stopped(self, stop: Stop) -> None:
        self.tell(STOPPED, stop.pause.begun)

    def tell(self, event: str, at: float) -> None:
        canary = self.trials.canaries["keeps-declining"]
        self.events.insert(0, CanaryEvent(at, event, "keeps-declining", canary.id, "", "", ""))
        canary.pauses = pauses(self.events)[canary.id]

    def play(self, random: Random, count: int) -> None:
        """Let so many calls of a few callers to a few numbers be rejected, by one or two carriers."""
        net = self.net
        callees = (net.carrier, net.backup)
        caller = called = 0
        for number in range(count):
            if not net.records or net.records[-1].rule != "keeps-declining":  # which nobody believes
                caller, called = random.randrange(12), random.randrange(6)
            from_ = f"<sip:+1215555{caller:04}@pbx>;tag=x{number}"
            invite = net.pbx.invite(uri=f"sip:+4930{called}@192.0.2.1", from_=from_)
            for _ in range(3):
                callee = next((peer for peer in callees if any(map(is_invite, peer.inbox))), None)
                if callee is None:
                    break
                offer = next(message for message in callee.inbox if is_invite(message))
                callee.forget()
                net.run(random.choice((0.0, 0.2, 1.5)))
                status, phrase, headers = random.choice(FINALS)
                callee.reply(offer, status, phrase, headers=headers)
                callee.forget()
            final = next(message for message in reversed(net.pbx.inbox) if message.status >= 300)  # type: ignore[union-attr]
            net.pbx.ack(invite, final)  # type: ignore[arg-type]
            net.pbx.forget()
            net.run(random.choice((0.1, 2.0, 20.0)))
            stop = self.events[0] if self.events else None
            if stop is not None and stop.event == STOPPED and net.now > stop.at + 600:
                self.tell(ENABLED, net.now + 10)
                self.trials.begin_anew("keeps-declining")

    def write(self, url: str) -> None:
        async def main() -> None:
            ledger = Ledger(url, 1e12, limit=100_000, log=print)
            for record in self.net.records:
                ledger.record(record)
            await ledger.close()

        trio.run(main)


def replayed(url: str, rules: RuleSet, events: list[CanaryEvent]) -> Replay:
    apply_pauses(rules, events)
    replay = Replay(rules, emitted_checksum)
    with open_for_reading(url).connect() as connection:
        for judged in from_ledger(connection, Selection(), rules.watches):
            replay.judge(*judged)
    return replay


def compiled(text: str) -> RuleSet:
    return compile_rules(TomlSource.parse(text, "rules.toml"), None)


def test_thousands_of_calls_are_decided_again_as_they_were(tmp_path: Path) -> None:
    place = Place()
    place.play(Random(4), 3000)
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    modes = {(record.rule or record.shadow_rule, record.mode) for record in place.net.records}
    assert {("keeps-declining", "canary"), ("keeps-declining", "shadow"), ("half", "canary")} <= modes
    assert {("everybody-declines", "canary"), ("often", "enforce"), ("watched", "shadow")} <= modes
    assert [event.event for event in place.events].count(STOPPED) >= 2, "stopped, enabled, stopped again"
    place.write(url)

    replay = replayed(url, compiled(RULES), place.events)
    assert (replay.judged, replay.changes) == (3000, {})

    assert replayed(url, compiled(RULES), []).changed, "the times of the stops count"
    assert replayed(url, compiled(RULES.replace("share = 0.5", "share = 0.4")), place.events).changed
    assert replayed(url, compiled(RULES.replace(">=3 in", ">=4 in")), place.events).changed
