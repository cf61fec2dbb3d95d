"""The rules: what to answer instead of a final response, decided without I/O.

`load_rules` or `compile_rules` makes a `RuleSet` of a file; `RuleSet.decide` turns the `Facts` of one
response into a `Decision`, `RuleSet.explain` says why, and `emit` makes the headers that leave with it.
"""

from gateway.rules.decision import Decision, emitted_q850
from gateway.rules.emit import emit
from gateway.rules.explain import Explanation
from gateway.rules.facts import Facts, TrunkView, q850_of
from gateway.rules.lint import Finding, lint
from gateway.rules.ruleset import RuleSet
from gateway.rules.schema import compile_rules, load_rules
from gateway.rules.shipped import shipped_rules

__all__ = [
    "Decision",
    "Explanation",
    "Facts",
    "Finding",
    "RuleSet",
    "TrunkView",
    "compile_rules",
    "emit",
    "emitted_q850",
    "lint",
    "load_rules",
    "q850_of",
    "shipped_rules",
]
