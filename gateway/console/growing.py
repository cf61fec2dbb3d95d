"""An answer that is sent piece by piece as it is made: a capture that goes on, or one too long for one go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PCAP = "application/vnd.tcpdump.pcap"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Of whatever shows what peers wrote."""
SendPiece: TypeAlias = Callable[[bytes], Awaitable[None]]


class Growing(Response):
    """Sends what ``produce`` makes until that is all or the asker has gone."""

    def __init__(
        self,
        produce: Callable[[SendPiece], Awaitable[None]],
        media_type: str,
        headers: Mapping[str, str] | None = None,
        status_code: int = 200,
    ) -> None:
        super().__init__(None, status_code, headers, media_type)
        del self.headers["content-length"]
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and stop when the asker has gone."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def send_piece(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            await self._produce(send_piece)
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
