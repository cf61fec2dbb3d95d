"""What holds for any rule file over any response."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rules import Facts, RuleSet, emit, emitted_q850, q850_of
from gateway.rules.causes import PROTOCOL, cause_for
from gateway.rules.rule import COHERENT
from gateway.sip.headers import parse_reasons
from gateway.sip.message import Response, parse
from gateway.sip.phrases import phrase_for
from tests.rules.support import LEG_HEADERS, FakeTrunk, request, rules

said = attrgetter(
    "status", "phrase", "rule", "guard", "mode", "shadow_rule", "shadow_status", "hunt", "label", "changed",
    "near_miss", "defects", "q850", "fact", "actions", "reason_rows", "rest", "saw",
)  # fmt: skip
"""All that a decision says."""
TRUNKS = st.builds(
    FakeTrunk,
    st.sampled_from(["pbx", "carrier-1", "carrier-2"]),
    st.sampled_from(["pbx", "carrier"]),
    st.frozensets(st.sampled_from([607, 608])),
    st.booleans(),
    st.dictionaries(st.sampled_from([404, 486, 603]), st.integers(1, 127), max_size=1).flatmap(
        lambda causes: st.dictionaries(st.integers(1, 127), st.integers(400, 699), max_size=3).map(
            lambda statuses: causes | statuses
        )
    ),
)
STATUSES = st.one_of(
    st.sampled_from([603, 603, 603, 607, 608, 486, 404, 480, 500]),
    st.sampled_from([603, 603, 607, 486, 600]),
    st.integers(400, 699),
    st.integers(100, 699),
)
PHRASES = st.one_of(
    st.sampled_from([b"Decline", b"Network Blocked", b"number not in service", b"", "größer".encode()]),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")),
)
REASONS = st.one_of(
    st.builds(
        lambda protocol, cause, text, where: f'{protocol};cause={cause};text="{text}"{where}',
        st.sampled_from(["Q.850", "q.850", "SIP", "sip", "Preemption"]),
        st.one_of(st.integers(0, 130), st.sampled_from([603, 607, 608])),
        st.sampled_from(["x", "v=analytics1;url=https://a", 'say \\"no\\"', "a, b; c"]),
        st.sampled_from(["", ";location=LN", ';location="a b"']),
    ),
    st.text("Q.850SIP;cause=123\",<> \\", max_size=30),
)  # fmt: skip
OTHERS = st.sampled_from(
    ["Server: x", "Retry-After: 60", "X-Why: no", "Call-Info: <https://a>;purpose=jwscard", "s: hi"]
)
HEADERS = st.lists(
    st.one_of(
        OTHERS, st.lists(REASONS, min_size=1, max_size=3).map(lambda each: f"Reason: {', '.join(each)}")
    ),
    max_size=4,
)

REWRITABLE = sorted(set(range(400, 700)) - PROTOCOL - {608})
WHEN: dict[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from([603, "6xx", "4xx", [486, 607], "400-699"]),
    "from": st.sampled_from(["kind:carrier", "carrier-*", "pbx"]),
    "to": st.sampled_from(["kind:pbx", ["carrier-1", "pbx"]]),
    "method": st.sampled_from(["INVITE", ["MESSAGE", "INVITE"]]),
    "phrase": st.sampled_from(["number", "^$", "block|dec", ["x", "e"]]),
    "q850": st.sampled_from([1, [1, 2, 3, 21], 22]),
    "sip_cause": st.sampled_from([603, [607, 480]]),
    "reason_text": st.sampled_from(["analytics", "x"]),
    "location": st.sampled_from(["LN", ["U", "RLN"]]),
    "server": st.sampled_from(["x", "free"]),
    "header": st.sampled_from([{"X-Why": True}, {"X-Why": "no"}, {"Server": False}]),
    "request_header": st.sampled_from([{"Diversion": True}, {"From": "pbx"}]),
    "called": st.sampled_from([{"prefix": "+1"}, {"regex": "00$"}]),
    "rang": st.booleans(),
    "after": st.sampled_from(["<300ms", "1s..5s"]),
    "ringing": st.just(">=0s"),
    "retry_after": st.sampled_from([True, False, "<61"]),
    "origin": st.sampled_from(["peer", "local"]),
    "branches": st.sampled_from(["single", "forked", ["all-declined", "any-busy"]]),
    "attestation": st.sampled_from(["A", ["B", "C", "none"]]),
    "days": st.sampled_from(["mon-fri", ["sat", "sun"]]),
    "hours": st.sampled_from(["08:00-18:00", ["22:00-06:00"]]),
}
THEN: dict[str, st.SearchStrategy[Any]] = {
    "status": st.one_of(
        st.sampled_from([404, 410, 486, 603, 607, "from-q850"]), st.sampled_from(REWRITABLE)
    ),
    "phrase": st.sampled_from(["Nope", "Größer"]),
    "q850": st.sampled_from(["coherent", "keep", "drop", 31, 126]),
    "original": st.sampled_from(["reason", "header", "none"]),
    "retry_after": st.sampled_from([False, 5]),
    "set": st.just({"X-Why": "because", "Server": "us"}),
    "remove": st.sampled_from([["Subject"], ["Call-Info", "X-Why"]]),
    "hunt": st.sampled_from(["continue", "stop"]),
    "label": st.just("l"),
}  # fmt: skip


def _some(choices: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=choices)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


@st.composite
def rule_files(draw: st.DrawFn) -> RuleSet:
    text = ""
    for number in range(draw(st.integers(1, 4))):
        keys = draw(st.lists(st.sampled_from(list(WHEN)), max_size=2, unique=True))
        when = {key: draw(WHEN[key]) for key in keys}
        then = draw(_some(THEN)) | {"label": "l"}
        if draw(st.sampled_from([False] * 7 + [True])):
            then = {"pass": True}
        mode = draw(st.sampled_from(["enforce", "enforce", "enforce", "shadow", "off"]))
        share = draw(st.sampled_from(["", "", "share = 0.5\n"])) if mode == "enforce" else ""
        text += f'[[rule]]\nname = "r{number}"\nmode = "{mode}"\n{share}'
        text += f"when = {_inline(when)}\nthen = {_inline(then)}\n"
    return rules(text, None)


@st.composite
def known_facts(draw: st.DrawFn) -> Facts:
    head = b"SIP/2.0 %d " % draw(STATUSES) + draw(PHRASES) + b"\r\n" + LEG_HEADERS
    message = parse(head + "".join(f"{line}\r\n" for line in draw(HEADERS)).encode() + b"\r\n")
    assert isinstance(message, Response)
    return Facts(
        message,
        draw(st.sampled_from([None, request("Diversion: <sip:1@a>")])),
        draw(TRUNKS),
        draw(TRUNKS),
        draw(st.sampled_from([b"INVITE", b"INVITE", b"MESSAGE"])),
        called="+12155550100",
        rang=draw(st.booleans()),
        after=draw(st.sampled_from([None, 0.2, 3.0])),
        local=draw(st.booleans()),
        in_dialog=draw(st.sampled_from([False] * 19 + [True])),
        finals=draw(st.sampled_from([(), (486,), (603, 404)])),
        pending=draw(st.sampled_from([0, 0, 1])),
        now=draw(st.sampled_from([None, 1_800_000_000.0, 1_800_040_000.0])),
        attested=draw(st.sampled_from([None, "A", "C"])),
    )


def kinds(values: list[bytes]) -> list[bytes]:
    return [reason.kind for reason in parse_reasons(values)]


@settings(max_examples=400, deadline=None)
@given(rule_files(), known_facts())
def test_what_leaves_is_sound(ruleset: RuleSet, known: Facts) -> None:
    original = known.response
    decision = ruleset.decide(known)
    rows = emit(decision, known)
    raw = b"SIP/2.0 %d %b\r\n" % (decision.status, decision.phrase)
    again = parse(raw + b"".join(line + b"\r\n" for _, line in rows) + b"\r\n")

    # It is a message that says what was decided, and that keys its rows as the parser does.
    assert isinstance(again, Response)
    assert (again.status, again.phrase) == (decision.status, decision.phrase)
    assert again.rows == rows
    assert q850_of(again) == emitted_q850(decision, known)

    # Classes never mix, and what is protected passes as it came.
    if original.status < 400 or original.status in PROTOCOL or known.in_dialog:
        assert not decision.changed
    else:
        assert 400 <= decision.status <= 699
        assert decision.status not in PROTOCOL or decision.status == original.status
    if not decision.changed:
        assert rows is original.rows
        assert (decision.status, decision.phrase) == (original.status, original.phrase)
    if decision.status != original.status or decision.fact:
        assert decision.status not in (607, 608) or decision.status in known.target.supports

    # At most one Reason value of each protocol that matters, unless the far end sent more and none is said.
    came, leaves = kinds(original.values(b"Reason")), kinds(again.values(b"Reason"))
    for protocol in (b"Q.850", b"SIP"):
        rebuilt = decision.q850 != -1 or decision.fact
        assert leaves.count(protocol) <= (1 if rebuilt else max(1, came.count(protocol)))
    assert came.count(b"PREEMPTION") == leaves.count(b"PREEMPTION")

    # Status, phrase and cause agree, unless the rule itself says otherwise.
    if decision.status != original.status and decision.actions is None:
        assert decision.phrase == phrase_for(decision.status)
        assert emitted_q850(decision, known) == cause_for(decision.status, known.target.q850)
    if decision.actions is not None and decision.actions.status > 0 and decision.actions.q850 == COHERENT:
        assert emitted_q850(decision, known) == cause_for(decision.status, known.target.q850)


@settings(max_examples=400, deadline=None)
@given(rule_files(), known_facts())
def test_explain_agrees_with_decide(ruleset: RuleSet, known: Facts) -> None:
    decision = ruleset.decide(known)
    explanation = ruleset.explain(known)
    assert said(explanation.decision) == said(decision)
    assert explanation.emitted.status == decision.status
    matched = [step.rule for step in explanation.steps if step.outcome == "matched"]
    shadows = [step.rule for step in explanation.steps if step.outcome in ("shadow", "spared")]
    assert matched == ([decision.rule] if decision.rule else [])
    assert shadows[:1] == ([decision.shadow_rule] if decision.shadow_rule else [])
    assert not matched or explanation.steps[-1].rule == matched[0]
    if decision.guard not in ("", "unwanted-607"):
        assert explanation.steps == ()
    assert explanation.as_text()
    json.dumps(explanation.as_dict())


@settings(max_examples=100, deadline=None)
@given(rule_files(), known_facts())
def test_deciding_twice_is_deciding_once(ruleset: RuleSet, known: Facts) -> None:
    rows = list(known.response.rows)
    first = ruleset.decide(known)
    emitted = emit(first, known)
    assert said(ruleset.decide(known)) == said(first)
    assert emit(first, known) == emitted
    assert emit(ruleset._decide(known), known) == emitted  # remembered or not
    assert known.response.rows == rows
