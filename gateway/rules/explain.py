"""Why did this code come out? The walk of `RuleSet.decide`, told to a person.

The walk asks the very conditions that `decide` asks, in the same order, and notes for each rule that did not
match the first condition that failed, with what was wanted and what was seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gateway.rules.causes import cause_name
from gateway.rules.decision import Decision, emitted_q850
from gateway.rules.emit import emit
from gateway.rules.facts import Facts, q850_of, shown
from gateway.rules.guards import MEANINGS, judge
from gateway.rules.network_blocked import DEFECTS
from gateway.rules.rule import Rule
from gateway.toml_source import TomlSource


@dataclass(frozen=True, slots=True)
class Step:
    """What happened at one rule: `outcome` is "matched", "shadow", "spared" (a canary that matches, but does
    not decide about this call), "failed" or "off".

    `condition`, `wanted` and `seen` belong to the first condition that failed, and are empty otherwise;
    but a rule that matched by counts of earlier calls has these in `seen`, and a canary its share.
    """

    rule: str
    line: int
    outcome: str
    condition: str = ""
    wanted: str = ""
    seen: str = ""


class Triple(NamedTuple):
    """What one response says: status, phrase, and the cause of its Q.850 Reason (0 when it has none)."""

    status: int
    phrase: str
    q850: int

    def __str__(self) -> str:
        name = cause_name(self.q850)
        cause = f"Q.850 cause {self.q850}{f' ({name})' if name else ''}" if self.q850 else "no Q.850 cause"
        return f"{self.status} {self.phrase}".rstrip() + f", {cause}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with the steps that led to it."""

    file: str
    source: str
    target: str
    original: Triple
    emitted: Triple
    headers: tuple[str, ...]
    """The header lines that leave otherwise than they came."""
    decision: Decision
    steps: tuple[Step, ...]
    """The rules asked, in order; none when a guard decided first."""

    def as_text(self) -> str:
        """Return the explanation for a terminal, without a line end behind it."""
        decision = self.decision
        lines = [f"{self.original}: from {self.source} to {self.target}"]
        lines += [f"  {_told(step, self.file)}" for step in self.steps]
        if decision.guard:
            lines.append(f"  guard {decision.guard}: {MEANINGS[decision.guard]}")
        if decision.near_miss:
            lines.append("  near miss: a 603+ has both the phrase Network Blocked and a text v=analytics1;")
        lines += [f"  603+ defect {defect}: {DEFECTS[defect]}" for defect in decision.defects]
        if decision.shadow_rule:
            kind = "canary" if decision.shadow_rule in decision.rest else "shadow rule"
            lines.append(f"  {kind} {decision.shadow_rule} would have said {decision.shadow_status}")
        who = f"by rule {decision.rule}" if decision.rule else "by no rule"
        if decision.guard and not decision.rule:
            who = f"by guard {decision.guard}"
        lines.append(f"-> {self.emitted}: {'changed' if decision.changed else 'unchanged'} {who}")
        lines += [f"   {header}" for header in self.headers]
        if decision.hunt:
            lines.append(f"   hunting: {decision.hunt}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as plain values, for JSON."""
        decision = self.decision
        return {
            "from": self.source,
            "to": self.target,
            "original": self.original._asdict(),
            "emitted": self.emitted._asdict(),
            "changed": decision.changed,
            "headers": list(self.headers),
            "rule": decision.rule,
            "guard": decision.guard,
            "mode": decision.mode,
            "label": decision.label,
            "hunt": decision.hunt,
            "near_miss": decision.near_miss,
            "defects": list(decision.defects),
            "shadow": {"rule": decision.shadow_rule, "status": decision.shadow_status},
            "steps": [asdict(step) for step in self.steps],
        }


def explain(rules: Iterable[Rule], source: TomlSource, facts: Facts, decision: Decision) -> Explanation:
    """Tell how `decision` came about from these rules, which were read from `source`."""
    response = facts.response
    emitted = emit(decision, facts)
    came = set(response.rows)
    return Explanation(
        source.file,
        facts.source.name,
        facts.target.name,
        Triple(response.status, shown(response.phrase), q850_of(response)),
        Triple(decision.status, shown(decision.phrase), emitted_q850(decision, facts)),
        tuple(shown(row[1]) for row in emitted if row not in came),
        decision,
        () if judge(facts) is not None else tuple(_walk(rules, source, facts)),
    )


def _walk(rules: Iterable[Rule], source: TomlSource, facts: Facts) -> Iterable[Step]:
    """Ask each rule, up to the first enforced one that matches."""
    for rule in rules:
        line = source.line("rule", rule.index)
        if rule.mode == "off":
            yield Step(rule.name, line, "off")
            continue
        failed = next((condition for condition in rule.conditions if not condition.test(facts)), None)
        if failed is not None:
            yield Step(rule.name, line, "failed", failed.key, failed.wanted, failed.seen(facts))
            continue
        seen = rule.saw(facts)
        if rule.canary is not None:
            seen = "; ".join(filter(None, (rule.canary.told(facts), seen)))
        if rule.decides(facts):
            yield Step(rule.name, line, "matched", seen=seen)
            return
        yield Step(rule.name, line, "shadow" if rule.canary is None else "spared", seen=seen)


def _told(step: Step, file: str) -> str:
    where = f"{step.rule} ({file}:{step.line})"
    if step.outcome == "failed":
        return f"{where}: no, {step.condition} is {step.seen}, wanted {step.wanted}"
    said = {
        "matched": "yes",
        "shadow": "would match, but is in shadow mode",
        "spared": "would match, but",
        "off": "off",
    }
    between = " " if step.outcome == "spared" else ", "
    return f"{where}: {said[step.outcome]}" + (f"{between}{step.seen}" if step.seen else "")
