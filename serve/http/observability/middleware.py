"""Around every request: its trace, and its place in the figures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from .tracing import TRACE, begin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .request_metrics import RequestMetrics
    from .telemetry import Telemetry


class Observation:
    """Counts requests and names their trace, in the log's line, in ``traceresponse``, and to the telemetry.

    Args:
        app: stands inside; it answers whatever fails, so that the status is known here.
        metrics: what counts.
        telemetry: where spans go; None for nowhere.
    """

    def __init__(self, app: ASGIApp, *, metrics: RequestMetrics, telemetry: Telemetry | None = None) -> None:
        self.app = app
        self._metrics = metrics
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace = begin(Headers(scope=scope).get("traceparent"))
        notes = scope.setdefault("state", {}).setdefault("notes", {})
        notes["trace_id"] = trace.trace_id
        token = TRACE.set(trace)
        started, status = time.time(), [None]

        async def send_with_trace(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                MutableHeaders(scope=message)["traceresponse"] = trace.header
            await send(message)

        clock = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self.app(scope, receive, send_with_trace)
        finally:
            TRACE.reset(token)
            self._metrics.in_flight.dec()
            route = getattr(scope.get("route"), "path", None)
            self._metrics.observe(
                method=scope["method"],
                route=route,
                status=status[0],
                seconds=time.perf_counter() - clock,
                code=notes.get("code"),
            )
            if self._telemetry is not None:
                self._telemetry.request(
                    trace, method=scope["method"], route=route, status=status[0], started=started
                )
