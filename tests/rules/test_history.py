"""Counts of earlier calls: what is counted, how long, and how conditions go by it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.rules.history import LEAST_FINALS, History, Series, Watch
from tests.rules.support import facts, mistakes, rules

DAY = 86400.0
NOW = 1_800_000_000.0
LONG_AGO = NOW - 400 * DAY


@dataclass
class Call:
    called: str = "+12155550100"
    caller: str = "+12155551212"
    callee_trunk: str = "carrier"
    ringing_at: float = 0.0
    answered_at: float = 0.0
    ended_at: float = NOW
    original_status: int = 603
    origin: str = "peer"
    attempts: int = 1


def answered(**more: object) -> Call:
    return Call(original_status=200, ringing_at=1.0, answered_at=1.0, **more)  # type: ignore[arg-type]


def test_a_series_forgets_what_is_older_than_its_window_and_one_bucket() -> None:
    series = Series(30 * DAY, LONG_AGO)
    series.add("a", NOW)
    series.add("a", NOW + 10 * DAY, 2)
    assert series.count("a", NOW + 10 * DAY) == 3
    assert series.count("a", NOW + 30 * DAY) == 3
    assert series.count("a", NOW + 31.1 * DAY) == 2
    assert series.count("a", NOW + 41.1 * DAY) == 0
    assert len(series) == 0
    assert series.count("b", NOW) == 0


def test_a_series_that_was_busy_all_the_time_holds_no_more_than_its_buckets() -> None:
    series = Series(30 * DAY, LONG_AGO)
    for hour in range(24 * 400):
        series.add("a", NOW + hour * 3600)
    assert len(series._entries["a"]) <= 1 + 2 * 31
    assert 720 <= series.count("a", NOW + 400 * DAY - 3600) <= 744


def test_what_was_forgotten_for_lack_of_room_is_known_to_be_missing() -> None:
    series = Series(DAY, LONG_AGO, limit=2)
    for key in "abc":
        series.add(key, NOW)
    assert [series.count(key, NOW) for key in "abc"] == [0, 1, 1]
    assert not series.is_complete(NOW + DAY)
    assert series.is_complete(NOW + 1.1 * DAY)


def test_the_key_that_was_heard_of_longest_ago_is_forgotten_first() -> None:
    series = Series(DAY, LONG_AGO, limit=2)
    for key in "abac":
        series.add(key, NOW)
    assert [series.count(key, NOW) for key in "abc"] == [2, 0, 1]


@pytest.mark.parametrize(
    ("call", "counted"),
    [
        (answered(), {"calls", "answered"}),
        (Call(), {"calls", "declined", "declined_before_ringing"}),
        (Call(ringing_at=NOW - 3), {"calls", "declined"}),
        (Call(original_status=607, ringing_at=1.0), {"calls", "declined"}),
        (Call(original_status=486), {"calls", "busy"}),
        (Call(original_status=600), {"calls", "busy"}),
        (Call(original_status=410), {"calls", "not_found"}),
        (Call(original_status=404, origin="local"), {"calls"}),
        (Call(original_status=0), {"calls"}),
        (Call(original_status=404, origin="local", attempts=0), set()),
        (Call(called=""), set()),
        (Call(called="1" * 65), set()),
    ],
)
def test_what_a_call_counts_as(call: Call, counted: set[str]) -> None:
    words = ("calls", "answered", "declined", "declined_before_ringing", "not_found", "busy")
    history = History([Watch("number", word, DAY) for word in words], LONG_AGO)
    history.record(call)
    found = {word for word in words if history.count(Watch("number", word, DAY), call.called, NOW)}
    assert found == counted


def test_a_share_is_of_all_finals_of_a_trunk_and_of_enough_of_them() -> None:
    watch = Watch("trunk", "share_603", 3600.0)
    history = History([watch], LONG_AGO)
    for _ in range(LEAST_FINALS - 1):
        history.record(Call())
    history.record(Call(original_status=0))  # cancelled: no final
    history.record(Call(callee_trunk="other"))
    assert history.share(watch, "carrier", NOW) is None
    history.record(answered())
    assert history.share(watch, "carrier", NOW) == 100 * (LEAST_FINALS - 1) / LEAST_FINALS


def decided(when: str, history: History | None, **more: object) -> str:
    known = facts("603 Decline", called="+12155550100", caller="+12155551212", now=NOW, **more)
    known.history = history
    return rules(f"when.status = 603\n{when}\nthen.status = 404\nthen.label = 'dead'").decide(known).note


@pytest.mark.parametrize(
    ("count", "declined", "expected"),
    [
        ('">=2 in 7d"', 2, True),
        ('">=2 in 7d"', 1, False),
        ('">2 in 7d"', 2, False),
        ('"2 in 7d"', 2, True),
        ('"2 in 7d"', 3, False),
        ('"1..3 in 7d"', 3, True),
        ('"<2 in 7d"', 1, True),
        ('"0 in 7d"', 0, True),
    ],
)
def test_a_count_of_a_number_is_compared(count: str, declined: int, expected: bool) -> None:
    history = History([Watch("number", "declined", 7 * DAY)], LONG_AGO)
    for _ in range(declined):
        history.record(Call())
    note = decided(f"when.number.declined = {count}", history)
    assert note == (f"dead; number.declined was {declined} in 7d" if expected else "")


def test_the_history_of_another_number_is_not_asked() -> None:
    history = History([Watch("number", "declined", 7 * DAY)], LONG_AGO)
    history.record(Call(called="+1999"))
    assert decided('when.number.declined = ">=1 in 7d"', history) == ""


def test_that_nobody_answered_does_not_follow_from_a_history_that_is_too_short() -> None:
    watch = Watch("number", "answered", 30 * DAY)
    when = 'when.number.answered = "0 in 30d"'
    assert decided(when, History([watch], NOW - 30 * DAY)) == "dead; number.answered was 0 in 30d"
    assert decided(when, History([watch], NOW - 28 * DAY)) == ""
    assert decided(when, None) == ""


def test_what_was_seen_is_told_of_each_call_anew() -> None:
    """RuleSet remembers decisions by the words of a response; counts are no part of it."""
    ruleset = rules('when.number.declined = ">=1 in 7d"\nthen.status = 404')
    history = History(ruleset.watches, LONG_AGO)
    seen = []
    for _ in range(3):
        known = facts("603 Decline", called="+12155550100", now=NOW)
        known.history = history
        seen.append(ruleset.decide(known).saw)
        history.record(Call())
    assert seen == ["", "number.declined was 1 in 7d", "number.declined was 2 in 7d"]


def test_a_rule_that_is_off_asks_for_nothing() -> None:
    assert rules('mode = "off"\nwhen.number.busy = ">1 in 1h"\nthen.status = 404').watches == frozenset()


def test_explain_says_which_counts_were_seen() -> None:
    ruleset = rules(
        '[[rule]]\nname = "a"\nwhen.number.answered = "0 in 30d"\nthen.status = 404\n'
        '[[rule]]\nname = "b"\nwhen.trunk.share_603 = ">30% in 1h"\nthen.status = 404\n'
        '[[rule]]\nname = "c"\nwhen.number.declined = ">=1 in 7d"\nthen.status = 410'
    )
    known = facts("603 Decline", called="+12155550100", now=NOW)
    known.history = history = History(ruleset.watches, NOW - 3 * DAY)
    history.record(Call())
    told = ruleset.explain(known).as_text()
    assert "number.answered is 0 in 30d, of which only the last 3d are known in full, wanted 0 in 30d" in told
    assert f"trunk.share_603 is unknown, of fewer than {LEAST_FINALS} finals in 1h, wanted >30% in 1h" in told
    assert "c (rules.toml:10): yes, number.declined was 1 in 7d" in told


def test_callers_unwanted_are_counted_by_every_identity_of_the_call() -> None:
    watches = [Watch("caller", what, 30 * DAY) for what in ("unwanted", "unwanted_attested")]
    history = History([*watches, Watch("caller", "unwanted_by_called", 30 * DAY)], LONG_AGO)
    history.unwanted(("+12155551212",), "+12155550100", False, NOW)
    assert decided('when.caller.unwanted = ">=1 in 30d"', history) != ""
    assert decided('when.caller.unwanted_attested = ">=1 in 30d"', history) == ""
    assert decided('when.caller.unwanted_by_called = ">=1 in 30d"', history) != ""
    history = History(history.series, LONG_AGO)
    history.unwanted(("+12155551212",), "", True, NOW)  # no lists: nobody knows who said so
    assert decided('when.caller.unwanted_attested = ">=1 in 30d"', history) != ""
    assert decided('when.caller.unwanted_by_called = ">=1 in 30d"', history) == ""


def test_what_was_read_of_the_past_comes_before_what_was_counted_since() -> None:
    watch = Watch("number", "declined", 7 * DAY)
    live, past = History([watch], NOW), History([watch], NOW - 20 * DAY)
    live.record(Call(ended_at=NOW + 1))
    past.record(Call(ended_at=NOW - DAY))
    live.adopt(past)
    live.record(Call(ended_at=NOW + 2))
    assert live.count(watch, "+12155550100", NOW + 3) == 3
    assert live.is_complete(watch, NOW + 3)


def test_a_reload_keeps_what_is_still_asked_for() -> None:
    kept, new = Watch("number", "declined", 7 * DAY), Watch("number", "declined", DAY)
    history = History([kept], LONG_AGO)
    history.record(Call())
    history = History([kept, new], NOW, history.series)
    assert history.count(kept, "+12155550100", NOW) == 1
    assert history.count(new, "+12155550100", NOW) == 0
    assert not history.is_complete(new, NOW)


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("when.number.answered = 5", "5 is not a count in a time"),
        ('when.number.answered = ">=5"', "is not a count in a time"),
        ('when.number.answered = ">=5% in 1h"', '"5%" is not a whole number'),
        ('when.number.answerd = "0 in 1h"', 'did you mean "answered"?'),
        ('when.number.answered = "0 in 1s"', 'write a time from "1m" to "366d"'),
        ('when.number.answered = "5..2 in 1h"', "ends before it begins"),
        ('when.trunk.share_603 = ">30 in 1h"', '"30" is not a percentage'),
        ('when.trunk.share_200 = ">30% in 1h"', "is not counted of a trunk"),
        ("when.trunk = 3", "3 counts nothing"),
        ('when.caller.unwonted = "1 in 1h"', "this key is not known"),
        ('when.called.unwanted = "1 in 1h"', "this key is not known"),
    ],
)
def test_mistakes(when: str, problem: str) -> None:
    (sentence,) = mistakes(f'version = 1\n[[rule]]\nname = "x"\n{when}\nthen.status = 404')
    assert sentence.startswith("rules.toml:4: rule[x].when.")
    assert problem in sentence


def test_a_caller_is_asked_for_its_number_and_its_history() -> None:
    when = 'when.caller.prefix = "+1"\nwhen.caller.unwanted = ">=1 in 30d"'
    history = History([Watch("caller", "unwanted", 30 * DAY)], LONG_AGO)
    assert decided(when, history) == ""
    history.unwanted(("+12155551212",), "", False, NOW)
    assert decided(when, history) == "dead; caller.unwanted was 1 in 30d"
    assert decided(when.replace("+1", "+4"), history) == ""
