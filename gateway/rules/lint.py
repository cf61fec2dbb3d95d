"""What is probably not meant in a valid rule file: warnings, and notes that only inform.

A warning is a rule that has no effect, or does calls harm. A note is worth knowing: most of all what a rule
does to forking, since 4xx ends one branch and 6xx ends them all (RFC 3261 16.7), so that a rewrite between
the two changes what others do upstream. Each finding says what happens to calls, and what to do.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.patterns import TrunkPattern
from gateway.rules.causes import PROTOCOL, cause_for, status_for
from gateway.rules.conditions import any_of, quoted
from gateway.rules.network_blocked import PHRASE
from gateway.rules.overlap import Certainty, Overlaps
from gateway.rules.rule import FROM_Q850, KEEP, Rule
from gateway.rules.ruleset import RuleSet
from gateway.toml_source import SettingsError

_ALWAYS_GUARDED = PROTOCOL | {608}
_SAYS_DEAD = frozenset((404, 410, 484, 604))
_NO_EVIDENCE = frozenset(("status", "method", "from", "to", "caller", "origin", "days", "hours", "branches"))
_MOST_COMPARED = 500  # earlier rules about one status that a rule is compared with
_IF_MEANT = "nothing is to be done if this is meant"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, whose `text` is one sentence, `file:line: key: what it does to calls; what to do`.

    `level` is "warning" or "note", `kind` a word for programs, `rule` the name of the rule.
    """

    level: str
    kind: str
    rule: str
    text: SettingsError


_Found = tuple[str, str, tuple[str, ...], str, str]
"""Level, kind, key below the rule, problem, remedy."""


def lint(rules: RuleSet, trunks: Mapping[str, str] | None = None) -> list[Finding]:
    """Return what is worth a look in a valid rule file, in the order of the file.

    `trunks` (name -> kind) are those of the configuration, None when it is not known.
    """
    overlaps = Overlaps(trunks)
    before: defaultdict[int, list[Rule]] = defaultdict(list)
    neighbour: Rule | None = None
    findings = []
    for rule in rules.rules:
        if rule.mode == "off":
            continue
        found = [*_idle(rule, before, overlaps, trunks)]
        if not found:
            found += _contradiction(neighbour, rule, overlaps)
            found += (*_incoherence(rule), *_hazards(rule), *_crossings(rule), *_trust(rule, rules))
        for level, kind, key, problem, remedy in found:
            text = rules.source.error(("rule", rule.index, *key), problem, remedy)
            findings.append(Finding(level, kind, rule.name, text))
        if rule.decides_all:
            neighbour = rule
            for status in rule.statuses:
                before[status].append(rule)
    return findings


def never_fired(rules: RuleSet, rule: Rule, calls: int, since: str) -> Finding:
    """Return the finding on a rule that has decided nothing: of how many rejections that it may match, and
    since when, for people.
    """
    problem = f"the rule matched none of the {calls:,} rejections with such a status since {since}"
    remedy = "remove it, unless it is there for something rare"
    return Finding(
        "note", "never-fired", rule.name, rules.source.error(("rule", rule.index), problem, remedy)
    )


def _idle(
    rule: Rule, before: Mapping[int, list[Rule]], overlaps: Overlaps, trunks: Mapping[str, str] | None
) -> Iterator[_Found]:
    """Find what keeps a rule from ever matching."""
    asked = rule.statuses - _ALWAYS_GUARDED
    if not asked:
        problem = "no rule is ever asked about these statuses, because guards protect them"
        yield "warning", "guarded", ("when", "status"), problem, "remove the rule"
        return
    sip_causes = next((each.choices for each in rule.conditions if each.key == "sip_cause"), frozenset((0,)))
    if asked <= {603} and sip_causes <= {607, 608}:
        problem = "the rule never matches, because a 603 that stands for a 607 or 608 is kept by a guard"
        yield "warning", "guarded", ("when", "sip_cause"), problem, "remove the rule"
        return
    for condition in rule.conditions:
        if trunks is not None and condition.key in ("from", "to"):
            pattern = TrunkPattern(list(condition.choices))
            if not any(pattern.matches(name, kind) for name, kind in trunks.items()):
                problem = f"the rule never matches, because no trunk is {condition.wanted}"
                remedy = f"the trunks are {', '.join(trunks)}; name one of them, or remove the rule"
                yield "warning", "no-trunk", ("when", condition.key), problem, remedy
                return
    yield from _covered(rule, asked, before, overlaps)


def _covered(
    rule: Rule, asked: frozenset[int], before: Mapping[int, list[Rule]], overlaps: Overlaps
) -> Iterator[_Found]:
    """Find enforced rules that, together, match everything that this one does."""
    certainty = Certainty.PROVED
    known: dict[Rule, Certainty] = {}
    covers: dict[Rule, None] = {}
    for status in sorted(asked):
        best, cover = Certainty.NO, None
        for other in before.get(status, ())[:_MOST_COMPARED]:
            if other not in known:
                known[other] = overlaps.covers(other, rule)
            if known[other] > best:
                best, cover = known[other], other
        if cover is None:
            return
        covers[cover] = None
        certainty = min(certainty, best)
    names = " and ".join(quoted(other.name for other in covers))
    verb = "matches" if len(covers) == 1 else "match"
    if certainty is Certainty.PROVED:
        problem = f"the rule never matches, because {names} {verb} everything that it does"
        yield "warning", "unreachable", (), problem, "move it up, or remove it"
    else:
        problem = f"the rule hardly ever matches, because {names} most likely {verb} what it does"
        yield "note", "shadowed", (), problem, "move it up if it is to decide"


