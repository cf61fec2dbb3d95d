"""What pings and calls tell of targets: the table tried in full, thresholds, and targets that rest."""

from __future__ import annotations

import itertools

import pytest

from gateway import config
from gateway.routing.health import Health, Input, State, TargetHealth
from gateway.routing.locate import Address
from gateway.routing.route import Hop, hop_to
from gateway.routing.trunk import Trunk

TEXT = """
[[trunk]]
name = "carrier"
source = "192.0.2.3"
target = ["sip:192.0.2.3", "sip:192.0.2.4", "sip:carrier.example"]
"""


def health(told: list[str], down_after: int = 3, up_after: int = 2) -> TargetHealth:
    return TargetHealth(
        "t", down_after, up_after, lambda target: told.append("up" if target.is_up else "down")
    )


def hops() -> tuple[Hop, ...]:
    trunk = Trunk(config.parse(TEXT).trunks[0])
    return tuple(hop_to(trunk, target) for target in trunk.targets)


def addresses(chosen: tuple[Hop, ...]) -> list[str]:
    return [hop.target.host for hop in chosen]


def test_every_row_of_the_table_is_reached_and_only_those() -> None:
    possible = set(itertools.product(State, (Input.ANSWERED, Input.SILENT)))
    asked_for = {(State.FAILING, Input.ENOUGH), (State.RECOVERING, Input.ENOUGH)}
    assert set(TargetHealth.TABLE) == possible | asked_for
    reached = set()
    for sequence in itertools.product((Input.ANSWERED, Input.SILENT), repeat=6):
        target = health([], 2, 2)
        for given in sequence:
            reached.add((target.state, given))
            target.feed(given)
            assert target.is_up == (target.state in (State.UP, State.FAILING))
    assert reached == possible


def test_so_many_silent_pings_in_a_row_make_it_down_and_so_many_answers_up() -> None:
    told: list[str] = []
    target = health(told)
    for given in (Input.SILENT, Input.SILENT, Input.ANSWERED, Input.SILENT, Input.SILENT):
        target.feed(given)
    assert told == []
    target.feed(Input.SILENT)
    assert told == ["down"]
    for given in (Input.ANSWERED, Input.SILENT, Input.SILENT, Input.ANSWERED):
        target.feed(given)
    assert told == ["down"]
    target.feed(Input.ANSWERED)
    assert told == ["down", "up"]


@pytest.mark.parametrize(("down_after", "up_after"), [(1, 1), (1, 3), (4, 1)])
def test_thresholds_of_one_act_at_once(down_after: int, up_after: int) -> None:
    told: list[str] = []
    target = health(told, down_after, up_after)
    for _ in range(down_after):
        target.feed(Input.SILENT)
    assert told == ["down"]
    for _ in range(up_after):
        target.feed(Input.ANSWERED)
    assert told == ["down", "up"]


def test_what_is_down_is_left_out_and_what_rests_comes_last() -> None:
    known = Health()
    targets = hops()
    assert known.choose(targets, 0.0) is targets
    known.rest(Address("192.0.2.3", 5060, "udp"), 10, now=0.0)
    assert addresses(known.choose(targets, 9.0)) == ["192.0.2.4", "carrier.example", "192.0.2.3"]
    watched = known.watch("carrier", b"sip:192.0.2.4", 1, 1)
    watched.feed(Input.SILENT)
    assert addresses(known.choose(targets, 9.5)) == ["carrier.example", "192.0.2.3"]
    assert addresses(known.choose(targets, 10.0)) == ["192.0.2.3", "carrier.example"]
    watched.feed(Input.ANSWERED)
    assert known.choose(targets, 11.0) is targets


def test_nobody_rests_for_hours_and_the_table_of_those_that_do_is_bounded() -> None:
    known = Health()
    address = Address("192.0.2.3", 5060, "udp")
    known.rest(address, 1e9, now=0.0)
    known.choose(hops(), 299.0)
    assert known.is_resting(address)
    known.choose(hops(), 300.0)
    assert not known.is_resting(address)
    for port in range(30_000):
        known.rest(Address("192.0.2.3", port, "udp"), 10, now=0.0)
    assert len(known._resting) <= 10_000


def test_a_target_that_is_not_pinged_any_more_is_not_down_for_ever() -> None:
    known = Health()
    known.watch("carrier", b"sip:192.0.2.3", 1, 1).feed(Input.SILENT)
    known.keep_only(set())
    targets = hops()
    assert known.choose(targets, 0.0) is targets
