"""A hundred reloads while calls are under way: none is lost, and nothing of the old rules is left."""

from __future__ import annotations

import gc

from gateway.ledger.canaries import CanaryKeeper
from gateway.ledger.past import Historian
from gateway.rules import RuleSet
from tests.helpers import CONFIG, Net, make_setup

RULES = """\
version = 1
[[rule]]
name = "turn-{turn}"
when.status = 603
when.number.declined = ">=0 in 1h"
then.status = {status}
share = 0.5
stop_when = "retries > 2x in 15m"
[[rule]]
name = "else"
when.status = 603
then.status = 480
"""


def test_a_hundred_reloads_lose_no_call_and_leave_nothing() -> None:
    net = Net()
    historian = Historian("", 1.0, False, clock=lambda: net.now, log=print)
    canaries = CanaryKeeper("", clock=lambda: net.now, log=print)
    loaded: set[str] = set()
    heard: list[int] = []
    for turn in range(100):
        calls = [net.pbx.invite(from_=f"<sip:{turn}{at}@pbx.example>;tag=a{turn}{at}") for at in range(5)]
        net.run(0.1)
        offers = [message for message in net.carrier.inbox if getattr(message, "method", b"") == b"INVITE"]
        assert len(offers) == 5
        net.carrier.forget()
        net.pbx.forget()
        status = (404, 410)[turn % 2]
        setup = make_setup(CONFIG, RULES.format(turn=turn, status=status))
        net.core.reload(setup)  # while all five ring
        net.core.history = historian.configure(setup.rules.watches)
        net.core.trials = canaries.configure(setup.rules)
        loaded.add(setup.rules.version_hash)
        for offer in offers:
            net.carrier.reply(offer, 603)
        net.carrier.forget()
        told = {record.emitted_status for record in net.records[-5:]}
        assert told <= {status, 480}
        assert {record.rules_hash for record in net.records[-5:]} == {setup.rules.version_hash}
        for invite in calls:
            final = net.pbx.take(net.pbx.inbox[0].status)  # type: ignore[union-attr]
            heard.append(final.status)  # type: ignore[union-attr]
            net.pbx.ack(invite, final)  # type: ignore[arg-type]
    assert len(heard) == len(net.records) == 500
    assert {404, 410, 480} == set(heard)
    del setup
    net.records.clear()
    net.assert_all_freed()
    gc.collect()
    assert len(loaded) == 100
    left = [item for item in gc.get_objects() if isinstance(item, RuleSet) and item.version_hash in loaded]
    assert left == [net.core.setup.rules]
    assert net.core.trials is not None
    assert net.core.trials.canaries.keys() == {"turn-99"}
