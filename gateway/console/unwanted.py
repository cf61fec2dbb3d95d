"""What callees said of unwanted callers, over HTTP: the same lists as `gateway unwanted`, for other programs.

`GET /api/unwanted` sums up, `GET /api/unwanted/export` gives every word, and `DELETE /api/unwanted/CALLER`
takes back what was said of a caller. Each request works with the ledger in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.config import UnwantedSettings
from gateway.ledger import unwanted
from gateway.ledger.database import LedgerError, opened, reason
from gateway.ledger.patience import Patience
from gateway.rules.unwanted import tally

from .growing import Growing, SendPiece

_MOST = 1000  # callers in one answer
_AT_A_TIME = 8  # requests
_SLICE = 1000  # entries that are encoded in one go: a millisecond, in which no other thread runs
_Work = Callable[[sa.Connection, Request], tuple[int, Any]]


def unwanted_routes(url: str, settings: UnwantedSettings) -> list[Route]:
    """Return the routes to the lists in the ledger at `url`."""

    def list_(connection: sa.Connection, request: Request) -> tuple[int, Any]:
        now = time.time()
        asked = request.query_params
        since = now - settings.keep
        entries = unwanted.read(connection, since, asked.get("caller", ""), asked.get("callee", ""))
        return 200, tally(entries, now, settings.half_life, _MOST)

    def export(connection: sa.Connection, request: Request) -> tuple[int, Any]:
        since = time.time() - settings.keep
        return 200, unwanted.read(connection, since, "", request.query_params.get("callee", ""))

    def remove(connection: sa.Connection, request: Request) -> tuple[int, Any]:
        caller = request.path_params["caller"]
        count = unwanted.remove(connection, caller, request.query_params.get("callee", ""))
        if not count:
            return 404, {"error": f"nothing was said of {caller!r}; /api/unwanted shows who is listed"}
        return 200, {"removed": count}

    return [
        Route("/api/unwanted", _answer(url, list_)),
        Route("/api/unwanted/export", _answer(url, export)),
        Route("/api/unwanted/{caller}", _answer(url, remove, writing=True), methods=["DELETE"]),
    ]


def _answer(url: str, work: _Work, *, writing: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers a request with the outcome of `work`, as JSON; 503 while the ledger fails."""

    def answered(request: Request) -> tuple[int, list[bytes]]:
        try:
            with opened(url, writing=writing) as connection:
                status, value = work(connection, request)
        except LedgerError as error:
            status, value = 503, {"error": str(error)}
        except sa.exc.SQLAlchemyError as error:
            status, value = 503, {"error": f"the ledger cannot be used ({reason(error)}); try again"}
        return status, list(_encoded(value))

    patience = Patience(_AT_A_TIME)

    async def answer(request: Request) -> Response:
        try:
            status, pieces = await patience.run(partial(answered, request), grace=0.0)
        except TimeoutError as error:
            status = 503
            pieces = [msgspec.json.encode({"error": f"the ledger is silent ({error}); try again"})]

        async def send_all(send: SendPiece) -> None:
            for piece in pieces:
                await send(piece)

        return Growing(send_all, "application/json", status_code=status)

    return answer


def _encoded(value: Any) -> Iterator[bytes]:
    """Yield a value as JSON, a long list in pieces."""
    if not isinstance(value, list) or len(value) <= _SLICE:
        yield msgspec.json.encode(value)
        return
    for begin in range(0, len(value), _SLICE):
        some = msgspec.json.encode(value[begin : begin + _SLICE])
        yield (b"," if begin else b"[") + some[1:-1]
    yield b"]"
