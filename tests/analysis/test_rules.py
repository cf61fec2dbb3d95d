"""What findings offer: rules that `gateway check` takes and that mend what was found, and an explanation."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.analysis.findings import KINDS, device_dnd, everywhere, in_a_call, one_device
from gateway.analysis.shipped import rule_text
from gateway.commands.check import check
from gateway.rules import Facts, compile_rules, shipped_rules
from tests.analysis.scene import CARRIER, PBX, Scene
from tests.commands.conftest import Place, place  # noqa: F401 - the fixture
from tests.rules.support import PBX as TRUNK_PBX
from tests.rules.support import facts, rules, told

DOCUMENT = Path(__file__).parents[2] / "docs" / "analyze.md"
SHIPPED = [rule.name for rule in compile_rules(shipped_rules(), None).rules if rule.mode != "off"]


def contradiction(status: str, cause: int) -> str:
    scene = Scene()
    scene.invite(PBX, CARRIER).rejected(status, f"Reason: Q.850;cause={cause}")
    return scene.only("q850-contradicts-status").rule


OFFERED = [
    one_device.RULE, in_a_call.RULE, device_dnd.RULE, everywhere.ALL_DECLINED,
    contradiction("486 Busy Here", 1), contradiction("403 Forbidden", 17), contradiction("600 Busy", 21),
    contradiction("503 Service Unavailable", 22), contradiction("603 Decline", 17),
    *(rule_text(name) for name in SHIPPED if name.startswith(("dead", "gone", "user"))),
]  # fmt: skip


@pytest.mark.parametrize("rule", OFFERED)
def test_gateway_check_takes_the_rule(place: Place, rule: str) -> None:  # noqa: F811
    path = place.write("rules.toml", f"version = 1\n\n{rule}")
    assert place.run(check, rules=path) == 0, place.err


@pytest.mark.parametrize(
    ("rule", "known", "status"),
    [
        (one_device.RULE, facts("603 Decline", source=TRUNK_PBX, pending=2, rang=True), 486),
        (one_device.RULE, facts("603 Decline", source=TRUNK_PBX), 603),
        (device_dnd.RULE, facts("603 Decline", source=TRUNK_PBX, pending=1, after=0.2), 486),
        (in_a_call.RULE, facts("603 Decline", source=TRUNK_PBX, after=0.2), 486),
        (in_a_call.RULE, facts("603 Decline", source=TRUNK_PBX, after=4.0, rang=True), 603),
        (everywhere.ALL_DECLINED, facts("486 Busy Here", source=TRUNK_PBX, finals=(486,)), 603),
        (contradiction("403 Forbidden", 17), facts("403 Forbidden", "Reason: Q.850;cause=17"), 486),
        (contradiction("486 Busy Here", 21), facts("486 Busy Here", "Reason: Q.850;cause=21"), 486),
    ],
)
def test_the_rule_mends_what_was_found_and_nothing_else(rule: str, known: Facts, status: int) -> None:
    decision = rules(rule).decide(known)
    assert decision.status == status
    assert decision.rule == ("" if status == known.response.status == 603 else decision.rule)


def test_a_cause_that_contradicts_leaves_in_agreement() -> None:
    known = facts("486 Busy Here", "Reason: Q.850;cause=21")
    assert told(rules(contradiction("486 Busy Here", 21)), known)[1][0].startswith("Reason: Q.850;cause=17")


def test_each_finding_is_explained_in_the_document_and_no_other() -> None:
    rows = [
        line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `") and line.count("|") == 6
    ]
    assert [row.split("`")[1] for row in rows] == [kind.name for kind in KINDS]