def _contradiction(first: Rule | None, second: Rule, overlaps: Overlaps) -> Iterator[_Found]:
    """Find values on which a rule and the one above it disagree."""
    if first is None or first.actions.status == second.actions.status:
        return
    common = overlaps.common(first, second)
    if common:
        both = ", ".join(f"{key} {any_of(sorted(map(str, found))[:8])}" for key, found in common.items())
        said = f"{_says(first)}, and not {_says(second)}"
        problem = f'"{first.name}" above it matches {both} too, so that callers hear {said}'
        yield "warning", "contradiction", (), problem, "keep these values in one of the two"


def _says(rule: Rule) -> str:
    status = rule.actions.status
    return "what its cause stands for" if status == FROM_Q850 else str(status or "what came")


def _incoherence(rule: Rule) -> Iterator[_Found]:
    """Find a cause that contradicts the status it leaves with: many systems believe the cause."""
    cause, status = rule.actions.q850, rule.actions.status
    if cause == KEEP and status > 0:
        problem = f"the cause that came stays beside {status}, and many systems believe the cause"
        yield "warning", "incoherent", ("then", "q850"), problem, 'write "coherent" or "drop"'
    if cause <= 0:
        return
    said = [status] if status > 0 else sorted(rule.statuses) if len(rule.statuses) == 1 else []
    for emitted in said:
        if cause_for(emitted, {}) == cause or status_for(cause, emitted == 603, {}) == emitted:
            continue
        meant = status_for(cause, False, {})
        reads = f", and read it as {meant}" if meant else ""
        problem = f"cause {cause} does not agree with {emitted}, and many systems believe the cause{reads}"
        right = cause_for(emitted, {})
        remedy = f"write {right}, or leave the key out" if right else 'write "drop"'
        yield "warning", "incoherent", ("then", "q850"), problem, remedy


def _hazards(rule: Rule) -> Iterator[_Found]:
    """Find what the law and RFC 8688 warn of about blocked calls, and what nobody would hear."""
    after, keys = rule.actions.status, {condition.key for condition in rule.conditions}
    unheard = sorted(rule.methods - {"INVITE"})
    if after == 408 and unheard:
        problem = f"{' and '.join(unheard)} get no answer, because a 408 is said to INVITE alone (RFC 4320)"
        yield "warning", "silence", ("then", "status"), problem, "write another status, such as 504"
    if 603 in rule.statuses and after in _SAYS_DEAD and keys <= _NO_EVIDENCE:
        problem = (
            f"every 603 becomes {after}, also that of a blocked caller, so that others "
            "strike a living number off their lists (RFC 8688 section 1)"
        )
        remedy = "add evidence about the number: when.q850, when.phrase, when.called.list"
        yield "note" if "from" in keys else "warning", "bare-603", ("then", "status"), problem, remedy
    if rule.actions.phrase.strip().lower() == PHRASE:
        problem = "callers hear of a 603+ Network Blocked that no analytics engine sent (ATIS-1000099)"
        yield "warning", "invented-603-plus", ("then", "phrase"), problem, "write another phrase"
    phrases = {text for each in rule.conditions if each.key == "phrase" for text in each.choices}
    finds_it = any(re.search(text, PHRASE.decode(), re.IGNORECASE) for text in phrases)
    if finds_it and 603 in rule.statuses and after not in (0, 603):
        problem = f"a 603+ whose Reason its carrier forgot becomes {after} by this phrase"
        yield "note", "near-miss", ("when", "phrase"), problem, "leave Network Blocked out of the phrase"


def _crossings(rule: Rule) -> Iterator[_Found]:
    """Note what crosses between 4xx or 5xx and 6xx, and what hunts on after a 6xx."""
    after, asked = rule.actions.status, rule.statuses - _ALWAYS_GUARDED
    key = ("then", "status")
    if 0 < after < 600 and any(status >= 600 for status in asked):
        problem = f"6xx becomes {after}, so that upstream may go on to try other branches"
        yield "note", "downgrade", key, problem, _IF_MEANT
    if after >= 600 and any(status < 600 for status in asked):
        problem = f"a status below 600 becomes {after}, so that upstream stops all other branches"
        yield "note", "upgrade", key, problem, _IF_MEANT
    if rule.actions.hunt == "continue" and any(status >= 600 for status in asked):
        problem = "after a 6xx, which speaks for all branches, further targets are called"
        yield "note", "hunts-on", ("then", "hunt"), problem, _IF_MEANT


def _trust(rule: Rule, rules: RuleSet) -> Iterator[_Found]:
    """Note what a condition takes for granted."""
    keys = {condition.key for condition in rule.conditions}
    if "attestation" in keys:
        problem = "the attestation is what the call claims: no signature is verified"
        yield "note", "unverified", ("when", "attestation"), problem, _IF_MEANT
    if not keys.isdisjoint(("days", "hours")) and "tz" not in rules.source.data["rule"][rule.index]["when"]:
        problem = "the rule goes by UTC, because it names no time zone"
        yield "note", "utc", ("when",), problem, 'add when.tz, such as "Europe/Berlin", if another is meant'
