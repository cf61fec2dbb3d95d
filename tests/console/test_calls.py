"""One call and captures over the console's HTTP, from a gateway that carried the call."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from gateway.app import Gateway
from gateway.b2bua.record import Branch, CallRecord
from gateway.captures.write import HEADER
from gateway.config import parse as parse_config
from gateway.console import drawing
from gateway.console.calls import _copied, look
from gateway.ladder import Ladder
from gateway.sip.flow import Flow
from tests.tap.words import CALL, PBX, call, rejected, sip

if TYPE_CHECKING:
    from gateway.b2bua.call import Call

CONFIG = """
[gateway]
listen = ["udp:127.0.0.1:0"]
[console]
listen = "127.0.0.1:0"
[ledger]
url = ""
[[trunk]]
name = "pbx"
source = ["127.0.0.1:5070"]
[[trunk]]
name = "carrier"
source = ["127.0.0.1:5080"]
"""
JSON = {"Content-Type": "application/json"}
Answer = tuple[int, bytes]


class Page:
    """A gateway's console, and a call that it carried."""

    def __init__(self, config: str) -> None:
        self.gateway = Gateway(parse_config(config), None)
        self.gateway.ports.close()
        assert self.gateway.console is not None
        self.console = self.gateway.console
        self.tap = self.gateway.wiretap.tap

    def carry(self) -> None:
        """Have a rejected call behind us."""
        now = time.time()
        for _, sent, messages in call(self.gateway.ports.locals[0], now):
            if sent:
                self.tap.sent(messages)
            else:
                self.tap.received(messages, now)
        if self.gateway.wiretap.keeper is not None:
            self.gateway.wiretap.keeper.record(rejected(now))

    async def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        return await trio.to_thread.run_sync(self._ask, method, path, body, headers)

    def _ask(self, method: str, path: str, body: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.console.port, timeout=10)
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@asynccontextmanager
async def served(config: str = CONFIG) -> AsyncIterator[Page]:
    page = Page(config)
    async with trio.open_nursery() as nursery:
        await nursery.start(page.console.serve)
        nursery.start_soon(page.gateway.wiretap.run)
        yield page
        nursery.cancel_scope.cancel()


def played(play: Callable[[Page], Awaitable[None]], config: str = CONFIG) -> None:
    async def main() -> None:
        async with served(config) as page:
            await play(page)

    trio.run(main)


@dataclass(slots=True, eq=False)
class Up:
    """As much of a call as is looked at."""

    record: CallRecord


def test_others_have_their_turn_while_a_call_is_looked_for_among_very_many() -> None:
    config = CONFIG.replace('[console]\nlisten = "127.0.0.1:0"', '[console]\nlisten = ""')
    config += "[telemetry]\nkeep_messages = 0\n"
    gateway = Gateway(parse_config(config), None)
    gateway.ports.close()
    records = [rejected(id_=f"call-{n}") for n in range(10_000)]
    gateway.b2bua.calls |= {cast("Call", Up(record)) for record in records}
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1
            gateway.b2bua.calls.pop()  # calls end meanwhile

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            assert await look(gateway.wiretap, gateway.b2bua, "call-10000") == (None, [])
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert turns >= 5
    found, _ = trio.run(look, gateway.wiretap, gateway.b2bua, next(iter(gateway.b2bua.calls)).record.id)
    assert found is not None


@pytest.mark.parametrize("id_", ["id1", "id", "a%40pbx", "b%40gw"])
def test_a_call_is_shown_with_messages_decision_and_ladder(id_: str) -> None:
    async def play(page: Page) -> None:
        page.carry()
        status, body = await page.ask("GET", f"/api/calls/{id_}")
        shown = json.loads(body)
        assert status == 200
        assert shown["call"]["rule"] == "dead-number" and "evidence" not in shown["call"]
        assert shown["decision"] == "rule dead-number: 603 Decline → 404 Not Found"
        assert len(shown["messages"]) == len(shown["ladder"]["arrows"]) == 5
        assert shown["messages"][0]["text"].startswith("INVITE sip:+12025550123@gw SIP/2.0\r\n")
        assert [each["role"] for each in shown["ladder"]["participants"]] == ["caller", "gateway", "callee"]
        marks = {each["label"]: each["mark"] for each in shown["ladder"]["arrows"] if each["mark"]}
        assert marks == {"404 Not Found": "rule dead-number: 603 Decline → 404 Not Found"}

    played(play)


