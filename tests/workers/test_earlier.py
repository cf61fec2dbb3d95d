"""Rules that look at more than the call at hand, over several workers: each knows what the others saw."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import trio

from gateway.b2bua.record import CallRecord
from gateway.ledger.canaries import ENABLED, NOTICE, STOP_NOTICE, CanaryEvent, CanaryKeeper, keep
from gateway.ledger.past import Historian
from gateway.ledger.writer import Ledger
from gateway.rules import Facts
from gateway.rules.canary import Canary
from gateway.rules.history import History, Watch
from gateway.rules.trials import CANARY, REST
from gateway.rules.unwanted import BEFORE_ANSWER, Feedback, Identity
from gateway.workers.earlier import EarlierCalls
from gateway.workers.mesh import Inbox, Mesh
from tests.ledger.records import NOON, answered, rewritten
from tests.rules.support import facts, rules

DAY = 86400.0
DECLINED = Watch("number", "declined", 7 * DAY)
ANSWERED = Watch("number", "answered", 30 * DAY)
NUISANCE = Watch("caller", "unwanted", 30 * DAY)
NUMBER = "+12155551212"
ROBOT = Identity("+12155550666")
TENTH = 'when.status = 603\nthen.status = 404\nshare = 0.1\nstop_when = "retries > 1.5x in 15m"'


class Worker:
    """What one worker knows of earlier calls. The first one writes."""

    def __init__(self, crew: Crew, index: int) -> None:
        leads = index == 0
        clock, log = (lambda: crew.now), crew.log.append
        self.crew = crew
        self.mesh = Mesh(index, crew.inboxes)
        self.historian = Historian(crew.url, 90 * DAY, False, clock=clock, log=log, writes=leads)
        self.canaries = CanaryKeeper(crew.url, clock=clock, log=log, leads=leads)
        self.earlier = EarlierCalls(self.mesh, self.historian, self.canaries)
        self.rules = rules(TENTH)
        self.canaries.share(self.rules, self.earlier.trial, self.earlier.tell_stops)

    def count(self, *watches: Watch) -> History:
        """Load rules that ask this, a moment after the last message."""
        self.crew.now += 0.001
        self.earlier.is_counting = True
        history = self.historian.configure(frozenset(watches))
        assert history is not None
        return history

    def ends(self, record: CallRecord) -> None:
        """A call of this worker ends: as `B2bua.finished` tells of it."""
        if self.historian.history is not None:
            self.historian.history.record(record)
        self.earlier.record(record)

    def knows(self, watch: Watch, key: str = NUMBER) -> int:
        history = self.historian.history
        assert history is not None
        return history.count(watch, key, self.crew.now)

    def call(self, number: int) -> None:
        """A caller is declined by this worker."""
        known = self.declined(number)
        assert self.canaries.trials is not None
        self.canaries.trials.told(known, self.rules.decide(known))

    def call_again(self, number: int) -> None:
        known = self.declined(number)
        assert self.canaries.trials is not None
        self.canaries.trials.begun(known.caller, known.called, self.crew.now)

    def declined(self, number: int) -> Facts:
        caller = f"+1215555{number:04}"
        return facts("603 Decline", caller=caller, called="+12155550100", now=self.crew.now)

    @property
    def canary(self) -> Canary:
        canary = self.rules.rules[0].canary
        assert canary is not None
        return canary


class Crew:
    """Three workers and a ledger; time is set by hand."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = NOON
        self.log: list[str] = []
        self.inboxes = [Inbox.open() for _ in range(3)]
        self.workers = [Worker(self, index) for index in range(3)]

    def restart(self, index: int) -> Worker:
        """Another takes the place of one that was killed; the inbox lives on."""
        self.workers[index] = Worker(self, index)
        return self.workers[index]

    def tick(self) -> None:
        """Let all tell what they have to tell, and hear it."""
        for worker in self.workers:
            worker.earlier.settle()
        self.hear(self.workers)

    def hear(self, workers: list[Worker]) -> None:
        for worker in workers:
            while notes := worker.mesh.receive():
                assert all(worker.earlier.heed(note) for note in notes)

    def work(self, after: float) -> None:
        """Let all historians and keepers look into the ledger, so many seconds later, the first one first."""
        self.now += after
        for worker in self.workers:
            trio.run(worker.historian.work)
            trio.run(worker.canaries.work)
            self.hear(self.workers)

    def write(self, *records: CallRecord) -> None:
        async def main() -> None:
            ledger = Ledger(self.url, 1e10, log=self.log.append)
            for record in records:
                ledger.record(record)
            await ledger.close()

        trio.run(main)

    def of_group(self, group: str, many: int) -> list[int]:
        """The first so many callers of a group."""
        worker = self.workers[0]
        wanted = CANARY if group == CANARY else "shadow"
        found = (number for number in count() if worker.rules.decide(worker.declined(number)).mode == wanted)
        return [next(found) for _ in range(many)]


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    yield from made(f"sqlite:///{tmp_path / 'gateway.db'}")


