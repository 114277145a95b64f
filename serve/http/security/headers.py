"""Headers of every answer that tell browsers to be careful."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# What NiiVue needs: its own script and styles, worker and textures from blobs, no inline script, no eval.
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; font-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_HSTS = "max-age=31536000"


class SecurityHeaders:
    """Adds what an answer does not set itself; answers of any kind, errors included.

    Args:
        app: the application.
        shares: whether pages of other origins may read answers (where CORS names some).
    """

    def __init__(self, app: ASGIApp, *, shares: bool = False) -> None:
        self.app = app
        self._resource_policy = "cross-origin" if shares else "same-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._complete(MutableHeaders(scope=message), scope)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _complete(self, headers: MutableHeaders, scope: Scope) -> None:
        is_page = scope["path"].removeprefix(scope.get("root_path", "")).startswith("/ui")
        headers.setdefault("Content-Security-Policy", PAGE if is_page else NOTHING)
        headers.setdefault("Cache-Control", "no-cache" if is_page else "no-store")
        headers.setdefault("Cross-Origin-Resource-Policy", self._resource_policy)
        if scope.get("scheme") == "https":
            headers.setdefault("Strict-Transport-Security", _HSTS)
        for name, value in _ALWAYS.items():
            headers.setdefault(name, value)