def test_a_call_is_drawn_and_written_in_other_forms() -> None:
    async def play(page: Page) -> None:
        page.carry()
        for form, begins in (("svg", b"<svg "), ("html", b"<!doctype html>"), ("pcap", HEADER)):
            status, body = await page.ask("GET", f"/api/calls/id1?format={form}")
            assert (status, body[: len(begins)]) == (200, begins)
        assert (await page.ask("GET", "/api/calls/id1?format=exe"))[0] == 422

    played(play)


def talk(page: Page, count: int) -> None:
    """Have a dialog of so many messages in memory."""
    local, now = page.gateway.ports.locals[0], time.time()
    words = [sip("INFO sip:1@gw SIP/2.0", "long", f"X-Number: {n}") for n in range(count)]
    numbered = [word.replace(b"CSeq: 1 ", b"CSeq: %d " % n) for n, word in enumerate(words, 1)]
    page.tap.received([(word, Flow(local, PBX.peer)) for word in numbered], now)


def test_of_very_many_messages_the_first_are_drawn_and_the_capture_has_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drawing, "MOST", 20)

    async def play(page: Page) -> None:
        talk(page, 320)
        shown = json.loads((await page.ask("GET", "/api/calls/long"))[1])
        assert (len(shown["messages"]), len(shown["ladder"]["arrows"]), shown["ladder"]["left_out"]) == (
            20,
            20,
            300,
        )
        assert "X-Number: 19\r\n" in shown["messages"][-1]["text"]
        for form in ("svg", "html"):
            drawn = (await page.ask("GET", f"/api/calls/long?format={form}"))[1].decode()
            assert "the first 20 of 320 messages; a capture (pcap) has them all" in drawn
            assert "X-Number: 19\n" in drawn and "X-Number: 20\n" not in drawn
        capture = (await page.ask("GET", "/api/calls/long?format=pcap"))[1]
        assert capture.count(b"X-Number") == 320 and capture.startswith(HEADER)

    played(play)


def test_of_very_long_messages_fewer_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MOST_BYTES", 1_000)

    async def play(page: Page) -> None:
        talk(page, 20)
        shown = json.loads((await page.ask("GET", "/api/calls/long"))[1])
        assert sum(len(message["text"]) for message in shown["messages"]) <= 1_000
        assert len(shown["messages"]) + shown["ladder"]["left_out"] == 20

    played(play)


