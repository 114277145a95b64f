"""The service's guards around an application that only says what arrived."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotation
from starlette.responses import JSONResponse

from nnunet_losses.serve.http.app import guard
from nnunet_losses.serve.http.security.caller import caller_of
from nnunet_losses.serve.http.settings import Settings

from ..fakes import PATIENCE

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Guarded:
    """One application with its settings."""

    def __init__(self, base_url: str = "http://localhost", telemetry: Any = None, **settings: Any) -> None:
        self.app = FastAPI(openapi_url=None)
        self.base_url = base_url
        self.release = asyncio.Event()
        self._waiting = asyncio.Semaphore(0)
        self.app.add_api_route("/{path:path}", self._answer, methods=METHODS)
        guard(self.app, Settings(**settings), telemetry=telemetry)

    async def _answer(self, request: Request) -> JSONResponse:
        if request.query_params.get("wait"):
            self._waiting.release()
            await self.release.wait()
        caller = caller_of(request)
        return JSONResponse({"caller": caller.name, "scopes": sorted(caller.scopes)})

    async def until_waiting(self, number: int) -> None:
        """Return when so many requests wait for ``release``."""
        for _ in range(number):
            await asyncio.wait_for(self._waiting.acquire(), PATIENCE)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=self.base_url)

    def ask(self, method: str = "GET", path: str = "/v1/models", **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
