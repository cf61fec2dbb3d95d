"""The console over real HTTP: health, metrics, and who may ask."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gateway.config import SettingsErrors
from gateway.config import parse as parse_config
from gateway.console.access import host_of
from gateway.console.pages import make_app
from gateway.console.server import Console

TRUNK = '\n[[trunk]]\nname = "pbx"\nsource = ["127.0.0.1"]\n'
LOCAL = '[console]\nlisten = "127.0.0.1:0"' + TRUNK
ANYWHERE = '[console]\nlisten = "0.0.0.0:0"' + TRUNK
TOKEN = {"GATEWAY_TOKEN": "s3cret"}
Answer = tuple[int, str]


class Page:
    """A console that says what a test wants it to."""

    def __init__(self, text: str, environment: dict[str, str]) -> None:
        console = Console.of(parse_config(text), environment)
        assert console is not None
        self.console = console
        self.why = ""
        self.write: Callable[[], bytes] = lambda: b"up 1\n"
        self.streams: list[trio.SocketStream] = []
        self.console.app = make_app(lambda: self.write, "text/plain", lambda: self.why, console)

    async def connect(self) -> trio.SocketStream:
        """Open a connection, which is closed when the console has ended, if not before."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.console.port)
        self.streams.append(stream)
        return stream

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask for a path."""
        return await trio.to_thread.run_sync(self._get, path, headers)

    def _get(self, path: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.console.port, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


@asynccontextmanager
async def served(text: str = LOCAL, environment: dict[str, str] | None = None) -> AsyncIterator[Page]:
    page = Page(text, environment or {})
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(page.console.serve)
            yield page
            nursery.cancel_scope.cancel()
    finally:
        for stream in page.streams:
            await trio.aclose_forcefully(stream)


def test_health_readiness_and_metrics() -> None:
    async def main() -> None:
        async with served() as page:
            assert await page.get("/healthz") == (200, "alive\n")
            assert await page.get("/readyz") == (200, "ready\n")
            page.why = "draining"
            assert await page.get("/readyz") == (503, "draining\n")
            assert await page.get("/healthz") == (200, "alive\n")
            assert await page.get("/metrics") == (200, "up 1\n")
            assert (await page.get("/nothing"))[0] == 404

    trio.run(main)


def test_calls_have_their_turn_while_metrics_are_written() -> None:
    """Writing waits here for what only the loop does; on the loop it would wait in vain."""
    turned = threading.Event()

    def write() -> bytes:
        assert turned.wait(10)
        return b"up 1\n"

    async def main() -> None:
        async with served() as page:
            page.write = write

            async def turn() -> None:
                await trio.testing.wait_all_tasks_blocked(0.05)
                turned.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(turn)
                assert await page.get("/metrics") == (200, "up 1\n")

    trio.run(main)


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.example.com", "", "[::2]:80"])
def test_a_name_that_was_pointed_here_gets_nothing(host: str) -> None:
    async def main() -> None:
        async with served() as page:
            assert (await page.get("/metrics", Host=host))[0] == 403

    trio.run(main)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_loopback_has_several_names(host: str) -> None:
    async def main() -> None:
        async with served() as page:
            assert (await page.get("/metrics", Host=host))[0] == 200

    trio.run(main)


def test_where_there_is_a_token_all_but_the_health_checks_ask_for_it() -> None:
    async def main() -> None:
        async with served(ANYWHERE, TOKEN) as page:
            assert (await page.get("/metrics"))[0] == 401
            assert (await page.get("/metrics", Authorization="Bearer wrong"))[0] == 401
            assert (await page.get("/metrics", Authorization="Bearer s3cret"))[0] == 200
            assert (await page.get("/healthz"))[0] == 200
            assert (await page.get("/readyz", Host="lb.example.com"))[0] == 200

    trio.run(main)


def test_off_loopback_there_must_be_a_token() -> None:
    with pytest.raises(SettingsErrors, match=r'off loopback there must be a token.*"GATEWAY_TOKEN"'):
        Page(ANYWHERE, {})


def test_an_address_in_use_is_said_with_its_line() -> None:
    first = Page(LOCAL, {})
    text = LOCAL.replace(":0", f":{first.console.port}")
    try:
        with pytest.raises(SettingsErrors, match=r"gateway\.toml:2: console\.listen: .* cannot be bound"):
            Page(text, {})
    finally:
        first.console.close()


def test_an_ipv6_address_in_use_is_said_in_brackets() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        config = parse_config(f'[console]\nlisten = "[::1]:{port}"' + TRUNK)
        with pytest.raises(
            SettingsErrors, match=rf"\[::1\]:{port} cannot be bound \(address already in use\)"
        ):
            Console.of(config, {})


def test_without_listen_there_is_no_console() -> None:
    assert Console.of(parse_config(LOCAL.replace("127.0.0.1:0", "")), {}) is None


@pytest.mark.parametrize(
    ("value", "host"), [("a:1", "a"), ("[::1]:1", "::1"), ("[::1]", "::1"), ("A", "a"), ("[", "")]
)
def test_the_host_in_a_host_header(value: str, host: str) -> None:
    assert host_of(value) == host
