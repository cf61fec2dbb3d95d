"""The scorecard counts what trunks said, who tried again, and what is not as it was."""

from __future__ import annotations

from gateway.b2bua.record import CallRecord
from gateway.ledger.packing import RowMaker
from gateway.ledger.scorecard import Score, scores, shifts
from tests.ledger.records import NOON, answered, rewritten
from tests.ledger.test_evidence import ANY, decided
from tests.rules.support import facts, rules


def card(*records: CallRecord) -> Score:
    return scores((record, None) for record in sorted(records, key=lambda each: each.ended_at))["carrier"]


def test_calls_are_counted_by_what_was_said_whether_it_rang_and_when() -> None:
    rang = rewritten(2, ringing_at=NOON + 2, ended_at=NOON + 8, original_status=486, original_q850=17)
    score = card(rewritten(1), rewritten(1, caller="1002"), rang, answered(3))
    assert (score.calls, score.answered) == (4, 1)
    kinds = {(final.status, final.q850, final.rang, final.delay): n for final, n in score.finals.items()}
    assert kinds == {(603, 1, False, "<300ms"): 2, (486, 17, True, "<20s"): 1}


def test_asr_counts_answers_and_ner_what_reached_the_called_party() -> None:
    busy = rewritten(2, original_status=486, original_q850=0)
    rang = rewritten(3, ringing_at=NOON + 4, original_status=480)
    score = card(answered(1), busy, rang, rewritten(4))
    assert (score.asr, score.ner) == (0.25, 0.75)


def test_a_retry_is_the_same_pair_again_within_a_minute_of_the_final() -> None:
    again = rewritten(31, ended_at=NOON + 32)
    too_late = rewritten(31 + 70, ended_at=NOON + 110)
    another = rewritten(2, caller="1003")
    score = card(rewritten(1), again, too_late, another)
    assert sum(score.retries.values()) == 1


def test_an_answered_retry_counts_when_its_call_ends_long_after() -> None:
    score = card(rewritten(1), answered(10, ended_at=NOON + 3600))
    assert sum(score.retries.values()) == 1


def test_near_misses_and_locations_come_from_the_evidence() -> None:
    def of(*parts: str) -> tuple[CallRecord, bytes]:
        record = decided(rules(ANY), facts(*parts))
        record.callee_trunk = "carrier"
        blob = RowMaker()(record)[-1]
        assert isinstance(blob, bytes)
        return record, blob

    near = of("603 Network Blocked")
    placed = of("603 Decline", "Reason: Q.850;cause=21;location=TN")
    score = scores([near, placed])["carrier"]
    assert score.near_misses == 1
    assert {final.location for final in score.finals} == {"", "TN"}


def test_what_changed_more_than_chance_explains_is_named() -> None:
    before = card(*(answered(n) for n in range(80)), *(rewritten(n) for n in range(100, 120)))
    same = card(*(answered(n) for n in range(78)), *(rewritten(n) for n in range(100, 122)))
    worse = card(*(answered(n) for n in range(40)), *(rewritten(n) for n in range(100, 160)))
    assert not list(shifts(before, same))
    assert [(shift.what, shift.was, shift.now) for shift in shifts(before, worse)] == [
        ("603/1", 0.2, 0.6),
        ("answered", 0.8, 0.4),
    ]
    assert not list(shifts(Score(), worse)), "nothing is known of the time before"
