"""Canaries: rules that decide a stable share of calls, and stop when callers try again more often."""

from __future__ import annotations

from itertools import count

import pytest

from gateway.rules import Facts, RuleSet
from gateway.rules.canary import Pause
from gateway.rules.lint import lint
from gateway.rules.trials import CANARY, LEAST_CALLS, REST, RETRY, Stop, Trials
from tests.rules.support import facts, mistakes, rules

NOW = 1_800_000_000.0
TENTH = 'when.status = 603\nthen.status = 404\nshare = 0.1\nstop_when = "retries > 1.5x in 15m"'


def declined(number: int, now: float = NOW) -> Facts:
    return facts("603 Decline", caller=f"+1215555{number:04}", called="+12155550100", now=now)


def taken(ruleset: RuleSet, many: int = 5000) -> set[int]:
    return {number for number in range(many) if ruleset.decide(declined(number)).rule}


def of(ruleset: RuleSet, group: str, many: int) -> list[int]:
    """The first so many numbers whose calls are in this group."""
    wanted = CANARY if group == CANARY else "shadow"
    found = (number for number in count() if ruleset.decide(declined(number)).mode == wanted)
    return [next(found) for _ in range(many)]


def test_a_canary_decides_a_tenth_of_the_pairs_and_always_the_same() -> None:
    first, again = taken(rules(TENTH)), taken(rules(TENTH))
    assert first == again
    assert 440 <= len(first) <= 560  # of 5,000; three standard deviations are 64


def test_the_rest_goes_on_as_if_the_rule_were_in_shadow() -> None:
    text = f'[[rule]]\nname = "c"\n{TENTH}\n[[rule]]\nname = "after"\nthen.status = 486\n'
    ruleset = rules(text)
    decision = ruleset.decide(declined(of_after(ruleset)))
    assert (decision.rule, decision.status, decision.mode) == ("after", 486, "enforce")
    assert (decision.shadow_rule, decision.shadow_status, decision.rest) == ("c", 404, ("c",))


def of_after(ruleset: RuleSet) -> int:
    return next(number for number in count() if ruleset.decide(declined(number)).rule == "after")


def test_in_its_share_the_mode_says_that_a_canary_decided() -> None:
    ruleset = rules(TENTH)
    decision = ruleset.decide(declined(of(ruleset, CANARY, 1)[0]))
    assert (decision.rule, decision.status, decision.mode, decision.rest) == ("it", 404, CANARY, ())


def test_the_shares_of_two_canaries_have_nothing_to_do_with_each_other() -> None:
    one, two = (taken(rules(f'[[rule]]\nname = "{name}"\nthen.status = 404\nshare = 0.5')) for name in "ab")
    assert 1100 <= len(one & two) <= 1400  # a quarter of 5,000


def test_words_alone_are_never_remembered_where_the_share_decides() -> None:
    ruleset = rules("then.status = 404\nshare = 0.5")
    modes = {ruleset.decide(declined(number)).mode for number in range(30)}
    assert modes == {CANARY, "shadow"}


def test_explain_says_why_a_canary_decided_or_not() -> None:
    ruleset = rules(TENTH)
    inside, outside = of(ruleset, CANARY, 1)[0], of(ruleset, REST, 1)[0]
    told = ruleset.explain(declined(inside)).as_text()
    assert "it (rules.toml:2): yes, this call is in its share of 0.1" in told
    told = ruleset.explain(declined(outside)).as_text()
    assert "it (rules.toml:2): would match, but this call is not in its share of 0.1" in told
    assert "canary it would have said 404" in told
    ruleset.rules[0].canary.pauses = (Pause(NOW - 1, why="too many retries"),)  # type: ignore[union-attr]
    assert "would match, but stopped: too many retries" in ruleset.explain(declined(inside)).as_text()


def test_without_numbers_an_explanation_says_that_they_decide() -> None:
    told = rules(TENTH).explain(facts("603 Decline", now=NOW)).as_text()
    assert "its share of 0.1 is drawn by caller and called number, and neither is known" in told


def test_a_pause_holds_between_its_ends() -> None:
    ruleset = rules(TENTH)
    inside = of(ruleset, CANARY, 1)[0]
    ruleset.rules[0].canary.pauses = (Pause(NOW, NOW + 60),)  # type: ignore[union-attr]
    modes = [ruleset.decide(declined(inside, NOW + at)).mode for at in (0, 0.001, 60, 60.001)]
    assert modes == [CANARY, "shadow", "shadow", CANARY]


def test_a_canary_covers_no_later_rule() -> None:
    text = f'[[rule]]\nname = "a"\n{TENTH}\n[[rule]]\nname = "b"\nwhen.status = 603\nthen.status = 480\n'
    kinds = {(finding.kind, finding.rule) for finding in lint(rules(text))}
    assert ("unreachable", "b") not in kinds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("share = 0", "rules.toml:4: rule[it].share: 0 is not possible"),
        ("share = 1.0", "write a share from 0.0001 to less than 1"),
        ("share = true", "true is not possible"),
        ('share = 0.1\nmode = "shadow"', 'mode "shadow" decides about no calls'),
        ('stop_when = "retries > 2x in 1h"', "none to compare with; write share = 0.1"),
        (
            'share = 0.1\nstop_when = "often"',
            '"often" is not a reason to stop; write "retries > 1.5x in 15m"',
        ),
        ('share = 0.1\nstop_when = "retries > 0.5x in 15m"', "0.5x is not possible"),
        ('share = 0.1\nstop_when = "retries > 2x in 2d"', '"2d" is not possible'),
        ('share = 0.1\nstop_when = "retries > 2x in soon"', "is not a duration"),
    ],
)
def test_mistakes(text: str, problem: str) -> None:
    said = mistakes(f'version = 1\n[[rule]]\nname = "it"\n{text}\nthen.status = 404\n')
    assert len(said) == 1
    assert problem in said[0]


