"""Bad weather: datagrams are lost, doubled, late and out of order, and calls end as they should."""

from __future__ import annotations

import gc
import random

import pytest

from gateway.b2bua.call import Call
from gateway.b2bua.leg import Leg
from tests.b2bua.phones import TALKATIVE, Phone
from tests.helpers import CARRIER, CARRIER2, HUNTING, PBX, Net, Weather, make_setup

KINDS = {
    "answered": 200,
    "hung-up": 200,
    "reinvited": 200,
    "hunted": 200,
    "rejected": 404,
    "elsewhere": 302,
    "cancelled": 487,
    "message": 200,
    "reliable": 200,  # PRACK, and UPDATE in the early dialog
    "talkative": 200,  # INFO, UPDATE, REFER, NOTIFY, MESSAGE, OPTIONS inside the dialog, from both sides
    "rung": 200,  # two targets ring together
    "rung-declined": 603,  # and one of them says no for all
}
CALLS = 150  # of each kind
ADDRESSES = {PBX: "pbx", CARRIER: "carrier", CARRIER2: "backup"}
RUNG = """
[[route]]
called.regex = "^rung"
to = ["carrier", "backup"]
strategy = "parallel"
"""
CONFIG = HUNTING.replace("[[route]]", RUNG + "[[route]]", 1)


def play(weather: Weather, kinds: list[str]) -> tuple[Net, list[Phone]]:
    """Have all these calls made, a few under way at any time, and let them come to their ends."""
    net = Net(CONFIG, weather=weather)
    phones = [Phone(net, PBX, "pbx"), Phone(net, CARRIER, "carrier"), Phone(net, CARRIER2, "backup")]
    for kind in kinds:
        phones[0].call(kind)
        net.run(0.05)
    net.run(400)
    return net, phones


def assert_nothing_left(net: Net, phones: list[Phone]) -> None:
    net.assert_all_freed()
    for phone in phones:
        endpoint = phone.endpoint
        assert (len(endpoint.dialogs), len(endpoint.servers), len(endpoint.clients)) == (0, 0, 0), phone.name


@pytest.mark.parametrize(
    ("weather", "lost"),
    [
        (Weather(0.02, 0.03, loss=0.1, duplication=0.05, random=random.Random(10)), 0),
        (Weather(0.05, 0.2, loss=0.2, duplication=0.1, random=random.Random(20)), 0),
        (Weather(0.05, 0.4, loss=0.3, duplication=0.2, random=random.Random(30)), 0.005),
    ],
    ids=["drizzle", "rain", "storm"],
)
def test_in_any_weather_calls_end_as_they_should(weather: Weather, lost: float) -> None:
    kinds = list(KINDS) * CALLS
    net, phones = play(weather, kinds)
    caller = phones[0]
    wrong = [
        (talk.kind, talk.status, talk.ended, talk.changes)
        for talk in caller.calls
        if talk.status != KINDS[talk.kind]
        or (talk.dialog is not None and talk.ended in ("", "hanging up", "lost"))
        or (talk.kind == "reinvited" and talk.changes != 1)
        or (talk.kind == "reliable" and talk.passed != {b"PRACK", b"UPDATE"})
        or (talk.kind == "talkative" and talk.passed != {*TALKATIVE["caller"]})
    ]
    # Once in a while even seven INVITEs, or eleven BYEs, are lost: then the peer gives up, as it should.
    assert len(wrong) <= lost * len(kinds), wrong
    taken = [talk for phone in phones for talk in phone.taken if talk.kind == "reinvited"]
    # A change by the callee crosses both legs twice, so it meets twice the weather.
    assert sum(talk.changes == 1 for talk in taken) >= (1 - 4 * lost) * len(taken)
    taken = [talk for phone in phones for talk in phone.taken if talk.kind == "talkative"]
    # So does each of these requests, and there are several to a call, any of which may be lost.
    assert sum(talk.passed == {*TALKATIVE["callee"]} for talk in taken) >= (1 - 8 * lost) * len(taken)
    calls = sum(kind != "message" for kind in kinds)
    assert (1 - lost) * calls <= len(net.records) <= calls
    assert all(record.ended_at > 0 for record in net.records)
    assert_nothing_left(net, phones)


