"""Each rule marked R in what a response normaliser must know, over any rule file and any response.

A table of invariants, each a sentence with a check of what came against what leaves; the checks read the
bytes that leave, parsed anew, and know nothing of how they were decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings

from gateway.rules import Facts, RuleSet, emit
from gateway.rules.causes import CAUSE_TO_STATUS, SIP_TO_CAUSE
from gateway.sip.headers import Reason, parse_reasons
from gateway.sip.message import Response, parse
from gateway.sip.phrases import phrase_for
from tests.rules.support import rules
from tests.rules.test_properties import known_facts, rule_files

PROTECTED = {401, 407, 422, 487, 491, 423, 428, 436, 437, 438}


@dataclass
class Passage:
    """What came, what leaves, and what the rule that decided asked for."""

    known: Facts
    came: Response
    leaves: Response
    hunt: str
    rule_status: int
    rule_phrase: bytes
    rule_q850: int | None

    @property
    def is_as_it_came(self) -> bool:
        same = self.leaves.status == self.came.status and self.leaves.phrase == self.came.phrase
        return same and self.leaves.rows == self.came.rows

    @property
    def is_network_blocked(self) -> bool:
        said = self.came.phrase.strip().lower() == b"network blocked"
        texts = [value.text for value in reasons(self.came)]
        return self.came.status == 603 and said and any(text.startswith(b"v=analytics1;") for text in texts)


def reasons(response: Response, protocol: bytes = b"") -> list[Reason]:
    found = parse_reasons(response.values(b"Reason"))
    return [value for value in found if not protocol or value.kind == protocol]


def passage(ruleset: RuleSet, known: Facts) -> Passage:
    decision = ruleset.decide(known)
    rows = emit(decision, known)
    raw = b"SIP/2.0 %d %b\r\n" % (decision.status, decision.phrase)
    leaves = parse(raw + b"".join(line + b"\r\n" for _, line in rows) + b"\r\n")
    assert isinstance(leaves, Response)
    actions = decision.actions
    return Passage(
        known,
        known.response,
        leaves,
        decision.hunt,
        0 if actions is None else actions.status,
        b"" if actions is None else actions.phrase,
        None if actions is None else actions.q850,
    )


def never_to_or_from_what_is_no_failure(it: Passage) -> bool:
    if it.known.in_dialog or it.came.status < 400 or it.came.status in PROTECTED:
        return it.is_as_it_came
    return 400 <= it.leaves.status <= 699 and it.leaves.status not in PROTECTED


def a_603_plus_passes_byte_for_byte_and_stops_hunting(it: Passage) -> bool:
    if not it.is_network_blocked or it.known.in_dialog or it.known.target.rewrite_network_blocked:
        return True
    return it.is_as_it_came and it.hunt == "stop"


def a_608_reaches_who_knows_it_and_says_so_to_others(it: Passage) -> bool:
    if it.came.status != 608 or it.known.in_dialog:
        return True
    cards = it.leaves.values(b"Call-Info") == it.came.values(b"Call-Info")
    if 608 in it.known.target.supports:
        return it.is_as_it_came and it.hunt == "stop"
    said = [value.cause for value in reasons(it.leaves, b"SIP")]
    return it.leaves.status == 603 and said == [608] and cards and it.hunt == "stop"


def nobody_gets_a_607_or_608_that_it_does_not_know(it: Passage) -> bool:
    changed = it.leaves.status != it.came.status or it.came.status == 607
    if it.leaves.status not in (607, 608) or it.known.in_dialog or not changed:
        return True
    return it.leaves.status in it.known.target.supports


def a_607_and_a_608_are_never_turned_into_one_another(it: Passage) -> bool:
    said = {value.cause for value in reasons(it.came, b"SIP")[:1]}
    if it.came.status == 607 or (it.came.status == 603 and said == {607}):
        return it.leaves.status != 608 and (it.came.status != 607 or not says(it.leaves, 608, it.came))
    if it.came.status == 608 or (it.came.status == 603 and said == {608}):
        return it.leaves.status != 607
    return True


def says(response: Response, cause: int, unless: Response) -> bool:
    """Tell whether a Reason of the response says a cause that none of the other one did."""
    known = {value.cause for value in reasons(unless, b"SIP")}
    return cause not in known and any(value.cause == cause for value in reasons(response, b"SIP"))


def status_and_phrase_leave_together(it: Passage) -> bool:
    if it.leaves.status == it.came.status:
        return True
    return it.leaves.phrase in (phrase_for(it.leaves.status), it.rule_phrase)


def status_and_cause_leave_together(it: Passage) -> bool:
    """Unless the rule itself says a cause, keeps it or drops it."""
    if it.leaves.status == it.came.status or it.rule_q850 not in (None, -2):
        return True
    said = [value.cause for value in reasons(it.leaves, b"Q.850")]
    table = it.known.target.q850
    right = {table.get(it.leaves.status, SIP_TO_CAUSE.get(it.leaves.status, 0))}
    if it.rule_status == -1:  # from-q850: the cause that came, which stands for this status
        cause = next((value.cause or 0 for value in reasons(it.came, b"Q.850") if value.cause), 0)
        stands_for = {it.known.source.q850.get(cause), CAUSE_TO_STATUS.get(cause), 603 if cause == 21 else 0}
        right = {table.get(it.leaves.status, cause)} if it.leaves.status in stands_for else right
    return said == [cause for cause in right if cause]


def one_reason_value_a_protocol(it: Passage) -> bool:
    """Of Q.850 and SIP, wherever the Reason was rewritten (RFC 3326)."""
    if it.leaves.values(b"Reason") == it.came.values(b"Reason"):
        return True
    for protocol in (b"Q.850", b"SIP"):
        kept = it.rule_q850 == -1 and len(reasons(it.leaves, protocol)) == len(reasons(it.came, protocol))
        if len(reasons(it.leaves, protocol)) > 1 and not kept:
            return False
    return True


def what_nobody_speaks_of_stays_byte_for_byte(it: Passage) -> bool:
    """All rules here together may edit these headers only."""
    edited = {
        b"Reason",
        b"x-why",
        b"Server",
        b"Subject",
        b"Call-Info",
        b"Retry-After",
        b"x-original-response",
    }
    return [row for row in it.leaves.rows if row[0] not in edited] == [
        row for row in it.came.rows if row[0] not in edited
    ]


INVARIANTS: list[Callable[[Passage], bool]] = [
    never_to_or_from_what_is_no_failure,
    a_603_plus_passes_byte_for_byte_and_stops_hunting,
    a_608_reaches_who_knows_it_and_says_so_to_others,
    nobody_gets_a_607_or_608_that_it_does_not_know,
    a_607_and_a_608_are_never_turned_into_one_another,
    status_and_phrase_leave_together,
    status_and_cause_leave_together,
    one_reason_value_a_protocol,
    what_nobody_speaks_of_stays_byte_for_byte,
]


@settings(max_examples=1500, deadline=None)
@given(rule_files(), known_facts())
def test_whatever_rules_say_each_final_that_leaves_keeps_the_invariants(
    ruleset: RuleSet, known: Facts
) -> None:
    it = passage(ruleset, known)
    broken = [invariant.__name__ for invariant in INVARIANTS if not invariant(it)]
    assert broken == []


@pytest.mark.parametrize("when", ["", "when.status = '6xx'\n", "when.status = 603\n"])
@settings(max_examples=300, deadline=None)
@given(known=known_facts())
def test_nor_does_a_rule_that_rewrites_everything_break_them(when: str, known: Facts) -> None:
    for then in ("404", "486", "603", "607", "'from-q850'"):
        it = passage(rules(f"{when}then.status = {then}", None), known)
        assert [invariant.__name__ for invariant in INVARIANTS if not invariant(it)] == []
