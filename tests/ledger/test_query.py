"""What the ledger answers when it is asked for calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio

from gateway.b2bua.record import CallRecord
from gateway.ledger import database
from gateway.ledger.query import Selection, by_call_id, by_id, count, recent
from gateway.ledger.schema import REVISION
from gateway.ledger.writer import Ledger
from tests.ledger.records import NOON, answered, rewritten

CALLS = [
    rewritten(1),
    answered(2, caller="+12155550100", called="1001", caller_trunk="carrier", callee_trunk="pbx"),
    rewritten(3, original_status=486, emitted_status=486, emitted_phrase="Decline", rule=""),
    rewritten(4, original_status=0, original_phrase="", emitted_status=487, end_reason="cancelled"),
    rewritten(5, id="call-1", emitted_status=603, emitted_phrase="Decline", emitted_q850=21, called="100_"),
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Connection]:
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'gateway.db'}"
    writer = Ledger(url, keep=3600.0, log=print, clock=lambda: NOON)
    for call in CALLS:
        writer.record(call)
    trio.run(writer.close)
    engine = database.open_for_reading(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def numbers(found: list[CallRecord]) -> list[int]:
    """Which of CALLS were found, counted from 1 as they are numbered there."""
    return [CALLS.index(call) + 1 for call in found]


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), [2, 5, 4, 3, 1]),  # call 2 was answered, and ended last
        (Selection(rewritten=True), [5, 1]),  # by its status; by its cause alone; a cancelled call was not
        (Selection(number="+12155551212"), [4, 3, 1]),
        (Selection(number="12155551212"), [4, 3, 1]),
        (Selection(number="5550100"), [2]),
        (Selection(number="1001"), [2, 5, 4, 3, 1]),
        (Selection(number="100_"), [5]),  # no wildcard
        (Selection(number="999"), []),
        (Selection(trunk="pbx"), [2, 5, 4, 3, 1]),
        (Selection(trunk="nobody"), []),
        (Selection(since=NOON + 4), [2, 5, 4]),
        (Selection(since=NOON + 4, rewritten=True, trunk="carrier", number="1001"), [5]),
    ],
)
def test_calls_are_selected_and_come_newest_first(
    ledger: sa.Connection, selection: Selection, found: list[int]
) -> None:
    assert numbers(recent(ledger, selection, limit=20)) == found
    assert count(ledger, selection) == len(found)


def test_no_more_than_the_limit_comes(ledger: sa.Connection) -> None:
    assert numbers(recent(ledger, Selection(), limit=2)) == [2, 5]


@pytest.mark.parametrize(
    ("start", "found"),
    [
        ("call-000003", [3]),
        ("call-1", [5]),
        ("call-0", [2, 4, 3, 1]),
        ("call-00000", [2, 4, 3, 1]),
        ("CALL-000003", []),
        ("_all", []),
        ("", []),
    ],
)
def test_a_call_is_found_by_its_id_or_by_how_the_id_begins(
    ledger: sa.Connection, start: str, found: list[int]
) -> None:
    assert numbers(by_id(ledger, start)) == found


def test_an_id_that_begins_others_means_its_own_call(ledger: sa.Connection) -> None:
    assert [call.id for call in by_id(ledger, "call-1")] == ["call-1"]


@pytest.mark.parametrize("call_id", ["a3@pbx.example", "b3@gw1"])
def test_a_call_is_found_by_the_call_id_of_either_leg(ledger: sa.Connection, call_id: str) -> None:
    assert numbers(by_call_id(ledger, call_id)) == [3]


@pytest.mark.parametrize(
    ("selection", "walks"),
    [
        (Selection(), ["SCAN calls USING COVERING INDEX calls_numbers"]),
        (Selection(since=NOON), ["SEARCH calls USING COVERING INDEX calls_numbers (ended_at>?)"]),
        (Selection(number="5551212"), ["SCAN calls USING COVERING INDEX calls_numbers"]),
        (Selection(rewritten=True), ["SCAN calls USING INDEX calls_rewritten"]),
        (
            Selection(trunk="west", since=NOON),
            [
                "SEARCH calls USING COVERING INDEX calls_caller_trunk (caller_trunk=? AND ended_at>?)",
                "SEARCH calls USING COVERING INDEX calls_callee_trunk (callee_trunk=? AND ended_at>?)",
            ],
        ),
    ],
)
def test_each_question_of_the_console_walks_along_an_index(
    ledger: sa.Connection, selection: Selection, walks: list[str]
) -> None:
    """None of them reads the table but for the calls that it shows."""
    query = selection.newest(20).compile(ledger.engine, compile_kwargs={"literal_binds": True})
    plan = [str(row[3]) for row in ledger.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert [step for step in plan if " calls" in step] == walks


def test_a_reader_cannot_write(ledger: sa.Connection) -> None:
    with pytest.raises(sa.exc.OperationalError, match="readonly"):
        ledger.execute(sa.text("DELETE FROM calls"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("nowhere.db", None, "there is no ledger at {path}; it is made by the first `gateway run`; "),
        (
            "text.db",
            b"not a database, surely",
            "the ledger sqlite:///{path} cannot be read (file is not a database); ",
        ),
        ("empty.db", b"", "sqlite:///{path} holds no ledger; it is made by the first `gateway run`"),
    ],
)
def test_what_is_no_ledger_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(database.LedgerError) as caught:
        database.open_for_reading(f"sqlite:///{path}")
    assert str(caught.value).startswith(problem.format(path=path))


def test_a_probe_tells_what_a_writer_would_meet_and_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "var" / "gateway.db"
    assert database.probe(f"sqlite:///{path}") == "not there yet; it can be made"
    assert list(tmp_path.iterdir()) == []

    writer = Ledger(f"sqlite:///{path}", keep=60.0, log=print)
    writer.record(rewritten())
    trio.run(writer.close)
    assert database.probe(f"sqlite:///{path}").endswith(f", writable, tables of version {REVISION}")

    (tmp_path / "file").write_text("")
    with pytest.raises(database.LedgerError, match="cannot be made"):
        database.probe(f"sqlite:///{tmp_path}/file/gateway.db")