@pytest.fixture
def forgetful() -> Iterator[Crew]:
    """A crew without a ledger."""
    yield from made("")


def made(url: str) -> Iterator[Crew]:
    crew = Crew(url)
    yield crew
    for worker in crew.workers:
        trio.run(worker.historian.close)
        trio.run(worker.canaries.close)
    for inbox in crew.inboxes:
        inbox.close()


def test_each_worker_counts_the_calls_of_all(crew: Crew) -> None:
    for worker in crew.workers:
        worker.count(DECLINED, ANSWERED)
    for number, worker in enumerate(crew.workers):
        worker.ends(rewritten(number, ended_at=crew.now))
        worker.ends(rewritten(10 + number, ended_at=crew.now, attempts=0))  # no target was asked
    crew.workers[1].ends(answered(3, ended_at=crew.now))
    assert [worker.knows(DECLINED) for worker in crew.workers] == [1, 1, 1], "its own it knows at once"
    crew.tick()
    assert [worker.knows(DECLINED) for worker in crew.workers] == [3, 3, 3]
    assert [worker.knows(ANSWERED) for worker in crew.workers] == [1, 1, 1]


def test_a_restarted_worker_has_from_the_ledger_what_it_missed_and_nothing_twice(crew: Crew) -> None:
    for worker in crew.workers:
        worker.count(DECLINED)
    first = rewritten(1, ended_at=crew.now)
    crew.workers[0].ends(first)
    crew.tick()
    crew.now += 1
    second = rewritten(2, ended_at=crew.now)
    crew.workers[0].ends(second)
    crew.workers[0].earlier.settle()  # waits in the inbox of the one that is away
    crew.write(first, second)
    crew.now += 1
    again = crew.restart(1)
    again.count(DECLINED)
    crew.now += 1
    crew.workers[0].ends(rewritten(3, ended_at=crew.now))
    crew.tick()
    assert again.knows(DECLINED) == 1, "what ended before is still to be read"
    crew.work(after=3)
    assert [worker.knows(DECLINED) for worker in crew.workers] == [3, 3, 3]


def test_calls_that_end_while_rules_are_switched_are_counted_once_everywhere(crew: Crew) -> None:
    """The workers switch one after the other, each between two messages. From when all are prepared, all
    tell what ends, whether they have switched or not.
    """
    one, two, three = crew.workers
    for worker in crew.workers:
        worker.earlier.is_counting = True  # prepared
    records = []

    def end(worker: Worker, number: int) -> None:
        crew.now += 0.001
        records.append(rewritten(number, ended_at=crew.now))
        worker.ends(records[-1])

    end(three, 1)  # heard of by those that have switched meanwhile, and not counted, but read
    one.count(DECLINED)
    end(three, 2)
    end(one, 3)
    two.count(DECLINED)
    end(three, 4)
    crew.tick()
    three.count(DECLINED)
    end(three, 5)
    crew.tick()
    crew.write(*records)
    crew.work(after=3)
    assert [worker.knows(DECLINED) for worker in crew.workers] == [5, 5, 5]


def test_what_found_no_room_is_read_from_the_ledger(crew: Crew) -> None:
    for worker in crew.workers:
        worker.count(DECLINED)
    records = [rewritten(number, ended_at=crew.now) for number in range(3)]
    sender, receiver = crew.workers[0], crew.workers[1]
    for record in records:
        sender.ends(record)
        sender.earlier.settle()
        if record is records[1]:
            receiver.mesh.receive()  # nobody heeds it
        crew.now += 0.001
        crew.hear([receiver])
    crew.write(*records)
    assert receiver.knows(DECLINED) == 0, "it knows that it knows nothing"
    history = receiver.historian.history
    assert history is not None
    assert not history.is_complete(DECLINED, crew.now)
    crew.work(after=3)
    assert receiver.knows(DECLINED) == 3


