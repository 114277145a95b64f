"""Around every request: an id, one line in the log, and an answer where the code failed."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from .logs import REQUEST_ID, log_event
from .problems import internal_error, stopping

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
PROBES = {
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model}/ready",
    "/healthz",
    "/readyz",
    "/metrics",
}


class RequestContext:
    """Gives each request an id (the client's, if that is a UUID), logs, answers 500 to what nobody caught.

    It stands before the outermost handler of Starlette, which would let the server print the traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(HEADER))
        token = REQUEST_ID.set(request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        try:
            await self._answer(scope, receive, send, request_id)
        finally:
            REQUEST_ID.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if status is None:
                await stopping().response(request_id=request_id)(scope, receive, send_with_id)
            raise
        except Exception as error:  # noqa: BLE001 - the last line: whatever it was, the client gets an answer
            log_event("unexpected", level=logging.ERROR, error=error)
            if status is None:
                await internal_error().response(request_id=request_id)(scope, receive, send_with_id)
        finally:
            _log_request(scope, status, time.perf_counter() - started)


def _log_request(scope: Scope, status: int | None, seconds: float) -> None:
    """Log the route's template: the path itself may hold anything. Probes, asked for ever, only to debug."""
    route = getattr(scope.get("route"), "path", None)
    log_event(
        "request",
        level=logging.DEBUG if route in PROBES else logging.INFO,
        method=scope["method"],
        route=route,
        status=status,
        seconds=round(seconds, 4),
        **scope["state"].get("notes", {}),
    )


def _request_id(offered: str | None) -> str:
    """Take the client's id if it is a UUID; anything else could carry a name into the log."""
    try:
        return str(uuid.UUID(offered))
    except (ValueError, TypeError, AttributeError):
        return str(uuid.uuid4())
