"""Where a call goes: the first route that matches its trunk and its numbers."""

import pytest

from gateway import config
from gateway.routing.route import Plan, Routes
from gateway.routing.trunk import Trunk, TrunkTable

TRUNKS = """
[[trunk]]
name = "pbx"
kind = "pbx"
source = "10.0.0.1"
target = "sip:pbx"
[[trunk]]
name = "carrier-a"
kind = "carrier"
source = "10.0.1.1"
target = ["sip:a1", "sip:a2"]
[[trunk]]
name = "carrier-b"
kind = "carrier"
source = "10.0.1.2"
target = "sip:b1"
"""


class Scene:
    """A gateway with the trunks above and some routes."""

    def __init__(self, routes: str) -> None:
        read = config.parse(TRUNKS + routes)
        self.trunks = TrunkTable(map(Trunk, read.trunks))
        self.routes = Routes(read, self.trunks)

    def plan(self, source: str, called: str = "1001", caller: str = "2002") -> Plan | None:
        return self.routes.plan(self.trunks.by_name[source], called, caller)

    def tried(self, source: str, called: str = "1001", caller: str = "2002") -> list[str]:
        """The targets in order of trying, or nothing when there is no route."""
        plan = self.plan(source, called, caller)
        return [hop.target.host for hop in plan.hops] if plan else []


def test_all_targets_of_the_first_trunk_come_before_those_of_the_second() -> None:
    scene = Scene('[[route]]\nfrom = "pbx"\nto = ["carrier-a", "carrier-b"]\n')
    plan = scene.plan("pbx")
    assert plan is not None
    assert [(hop.trunk.name, hop.target.host) for hop in plan.hops] == [
        ("carrier-a", "a1"),
        ("carrier-a", "a2"),
        ("carrier-b", "b1"),
    ]
    assert plan.strategy == "serial"


def test_without_a_route_there_is_no_plan() -> None:
    scene = Scene('[[route]]\nfrom = "pbx"\nto = "carrier-a"\n')
    assert scene.plan("carrier-a") is None
    assert Scene("").plan("pbx") is None


def test_the_first_route_that_matches_decides() -> None:
    scene = Scene("""
[[route]]
from = "pbx"
called.prefix = ["+44", "0044"]
to = "carrier-b"
[[route]]
from = "pbx"
caller.regex = "^9"
called.prefix = "+1"
to = "carrier-b"
strategy = "parallel"
[[route]]
from = "pbx"
to = "carrier-a"
[[route]]
from = "pbx"
to = "carrier-b"
""")
    assert scene.tried("pbx", "+4420") == ["b1"]
    assert scene.tried("pbx", "004420") == ["b1"]
    assert scene.tried("pbx", "+1215", "901") == ["b1"]
    assert scene.tried("pbx", "+1215", "109") == ["a1", "a2"]
    assert scene.tried("pbx", "+33", "901") == ["a1", "a2"]
    rung_together = scene.plan("pbx", "+1215", "901")
    assert rung_together is not None
    assert rung_together.strategy == "parallel"


def test_only_number_conditions_that_fail_leave_a_call_without_a_route() -> None:
    scene = Scene('[[route]]\ncalled.prefix = "+1"\nto = "pbx"\n')
    assert scene.tried("carrier-a", "+1215") == ["pbx"]
    assert scene.tried("carrier-a", "215") == []


@pytest.mark.parametrize(
    ("pattern", "sources"),
    [
        ('from = "carrier-*"\n', ["carrier-a", "carrier-b"]),
        ('from = "kind:carrier"\n', ["carrier-a", "carrier-b"]),
        ('from = ["pbx", "carrier-b"]\n', ["pbx", "carrier-b"]),
        ("", ["pbx", "carrier-a", "carrier-b"]),
    ],
)
def test_from_means_names_globs_and_kinds_and_nothing_means_any(pattern: str, sources: list[str]) -> None:
    scene = Scene(f'[[route]]\n{pattern}to = "pbx"\n')
    assert [trunk.name for trunk in scene.trunks if scene.plan(trunk.name)] == sources


def test_to_means_names_globs_and_kinds() -> None:
    assert Scene('[[route]]\nto = "kind:carrier"\n').tried("pbx") == ["a1", "a2", "b1"]
    assert Scene('[[route]]\nto = ["carrier-b", "carrier-*"]\n').tried("pbx") == ["b1", "a1", "a2"]


def test_a_plan_is_made_once() -> None:
    scene = Scene('[[route]]\nto = "pbx"\n')
    assert scene.plan("carrier-a", "1") is scene.plan("carrier-b", "2")


# -- weights -----------------------------------------------------------------------------------------------


def drawn(weights: str, chances: int) -> list[list[str]]:
    """The orders in which a trunk's targets are tried, for as many evenly spread chances."""
    text = TRUNKS.replace(
        'target = ["sip:a1", "sip:a2"]', f'target = ["sip:a1", "sip:a2", "sip:a3"]\n{weights}'
    )
    read = config.parse(text + '[[route]]\nfrom = "pbx"\nto = ["carrier-a", "carrier-b"]\n')
    trunks = TrunkTable(map(Trunk, read.trunks))
    plan = Routes(read, trunks).plan(trunks.by_name["pbx"], "1", "2")
    assert plan is not None
    assert plan.is_weighted == bool(weights)
    return [[hop.target.host for hop in plan.draw(chance)] for chance in range(chances)]


def test_each_target_comes_first_in_its_share_of_the_calls() -> None:
    orders = drawn("weights = [3, 1, 0]", 400)
    assert [sum(order[0] == name for order in orders) for name in ("a1", "a2", "a3")] == [300, 100, 0]
    assert all(sorted(order) == ["a1", "a2", "a3", "b1"] for order in orders)
    assert all(order[2:] == ["a3", "b1"] for order in orders)  # weight 0 is for when nothing else is left


def test_the_second_is_drawn_from_what_is_left_by_weight_too() -> None:
    orders = [order for order in drawn("weights = [2, 1, 1]", 4000) if order[0] == "a1"]
    seconds = [sum(order[1] == name for order in orders) for name in ("a2", "a3")]
    assert seconds[0] == seconds[1] == len(orders) / 2


def test_without_weights_the_order_is_that_of_the_file() -> None:
    assert drawn("", 50) == [["a1", "a2", "a3", "b1"]] * 50