def test_without_a_ledger_what_found_no_room_makes_counts_incomplete(forgetful: Crew) -> None:
    for worker in forgetful.workers:
        worker.count(DECLINED)
    sender, receiver = forgetful.workers[0], forgetful.workers[1]
    forgetful.now += 8 * DAY
    history = receiver.historian.history
    assert history is not None
    assert history.is_complete(DECLINED, forgetful.now)
    for number in range(3):
        sender.ends(rewritten(number, ended_at=forgetful.now))
        sender.earlier.settle()
        if number == 1:
            receiver.mesh.receive()  # nobody heeds it
        forgetful.hear([receiver])
    assert receiver.knows(DECLINED) == 2
    assert not history.is_complete(DECLINED, forgetful.now)


def test_no_more_is_gathered_than_fits_a_note(crew: Crew) -> None:
    """A burst between two ticks leaves in several notes, none of them lost."""
    for worker in crew.workers:
        worker.count(DECLINED)
    for number in range(2_000):
        crew.workers[0].ends(rewritten(number, ended_at=crew.now))
    assert len(crew.workers[0].earlier._ended) < 1_000
    crew.tick()
    assert crew.workers[2].knows(DECLINED) == 2_000


def test_a_callees_word_is_counted_by_all_and_kept_by_the_first(crew: Crew) -> None:
    for worker in crew.workers:
        worker.count(NUISANCE)
    word = Feedback(crew.now, (ROBOT,), "100", BEFORE_ANSWER, False, "carrier")
    crew.workers[2].earlier.feedback(word)
    crew.tick()
    assert [worker.knows(NUISANCE, ROBOT.name) for worker in crew.workers] == [1, 1, 1]
    crew.work(after=10)
    again = crew.restart(1)
    again.count(NUISANCE)
    crew.work(after=3)
    assert again.knows(NUISANCE, ROBOT.name) == 0, "the first one's turn to write may still come"
    crew.work(after=5)
    assert [worker.knows(NUISANCE, ROBOT.name) for worker in crew.workers] == [1, 1, 1]


# -- canaries ------------------------------------------------------------------------------------------


def try_again(crew: Crew) -> None:
    """Callers of the canary try again, those of the rest do not; each call is another worker's."""
    for group, many in ((REST, 100), (CANARY, 40)):
        for at, number in enumerate(crew.of_group(group, many)):
            crew.workers[at % 3].call(number)
    crew.tick()
    crew.now += 5
    for at, number in enumerate(crew.of_group(CANARY, 40)):
        crew.workers[(at + 1) % 3].call_again(number)
    crew.tick()


def test_a_retry_counts_whichever_worker_it_comes_to_and_one_decision_stops_all(crew: Crew) -> None:
    try_again(crew)
    assert len({worker.canary.pauses for worker in crew.workers}) == 1
    (pause,) = crew.workers[2].canary.pauses
    assert pause.begun == crew.now + STOP_NOTICE, "so that all have heard of it when it begins"
    assert [line.partition(":")[0] for line in crew.log] == ['canary "it" IS STOPPED']
    trials = [worker.canaries.trials for worker in crew.workers]
    assert sum(each.calls["it", CANARY] for each in trials if each) == 40
    assert sum(each.retries["it", CANARY] for each in trials if each) == 40


def test_a_stop_that_is_not_written_yet_outlives_the_worker_that_made_it(crew: Crew) -> None:
    try_again(crew)
    first = crew.restart(0)
    trio.run(first.canaries.work)
    assert first.canary.pauses == ()
    crew.workers[1].earlier.tell_stops()  # as each second
    crew.hear(crew.workers)
    crew.work(after=1)
    crew.work(after=1)
    assert all(worker.canaries.unkept == [] for worker in crew.workers)
    last = crew.restart(2)
    trio.run(last.canaries.work)
    assert len({worker.canary.pauses for worker in crew.workers}) == 1
    assert len(last.canary.pauses) == 1


def test_a_canary_that_is_enabled_goes_on_in_all_workers(crew: Crew) -> None:
    try_again(crew)
    crew.work(after=1)
    event = CanaryEvent(crew.now + NOTICE, ENABLED, "it", crew.workers[0].canary.id, "", "ops", "")
    engine = crew.workers[0].historian._connected()
    with engine.begin() as connection:
        keep(connection, event)
    engine.dispose()
    crew.work(after=5)
    after = crew.now + NOTICE
    assert [worker.canary.pause_at(after) for worker in crew.workers] == [None] * 3
    assert sum("goes on" in line for line in crew.log) == 1


def test_without_a_ledger_a_stop_is_known_as_long_as_any_worker_lives(forgetful: Crew) -> None:
    try_again(forgetful)
    for index in (0, 1, 2):
        forgetful.restart(index)
        for worker in forgetful.workers:
            worker.earlier.tell_stops()
        forgetful.hear(forgetful.workers)
        assert [len(worker.canary.pauses) for worker in forgetful.workers] == [1, 1, 1]
