"""Phones that behave, at random, around the gateway in all weathers: what it sends is always in order.

Two or three `Handset`s call each other through the gateway, under configurations, habits and weather that
chance has chosen; a `Monitor` holds each message of the gateway's to the RFCs, and in the end every call has
ended for both sides, and nothing is left.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.helpers import CARRIER, CARRIER2, HUNTING, PBX, Weather

from .conduct import WatchedNet
from .handset import Handset
from .jobs import Jobs
from .talk import Habits

ROUNDS, EACH = 8, 40
ACCOUNT = 'username = "gw"\npassword_env = "GW_PASSWORD"'


def configured(chance: Random, asks: bool) -> str:
    """A gateway.toml with three trunks, each with some of the abilities that it may have."""
    together = 'strategy = "parallel"\n' * (chance.random() < 0.35)
    config = HUNTING.replace('"backup"]\n', f'"backup"]\n{together}')
    for name in ("pbx", "carrier", "backup"):
        keys = [key for key in _KEYS if chance.random() < 0.35]
        if name == "carrier":
            keys += [ACCOUNT] * asks + ['ring_timeout = "20s"']
        config = config.replace(f'name = "{name}"\n', "\n".join([f'name = "{name}"', *keys, ""]))
    return config


_KEYS = ('prack = "local"', 'session_timer = "90s"', "dialog_ping = 5", "hide_topology = true")


def play(seed: int) -> tuple[WatchedNet, list[Handset]]:
    """Have one to four calls made, and let them come to their ends."""
    chance = Random(seed)
    asks = chance.random() < 0.25
    weather = Weather(
        delay=chance.choice((0, 0.01, 0.2)),
        jitter=chance.choice((0, 0, 0.3, 1.0)),
        loss=chance.choice((0, 0, 0.02, 0.1)),
        duplication=chance.choice((0, 0, 0.1)),
        random=Random(seed),
    )
    net = WatchedNet(configured(chance, asks), weather=weather)
    jobs = Jobs(net)
    habits = Habits(
        offer=chance.choice((1, 0.8, 0.3)),
        reliable=chance.choice((0, 0.5, 1)),
        give_up=chance.choice((0, 0.2, 0.6)),
        fork=chance.choice((0, 0, 0.3)),
        timer=chance.random() < 0.5,
    )
    asking = Habits(**{**vars(habits), "asks": asks})
    phones = [
        Handset(net, jobs, PBX, "pbx", chance, habits),
        Handset(net, jobs, CARRIER, "carrier", chance, asking),
        Handset(net, jobs, CARRIER2, "backup", chance, habits),
    ]
    for number in range(chance.choice((1, 2, 4))):
        caller = phones[chance.choice((0, 0, 0, 1))]
        jobs.after(5 * chance.random(), lambda caller=caller, number=number: caller.call(f"10{number}"))
    net.run(300)
    return net, phones


@pytest.mark.parametrize("first", range(0, ROUNDS * EACH, EACH))
def test_what_the_gateway_sends_is_in_order(first: int) -> None:
    for seed in range(first, first + EACH):
        net, phones = play(seed)
        net.monitor.finish()
        ladder = "\n".join(net.monitor.log)
        assert not net.monitor.faults, f"seed {seed}: {net.monitor.faults}\n{ladder}"
        assert not any(phone.unacknowledged for phone in phones), f"seed {seed}\n{ladder}"
        net.assert_all_freed()
