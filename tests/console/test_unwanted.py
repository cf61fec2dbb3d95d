"""The lists of unwanted callers over real HTTP: shown, exported, taken back, and not for strangers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.config import parse as parse_config
from gateway.console.pages import make_app
from gateway.console.server import Console
from gateway.console.unwanted import unwanted_routes
from gateway.ledger import patience, unwanted
from gateway.ledger.database import open_for_writing, parse_url
from gateway.rules.unwanted import BEFORE_ANSWER, Entry

CONFIG = '[console]\nlisten = "0.0.0.0:0"\n[[trunk]]\nname = "pbx"\nsource = ["127.0.0.1"]\n'
TOKEN = {"Authorization": "Bearer s3cret"}


class Page:
    """A console that serves the lists of a ledger."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path / 'gateway.db'}"
        settings = parse_config(CONFIG)
        console = Console.of(settings, {"GATEWAY_TOKEN": "s3cret"})
        assert console is not None
        self.console = console
        console.app = make_app(lambda: bytes, "", str, console, unwanted_routes(self.url, settings.unwanted))

    def say(self, *identities: str) -> None:
        """Have callee 100 say of these that it did not want them."""
        engine = open_for_writing(parse_url(self.url))
        now = time.time()
        with engine.begin() as connection:
            words = [Entry(now, each, "caller", "100", BEFORE_ANSWER, False, "pbx") for each in identities]
            unwanted.add(connection, words)
        engine.dispose()

    def ask(self, *questions: tuple[str, str], headers: dict[str, str] = TOKEN) -> list[tuple[int, Any]]:
        """Ask (method, path) one after another; the statuses and what the JSON of the answers says."""
        answers = []

        def work() -> None:
            for method, path in questions:
                connection = http.client.HTTPConnection("127.0.0.1", self.console.port, timeout=10)
                connection.request(method, path, headers=headers)
                response = connection.getresponse()
                body = response.read()
                is_json = response.headers["Content-Type"] == "application/json"
                answers.append((response.status, json.loads(body) if is_json else None))
                connection.close()

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.console.serve)
                await trio.to_thread.run_sync(work)
                nursery.cancel_scope.cancel()

        trio.run(main)
        return answers


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path)


def test_callers_are_listed_and_exported(page: Page) -> None:
    page.say("+1777", "+1666", "+1666")
    listed, one, nobody, exported = page.ask(
        ("GET", "/api/unwanted"),
        ("GET", "/api/unwanted?caller=%2B1777"),
        ("GET", "/api/unwanted?callee=200"),
        ("GET", "/api/unwanted/export?callee=100"),
    )
    assert [(each["identity"], each["before_answer"]) for each in listed[1]] == [("+1666", 2), ("+1777", 1)]
    assert [each["identity"] for each in one[1]] == ["+1777"]
    assert nobody == (200, [])
    assert [each["identity"] for each in exported[1]] == ["+1777", "+1666", "+1666"]


def test_a_long_list_leaves_in_pieces_and_is_one(page: Page) -> None:
    """The interpreter is not kept from calls for as long as thousands of entries take."""
    everybody = [f"+1{number:04}" for number in range(2_500)]
    page.say(*everybody)
    exported, listed = page.ask(("GET", "/api/unwanted/export"), ("GET", "/api/unwanted"))
    assert [each["identity"] for each in exported[1]] == everybody
    assert [each["identity"] for each in listed[1]] == everybody[:1_000]


def test_what_was_said_is_taken_back(page: Page) -> None:
    page.say("+1777", "bob@pbx.example")
    removed, again, left, other = page.ask(
        ("DELETE", "/api/unwanted/+1777"),
        ("DELETE", "/api/unwanted/+1777"),
        ("GET", "/api/unwanted"),
        ("DELETE", "/api/unwanted/bob@pbx.example?callee=100"),
    )
    assert removed == (200, {"removed": 1})
    assert again == (404, {"error": "nothing was said of '+1777'; /api/unwanted shows who is listed"})
    assert [each["identity"] for each in left[1]] == ["bob@pbx.example"]
    assert other == (200, {"removed": 1})


def test_nobody_without_the_token_sees_or_changes_anything(page: Page) -> None:
    page.say("+1777")
    answers = page.ask(("GET", "/api/unwanted"), ("DELETE", "/api/unwanted/+1777"), headers={})
    assert [status for status, _ in answers] == [401, 401]


def test_a_ledger_that_says_nothing_is_said_in_time(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.say("+1777")
    awake, read = threading.Event(), unwanted.read
    monkeypatch.setattr(patience, "PATIENT", 0.2)
    monkeypatch.setattr(unwanted, "read", lambda *asked: read(*asked) if awake.wait(20) else [])
    ((status, answer),) = page.ask(("GET", "/api/unwanted"))
    assert (status, answer) == (503, {"error": "the ledger is silent (no answer for 0 s); try again"})
    awake.set()


def test_a_ledger_that_is_not_there_is_said(page: Page) -> None:
    ((status, answer),) = page.ask(("GET", "/api/unwanted"))
    assert status == 503
    assert answer["error"].startswith("there is no ledger at ")
