"""OpenTelemetry: spans of requests, off unless the operator asks for them (extra ``telemetry``).

Where they go is told by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT. Attributes are
methods, templates of routes and statuses; nothing that a client sent.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import SpanProcessor

    from .tracing import TraceContext

_FAULT = 500
_NANOSECONDS = 10**9


class Telemetry:
    """Exports spans under the ids that requests were answered with.

    Args:
        processor: takes finished spans; None sends them in batches by OTLP over HTTP.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        self._processor = processor or BatchSpanProcessor(OTLPSpanExporter())
        self._resource = Resource.create(
            {"service.name": "nnunet-losses", "service.version": version("nnunet-losses")}
        )

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
        failed = status is not None and status >= _FAULT
        self._export(
            f"{method} {route}" if route is not None else method,
            trace,
            attributes=attributes,
            started=started,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
        )

    def _export(
        self,
        name: str,
        trace: TraceContext,
        *,
        attributes: Mapping[str, str | int],
        started: float,
        status: Status,
    ) -> None:
        self._processor.on_end(
            ReadableSpan(
                name,
                context=_context(trace, trace.span_id),
                parent=None if trace.parent_id is None else _context(trace, trace.parent_id, is_remote=True),
                resource=self._resource,
                attributes=attributes,
                kind=SpanKind.SERVER,
                status=status,
                start_time=int(started * _NANOSECONDS),
                end_time=time.time_ns(),
            )
        )

    def close(self) -> None:
        """Send what is left."""
        self._processor.shutdown()


def _context(trace: TraceContext, span_id: str, *, is_remote: bool = False) -> SpanContext:
    """Spans are exported whether or not who called records the trace: the operator asked for them."""
    return SpanContext(
        int(trace.trace_id, 16), int(span_id, 16), is_remote=is_remote, trace_flags=TraceFlags(1)
    )
