"""The gate before all routes and bodies: sizes, host, origin, caller, scope, quotas, in this order."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from ..problems import ServiceCode, ServiceProblem
from .access import SAFE, is_probe, required_scope
from .authentication import Authenticator, require
from .caller import ANONYMOUS
from .origins import check_host, check_origin
from .quotas import Quotas

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ..settings import Settings
    from .caller import Caller


class Gate:
    """Lets a request through, with its caller in ``scope["state"]["caller"]``, or answers with the problem.

    Args:
        app: what stands behind.
        settings: of the server.

    Raises:
        ValueError: the address of the issuer's keys cannot be used.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self._settings = settings
        self._authenticator = Authenticator(settings)
        self._quotas = Quotas(settings, retry_after=settings.retry_after)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; connections of other kinds are not served."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        with ExitStack() as places:
            try:
                state["caller"] = await self._admit(scope, places)
            except ServiceProblem as refused:
                state.setdefault("notes", {})["code"] = str(refused.problem.code)
                await refused.problem.response(request_id=state["request_id"])(scope, receive, send)
                return
            if state["caller"] is not ANONYMOUS:
                state.setdefault("notes", {})["caller"] = state["caller"].name
            await self.app(scope, receive, send)

    async def _admit(self, scope: Scope, places: ExitStack) -> Caller:
        headers, method, path = Headers(scope=scope), scope["method"], _path(scope)
        check_sizes(scope, self._settings)
        check_host(headers, self._settings)
        check_origin(method, headers, self._settings)
        if not is_probe(path):
            places.enter_context(self._quotas.any_request())
        caller = await self._identify(headers, method, path)
        if caller is not ANONYMOUS and method not in SAFE:
            places.enter_context(self._quotas.change_of(caller.name))
        return caller

    async def _identify(self, headers: Headers, method: str, path: str) -> Caller:
        needed = required_scope(method, path)
        if needed is None:
            return ANONYMOUS
        return require(await self._authenticator.authenticate(headers.get("authorization")), needed)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def check_sizes(scope: Scope, settings: Settings) -> None:
    """Refuse a head that no client of ours sends.

    Raises:
        ServiceProblem: the address is too long (414), or the headers are (431).
    """
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope.get("query_string", b""))
    if target > settings.max_target_bytes:
        raise ServiceProblem(
            ServiceCode.REQUEST_TARGET_TOO_LONG,
            f"The address has {target} bytes, at most {settings.max_target_bytes} are read.",
            remedy="Send data in the body.",
            observed=target,
            expected=settings.max_target_bytes,
        )
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size > settings.max_header_bytes:
        raise ServiceProblem(
            ServiceCode.REQUEST_HEADERS_TOO_LARGE,
            f"The headers have {size} bytes, at most {settings.max_header_bytes} are read.",
            remedy="Send fewer or shorter headers.",
            observed=size,
            expected=settings.max_header_bytes,
        )
