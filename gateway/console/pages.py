"""What the console answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .access import Access
from .server import Console


def make_app(
    metrics: Callable[[], Callable[[], bytes]],
    content_type: str,
    unready: Callable[[], str],
    console: Console,
    more: Iterable[Route] = (),
    *,
    health: Callable[[], str] = lambda: "alive",
) -> Starlette:
    """Make the application. ``metrics`` reads them, and returns what a thread writes them by; ``unready``
    tells why no calls should come, "" when they may; ``more`` are routes of other pages; ``health`` is what
    is said to who asks whether this lives.
    """
    writing = trio.CapacityLimiter(1)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse(f"{health()}\n")

    async def readyz(_request: Request) -> Response:
        why = unready()
        return PlainTextResponse(f"{why or 'ready'}\n", 503 if why else 200)

    async def show_metrics(_request: Request) -> Response:
        return Response(await trio.to_thread.run_sync(metrics(), limiter=writing), media_type=content_type)

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics), *more]
    return Starlette(routes=routes, middleware=[Middleware(Access, host=console.host, token=console.token)])
