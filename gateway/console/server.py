"""The console's HTTP server: hypercorn on the gateway's own loop."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import hypercorn
import hypercorn.trio
import trio
from starlette.types import ASGIApp

from gateway.addresses import TransportAddress
from gateway.config import Config, SettingsErrors

_KEEP_ALIVE = 75.0  # seconds


class Console:
    """The console's socket, bound; ``app`` must be set before :meth:`serve`. Raises SettingsErrors when the
    address cannot be had, or when a token is needed and the environment has none.
    """

    app: ASGIApp

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

    @property
    def url(self) -> str:
        """Where people find it."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def close(self) -> None:
        """Give the address back."""
        self._socket.close()

    async def serve(self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        config = hypercorn.Config()
        config.bind = [f"fd://{self._socket.detach()}"]  # the server closes it
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        config.keep_alive_timeout = _KEEP_ALIVE  # which closes a connection that asks for nothing, too
        config.h11_max_incomplete_size = 16_384
        config.graceful_timeout = 0.5
        await hypercorn.trio.serve(
            self.app,  # type: ignore[arg-type]  # hypercorn has types of its own for ASGI
            config,
            shutdown_trigger=trio.sleep_forever,
            task_status=task_status,
        )


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
        why = (error.strerror or str(error)).lower()
        problem = f"{address.host}:{address.port} cannot be bound ({why})"
        remedy = 'stop the program that has it, choose another address, or write listen = ""'
        raise SettingsErrors([config.source.error(("console", "listen"), problem, remedy)]) from None
    return sock
