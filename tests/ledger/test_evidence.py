"""What the ledger keeps of a decision is enough to decide again, and holds nothing that it should not."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from gateway.b2bua.record import CallRecord
from gateway.ledger.database import connect, parse_url
from gateway.ledger.evidence import Unpacker
from gateway.ledger.hiding import hidden
from gateway.ledger.packing import RowMaker, emitted_checksum, pack
from gateway.ledger.query import Selection, evidence
from gateway.ledger.schema import COLUMNS, calls, metadata
from gateway.rules import Facts, RuleSet, emit, emitted_q850, shipped_rules
from gateway.rules.replay import Call, Replay
from tests.helpers import CONFIG, HUNTING, Net
from tests.ledger.records import Judged
from tests.rules.support import facts, request, rules
from tests.rules.test_properties import known_facts, rule_files


def stored(record: CallRecord, hide: bool = False) -> tuple[CallRecord, bytes]:
    """A record and its evidence as they come out of the ledger."""
    values = dict(zip(COLUMNS, RowMaker(hide, b"key")(record), strict=True))
    blob: Any = values.pop("evidence")
    return CallRecord(**values), blob


def replayed(records: list[CallRecord], candidate: RuleSet, hide: bool = False) -> Replay:
    """Replay records, through the form that the ledger keeps."""
    replay = Replay(candidate, emitted_checksum)
    unpack = Unpacker().unpack
    for record in records:
        if record.evidence is not None:
            kept, blob = stored(record, hide)
            known, was = unpack(blob, kept)
            replay.judge(known, was, Call(record.id, record.ended_at, kept.caller, kept.called))
    return replay


# -- replay under the rules that decided shows no difference ----------------------------------------------

FINALS = (
    (603, "Decline", "Reason: Q.850;cause=1"),
    (603, "Unallocated number", ""),
    (603, "Network Blocked", 'Reason: SIP;cause=603;text="v=analytics1;url=https://a";location=TN'),
    (603, "Network Blocked", ""),
    (603, "Decline", "Reason: SIP;cause=607"),
    (607, "Unwanted", ""),
    (608, "Rejected", "Call-Info: <https://a>;purpose=jwscard"),
    (486, "Busy Here", "Reason: Q.850;cause=17\nServer: x/1.2\nX-Odd: first\nX-Odd: second"),
    (404, "Not Found", "Reason: Q.850;cause=16;location=LN, SIP;cause=404"),
    (480, "größer", "Retry-After: 60"),
    (503, "Service Unavailable", "Retry-After: 5"),
    (500, "", "Warning: 399 x \"y\""),
    (302, "Moved", "Contact: <sip:2@192.0.2.9>"),
    (600, "Busy Everywhere", "Reason: Q.850;cause=17"),
)  # fmt: skip
HEADERS = ("Diversion: <sip:9@x>", "User-Agent: phone", "Identity: e30.eyJhdHRlc3QiOiJBIn0.x;ppt=shaken", "")
RANDOM_RULES = """
[[rule]]
name = "seen-ringing"
when.status = [486, 480]
when.rang = true
when.ringing = ">500ms"
then.status = 410
[[rule]]
name = "edits"
when.status = "4xx"
when.header.X-Odd = "second"
then.set.X-Why = "odd"
then.remove = ["Server"]
then.retry_after = 7
[[rule]]
name = "fork"
when.branches = "any-busy"
when.request_header.Diversion = true
then.status = 600
[[rule]]
name = "in-shadow"
mode = "shadow"
when.status = 404
then.status = 410
[[rule]]
name = "slow"
when.after = ">1s"
when.status = "400-699"
when.called.prefix = "1"
then.status = 480
then.hunt = "stop"
[[rule]]
name = "local"
when.origin = "local"
when.status = [408, 503]
then.status = 504
"""


def play(net: Net, random: Random, count: int) -> None:
    """Let that many calls be rejected, in all the ways there are."""
    for _ in range(count):
        caller = random.choice((net.pbx, net.pbx, net.carrier))
        callees = [net.pbx] if caller is net.carrier else [net.carrier, net.backup]
        caller.invite(headers=random.choice(HEADERS))
        for _ in range(6):
            net.run(0.01)
            callee = next((peer for peer in callees if any(is_invite(m) for m in peer.inbox)), None)
            if callee is None:
                break
            offer = next(message for message in callee.inbox if is_invite(message))
            callee.forget()
            net.run(random.choice((0.0, 0.2, 1.5)))
            if random.random() < 0.4:
                callee.reply(offer, 180)
                net.run(random.choice((0.1, 2.0)))
            status, phrase, headers = random.choice(FINALS)
            callee.reply(offer, status, phrase, headers=headers)
            net.run(0.01)
            callee.forget()
        net.run(40.0 if random.random() < 0.02 else 0.1)
        caller.forget()
        for peer in callees:
            peer.forget()


def is_invite(message: Any) -> bool:
    return getattr(message, "method", b"") == b"INVITE"


KNOWS = CONFIG.replace('kind = "pbx"', 'kind = "pbx"\nsupports = ["607", "608"]')


@pytest.mark.parametrize("config", [CONFIG, HUNTING, KNOWS])
@pytest.mark.parametrize("text", [shipped_rules().text, "version = 1\n" + RANDOM_RULES])
def test_replay_under_the_rules_that_decided_shows_no_difference(config: str, text: str) -> None:
    net = Net(config, rules=text)
    play(net, Random(len(text)), 500)
    judged = [record for record in net.records if record.evidence is not None]
    assert len(judged) > 400
    assert {record.rules_hash for record in judged} == {net.core.setup.rules.version_hash}
    replay = replayed(net.records, net.core.setup.rules)
    assert replay.judged == len(judged)
    assert not replay.changes
    others = replayed(net.records, rules("when.status = 486\nthen.status = 410", None))
    assert others.changed, "what cannot find a difference proves nothing"


@settings(max_examples=400, deadline=None)
@given(rule_files(), known_facts().filter(lambda known: not known.in_dialog))
def test_replay_of_anything_under_any_rules_shows_no_difference(ruleset: RuleSet, known: Facts) -> None:
    replay = replayed([decided(ruleset, known)], ruleset)
    assert (replay.judged, replay.changes) == (1, {})


def decided(ruleset: RuleSet, known: Facts) -> CallRecord:
    """The record that the core leaves of a decision."""
    decision = ruleset.decide(known)
    response = known.response
    return CallRecord(
        "id", "", "", "", "", known.caller, known.called, 1.0, ended_at=2.0,
        original_status=response.status, emitted_status=decision.status,
        emitted_phrase=decision.phrase.decode("utf-8", "replace"),
        emitted_q850=emitted_q850(decision, known), origin="local" if known.local else "peer",
        rule=decision.rule, guard=decision.guard, mode=decision.mode, shadow_rule=decision.shadow_rule,
        shadow_status=decision.shadow_status,
        evidence=Judged(known, decision, emit(decision, known)),
    )  # fmt: skip


# -- what is kept, and what is not ------------------------------------------------------------------------

ANY = "when.status = 603\nthen.status = 404"


def test_secrets_and_what_belongs_to_one_leg_are_not_kept() -> None:
    asked = request("Proxy-Authorization: Digest x", "Authorization: Digest y", "Identity: SIGNED", "X-A: b")
    blob = stored(decided(rules(ANY), facts("603 Decline", request=asked)))[1]
    for secret in (b"Digest", b"SIGNED", b"Via", b"Call-ID", b"CSeq"):
        assert secret not in blob
    assert b"X-A: b" in blob


def test_hidden_numbers_stand_nowhere_in_a_row() -> None:
    asked = request("P-Asserted-Identity: <sip:+12155551212@x>", "Diversion: <tel:+12155559999>")
    known = facts("603 Decline", request=asked, caller="+12155551212", called="+12155550100")
    kept, blob = stored(decided(rules(ANY), known), hide=True)
    assert b"1215555" not in blob
    assert (kept.caller, kept.called) == (hidden("+12155551212", b"key"), hidden("+12155550100", b"key"))
    assert hidden("1", b"key") not in (hidden("1", b"other key"), hidden("2", b"key"))
    assert hidden("", b"key") == ""


def test_rules_that_ask_for_hidden_numbers_are_not_replayed() -> None:
    records = [decided(rules(ANY), facts(start)) for start in ("603 Decline", "486 Busy Here")]
    replay = replayed(
        records, rules('when.called.prefix = "1"\nwhen.status = 603\nthen.status = 404'), hide=True
    )
    assert (replay.blind, replay.judged) == (1, 1)
    assert not replayed(records, rules(ANY), hide=True).changes


# -- what is told of a difference -------------------------------------------------------------------------


def test_differences_are_grouped_with_examples_by_what_differs() -> None:
    old = rules(ANY)
    records = [decided(old, facts("603 Decline", "Server: x")) for _ in range(5)]
    for candidate, what, was, now, by in (
        ("when.status = 603\nthen.status = 410", "answer", "404/1 Not Found", "410/22 Gone", "it"),
        (f"{ANY}\nthen.remove = ['Server']", "headers", "404/1 Not Found", "404/1 Not Found", "it"),
        (f"{ANY}\nthen.hunt = 'stop'", "hunt", "404/1 Not Found, hunt by the trunk",
         "404/1 Not Found, hunt stop", "it"),
        (ANY.replace("when", "[[rule]]\nname = 'new'\nwhen", 1), "rule", "404/1 Not Found",
         "404/1 Not Found", "new"),
    ):  # fmt: skip
        replay = replayed(records, rules(candidate))
        ((change, group),) = replay.changes.items()
        assert change == (what, "603 Decline", was, now, "it", by)
        assert (group.count, len(group.examples)) == (5, 3)
        assert replay.changed == (0 if what == "rule" else 5)


def test_what_a_guard_held_back_is_told() -> None:
    candidate = rules(ANY)
    blocked = facts("603 Network Blocked", 'Reason: SIP;cause=603;text="v=analytics1;url=https://a"')
    replay = replayed([decided(candidate, blocked)], candidate)
    assert [(key, group.count) for key, group in replay.held_back.items()] == [(("network-blocked", "it"), 1)]
    assert not replay.changes


def test_the_evidence_comes_back_out_of_the_database(tmp_path: Path) -> None:
    engine = connect(parse_url(f"sqlite:///{tmp_path / 'l.db'}"), writing=True)
    known = decided(rules(ANY), facts("603 Decline"))
    bare = CallRecord("x", "", "", "", "", "", "", 1.0, ended_at=2.0)
    with engine.begin() as connection:
        metadata.create_all(connection)
        for record in (known, bare):
            connection.execute(calls.insert().values(dict(zip(COLUMNS, RowMaker()(record), strict=True))))
        ((record, blob),) = evidence(connection, Selection(since=1.0))
        assert not list(evidence(connection, Selection(since=3.0)))
    engine.dispose()
    assert known.evidence is not None
    assert (record.id, record.ended_at, blob) == ("id", 2.0, pack(known.evidence, False))


def test_evidence_of_another_form_is_refused() -> None:
    kept, blob = stored(decided(rules(ANY), facts("603 Decline")))
    changed = bytearray(blob)
    changed[3] = 9
    with pytest.raises(ValueError, match="form 9 is not known"):
        Unpacker().unpack(bytes(changed), kept)