def test_calls_have_their_turn_while_a_call_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing waits here for what only the loop does; on the loop it would wait in vain."""
    turned = threading.Event()
    build = drawing.recorded

    def wait(*args: Any) -> Ladder:
        assert turned.wait(10)
        return build(*args)

    monkeypatch.setattr(drawing, "recorded", wait)

    async def play(page: Page) -> None:
        page.carry()
        async with trio.open_nursery() as nursery:

            async def turn() -> None:
                await trio.testing.wait_all_tasks_blocked(0.05)
                turned.set()

            nursery.start_soon(turn)
            assert (await page.ask("GET", "/api/calls/id1"))[0] == 200

    played(play)


def test_a_call_that_is_up_is_drawn_as_it_was_when_somebody_asked() -> None:
    record = rejected()
    record.branches = [Branch("carrier", "127.0.0.1:5080", "udp", "b@gw", 10.0, 0.0, 0.0, 0, "", "peer")]
    copy = _copied(record)
    record.branches[0].status = 603
    record.branches.clear()
    record.ended_by = "gateway"
    assert copy is not None and copy.ended_by == "callee"
    assert copy.branches is not None and copy.branches[0].status == 0


def test_what_is_not_there_is_404_and_a_dialog_without_a_call_is_shown() -> None:
    async def play(page: Page) -> None:
        assert (await page.ask("GET", "/api/calls/nothing"))[0] == 404
        for at, _, messages in CALL:
            page.tap.received(messages, at)
        status, body = await page.ask("GET", "/api/calls/b%40gw")
        assert (status, json.loads(body)["call"]) == (200, None)

    played(play)


def test_without_kept_messages_calls_are_still_found_in_the_ledger_alone() -> None:
    async def play(page: Page) -> None:
        assert page.gateway.wiretap.keeper is None
        assert page.gateway.ports.udp.tap is None  # and nothing is listened to
        assert (await page.ask("GET", "/api/calls/id1"))[0] == 404

    played(play, CONFIG + "[telemetry]\nkeep_messages = 0\n")


def test_a_capture_ends_with_its_time_and_the_tap_is_let_go() -> None:
    async def play(page: Page) -> None:
        async with trio.open_nursery() as nursery:

            async def capture() -> None:
                order = '{"trunk": "carrier", "seconds": 1}'
                status, body = await page.ask("POST", "/api/capture", order, **JSON)
                assert status == 200
                assert body.startswith(HEADER)
                assert body.count(b"CSeq: 1 INVITE") == 2 and body.count(b"CSeq: 1 ACK") == 1
                assert page.gateway.ports.udp.tap is None

            nursery.start_soon(capture)
            while page.gateway.ports.udp.tap is None:
                await trio.sleep(0.01)
            page.carry()

    played(play, CONFIG + "[telemetry]\nkeep_messages = 0\n")


def test_a_capture_ends_when_it_is_long_enough() -> None:
    async def play(page: Page) -> None:
        async def carry_on() -> None:
            while True:
                page.carry()
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry_on)
            status, body = await page.ask("POST", "/api/capture", '{"bytes": 2000}', **JSON)
            nursery.cancel_scope.cancel()
        assert status == 200
        assert 1000 < len(body) <= 2000

    played(play)


@pytest.mark.parametrize(
    ("order", "headers", "status", "why"),
    [
        ("{}", {}, 415, b"application/json"),
        ("{", {"Content-Type": "Application/JSON ; charset=utf-8"}, 422, b"truncated"),
        ("{", JSON, 422, b"truncated"),
        ('{"seconds": 0}', JSON, 422, b"seconds"),
        ('{"seconds": 1e9}', JSON, 422, b"seconds"),
        ('{"bytes": -1}', JSON, 422, b"bytes"),
        ('{"number": "+"}', JSON, 422, b"'+' is no number"),
        ('{"trunk": "nobody"}', JSON, 422, b"there is pbx, carrier"),
        ('{"trunks": "pbx"}', JSON, 422, b"unknown field"),
        (f'{{"number": "{"1" * 9_000}"}}', JSON, 422, b""),
    ],
)
def test_an_order_that_is_wrong_is_refused_in_words(
    order: str, headers: dict[str, str], status: int, why: bytes
) -> None:
    async def play(page: Page) -> None:
        got, body = await page.ask("POST", "/api/capture", order, **headers)
        assert got == status and why in body

    played(play)


@pytest.mark.parametrize("sent", [b'{"sec', b"{}"])
def test_an_order_that_is_given_up_half_way_is_no_fault_and_begins_no_capture(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(page: Page) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", page.console.port)
        async with stream:
            head = b"POST /api/capture HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            await stream.send_all(head + b"Content-Length: 30\r\n\r\n" + sent)
            await trio.testing.wait_all_tasks_blocked(0.05)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert page.gateway.ports.udp.tap is None
        assert page.console.failed == 0

    played(play, CONFIG + "[telemetry]\nkeep_messages = 0\n")
    assert caplog.records == []


def test_captures_are_bounded_and_end_when_the_asker_goes() -> None:
    async def play(page: Page) -> None:
        connections = []
        for _ in range(4):
            connection = http.client.HTTPConnection("127.0.0.1", page.console.port, timeout=10)
            connections.append(connection)

            def begin(connection: http.client.HTTPConnection = connection) -> bytes:
                connection.request("POST", "/api/capture", '{"seconds": 60}', JSON)
                return connection.getresponse().read(len(HEADER))

            assert await trio.to_thread.run_sync(begin) == HEADER
        status, body = await page.ask("POST", "/api/capture", "{}", **JSON)
        assert (status, body) == (503, b"4 captures are running; wait for one to end\n")
        connections[0].close()
        with trio.fail_after(10):
            while (await page.ask("POST", "/api/capture", '{"seconds": 0.1}', **JSON))[0] != 200:
                await trio.sleep(0.05)
        for connection in connections:
            connection.close()

    played(play)