def test_a_cancel_and_an_answer_that_cross_end_the_call_one_way_or_the_other() -> None:
    net, phones = play(Weather(0.02, 0.3, loss=0.1, random=random.Random(5)), ["crossing"] * 200)
    outcomes = {(talk.status, talk.ended) for talk in phones[0].calls}
    assert {status for status, _ in outcomes} == {200, 487}
    assert all(ended in ("hung up", "was hung up") for status, ended in outcomes if status == 200)
    emitted = sorted(record.emitted_status for record in net.records)
    assert emitted == sorted(talk.status for talk in phones[0].calls)
    assert_nothing_left(net, phones)


def test_with_a_carrier_that_has_vanished_every_call_still_comes_to_its_end() -> None:
    net = Net(CONFIG, weather=Weather(0.02, 0.1, loss=0.2, random=random.Random(7)))
    phone = Phone(net, PBX, "pbx")
    for kind in list(KINDS) * 25:
        phone.call(kind)
        net.run(0.05)
    net.run(400)
    statuses = {talk.kind: set() for talk in phone.calls}
    for talk in phone.calls:
        statuses[talk.kind].add(talk.status)
    assert statuses.pop("cancelled") == {487}
    assert set.union(*statuses.values()) == {408}  # for a MESSAGE it is the caller's own timer F
    assert_nothing_left(net, [phone])


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_a_call_never_outlives_its_timers(seed: int) -> None:
    """Any kind of call, any weather, transports that break and phones that vanish or come back: in the end
    each call has left one record, and the gateway holds nothing. (A call whose phones vanish ends by
    `max_duration`.)
    """
    chance = random.Random(seed)
    weather = Weather(
        chance.random() * 0.2,
        chance.random(),
        loss=chance.random() * 0.6,
        duplication=chance.random() * 0.4,
        random=chance,
    )
    config = CONFIG.replace("[[trunk]]", '[[trunk]]\nmax_duration = "120s"')
    net = Net(config, weather=weather)
    phones = {address: Phone(net, address, name) for address, name in ADDRESSES.items()}
    begun = 0
    for _ in range(300):
        kind = chance.choice([*KINDS, "crossing"])
        chance.choice(list(phones.values())).call(kind)
        begun += kind != "message"
        net.run(chance.choice([0.0, 0.05, 0.5, 3.0]))
        address = chance.choice(list(ADDRESSES))
        match chance.randrange(40):
            case 0:
                net.endpoint.flow_lost(net.flows.get(net.local, address), net.now)
            case 1 | 2:
                net.stations.pop(address, None)  # vanishes, with all it has
            case 3 | 4 | 5:
                net.stations[address] = phones[address].endpoint  # comes back
            case 6:
                net.core.reload(make_setup(config))
    net.run(400)
    # Whoever vanished could not tell how it ended, but each INVITE that arrived has its record.
    assert len(net.records) == net.core.begun <= begun
    assert all(record.ended_at >= record.invited_at for record in net.records)
    net.assert_all_freed()


def test_calls_that_have_ended_need_no_garbage_collector() -> None:
    """Calls and legs form no cycles that outlive them, whichever way they ended."""
    weather = Weather(0.02, 0.1, loss=0.1, random=random.Random(9))
    gc.collect()
    gc.disable()
    try:
        net, phones = play(weather, [*KINDS, "crossing"] * 10)
        assert_nothing_left(net, phones)
        left = [item for item in gc.get_objects() if isinstance(item, (Call, Leg))]
    finally:
        gc.enable()
    assert left == []
