"""The console's HTTP server: hypercorn on the gateway's own loop."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

import hypercorn
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext
from starlette.types import ASGIApp

from gateway.addresses import TransportAddress
from gateway.config import Config, SettingsErrors
from gateway.os_errors import in_words, to_bind

from .connection import Connection

log = logging.getLogger(__name__)

_WITHOUT_FILES = 0.5  # seconds until accepting is tried again
_CONNECTIONS = 256  # at a time; more wait in the system's queue until there is room


class Console:
    """The console's socket, bound; ``app`` must be set before :meth:`serve`. Raises SettingsErrors when the
    address cannot be had, or when a token is needed and the environment has none. ``failed`` counts the
    connections on which the peer did what HTTP/1.1 does not know how to answer.
    """

    app: ASGIApp
    failed: int

    @classmethod
    def of(
        cls, config: Config, environment: Mapping[str, str], bound: socket.socket | None = None
    ) -> Console | None:
        """Return the console that a configuration asks for, None when it is off; on a socket that was
        ``bound`` before, where there is one.
        """
        address = config.console.listen
        return None if address is None else cls(config, address, environment, bound)

    def __init__(
        self,
        config: Config,
        address: TransportAddress,
        environment: Mapping[str, str],
        bound: socket.socket | None = None,
    ) -> None:
        self.token = token_of(config, address, environment)
        self._socket = bound or open_socket(config, address)
        self.host = address.host
        self.port: int = self._socket.getsockname()[1]
        self.failed = 0
        self._room = trio.Semaphore(_CONNECTIONS)
        self._context = WorkerContext(None)
        self._settings = hypercorn.Config()
        self._settings.accesslog = None
        self._settings.errorlog = log  # what a page raises
        self._settings.include_server_header = False
        self._settings.h11_max_incomplete_size = 16_384

    @property
    def url(self) -> str:
        """Where people find it."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def close(self) -> None:
        """Give the address back."""
        self._socket.close()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        async with listener, trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._room.acquire()
                nursery.start_soon(self._serve_one, await _accept(listener))

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        app = ASGIWrapper(self.app)  # type: ignore[arg-type]  # hypercorn has types of its own for ASGI
        try:
            await Connection(stream).run(app, self._settings, self._context)
        except Exception as error:  # whatever a peer does costs its own connection
            self.failed += 1
            log.debug("a connection to the console failed", exc_info=error)
        finally:
            self._room.release()


async def _accept(listener: trio.SocketListener) -> trio.SocketStream:
    """Return the next connection; without descriptors, when there are some again."""
    while True:
        try:
            return await listener.accept()
        except OSError:
            await trio.sleep(_WITHOUT_FILES)


def token_of(config: Config, address: TransportAddress, environment: Mapping[str, str]) -> str:
    """Return the token to ask for, "" for none. Raises SettingsErrors where one is missing."""
    name = config.console.token_env
    token = environment.get(name, "") if name else ""
    if not token and not address.is_loopback:
        problem = f'off loopback there must be a token, and the environment has no "{name}", or an empty one'
        remedy = "set it to the token before the gateway starts, or listen on 127.0.0.1"
        raise SettingsErrors([config.source.error(("console", "token_env"), problem, remedy)])
    return token


def open_socket(config: Config, address: TransportAddress) -> socket.socket:
    """Bind the console's address. Raises SettingsErrors when it cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
        sock.listen()
    except OSError as error:
        sock.close()
        problem = f"{address.where} cannot be bound ({in_words(error)})"
        remedy = f'{to_bind(error)}, or write listen = ""'
        raise SettingsErrors([config.source.error(("console", "listen"), problem, remedy)]) from None
    return sock
