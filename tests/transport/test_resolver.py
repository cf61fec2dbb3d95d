"""The resolver's memory and its waiters, on a clock that jumps: nobody answers but the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gateway.routing.locate import Address
from gateway.routing.records import Answer, Question, Srv
from gateway.transport import resolver as module
from gateway.transport.resolver import MAX_ASKING, MAX_NAMES, STALE, Resolver
from tests.routing.zone import UDP4, Zone, target, udp

FAILED = Answer(5.0, failed=True)
NAME = "sip:sip.example.com:5060"
QUESTION = Question("sip.example.com", "A")


class Call:
    """Waits for addresses, and does with them what a test says."""

    def __init__(self, act: Callable[[tuple[Address, ...]], object] = lambda _: None) -> None:
        self.told: list[list[Address]] = []
        self.act = act

    def on_located(self, addresses: tuple[Address, ...], _now: float) -> None:
        self.told.append(list(addresses))
        self.act(addresses)


class World:
    """A resolver over a zone that takes ``delay`` seconds for each answer."""

    def __init__(self) -> None:
        self.zone = Zone({QUESTION: ["192.0.2.1"]}, ttl=100)
        self.delay = 1.0
        self.asked: list[tuple[float, str]] = []
        self.flushed = 0
        self.bugs: list[Exception] = []
        self.resolver = Resolver(
            UDP4, self.ask, trio.current_time, self.flush, self.bugs.append, timeout=5.0, draw=lambda: 0.0
        )

    async def ask(self, question: Question) -> Answer:
        self.asked.append((trio.current_time(), question.name))
        await trio.sleep(self.delay)
        return self.zone.answer(question)

    def flush(self) -> None:
        self.flushed += 1

    def locate(self, uri: str = NAME, call: Call | None = None) -> list[Address] | None:
        found = self.resolver.locate(target(uri), call or Call(), trio.current_time())
        return None if found is None else list(found)

    def dies(self) -> None:
        self.zone.records[QUESTION] = [FAILED]


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(world.resolver.run)
        yield
        nursery.cancel_scope.cancel()


def play(scene: Callable[[World], Awaitable[None]]) -> World:
    """Play a scene on a clock that jumps to whatever happens next."""
    world = World()

    async def main() -> None:
        async with running(world):
            await scene(world)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return world


def test_what_is_not_known_is_told_later_and_then_known() -> None:
    async def scene(world: World) -> None:
        call = Call()
        start = trio.current_time()
        assert world.locate(call=call) is None
        await trio.sleep(1.5)
        assert call.told == [udp("192.0.2.1:5060")]
        assert world.flushed == 1
        assert world.locate() == udp("192.0.2.1:5060")
        assert world.asked == [(start, "sip.example.com")]

    assert play(scene).resolver.searches == {"found": 1}


def test_an_ip_address_needs_no_question() -> None:
    async def scene(world: World) -> None:
        assert world.locate("sip:192.0.2.9:5070") == udp("192.0.2.9:5070")
        assert world.locate("sip:[2001:db8::9]") == udp("[2001:db8::9]:5060")

    assert play(scene).asked == []


def test_many_calls_wait_for_one_search_and_spread_by_weight() -> None:
    async def scene(world: World) -> None:
        world.zone.records["_sip._udp.many.example", "SRV"] = [
            Srv(1, 1, 5060, "a.example"),
            Srv(1, 1, 5062, "a.example"),
        ]
        world.zone.records["a.example", "A"] = ["192.0.2.1"]
        marks = iter([0.1, 0.9, 0.1])
        world.resolver._draw = lambda: next(marks)
        calls = [Call(), Call()]
        for call in calls:
            assert world.locate("sip:many.example;transport=udp", call) is None
        await trio.sleep(3)
        assert [call.told[0][0].port for call in calls] == [5060, 5062]
        assert world.locate("sip:many.example;transport=udp") == udp("192.0.2.1:5060", "192.0.2.1:5062")
        assert [name for _, name in world.asked] == ["_sip._udp.many.example", "a.example"]
        assert world.flushed == 1

    play(scene)


def test_no_name_waits_for_another() -> None:
    async def scene(world: World) -> None:
        world.zone.records["quick.example", "A"] = ["192.0.2.2"]
        slow, quick = Call(), Call()
        world.delay = 4.0
        world.locate(call=slow)
        await trio.sleep(0.1)
        world.delay = 0.5
        world.locate("sip:quick.example:5060", quick)
        await trio.sleep(1)
        assert (slow.told, quick.told) == ([], [udp("192.0.2.2:5060")])
        await trio.sleep(4)
        assert slow.told == [udp("192.0.2.1:5060")]

    play(scene)


def test_an_answer_counts_for_its_time_to_live_2181_8() -> None:
    async def scene(world: World) -> None:
        world.locate()
        await trio.sleep(1 + 79)  # a fifth of its time before it runs out ...
        assert world.locate() == udp("192.0.2.1:5060")
        assert len(world.asked) == 1
        world.zone.records[QUESTION] = ["192.0.2.2"]
        await trio.sleep(12)  # ... but at most 10 s before, whoever uses it has it asked for again
        assert world.locate() == udp("192.0.2.1:5060")
        await trio.sleep(2)
        assert world.locate() == udp("192.0.2.2:5060")
        assert len(world.asked) == 2

    play(scene)


def test_an_answer_that_nobody_used_runs_out() -> None:
    async def scene(world: World) -> None:
        world.locate()
        await trio.sleep(1 + 100)
        assert world.locate() is None

    play(scene)


def test_the_names_of_the_configuration_stay_known_without_a_call() -> None:
    async def scene(world: World) -> None:
        start = trio.current_time()
        world.resolver.configure([target(NAME), target(NAME), target("sip:192.0.2.9")])
        await trio.sleep(400)
        assert world.locate() == udp("192.0.2.1:5060")
        # each answer counts for 100 s from when it came, and is asked for 10 s before it runs out
        assert [round(at - start) for at, _ in world.asked] == [0, 91, 182, 273, 364]

    play(scene)


def test_a_new_configuration_asks_anew_and_goes_on_with_what_is_known() -> None:
    async def scene(world: World) -> None:
        world.resolver.configure([target(NAME)])
        world.locate("sip:other.example:5060")
        await trio.sleep(2)
        assert world.locate("sip:other.example:5060") == []
        world.zone.records[QUESTION] = ["192.0.2.2"]
        world.resolver.configure([target(NAME)])
        await trio.sleep(0.5)
        assert world.locate() == udp("192.0.2.1:5060")
        assert world.locate("sip:other.example:5060") is None, "what is not configured was forgotten"
        await trio.sleep(1)
        assert world.locate() == udp("192.0.2.2:5060")

    play(scene)


def test_a_dead_name_is_known_to_be_dead_for_a_while_2308_5() -> None:
    async def scene(world: World) -> None:
        call = Call()
        assert world.locate("sip:dead.example:5060", call) is None
        await trio.sleep(2)
        assert call.told == [[]]
        assert world.locate("sip:dead.example:5060") == []
        await trio.sleep(60)
        assert world.locate("sip:dead.example:5060") is None

    assert play(scene).resolver.searches["nowhere"] == 1


def test_a_slow_server_costs_the_time_out_and_no_more() -> None:
    async def scene(world: World) -> None:
        world.delay = 3600.0
        call = Call()
        assert world.locate(call=call) is None
        await trio.sleep(4.9)
        assert call.told == []
        await trio.sleep(0.2)
        assert call.told == [[]]
        assert world.locate() == []
        await trio.sleep(5)
        assert world.locate() is None, "what failed is soon tried again"

    assert play(scene).resolver.searches == {"broken": 1}


def test_when_the_servers_die_what_was_known_serves_on_for_an_hour() -> None:
    async def scene(world: World) -> None:
        world.resolver.configure([target(NAME)])
        await trio.sleep(2)
        world.dies()
        await trio.sleep(3000)
        assert world.locate() == udp("192.0.2.1:5060")
        await trio.sleep(STALE)
        assert world.locate() == []
        world.zone.records[QUESTION] = ["192.0.2.2"]
        await trio.sleep(10)
        assert world.locate() == udp("192.0.2.2:5060")

    play(scene)


def test_a_name_that_is_used_while_the_servers_are_dead_waits_once() -> None:
    async def scene(world: World) -> None:
        world.locate()
        await trio.sleep(102)
        world.dies()
        call = Call()
        assert world.locate(call=call) is None
        await trio.sleep(2)
        assert call.told == [udp("192.0.2.1:5060")]
        await trio.sleep(60)
        assert world.locate() == udp("192.0.2.1:5060")

    assert play(scene).resolver.searches["stale"] == 1


def test_what_happens_to_a_configured_name_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        world.resolver.configure([target(NAME), target("sip:dead.example:5060")])
        await trio.sleep(2)
        world.dies()
        await trio.sleep(1000)
        world.zone.records[QUESTION] = ["192.0.2.1"]
        await trio.sleep(100)
        world.locate("sip:stranger.example:5060")
        await trio.sleep(10)

    with caplog.at_level("INFO", "gateway"):
        play(scene)
    assert caplog.messages == [
        "target sip:dead.example:5060 leads nowhere: no address that the gateway can send to",
        f"no name server answers for target {NAME}; its last known addresses serve on",
        f"target {NAME} is found",
    ]


def test_a_waiter_that_fails_costs_only_itself() -> None:
    def fail(_addresses: tuple[Address, ...]) -> None:
        raise ValueError("a bug")

    async def scene(world: World) -> None:
        good = Call()
        world.locate(call=Call(fail))
        world.locate(call=good)
        await trio.sleep(2)
        assert good.told == [udp("192.0.2.1:5060")]
        assert world.locate() == udp("192.0.2.1:5060")

    assert [str(bug) for bug in play(scene).bugs] == ["a bug"]


def test_a_bug_in_asking_counts_as_no_answer() -> None:
    async def scene(world: World) -> None:
        async def ask(_question: Question) -> Answer:
            raise ValueError("a bug")

        world.resolver._ask = ask
        call = Call()
        world.locate(call=call)
        await trio.sleep(1)
        assert call.told == [[]]

    assert len(play(scene).bugs) == 1


def test_a_waiter_may_ask_for_another_name_at_once() -> None:
    async def scene(world: World) -> None:
        world.zone.records["next.example", "A"] = ["192.0.2.3"]
        second = Call()
        world.locate(call=Call(lambda _: world.locate("sip:next.example:5060", second)))
        await trio.sleep(3)
        assert second.told == [udp("192.0.2.3:5060")]

    play(scene)


def test_what_strangers_make_us_ask_and_remember_is_bounded() -> None:
    async def scene(world: World) -> None:
        found = [world.locate(f"sip:h{at}.example:5060") for at in range(MAX_ASKING + 10)]
        assert found == [None] * MAX_ASKING + [[]] * 10
        world.resolver.configure([target(NAME)])
        assert world.locate() is None, "a name of the configuration is never refused"
        await trio.sleep(2)
        for at in range(0, MAX_NAMES + 500, 50):
            for n in range(50):
                world.locate(f"sip:n{at + n}.example:5060")
            await trio.sleep(1.1)
        assert len(world.resolver._others) == MAX_NAMES

    assert play(scene).resolver.searches["refused"] == 10


def test_who_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITERS", 100)

    async def scene(world: World) -> None:
        calls = [Call() for _ in range(101)]
        assert [world.locate(call=call) for call in calls] == [None] * 100 + [[]]
        await trio.sleep(2)
        assert [len(call.told) for call in calls] == [1] * 100 + [0]
        assert world.flushed == 2, "others have their turn in between"
        assert world.locate("sip:dead.example:5060") is None

    play(scene)