# -- stopping by itself ------------------------------------------------------------------------------


class Field:
    """Callers of a canary and of its rest, who are told a final and try again, or do not."""

    def __init__(self, text: str = TENTH) -> None:
        self.rules = rules(text)
        self.stops: list[Stop] = []
        self.trials = Trials(self.rules.rules, self.stops.append)
        self.now = NOW
        self.pools = {CANARY: of(self.rules, CANARY, 100), REST: of(self.rules, REST, 1000)}

    def call(self, group: str, many: int, retries: int, after: float = 5.0) -> None:
        """So many calls of a group are rejected, of which the first so many are tried again."""
        pool = self.pools[group]
        numbers, pool[:] = pool[:many], pool[many:]
        for number in numbers:
            known = declined(number, self.now)
            self.trials.told(known, self.rules.decide(known))
        self.now += after
        for number in numbers[:retries]:
            known = declined(number)
            self.trials.begun(known.caller, known.called, self.now)

    @property
    def is_stopped(self) -> bool:
        assert len(self.stops) <= 1
        return bool(self.stops)


def test_a_canary_stops_when_its_callers_try_again_more_than_it_may() -> None:
    field = Field()
    field.call(REST, 500, retries=25)
    field.call(CANARY, 50, retries=0)
    assert not field.is_stopped
    field.now += 60
    field.call(CANARY, 50, retries=50)
    assert field.is_stopped
    stop = field.stops[0]
    assert stop.rule == "it"
    assert "of the rest 25 of 500 (5.0%)" in stop.pause.why
    assert field.trials.retries["it", REST] == 25
    assert field.rules.decide(declined(of_stopped(), field.now + 6)).mode == "shadow"


def of_stopped() -> int:
    return of(rules(TENTH), CANARY, 1)[0]


def test_the_same_rate_of_retries_stops_nothing() -> None:
    field = Field()
    field.call(REST, 500, retries=100)
    field.call(CANARY, 100, retries=25)
    assert not field.is_stopped


def test_what_chance_explains_stops_nothing() -> None:
    field = Field()
    field.call(REST, 200, retries=10)
    field.call(CANARY, LEAST_CALLS, retries=2)  # twice as often, and yet only two callers
    assert not field.is_stopped


def test_fewer_calls_than_20_on_either_side_stop_nothing() -> None:
    field = Field()
    field.call(REST, LEAST_CALLS - 1, retries=0)
    field.call(CANARY, 50, retries=50)
    assert not field.is_stopped


def test_a_call_after_a_minute_is_no_retry() -> None:
    field = Field()
    field.call(REST, 100, retries=0)
    field.call(CANARY, 50, retries=50, after=RETRY + 0.1)
    assert not field.is_stopped
    assert field.trials.retries["it", CANARY] == 0


def test_only_the_window_counts() -> None:
    field = Field()
    field.call(REST, 500, retries=0)
    field.call(CANARY, 40, retries=0)
    field.now += 3600
    field.call(CANARY, 40, retries=40)  # with nobody to compare them with any more
    assert not field.is_stopped


def test_without_stop_when_retries_are_counted_and_stop_nothing() -> None:
    field = Field("then.status = 404\nshare = 0.1")
    field.call(REST, 100, retries=0)
    field.call(CANARY, 50, retries=50)
    assert not field.is_stopped
    assert (field.trials.calls["it", CANARY], field.trials.retries["it", CANARY]) == (50, 50)


def test_counts_go_on_over_a_reload_while_the_rule_is_the_same_to_the_letter() -> None:
    field = Field()
    field.call(REST, 100, retries=0)
    field.call(CANARY, 19, retries=19)
    same, changed = rules(f"{TENTH}\n# a remark"), rules(TENTH.replace("404", "410"))
    for ruleset, calls in ((same, 19), (changed, 0)):
        trials = Trials(ruleset.rules, field.stops.append)
        trials.carry_on(field.trials)
        assert trials.calls["it", CANARY] == calls


def test_a_canary_that_goes_on_is_judged_by_new_calls_only() -> None:
    field = Field()
    field.call(REST, 100, retries=0)
    field.call(CANARY, 30, retries=30)
    assert field.is_stopped
    field.trials.begin_anew("it")
    field.rules.rules[0].canary.pauses = ()  # type: ignore[union-attr]
    field.call(CANARY, 30, retries=1)
    assert field.is_stopped  # by the first stop, and no other


def test_pairs_are_forgotten_after_a_minute_and_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    field = Field()
    field.call(REST, 100, retries=0)
    assert len(field.trials._last) == 100
    field.now += RETRY
    field.call(REST, 1, retries=0)
    assert len(field.trials._last) == 1
    monkeypatch.setattr("gateway.rules.trials._MOST_PAIRS", 10)
    field.call(REST, 100, retries=0)
    assert len(field.trials._last) == 10
