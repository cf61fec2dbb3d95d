"""Asking a running gateway by its console."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse, responses
from typing import Annotated, cast
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter

from gateway.config import Config

ConsoleOption = Annotated[
    str,
    Parameter(
        name="--console",
        show_default=False,
        help="Where the gateway's console is, instead of the configuration's: http://HOST:PORT.",
    ),
]
_TIMEOUT = 15.0  # seconds of silence


class ConsoleError(Exception):
    """The gateway cannot be asked, or refuses; `str()` is a sentence for a person. `status` is that of HTTP,
    0 when there was no answer.
    """

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


def ask(config: Config, url: str, path: str, order: object = None, silence: float = _TIMEOUT) -> HTTPResponse:
    """Ask for a path, or post an order to it as JSON, and return the answer, which is to be closed.

    `url` is the console's, "" for the configuration's; `silence` is how many seconds it may say nothing.
    Raises ConsoleError.
    """
    base = (url or _url_of(config)).rstrip("/")
    try:
        parts = urlsplit(base)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, or a port that is no number
        is_web = False
    if not is_web:
        raise ConsoleError(f"{base} is no web address; write it as http://HOST:PORT")
    request = urllib.request.Request(f"{base}{path}")
    token = os.environ.get(config.console.token_env, "")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if order is not None:
        request.data = msgspec.json.encode(order)
        request.add_header("Content-Type", "application/json")
    try:
        return cast(HTTPResponse, urllib.request.urlopen(request, timeout=silence))
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(1_000).decode("utf-8", "replace").strip()
        if error.code == 401:
            said = f"a token is needed; put it into the environment as {config.console.token_env}"
        said = said or f"{error.code} {responses.get(error.code, '')}".rstrip()
        raise ConsoleError(f"the gateway at {base} refuses: {said}", error.code) from None
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        why = getattr(why, "strerror", None) or str(why)
        remedy = "start it with `gateway run`, or name its console with --console"
        raise ConsoleError(f"no gateway answers at {base} ({why.lower()}); {remedy}") from None


def _url_of(config: Config) -> str:
    """Return where the console of a configuration is asked. Raises ConsoleError."""
    listen = config.console.listen
    if listen is None:
        place = f"{config.source.file}:{config.source.line('console', 'listen')}"
        raise ConsoleError(f'{place}: console.listen: the console is off; write listen = "127.0.0.1:8080"')
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listen.port}"
