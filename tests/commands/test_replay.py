"""`gateway replay`: a candidate against the ledger, and against a capture."""

from __future__ import annotations

import pytest

from gateway.captures.pcap import Datagram
from gateway.commands.replay import _percent, replay
from gateway.ledger.database import open_for_writing, parse_url
from gateway.rules import compile_rules
from gateway.toml_source import TomlSource
from tests.captures.test_pcap import INVITE, A, B, message
from tests.captures.writer import pcap, pcapng
from tests.commands.conftest import CONFIG, RULES, Place
from tests.ledger.records import store
from tests.ledger.test_evidence import decided
from tests.rules.support import facts

CANDIDATE = RULES.replace("then.status = 404", "then.status = 410")


def ledger_of(place: Place) -> str:
    """Make a ledger of a dead number's call, a busy one and a 603+, decided on by RULES."""
    place.write("gateway.toml", CONFIG)
    place.write("rules.toml", RULES)
    place.write("candidate.toml", CANDIDATE)
    ruleset = compile_rules(TomlSource.parse(RULES, "rules.toml"), None)
    analytics = 'Reason: Q.850;cause=1, SIP;cause=603;text="v=analytics1;url=https://a"'
    finals = [
        facts("603 Decline", "Reason: Q.850;cause=1", caller="1001", called="+12155551212"),
        facts("486 Busy Here"),
        facts("603 Network Blocked", analytics),
    ]
    url = f"sqlite:///{place.path / 'gateway.db'}"
    engine = open_for_writing(parse_url(url))
    with engine.begin() as connection:
        for number, known in enumerate(finals):
            record = decided(ruleset, known)
            record.id = f"call-{number}"
            store(connection, record)
    engine.dispose()
    return url


def test_the_rules_in_force_would_change_nothing(place: Place) -> None:
    url = ledger_of(place)
    assert place.run(replay, rules="rules.toml", ledger=url) == 0
    assert "3 calls judged" in place.out
    assert "nothing would have changed" in place.out
    assert place.err == ""


def test_a_candidate_is_told_as_a_diff_with_examples_and_what_guards_held_back(place: Place) -> None:
    url = ledger_of(place)
    assert place.run(replay, rules="candidate.toml", ledger=url) == 1
    assert "1 would have gone otherwise (33 %)" in place.out
    assert "1  603/1 Decline: 404/1 Not Found (by dead-number) -> 410/22 Gone (by dead-number)" in place.out
    assert "1001 → +12155551212" in place.out
    assert "guard network-blocked decided where rule dead-number would have matched" in place.out


def test_json_says_the_same(place: Place) -> None:
    url = ledger_of(place)
    assert place.run(replay, rules="candidate.toml", ledger=url, json=True) == 1
    found = place.json
    assert (found["judged"], found["changed"]) == (3, 1)
    assert found["changes"][0]["what"] == "answer"
    assert found["changes"][0]["examples"][0]["called"] == "+12155551212"
    assert found["held_back"][0]["guard"] == "network-blocked"
    assert found["decided_by_rule"] == {"dead-number": 1}


def test_the_ledger_of_the_configuration_serves(place: Place) -> None:
    ledger_of(place)
    assert place.run(replay, config=place.path / "gateway.toml") == 0


def test_only_what_ended_lately_counts_with_since(place: Place) -> None:
    assert place.run(replay, rules="candidate.toml", ledger=ledger_of(place), since="1h") == 0
    assert "0 calls judged" in place.out


def test_what_the_ledger_does_not_keep_is_said(place: Place) -> None:
    url = ledger_of(place)
    place.write("candidate.toml", RULES.replace("when.q850", 'when.header.Via = "x"\nwhen.q850'))
    place.run(replay, rules="candidate.toml", ledger=url)
    assert "rule dead-number: header.Via is not in the ledger; taken as absent or empty" in place.out


