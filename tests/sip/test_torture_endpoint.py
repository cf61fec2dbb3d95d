"""The torture messages of RFC 4475 and RFC 5118 through a whole endpoint.

``tests/corpus/outcomes.tsv`` says in its column ``endpoint`` what each asks for: ``relay`` (it comes up to
the core), a status (the endpoint refuses it by itself), or ``drop`` (nothing happens).
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from gateway.sip.message import Request, Response

from .served import Served

CORPUS = Path(__file__).parent.parent / "corpus"
OUTCOMES = list(
    csv.DictReader((CORPUS / "outcomes.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t")
)
SOURCE = ("192.0.2.200", 5060)


def raw(row: dict[str, str]) -> bytes:
    return (CORPUS / row["file"]).read_bytes()


def rows(*outcomes: str) -> pytest.MarkDecorator:
    chosen = [row for row in OUTCOMES if row["endpoint"] in outcomes]
    return pytest.mark.parametrize("row", chosen, ids=[row["file"] for row in chosen])


STATUSES = sorted({row["endpoint"] for row in OUTCOMES} - {"relay", "drop"})


def test_every_row_asks_for_something_that_is_tried_here() -> None:
    assert {row["endpoint"] for row in OUTCOMES} == {"relay", "drop", *STATUSES}
    assert all(status.isdigit() for status in STATUSES)


@rows("relay")
def test_what_is_sound_comes_up_once_and_unchanged(row: dict[str, str]) -> None:
    served = Served()
    for _ in range(2):
        assert served.give(raw(row), SOURCE) == []
    [arrival] = served.up
    data = raw(row)
    for _, line in arrival.request.rows:
        assert line in data, "every header line that is passed on is one that came"
    assert arrival.request.body in data
    assert served.endpoint.malformed == {}
    arrival.transaction.reject(404, b"ours", served.now)
    [answer] = served.drain()
    assert isinstance(answer, Response)
    assert answer.call_id == arrival.request.call_id
    assert answer.cseq == arrival.request.cseq
    served.run(60)
    assert served.endpoint.servers == {}


@rows(*STATUSES)
def test_what_is_not_is_refused_with_the_status_that_the_rfc_asks_for(row: dict[str, str]) -> None:
    served = Served()
    answer = served.answer(raw(row), SOURCE)
    assert str(answer.status) == row["endpoint"], row["note"]
    assert served.up == []
    assert len(answer.lines(b"Via")) == len(re.findall(rb"(?mi)^(?:via|v)\s*:", raw(row))), (
        "it finds its way back"
    )
    served.run(60)
    assert served.endpoint.servers == {}


@rows("drop")
def test_a_response_that_answers_nothing_of_ours_does_nothing(row: dict[str, str]) -> None:
    served = Served()
    assert served.give(raw(row), SOURCE) == []
    assert (served.up, served.responses) == ([], [])
    assert sum(served.endpoint.malformed.values()) + served.endpoint.dropped["stray response"] == 1


def test_a_refusal_shows_all_34_vias_of_the_long_request() -> None:
    """RFC 4475 3.1.1.7; RFC 3261 8.2.6.2."""
    served = Served()
    data = (CORPUS / "rfc4475/longreq.dat").read_bytes()
    served.give(data, SOURCE)
    [arrival] = served.up
    assert isinstance(arrival.request, Request)
    arrival.transaction.reject(404, b"ours", served.now)
    [answer] = served.drain()
    ours = b",".join(answer.values(b"Via")).split(b",")
    theirs = b",".join(arrival.request.values(b"Via")).split(b",")
    assert len(ours) == len(theirs) == 34
    assert [via.strip() for via in ours[1:]] == [via.strip() for via in theirs[1:]]
    assert ours[0].strip().startswith(theirs[0].strip())
