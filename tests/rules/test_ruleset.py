"""How rules are asked: in order, by mode, and only where they can match."""

from __future__ import annotations

from gateway.rules import emit
from tests.rules.support import facts, rules

THREE = """
[[rule]]
name = "first"
mode = "{0}"
when.status = 603
when.q850 = 1
then.status = 404

[[rule]]
name = "second"
mode = "{1}"
when.status = 603
then.status = 410
then.label = "gone"

[[rule]]
name = "third"
mode = "{2}"
when.status = "6xx"
then.status = 486
"""
DEAD = facts("603 Decline", "Reason: Q.850;cause=1")


def test_the_first_enforced_rule_that_matches_decides() -> None:
    ruleset = rules(THREE.format("enforce", "enforce", "enforce"))
    assert ruleset.decide(DEAD).rule == "first"
    assert ruleset.decide(facts("603 Decline")).rule == "second"
    assert ruleset.decide(facts("600 Busy")).rule == "third"
    assert ruleset.decide(facts("486 Busy Here")).rule == ""


def test_a_shadow_rule_is_noted_and_the_next_one_decides() -> None:
    decision = rules(THREE.format("shadow", "enforce", "enforce")).decide(DEAD)
    assert (decision.rule, decision.mode, decision.status) == ("second", "enforce", 410)
    assert (decision.shadow_rule, decision.shadow_status, decision.label) == ("first", 404, "gone")


def test_of_several_shadow_rules_the_first_is_noted() -> None:
    decision = rules(THREE.format("shadow", "shadow", "enforce")).decide(DEAD)
    assert (decision.rule, decision.shadow_rule) == ("third", "first")


def test_shadow_rules_alone_change_nothing() -> None:
    decision = rules(THREE.format("shadow", "shadow", "shadow")).decide(DEAD)
    assert (decision.rule, decision.mode, decision.shadow_rule) == ("", "shadow", "first")
    assert (decision.status, decision.phrase, decision.changed) == (603, b"Decline", False)
    assert emit(decision, DEAD) is DEAD.response.rows


def test_a_shadow_rule_behind_the_rule_that_decides_is_not_noted() -> None:
    assert rules(THREE.format("enforce", "shadow", "shadow")).decide(DEAD).shadow_rule == ""


def test_a_rule_that_is_off_is_not_there() -> None:
    decision = rules(THREE.format("off", "off", "off")).decide(DEAD)
    assert (decision.rule, decision.mode, decision.shadow_rule, decision.changed) == ("", "", "", False)


def test_a_shadow_rule_that_passes_would_have_said_what_came() -> None:
    decision = rules('mode = "shadow"\nwhen.status = 603\nthen.pass = true').decide(DEAD)
    assert (decision.shadow_rule, decision.shadow_status) == ("it", 603)


def test_the_same_words_get_the_same_decision_without_asking_again() -> None:
    ruleset = rules("when.status = 603\nwhen.q850 = 1\nthen.status = 404")
    assert ruleset.decide(facts("486 Busy Here")) is ruleset.decide(facts("486 Busy Here"))
    assert ruleset.decide(facts("486 Besetzt")).phrase == b"Besetzt"
    again = facts("603 Decline", "Reason: Q.850;cause=1")
    assert ruleset.decide(DEAD) is ruleset.decide(again)
    assert emit(ruleset.decide(DEAD), again) == emit(ruleset._decide(again), again)
    assert ruleset.decide(facts("603 Decline", "Reason: Q.850;cause=2")).rule == ""
    assert ruleset.decide(facts("603 Decline", "Reason: Q.850;cause=2", "Reason: Q.850;cause=1")).rule == ""


def test_a_rule_that_looks_further_is_asked_each_time() -> None:
    ruleset = rules("when.status = 603\nwhen.after = '<1s'\nthen.status = 404")
    assert ruleset.decide(facts("603 Decline", after=0.5)).status == 404
    assert ruleset.decide(facts("603 Decline", after=1.5)).status == 603
    assert ruleset.decide(facts("486 Busy Here")) is ruleset.decide(facts("486 Busy Here"))


def test_hostile_words_do_not_fill_the_memory() -> None:
    ruleset = rules("when.status = 603\nthen.status = 404")
    for number in range(5000):
        assert ruleset.decide(facts(f"486 {number}")).phrase == str(number).encode()
    assert len(ruleset._remembered) <= 4096
    remembered = len(ruleset._remembered)
    ruleset.decide(facts("486 " + "x" * 257))
    ruleset.decide(facts("486 Busy", "Reason: SIP;text=" + "x" * 257))
    assert len(ruleset._remembered) == remembered


def test_a_rule_that_cannot_match_the_status_is_never_asked() -> None:
    """The cost of a decision cannot grow with rules that are not looked at."""
    ruleset = rules("when.status = 603\nwhen.phrase = 'x'\nthen.status = 404")
    assert ruleset._by_status[486] == ()
    assert [rule.name for rule in ruleset._by_status[603]] == ["it"]


def test_cheap_conditions_are_asked_before_searches() -> None:
    ruleset = rules(
        "when.phrase = 'x'\nwhen.header.X-A = 'x'\nwhen.called.prefix = '1'\nwhen.q850 = 1\nwhen.to = 'pbx'\n"
        "when.from = 'carrier'\nwhen.rang = true\nwhen.status = 603\nthen.status = 404"
    )
    order = [condition.key for condition in ruleset.rules[0].conditions]
    assert order == ["status", "rang", "method", "to", "from", "q850", "called", "phrase", "header.X-A"]
