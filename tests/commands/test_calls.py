"""`gateway calls`, as the person sees it who asks what became of a call."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio
from msgspec.structs import asdict

from gateway.b2bua.record import CallRecord
from gateway.commands.calls import calls
from gateway.commands.capture import capture
from gateway.commands.show import show
from gateway.ledger.writer import Ledger
from tests.commands.conftest import CONFIG, RULES, Place
from tests.commands.refusing import refusing
from tests.ledger.records import answered, rewritten

URL = "sqlite:///gateway.db"


def fill(*records: CallRecord) -> None:
    ledger = Ledger(URL, keep=1e10, log=print)
    for record in records:
        ledger.record(record)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(ledger.run)
            nursery.cancel_scope.cancel()
        await ledger.close()

    trio.run(main)


def shadowed(number: int) -> CallRecord:
    return rewritten(
        number, emitted_status=603, emitted_phrase="Decline", rule="", mode="shadow",
        shadow_rule="new-idea", shadow_status=410,
    )  # fmt: skip


def cancelled(number: int) -> CallRecord:
    return rewritten(
        number, original_status=0, original_phrase="", original_q850=0, emitted_status=487,
        emitted_phrase="Request Terminated", emitted_q850=0, rule="", guard="protocol",
        ended_by="caller", end_reason="cancelled",
    )  # fmt: skip


def test_one_line_says_who_called_what_was_said_and_why(place: Place) -> None:
    fill(rewritten(1))
    assert place.run(calls, ledger=URL) == 0
    heading, row = place.out.splitlines()
    heads = "time id caller → called from → to far end said → caller got decided by lasted ended by"
    assert " ".join(heading.split()) == heads
    told = (
        "call-000001 1001 → +12155551212 pbx → carrier 603/1 Decline → 404/1 Not Found "
        "carrier-dead-number 0.2 s callee"
    )
    assert " ".join(row.split()).endswith(told)
    assert place.err == ""


def test_calls_of_every_end_are_told_the_latest_first(place: Place) -> None:
    fill(rewritten(1), shadowed(2), cancelled(3), answered(4))
    place.run(calls, ledger=URL)
    lines = [" ".join(line.split()) for line in place.out.splitlines()[1:]]
    assert [line.split("carrier ", 1)[1] for line in lines] == [
        "200 OK → 200 OK - 1:05 caller",
        "no answer → 487 Request Terminated guard protocol 0.2 s caller",
        "603/1 Decline → 603/1 Decline (new-idea in shadow: 410) 0.2 s callee",
        "603/1 Decline → 404/1 Not Found carrier-dead-number 0.2 s callee",
    ]


def test_80_columns_hold_a_call_without_cutting_anything(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    fill(rewritten(1, caller="+4930123456789"))
    place.run(calls, ledger=URL)
    assert max(map(len, place.out.splitlines())) <= 80
    for part in ("+4930123456789", "→ +12155551212", "→ carrier", "603/1", "404/1", "callee", "call-000001"):
        assert part in place.out
    assert "…" not in place.out


def test_the_day_is_told_when_it_is_not_today(place: Place) -> None:
    now = time.time()
    fill(rewritten(1, invited_at=now, ended_at=now), rewritten(2, invited_at=1e9, ended_at=1e9))
    place.run(calls, ledger=URL)
    assert "2001-09-0" not in place.out.splitlines()[1]
    assert "2001-09-0" in place.out.splitlines()[2]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"limit": 1}, ["call-000004"]),
        ({"rewritten": True}, ["call-000001"]),
        ({"number": "555"}, []),
        ({"number": "1212"}, ["call-000004", "call-000003", "call-000002", "call-000001"]),
        ({"trunk": "west"}, []),
        ({"since": "1h"}, []),
    ],
)
def test_options_choose_the_calls(place: Place, options: dict[str, object], ids: list[str]) -> None:
    at = time.time() - 7200
    records = [rewritten(1), shadowed(2), cancelled(3), answered(4)]
    for number, record in enumerate(records):
        record.invited_at = at + number
        record.ended_at = at + number
    fill(*records)
    assert place.run(calls, ledger=URL, json=True, **options) == 0
    assert [call["id"] for call in place.json] == ids


def test_json_is_one_array_with_the_fields_of_the_record(place: Place) -> None:
    fill(rewritten(1), answered(2))
    place.run(calls, ledger=URL, json=True)
    assert place.json == [asdict(answered(2)), asdict(rewritten(1))]
    place.run(calls, "call-000001", ledger=URL, json=True)
    assert place.json == [asdict(rewritten(1))]


@pytest.mark.parametrize("name", ["call-000002", "call-000002@pbx", "b2@gw1"])
def test_one_call_is_told_in_full(place: Place, name: str) -> None:
    fill(rewritten(1), answered(2, id="call-000002@pbx", label="lab"))
    assert place.run(calls, name, ledger=URL) == 0
    told = [" ".join(line.split()) for line in place.out.splitlines()]
    assert told[:3] == ["call call-000002@pbx", "caller 1001 on pbx", "called +12155551212 on carrier"]
    assert told[4:] == [
        "rang after 1.0 s",
        "answered after 2.5 s",
        "ended after 1:08 by caller (bye)",
        "targets tried 1",
        "far end said 200 OK",
        "caller got 200 OK",
        "decided by no rule",
        "label lab",
        "caller's Call-ID a2@pbx.example",
        "callee's Call-ID b2@gw1",
    ]


def test_a_call_in_full_names_causes_rules_and_shadows(place: Place) -> None:
    fill(shadowed(1), rewritten(2, origin="local", guard="unwanted-607"))
    place.run(calls, "call-000001", ledger=URL)
    told = " ".join(place.out.split())
    assert "far end said 603 Decline, Q.850 cause 1 (Unallocated (unassigned) number) caller got" in told
    assert "decided by no rule in shadow rule new-idea would have sent 410" in told
    place.run(calls, "call-000002", ledger=URL)
    told = " ".join(place.out.split())
    assert "gateway said 603 Decline" in told
    assert "decided by rule carrier-dead-number, guard unwanted-607" in told


def test_a_beginning_that_fits_several_calls_lists_them(place: Place) -> None:
    fill(rewritten(1), rewritten(2))
    assert place.run(calls, "call-", ledger=URL) == 1
    assert "call-000001" in place.out
    assert "call-000002" in place.out
    assert place.err == "'call-' means more than one call; give more of the id\n"


def test_a_call_that_is_not_there_is_not_found(place: Place) -> None:
    fill(rewritten(1))
    assert place.run(calls, "nobody", ledger=URL) == 1
    assert place.err == "no call has an id or Call-ID like 'nobody'; `gateway calls` lists recent ones\n"


def test_what_came_from_the_network_cannot_steer_the_terminal(place: Place) -> None:
    fill(rewritten(1, caller="\x1b[31mred\x07\n", original_phrase="[bold]Decline[/bold] :smile:"))
    place.run(calls, ledger=URL)
    assert "\x1b" not in place.out
    assert "\ufffd[31mred\ufffd\ufffd" in place.out
    assert "[bold]Decline[/bold] :smile:" in place.out


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "No calls yet.\n"), ({"trunk": "west"}, "No calls yet.\n")],
)
def test_an_empty_ledger_is_no_error(place: Place, options: dict[str, str], said: str) -> None:
    fill()
    assert place.run(calls, ledger=URL, **options) == 0
    assert place.out == said


def test_a_choice_that_fits_no_call_says_so(place: Place) -> None:
    fill(rewritten(1))
    assert place.run(calls, ledger=URL, trunk="west") == 0
    assert place.out == "No call in the ledger is like that.\n"


def test_the_ledger_of_the_configuration_is_read(place: Place) -> None:
    place.write("rules.toml", RULES)
    fill(rewritten(1))
    assert place.run(calls, config=place.write("gateway.toml", CONFIG)) == 0
    assert "call-000001" in place.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"ledger": "sqlite:///none.db"},
            "there is no ledger at none.db; it is made by the first `gateway run`; ",
        ),
        ({"ledger": "none.db"}, "'none.db' is not a database URL; write sqlite:///FILE or "),
        (
            {"ledger": "postgresql+psycopg://u:secret@h:abc/x"},
            "'postgresql+psycopg://u:***@h:abc/x' is not a database URL; write sqlite:///FILE or ",
        ),
        ({"since": "soon"}, "--since: 'soon' is not a duration; "),
        ({"config": Path("none.toml")}, "none.toml: there is no such file; "),
        ({"config": Path("off.toml")}, "off.toml:9: ledger.url: the ledger is off; write url = "),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(
    place: Place, options: dict[str, object], sentence: str
) -> None:
    place.write("off.toml", CONFIG.replace(URL, ""))
    assert place.run(calls, **options) == 2
    assert place.err.startswith(sentence)
    assert place.err.count("\n") == 1
    assert place.out == ""


@pytest.mark.parametrize("number", ["+1 215-555-1212", "(215) 555.1212", "5551212"])
def test_a_number_may_be_written_as_people_write_it(place: Place, number: str) -> None:
    fill(rewritten(1, called="+12155551212"), rewritten(2, called="+12155551213"))
    assert place.run(calls, ledger=URL, number=number, json=True) == 0
    assert [each["called"] for each in place.json] == ["+12155551212"]


def test_a_number_without_digits_is_refused(place: Place) -> None:
    assert place.run(calls, ledger=URL, number="+") == 2
    assert place.err == "--number: '+' is no number; write the last digits of one\n"
    assert place.run(capture, "out.pcap", number=" + ") == 2
    assert place.err == "--number: ' + ' is no number; write the last digits of one\n"


def test_a_call_that_neither_gateway_nor_ledger_knows_is_said_to_be_in_neither(place: Place) -> None:
    fill(rewritten(1))
    asked = {"config": place.write("gateway.toml", CONFIG), "url": "http://127.0.0.1:9"}
    assert place.run(show, "nonesuch", **asked) == 1
    first, second = place.err.splitlines()
    assert first.startswith("no gateway answers at http://127.0.0.1:9 (")
    assert second.startswith(
        "no call in the ledger has an id or Call-ID like 'nonesuch'; `gateway calls` lists"
    )
    (place.path / "gateway.db").unlink()
    assert place.run(show, "nonesuch", **asked) == 2
    first, second = place.err.splitlines()
    assert second.startswith("there is no ledger at gateway.db; ")


def test_what_the_ledger_knows_of_a_call_is_json_too_while_the_gateway_is_down(place: Place) -> None:
    fill(rewritten(1))
    asked = {"config": place.write("gateway.toml", CONFIG), "url": "http://127.0.0.1:9"}
    assert place.run(show, "call-000001", **asked, json=True) == 0
    assert (place.json["call"]["id"], place.json["call"]["emitted_status"]) == ("call-000001", 404)
    assert "evidence" not in place.json["call"]
    assert place.json["decision"].startswith("rule carrier-dead-number: 603 Decline")
    assert place.json["messages"] == place.json["ladder"]["arrows"] == []
    assert place.err.startswith("no gateway answers at http://127.0.0.1:9 (")
    assert place.run(show, "call-000001", **asked) == 0
    assert place.out.startswith("call call-000001\n")


def test_a_ledger_that_is_named_is_asked_for_calls_that_the_gateway_does_not_know(place: Place) -> None:
    fill(rewritten(1))
    config = place.write("gateway.toml", CONFIG.replace(URL, ""))
    with refusing(b"404 Not Found") as url:
        assert place.run(show, "call-000001", config=config, url=url, ledger=URL) == 0
    assert place.out.startswith("call call-000001\n")
    assert place.err == ""
    with refusing(b"404 Not Found") as url:
        assert place.run(show, "call-000001", config=config, url=url) == 1
    assert place.err.startswith("no call has an id or Call-ID like 'call-000001'; ")
    with refusing(b"401 Unauthorized") as url:
        assert place.run(show, "call-000001", config=config, url=url, ledger=URL) == 2
    assert place.run(show, "call-000001", config=config, url="http://127.0.0.1:9", ledger=URL) == 0
    assert place.out.startswith("call call-000001\n")
