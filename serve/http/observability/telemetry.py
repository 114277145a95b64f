"""Spans of requests, off unless the operator asks for them (extra ``telemetry``).

Attributes are methods, templates of routes and statuses; nothing that a client sent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from nnunet_losses.serve.spans import Place, Span, Spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from .tracing import TraceContext

_FAULT = 500


class Telemetry:
    """Exports spans under the ids that requests were answered with.

    Args:
        processor: takes finished spans; None sends them in batches by OTLP over HTTP.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        self._spans = Spans(processor)

    def request(
        self, trace: TraceContext, *, method: str, route: str | None, status: int | None, started: float
    ) -> None:
        """Export the span of a request that is over.

        Args:
            trace: of the request.
            method: of HTTP.
            route: template; None for an address without one.
            status: of the answer; None where the client was gone before.
            started: seconds since 1970.
        """
        attributes: dict[str, str | int] = {"http.request.method": method}
        if route is not None:
            attributes["http.route"] = route
        if status is not None:
            attributes["http.response.status_code"] = status
        self._spans.export(
            Span(
                f"{method} {route}" if route is not None else method,
                Place(trace.trace_id, trace.span_id, trace.parent_id, is_remote=True),
                started,
                time.time(),
                SpanKind.SERVER,
                attributes,
                failed=status is not None and status >= _FAULT,
            )
        )

    def close(self) -> None:
        """Send what is left."""
        self._spans.close()
