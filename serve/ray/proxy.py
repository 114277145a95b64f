"""What Ray's HTTP proxy does to answers, made up for on the replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"


class OneRequestId:
    """Leaves it to the proxy to answer with the request's id, which it does whether or not we have.

    The proxy gives each request an id if it has none. Only where a client sent what is no UUID, the service
    chooses another one, and the answer shows both.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get(HEADER)

        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get(HEADER) == asked:
                    del headers[HEADER]
            await send(message)

        await self._app(scope, receive, send_without)
