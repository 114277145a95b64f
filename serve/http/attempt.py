"""One attempt at a prediction: ends with its deadline, its client, or the server."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
from starlette.requests import ClientDisconnect

from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request


class Attempt:
    """Tells a thread and the event loop alike that there is no use in going on.

    While it waits for its turn, ``scope`` is cancelled; once it runs, ``check`` raises in the thread between
    two tiles.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._abandoned = threading.Event()
        self.scope = anyio.CancelScope(deadline=anyio.current_time() + timeout)

    def abandon(self) -> None:
        """End it: nobody waits for the result. To be called in the event loop."""
        self._abandoned.set()
        self.scope.cancel()

    def check(self, *_: Any, **__: Any) -> None:
        """Raise if there is no use in going on. Serves as the engine's progress callback."""
        if self._abandoned.is_set():
            raise ClientDisconnect
        if time.monotonic() > self._deadline:
            raise self._timed_out()

    def ended(self) -> Exception:
        """Why it was cancelled before its turn came."""
        return ClientDisconnect() if self._abandoned.is_set() else self._timed_out()

    def _timed_out(self) -> ServiceProblem:
        return ServiceProblem(
            ServiceCode.PREDICTION_TIMEOUT,
            f"There was no result after {self._timeout:g} s, waiting included.",
            remedy="Send a smaller image, or ask the operator for more time.",
        )

    @contextmanager
    def watching(self, request: Request) -> Iterator[None]:
        """Abandon the attempt when the client goes away."""
        watcher = asyncio.create_task(self._watch(request))
        try:
            yield
        finally:
            watcher.cancel()

    async def _watch(self, request: Request) -> None:
        """Wait for the disconnection; after the body nothing else can come."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.abandon()
