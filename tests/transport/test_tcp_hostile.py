"""TCP over real loopback sockets: peers that cannot be understood, or mean harm."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
import trio.testing

from gateway.transport.connection import MAX_UNSENT, Limits

from .station import (
    STRANGER,
    config_text,
    dial,
    request,
    scene,
    serving,
)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("Content-Length: 4294967295\r\n", 513),
    ],
)
@scene
async def test_a_length_that_is_none_is_answered_and_ends_the_connection(line: str, status: int) -> None:
    async with serving(config_text(), Limits(linger=0.1)) as station:
        pbx = await dial(station.local("tcp"))
        bad = request().replace(b"Content-Length: 0\r\n", line.encode())
        await pbx.send(request() + bad + request())
        await pbx.response(200)
        await pbx.response(status)
        assert await pbx.end() == b""
        assert sum(station.endpoint.malformed.values()) == 1
        await station.until(lambda: not station.streams.connections)


@scene
async def test_headers_without_end_are_answered_400_and_end_the_connection() -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        start = request().removesuffix(b"Content-Length: 0\r\n\r\n")
        await pbx.send(start + b"X-More: and more of it\r\n" * 2_000)
        await pbx.response(400)
        assert await pbx.end() == b""
        assert station.streams.closed == {"header block too long": 1}


@scene
async def test_noise_ends_the_connection_without_an_answer() -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        await pbx.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await pbx.end() == b""
        assert station.streams.closed == {"no Content-Length": 1}


@scene
async def test_a_stranger_gets_nothing() -> None:
    async with serving(config_text()) as station:
        for _ in range(3):
            assert await (await dial(station.local("tcp"), STRANGER)).end() == b""
        assert station.streams.refused == {"unknown source": 3}
        assert not station.streams.connections
        assert [flow.peer[0] for flow in station.core.trunks().strangers.news()] == [STRANGER]


@scene
async def test_one_source_gets_no_more_connections_than_its_share() -> None:
    async with serving(config_text(), Limits(per_source=3, connections=5)) as station:
        local = station.local("tcp")
        held = [await dial(local) for _ in range(3)]
        assert await (await dial(local)).end() == b""
        others = [await dial(local, "127.0.0.3") for _ in range(2)]
        assert await (await dial(local, "127.0.0.3")).end() == b""
        assert station.streams.refused == {
            "too many connections from one source": 1,
            "too many connections": 1,
        }
        for wire in (*held, *others):
            await wire.send(request())
            await wire.response(200)
        await held.pop().stream.aclose()
        await station.until(lambda: len(station.streams.connections) == 4)
        again = await dial(local)  # what is closed makes room
        await again.send(request())
        await again.response(200)


@scene
async def test_without_descriptors_what_stands_is_served_and_others_come_in_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept = socket.socket.accept
    left = [accept]

    def short_of_descriptors(self: socket.socket) -> tuple[socket.socket, object]:
        if not left:
            raise OSError(errno.EMFILE, "Too many open files")
        return left.pop()(self)

    monkeypatch.setattr(socket.socket, "accept", short_of_descriptors)
    async with serving(config_text()) as station:
        first, second = [await dial(station.local("tcp")) for _ in range(2)]
        await station.until(lambda: station.streams.refused["no descriptors"] > 0)
        await first.send(request())
        await first.response(200)
        await second.send(request())
        left += [accept] * 100
        await second.response(200)


@scene
async def test_a_message_that_trickles_in_ends_the_connection() -> None:
    async with serving(config_text(), Limits(incomplete=0.3)) as station:
        pbx = await dial(station.local("tcp"))
        with pytest.raises(trio.BrokenResourceError):
            for octet in request() * 2:
                await pbx.send(bytes((octet,)))
                await trio.sleep(0.01)
        assert station.streams.closed == {"message too slow": 1}


@scene
async def test_the_time_for_a_first_message_begins_with_its_first_byte() -> None:
    async with serving(config_text(), Limits(incomplete=0.4)) as station:
        pbx = await dial(station.local("tcp"))
        await trio.sleep(0.6)
        whole = request()
        await pbx.send(whole[:100])
        await trio.sleep(0.1)
        await pbx.send(whole[100:])
        await pbx.response(200)


@scene
async def test_a_first_message_that_stays_incomplete_ends_the_connection() -> None:
    async with serving(config_text(), Limits(incomplete=0.2)) as station:
        pbx = await dial(station.local("tcp"))
        await trio.sleep(0.3)
        await pbx.send(request()[:100])
        assert await pbx.end() == b""
        assert station.streams.closed == {"message too slow": 1}


@scene
async def test_whole_messages_keep_a_connection_and_silence_ends_it() -> None:
    async with serving(config_text(), Limits(incomplete=0.2, idle=0.4)) as station:
        pbx = await dial(station.local("tcp"))
        for _ in range(6):
            await pbx.send(request())
            await pbx.response(200)
            await trio.sleep(0.1)
        assert await pbx.end() == b""
        assert station.streams.closed == {"idle": 1}


@scene
async def test_a_peer_that_does_not_read_loses_the_connection_and_no_memory() -> None:
    async with serving(config_text()) as station:
        pbx = await dial(station.local("tcp"))
        padding = f"Record-Route: <sip:{'x' * 6000};lr>\r\nTimestamp: {'1' * 6000}\r\n"
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await pbx.send(b"".join(request(extra=padding) for _ in range(10)))
                unsent = [len(connection._unsent) for connection in station.streams.connections]
                assert all(size <= MAX_UNSENT for size in unsent)
        assert station.streams.closed["too much unsent"] == 1
