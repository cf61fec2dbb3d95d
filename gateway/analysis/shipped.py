"""The shipped rules as judges: what they would have made of a final, and their text to copy."""

from __future__ import annotations

from functools import cache

from gateway.analysis.model import Hop
from gateway.b2bua.record import TrunkNote
from gateway.rules import Facts, RuleSet, compile_rules, shipped_rules

_CARRIER = TrunkNote("carrier", "carrier")
_PBX = TrunkNote("pbx", "pbx")


@cache
def _rules() -> RuleSet:
    return compile_rules(shipped_rules(), None)


def judged(hop: Hop) -> tuple[Facts, str]:
    """Return what rules see of the final of a hop, as if a carrier had said it to a PBX, and the name of the
    shipped rule that decides it, "" when it is none.
    """
    if hop.judged is None:
        final, rang_at = hop.ending, hop.rang_at
        facts = Facts(
            hop.response,
            hop.request,
            _CARRIER,
            _PBX,
            b"INVITE",
            hop.called,
            hop.caller,
            rang_at is not None,
            final.at - hop.invite.at,
            None if rang_at is None else final.at - rang_at,
            now=final.at,
        )
        hop.judged = facts, _rules().decide(facts).rule
    return hop.judged


@cache
def rule_text(name: str) -> str:
    """Return the text of a shipped rule, as a block of TOML without the comments around it."""
    for block in shipped_rules().text.split("[[rule]]\n")[1:]:
        lines = block.split("\n\n")[0].split("\n")
        if f'name = "{name}"' in lines:
            kept = [line for line in lines if not line.startswith("#")]
            return "[[rule]]\n" + "\n".join(kept).rstrip() + "\n"
    raise KeyError(name)
