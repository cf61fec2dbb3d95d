"""Connections to the console: each ends with its peer, and alone, whatever the peer does."""

from __future__ import annotations

import errno
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypercorn.protocol.h11 import H11Protocol
from starlette.responses import StreamingResponse

from gateway.console import connection as module
from gateway.console import server

from .test_console import Page, served

Talk = Callable[[Page], Awaitable[None]]
HOST = b"Host: 127.0.0.1\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
WEBSOCKET = (
    b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
ALIVE = b"alive\n"
POST = b"POST /healthz HTTP/1.1\r\n" + HOST
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
UPGRADE = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\n"
ODD = {
    "websocket and a frame": UPGRADE + WEBSOCKET + b"\r\n\x81\x85xxxxabcde\x88\x80xxxx",
    "websocket, badly": UPGRADE + b"Upgrade: websocket\r\n\r\nabc",
    "h2 at once": HTTP2 + bytes(3) + b"\x04" + bytes(5) + b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82",
    "h2 by upgrade": UPGRADE + SETTINGS + b"\r\n",
    "half a body": b"POST /healthz HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\nab",
    "a bad chunk": b"POST /healthz HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "two, then garbage": HEALTH + HEALTH + b"\x00garbage\r\n\r\n",
    "an endless line": b"GET /" + b"a" * 70_000,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "nothing": b"",
}
LARGE = b"x" * 50_000_000  # more than the system keeps for a peer that does not read


def talk(what: Talk) -> None:
    """Have a test speak to a console, for at most ten seconds."""

    async def main() -> None:
        with trio.fail_after(10):
            async with served() as page:
                await what(page)

    trio.run(main)


async def read(stream: trio.SocketStream, last: bytes = b"") -> bytes:
    """What comes up to the last words, or to the end."""
    got = b""
    while not (last and got.endswith(last)):
        data = await stream.receive_some()
        if not data:
            break
        got += data
    return got


def test_a_connection_is_closed_when_its_peer_has_closed_it() -> None:
    """And not when the keep-alive time is over: sockets of probes would pile up meanwhile."""

    async def probe(page: Page) -> None:
        stream = await page.connect()
        await stream.send_all(HEALTH)
        await read(stream, ALIVE)
        await stream.send_eof()
        assert await read(stream) == b""

    talk(probe)


def test_a_connection_answers_again_and_again() -> None:
    async def ask_twice(page: Page) -> None:
        stream = await page.connect()
        for _ in range(2):
            await stream.send_all(HEALTH)
            assert (await read(stream, ALIVE)).startswith(b"HTTP/1.1 200")

    talk(ask_twice)


@pytest.mark.parametrize("how", ["close", "reset", "wait"])
@pytest.mark.parametrize("odd", ODD)
def test_whatever_comes_costs_one_connection_at_most(odd: str, how: str) -> None:
    async def disturb(page: Page) -> None:
        stream = await page.connect()
        await stream.send_all(ODD[odd])
        if how == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + bytes(7))
        elif how == "wait":
            with trio.move_on_after(0.05), suppress(trio.BrokenResourceError):
                await read(stream)
        await stream.aclose()
        assert await page.get("/healthz") == (200, "alive\n")
        assert page.console.failed == 0

    talk(disturb)


def test_a_wish_for_another_protocol_goes_unheard() -> None:
    async def wish(page: Page) -> None:
        for wanted in (WEBSOCKET, SETTINGS):
            stream = await page.connect()
            await stream.send_all(UPGRADE + wanted + b"\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")

    talk(wish)


def test_what_a_connection_raises_ends_it_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_args: object) -> None:
        raise ValueError("an error in the library")

    async def disturb(page: Page) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(H11Protocol, "handle", fail)
            stream = await page.connect()
            await stream.send_all(HEALTH)
            assert await read(stream) == b""
            await trio.testing.wait_all_tasks_blocked()
        assert page.console.failed == 1
        assert await page.get("/healthz") == (200, "alive\n")

    talk(disturb)


def test_a_connection_leaves_nothing_to_the_garbage_collector() -> None:
    """What it looks at while it is in use is never looked at again (`gateway/garbage.py`)."""

    async def probe(page: Page) -> None:
        await page.get("/healthz")
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await page.get("/healthz")
            await trio.testing.wait_all_tasks_blocked()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            ours = ("gateway.", "hypercorn.", "h11.", "starlette.", "trio.")
            assert [each for each in gc.garbage if type(each).__module__.startswith(ours)] == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    talk(probe)


def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def wait(page: Page) -> None:
        silent, answered = await page.connect(), await page.connect()
        await answered.send_all(HEALTH)
        assert await read(silent) == b""
        assert (await read(answered)).endswith(ALIVE)

    talk(wait)


def test_an_answer_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def words() -> AsyncIterator[bytes]:
        for word in (b"at ", b"long ", b"last\n"):
            await trio.sleep(0.1)
            yield word

    async def wait(page: Page) -> None:
        page.console.app = StreamingResponse(words())
        assert await page.get("/") == (200, "at long last\n")

    talk(wait)


def test_who_does_not_read_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(server, "_CONNECTIONS", 1)

    async def wait(page: Page) -> None:
        page.metrics = LARGE
        stream = await page.connect()
        await stream.send_all(b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n")
        assert await page.get("/healthz") == (200, "alive\n")  # there is room again

    talk(wait)


def test_who_does_not_read_keeps_nobody_from_ending() -> None:
    async def wait(page: Page) -> None:
        page.metrics = LARGE
        stream = await page.connect()
        await stream.send_all(b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n")
        await stream.receive_some()

    talk(wait)


def test_connections_above_the_bound_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CONNECTIONS", 2)

    async def crowd(page: Page) -> None:
        first, _second, third = await page.connect(), await page.connect(), await page.connect()
        await third.send_all(HEALTH)
        with trio.move_on_after(0.1) as waited:
            await third.receive_some()
        assert waited.cancelled_caught
        await first.aclose()
        assert b"200" in await third.receive_some()

    talk(crowd)


def test_without_descriptors_a_connection_waits_until_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_WITHOUT_FILES", 0.05)
    accept = trio.SocketListener.accept
    refusals = [OSError(errno.EMFILE, "Too many open files")] * 2

    async def accept_at_last(listener: trio.SocketListener) -> trio.SocketStream:
        if refusals:
            raise refusals.pop()
        return await accept(listener)

    async def ask(page: Page) -> None:
        assert await page.get("/healthz") == (200, "alive\n")
        assert refusals == []

    monkeypatch.setattr(trio.SocketListener, "accept", accept_at_last)
    talk(ask)
