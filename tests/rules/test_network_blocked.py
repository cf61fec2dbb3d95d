"""What is wrong with a 603+ (ATIS-1000099), or with what was meant as one."""

from __future__ import annotations

import pytest

from gateway.rules.network_blocked import DEFECTS
from tests.rules.support import facts, rules

NOTHING = rules("when.status = 486\nthen.status = 404")
GOOD = 'SIP;cause=603;text="v=analytics1;url=https://example.com/redress";location=RLN'


def found(reason: str, phrase: str = "Network Blocked") -> tuple[str, ...]:
    return NOTHING.decide(facts(f"603 {phrase}", f"Reason: {reason}")).defects


@pytest.mark.parametrize(
    "reason",
    [
        GOOD,
        'Q.850;cause=21;text="v=analytics1;url=https://example.com/redress;tel=+12155551212";location=LN',
        'Q.850;cause=16, SIP;cause=603;text="v=analytics1;email=redress@example.com";location=TN',
        'SIP;cause=603;text="v=analytics1; tel=(215)555-1212; lang=en";location=lpn',
        'SIP;cause=603;text="v=analytics1;URL=HTTPS://example.com";location=RPN',
    ],
)
def test_a_603_plus_as_it_should_be(reason: str) -> None:
    decision = NOTHING.decide(facts("603 Network Blocked", f"Reason: {reason}"))
    assert (decision.guard, decision.near_miss, decision.defects) == ("network-blocked", False, ())


@pytest.mark.parametrize(
    ("reason", "defects"),
    [
        (GOOD.replace("url=https://example.com/redress", ""), ["no-contact"]),
        (GOOD.replace("url=https://example.com/redress", "uri=https://example.com"), ["no-contact"]),
        (GOOD.replace("https:", "http:"), ["bad-contact"]),
        (GOOD.replace("https://example.com/redress", "https://"), ["bad-contact"]),
        (GOOD.replace("url=https://example.com/redress", "tel=call us;email=none"), ["bad-contact"]),
        (GOOD.replace("url=https://example.com/redress", "email=a@b@c"), ["bad-contact"]),
        (GOOD.replace(";location=RLN", ""), ["location"]),
        (GOOD.replace("RLN", "U"), ["location"]),
        (GOOD.replace("603", "608"), ["cause"]),
        (GOOD.replace("SIP;cause=603", "Q.850;cause=16"), ["cause"]),
        (GOOD.replace("SIP;cause=603", "SIP"), ["cause"]),
        ('X;text="v=analytics1;"', ["no-contact", "cause", "location"]),
    ],
)
def test_a_603_plus_with_defects_is_protected_all_the_same(reason: str, defects: list[str]) -> None:
    decision = NOTHING.decide(facts("603 Network Blocked", f"Reason: {reason}"))
    assert (decision.guard, decision.near_miss) == ("network-blocked", False)
    assert decision.defects == tuple(defects)


def test_a_near_miss_is_told_by_its_kind() -> None:
    assert found(GOOD, "Decline") == ("phrase",)
    assert found(GOOD.replace(";location=RLN", ""), "Blocked") == ("phrase", "location")
    assert found("SIP;cause=603") == ("no-text",)
    assert found('SIP;cause=603;text="Network Blocked"') == ("no-text",)
    assert found(GOOD.replace("analytics1", "analytics2")) == ("version",)
    assert found(GOOD.replace("analytics1;", "analytics1")) == ("version",)
    assert NOTHING.decide(facts("603 Network Blocked")).defects == ("no-text",)


def test_what_was_never_meant_as_one_has_no_defects() -> None:
    assert found("SIP;cause=603", "Decline") == ()
    assert NOTHING.decide(facts("403 Network Blocked", f"Reason: {GOOD}")).defects == ()
    assert NOTHING.decide(facts("608 Network Blocked")).defects == ()


def test_each_defect_is_explained() -> None:
    text = NOTHING.explain(facts("603 Network Blocked", f"Reason: {GOOD.replace('RLN', 'U')}")).as_text()
    assert f"603+ defect location: {DEFECTS['location']}" in text
