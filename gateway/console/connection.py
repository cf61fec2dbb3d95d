"""One HTTP connection of the console: hypercorn's HTTP/1.1 on a stream of trio's.

Why not hypercorn's server, too: there a connection whose peer has closed it stays, with its socket, until the
keep-alive time is over; a peer that does not read what it asked for keeps the process from ending; and what
one connection raises ends all of them, and the gateway. Here a connection ends with its peer, and alone.
"""

from __future__ import annotations

import math

import h11
import hypercorn
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

PATIENCE = 75.0
"""Seconds that a peer may be silent between two requests, or may take to read what it has asked for."""
_AT_ONCE = 65_536  # bytes read at a time


class _Http1(H11Protocol):
    """HTTP/1.1 and no other: a wish for HTTP/2 or WebSocket goes unheard, as it may (RFC 9110 7.8)."""

    async def _check_protocol(self, event: h11.Request) -> None:
        pass

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )


class Connection:
    """Serves one connection. Nothing here refers to the protocol, which refers to this: when it is over, all
    of it is gone at once, and the garbage collector need not look (`gateway/garbage.py`).
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._listening = trio.CancelScope()

    async def run(self, app: AppWrapper, config: hypercorn.Config, context: WorkerContext) -> None:
        """Answer requests until the peer has closed the connection, or has been silent for too long. Raises
        what HTTP/1.1 does not know how to answer.
        """
        sock = self._stream.socket
        try:
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            async with TaskGroup() as group:
                state = ConnectionState({})
                protocol = _Http1(app, config, context, group, state, False, client, server, self._send)
                self._idle(True)
                with self._listening:
                    await self._listen(protocol)
                await protocol.handle(Closed())
        except OSError:
            pass  # it was gone before it was looked at
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _listen(self, protocol: H11Protocol) -> None:
        """Hand on what comes, up to the end."""
        try:
            while data := await self._stream.receive_some(_AT_ONCE):
                await protocol.handle(RawData(bytes(data)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        await protocol.handle(RawData(b""))

    async def _send(self, event: Event) -> None:
        """Do what the protocol asks for."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            self._idle(event.idle)
        else:
            await self._close()

    async def _write(self, data: bytes) -> None:
        try:
            with trio.fail_after(PATIENCE):
                async with self._sending:
                    await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            await self._close()

    async def _close(self) -> None:
        """Close the connection; what is under way hears of it when listening has ended."""
        self._listening.cancel()
        await trio.aclose_forcefully(self._stream)

    def _idle(self, idle: bool) -> None:
        """Note that no request is under way, or that one is."""
        self._listening.deadline = trio.current_time() + PATIENCE if idle else math.inf