def test_a_capture_is_judged_as_if_nothing_had_touched_it(place: Place) -> None:
    place.write("rules.toml", RULES)
    final = message("SIP/2.0 603 Decline\r\nReason: Q.850;cause=1", tag=";tag=b")
    packets = [Datagram(10.0, A, B, message(INVITE)), Datagram(11.0, B, A, final)]
    place.write("a.pcap", pcap(packets))
    assert place.run(replay, rules="rules.toml", pcap=place.path / "a.pcap") == 1
    assert "603/1 Decline: 603/1 Decline (by no rule) -> 404/1 Not Found (by dead-number)" in place.out
    place.write("gateway.toml", CONFIG.replace("192.0.2.1", A[0]))  # A is the carrier now, and B a stranger
    assert place.run(replay, rules="rules.toml", pcap=place.path / "a.pcap", config="gateway.toml") == 1


@pytest.mark.parametrize("when", ["", 'when.hours = "00:00-24:00"\n', 'when.days = "mon-sun"\n'])
@pytest.mark.parametrize("at", [10**12, 9 * 10**18, -(10**11)])  # outside of the years 1 to 9999
def test_a_capture_of_no_time_on_earth_is_judged_like_others(place: Place, at: int, when: str) -> None:
    place.write("rules.toml", RULES.replace("when.q850", f"{when}when.q850"))
    final = message("SIP/2.0 603 Decline\r\nReason: Q.850;cause=1", tag=";tag=b")
    some = [Datagram(10.0, A, B, message(INVITE)), Datagram(11.0, B, A, final)]
    place.write("a.pcapng", pcapng(some, offset=at))
    assert place.run(replay, rules="rules.toml", pcap=place.path / "a.pcapng") == (0 if when else 1)
    assert place.err == ""
    assert (f"  {at + 11:.6f}  " in place.out) is (not when)


def test_what_cannot_be_read_is_said_in_a_sentence(place: Place) -> None:
    url = ledger_of(place)
    assert place.run(replay, rules="rules.toml", ledger="sqlite:///none.db") == 2
    assert "there is no ledger at none.db" in place.err
    assert place.run(replay, rules="missing.toml", ledger=url) == 2
    assert place.run(replay, rules="rules.toml", pcap=place.path / "rules.toml") == 2
    assert "this is no capture" in place.err
    assert place.run(replay, rules="rules.toml", pcap=place.path / "x", ledger=url) == 2
    assert place.run(replay, rules="rules.toml", ledger=url, since="yesterday") == 2
    assert place.err.startswith("--since: ")


def test_rules_that_count_earlier_calls_are_replayed_call_by_call(place: Place) -> None:
    """The third call to a number that was declined twice is told otherwise, and only that one."""
    counting = """\
version = 1
[[rule]]
name = "keeps-declining"
when.status = 603
when.number.declined = ">=2 in 7d"
then.status = 486
"""
    place.write("rules.toml", counting)
    plain = compile_rules(TomlSource.parse("version = 1", "rules.toml"), None)
    url = f"sqlite:///{place.path / 'gateway.db'}"
    engine = open_for_writing(parse_url(url))
    with engine.begin() as connection:
        for number in range(3):
            record = decided(plain, facts("603 Decline", called="+12155551212", now=1e9 + number))
            record.id, record.ended_at, record.attempts = f"call-{number}", 1e9 + number, 1
            record.callee_trunk = "carrier"
            store(connection, record)
    engine.dispose()
    assert place.run(replay, rules="rules.toml", ledger=url, json=True) == 1
    ((example,),) = (change["examples"] for change in place.json["changes"])
    assert (place.json["changed"], example["id"]) == (1, "call-2")


@pytest.mark.parametrize(
    ("share", "said"), [(0.001, "0.1 %"), (0.0153, "1.5 %"), (0.254, "25 %"), (1.0, "100 %")]
)
def test_shares_are_told_as_people_write_them(share: float, said: str) -> None:
    assert _percent(share) == said
