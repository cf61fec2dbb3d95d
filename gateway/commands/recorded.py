"""A recorded call, explained anew: what was known of it is in the ledger, and so are the rules of its day."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from gateway.b2bua.record import CallRecord
from gateway.config import Config
from gateway.ledger import canaries as stops
from gateway.ledger import query, versions
from gateway.ledger.evidence import Unpacker
from gateway.ledger.past import read_history
from gateway.rules import Explanation, Facts, RuleSet, compile_rules
from gateway.rules.replay import Outcome
from gateway.toml_source import SettingsErrors, TomlSource

from .ledgers import Refused
from .output import printable
from .sources import read_rules


class Recorded(NamedTuple):
    """A call as it was: what rules could see of it, what was made of it, and the rules to explain it by."""

    record: CallRecord
    facts: Facts
    outcome: Outcome
    rules: RuleSet

    def as_text(self) -> str:
        """Return the explanation for a terminal, and whether it tells what was done."""
        record, rules = self.record, self.rules.version_hash
        explanation = self.rules.explain(self.facts)
        under = "the very same" if rules == record.rules_hash else f"and this is by {rules}"
        lines = [
            explanation.as_text(),
            f"call {record.id} was decided under rules {record.rules_hash}, {under}",
        ]
        if self._differs(explanation):
            lines.append(f"it was told {self.outcome.answer} by {self.outcome.by}: {self._why_not()}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as plain values, for JSON."""
        explanation = self.rules.explain(self.facts)
        return explanation.as_dict() | {
            "call": self.record.id,
            "rules": self.rules.version_hash,
            "decided_under": self.record.rules_hash,
            "differs": self._differs(explanation),
        }

    def _differs(self, explanation: Explanation) -> bool:
        """Tell whether these rules decide otherwise than it was decided."""
        now, was = explanation.decision, self.outcome
        return (now.status, now.rule, now.guard) != (was.status, was.rule, was.guard)

    def _why_not(self) -> str:
        if self.record.rules_hash != self.rules.version_hash:
            return "these rules are others"
        if self.outcome.numbers_hidden:
            return "its numbers are hidden, so that rules about numbers find others"
        return "a number list, or what is known of earlier calls, is not what it was"


def recorded(connection: sa.Connection, call: str, rules: Path | None, config: Config) -> Recorded:
    """Find the call that an id, or how it begins, or a Call-ID names, and its rules: those in the file
    `rules`, or else those that decided. Raises Refused, or SettingsErrors when the rules cannot be read.
    """
    found = query.by_id(connection, call) or query.by_call_id(connection, call)
    if not found:
        raise Refused(f"no call has an id or Call-ID like {printable(call)!r}; `gateway calls` lists them")
    if len(found) > 1:
        raise Refused(f"{printable(call)!r} means more than one call; give more of the id")
    (record,) = found
    blob = query.evidence_of(connection, record.id)
    if blob is None:
        why = "it was answered" if record.answered_at else "no rejection of it was passed to the caller"
        raise Refused(f"no rules were asked about call {record.id}, since {why}; name one that was rejected")
    try:
        facts, outcome = Unpacker().unpack(blob, record)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refused(f"what is kept of call {record.id} cannot be read ({error})") from None
    ruleset = read_rules(rules, config) if rules is not None else _of_its_day(connection, record, config)
    stops.apply_pauses(ruleset, stops.history(connection))
    if ruleset.watches and facts.now is not None:
        facts.history = read_history(connection, ruleset.watches, facts.now, as_kept=True)
    return Recorded(record, facts, outcome, ruleset)


def _of_its_day(connection: sa.Connection, record: CallRecord, config: Config) -> RuleSet:
    remedy = "name a rule file with --rules"
    kept = versions.by_hash(connection, record.rules_hash)
    if not kept:
        name = record.rules_hash or "of no version"
        raise Refused(f"the rules {name} that decided call {record.id} are not kept in this ledger; {remedy}")
    source = TomlSource.parse(kept[0].text, str(config.gateway.rules))
    try:
        return compile_rules(source, None)
    except SettingsErrors as errors:
        problem = f"the rules {record.rules_hash} cannot be read any more ({errors.errors[0]})"
        raise Refused(f"{problem}; {remedy}") from None
