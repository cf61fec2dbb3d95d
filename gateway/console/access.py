"""Who may speak to the console.

On loopback there need not be a token; then the Host header must be loopback too, so that a web page that had
its own name point here (DNS rebinding) gets nothing. Where there is a token, every path but the health checks
asks for it, as a bearer token (RFC 6750 2.1).
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_OPEN = frozenset(("/healthz", "/readyz"))  # load balancers have no token, and learn nothing there


class Access:
    """Lets requests through to ``app``. ``token`` is "" when none is asked for."""

    def __init__(self, app: ASGIApp, host: str, token: str) -> None:
        self._app = app
        self._hosts = None if token else _LOOPBACK | {host.lower()}
        self._credentials = f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 or 401, or pass the request on."""
        if scope["type"] == "http":
            refusal = self._refusal(Headers(scope=scope), scope["path"])
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> PlainTextResponse | None:
        if self._hosts is not None and host_of(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("this Host is not served here\n", 403)
        if self._credentials and path not in _OPEN:
            given = headers.get("authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(given, self._credentials):
                return PlainTextResponse("a token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        return None


def host_of(value: str) -> str:
    """Return the host in a Host header, without port and brackets, in lower case."""
    if value.startswith("["):
        return value[1:].partition("]")[0].lower()
    return value.partition(":")[0].lower()
