"""What is decided about one final response.

Drawing up a decision means filling in what depends on the response and on the trunk that will receive it: the
standard phrase, the cause that agrees with the status, and the translation of a 607 for a trunk that does not
know it (RFC 8197 section 3). Status, phrase and cause are settled here, together, so that they always agree.
"""

from __future__ import annotations

from gateway.rules.causes import cause_for
from gateway.rules.facts import Facts
from gateway.rules.guards import Ruling
from gateway.rules.network_blocked import defects
from gateway.rules.rule import COHERENT, FROM_Q850, KEEP, Actions, Rule
from gateway.sip.phrases import phrase_for
from gateway.sip.rows import Row


class Decision:
    """What to answer, and who decided it. Decisions may be shared between calls, and do not change once they
    have been handed out.

    `emit` makes the headers of it. `status` and `phrase` are always what is to be said, changed or not.
    """

    __slots__ = (
        "actions", "changed", "defects", "fact", "guard", "hunt", "label", "mode", "near_miss", "phrase",
        "q850", "reason_rows", "rest", "rule", "saw", "shadow_rule", "shadow_status", "status",
    )  # fmt: skip

    def __init__(
        self,
        status: int,
        phrase: bytes,
        rule: str = "",
        guard: str = "",
        mode: str = "",
        shadow_rule: str = "",
        shadow_status: int = 0,
        hunt: str = "",
        label: str = "",
        changed: bool = False,
        near_miss: bool = False,
        defects: tuple[str, ...] = (),
        q850: int = KEEP,
        fact: int = 0,
        actions: Actions | None = None,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.rule = rule
        """The enforced rule that decided, "" when none did."""
        self.guard = guard
        """The guard that decided before any rule, or that translated a 607 afterwards."""
        self.mode = mode
        """"enforce" when a rule decided, "canary" when a rule did that decides a share of calls, "shadow"
        when only rules matched that do not decide about this one, else ""."""
        self.shadow_rule = shadow_rule
        """The first rule in shadow, or canary whose share this call is not in, that would have decided;
        `shadow_status` is what it would have said."""
        self.shadow_status = shadow_status
        self.hunt = hunt
        """"continue" or "stop" when hunting is decided on here; "" leaves it to the trunk's settings."""
        self.label = label
        self.changed = changed
        """Whether anything is to be rewritten; when not, the response goes on as it came."""
        self.near_miss = near_miss
        """Whether it is a 603+ gone wrong (`network_blocked.is_near_miss`)."""
        self.defects = defects
        """What is wrong with a 603+ or a near miss of one (`network_blocked.DEFECTS`)."""
        self.q850 = q850
        """The Q.850 cause to say, DROP for none, KEEP for what came."""
        self.fact = fact
        """607 or 608 when the SIP Reason must say so, because the status no longer does; else 0."""
        self.actions = actions
        """The actions of `rule`, for `emit`."""
        self.reason_rows: tuple[Row, ...] | None = None
        """The Reason rows that leave, where they have been worked out already (`emit.prepared`)."""
        self.rest: tuple[str, ...] = ()
        """The canaries that match this call, too, but decide only about others."""
        self.saw = ""
        """The counts of earlier calls that the rules went by, such as "number.answered was 0 in 30d"."""

    @property
    def note(self) -> str:
        """The label, and what was seen of earlier calls, for the record of this one."""
        return f"{self.label}; {self.saw}" if self.label and self.saw else self.label or self.saw

    def about(self, saw: str, rest: tuple[str, ...]) -> Decision:
        """Return this decision as one about a single call, with what was seen, and passed over, for that."""
        copy = Decision(
            self.status, self.phrase, self.rule, self.guard, self.mode, self.shadow_rule, self.shadow_status,
            self.hunt, self.label, self.changed, self.near_miss, self.defects, self.q850, self.fact,
            self.actions,
        )  # fmt: skip
        copy.reason_rows = self.reason_rows
        copy.saw = saw
        copy.rest = rest
        return copy


def by_guard(ruling: Ruling, facts: Facts) -> Decision:
    """Draw up what a guard decided."""
    response = facts.response
    if not ruling.status:
        wrong = defects(facts) if ruling.guard == "network-blocked" else ()
        return Decision(response.status, response.phrase, guard=ruling.guard, hunt=ruling.hunt, defects=wrong)
    return Decision(
        ruling.status,
        phrase_for(ruling.status),
        guard=ruling.guard,
        hunt=ruling.hunt,
        changed=True,
        q850=cause_for(ruling.status, facts.target.q850),
        fact=ruling.fact,
    )


_NO_ACTIONS = Actions()


def by_rule(rule: Rule | None, shadow: Rule | None, facts: Facts, near_miss: bool) -> Decision:
    """Draw up what the enforced `rule` decided, or what happens when none did."""
    response = facts.response
    actions = _NO_ACTIONS if rule is None else rule.actions
    status, phrase, q850 = actions.status, actions.phrase, actions.q850
    hunt, guard, fact = actions.hunt, "", 0
    if status == FROM_Q850:
        status = facts.status_of_cause
        if q850 == COHERENT:  # the cause that came agrees, and says more than the one of the table
            q850 = facts.target.q850.get(status, facts.reasons.q850)
    phrase = phrase or (phrase_for(status) if status else response.phrase)
    status = status or response.status
    if status == 607:
        hunt = hunt or "stop"  # as for every 6xx (RFC 3261 16.7)
        if 607 not in facts.target.supports:
            status, phrase, guard, fact = 603, phrase_for(603), "unwanted-607", 607
            q850 = q850 if actions.status or q850 != KEEP else COHERENT
    if q850 == COHERENT:
        q850 = cause_for(status, facts.target.q850)
    changed = status != response.status or phrase != response.phrase or q850 != KEEP or fact != 0
    return Decision(
        status,
        phrase,
        "" if rule is None else rule.name,
        guard,
        _mode(rule, shadow),
        "" if shadow is None else shadow.name,
        0 if shadow is None else _shadow_status(shadow.actions, facts),
        hunt,
        actions.label,
        changed or actions.edits_headers,
        near_miss,
        defects(facts) if near_miss else (),
        q850,
        fact,
        None if rule is None else actions,
    )


def _mode(rule: Rule | None, shadow: Rule | None) -> str:
    if rule is None:
        return "" if shadow is None else "shadow"
    return "enforce" if rule.canary is None else "canary"


def _shadow_status(actions: Actions, facts: Facts) -> int:
    """Return the status that a rule with these actions would have sent."""
    status = actions.status or facts.response.status
    if status == FROM_Q850:
        status = facts.status_of_cause
    return 603 if status == 607 and 607 not in facts.target.supports else status


def emitted_q850(decision: Decision, facts: Facts) -> int:
    """Return the cause of the Q.850 Reason that leaves with the decision, or 0 when none does."""
    return facts.reasons.q850 if decision.q850 == KEEP else decision.q850
