"""OpenTelemetry's spans (extra ``telemetry``), made after the fact: of requests, and of jobs.

Where they go is told by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import SpanProcessor

_NANOSECONDS = 10**9


@dataclass(frozen=True)
class Place:
    """A span's place in a trace: hexadecimal digits, as in ``traceparent``.

    Attributes:
        trace_id: of the whole trace, 32 digits.
        span_id: 16 digits.
        parent_id: of the span above; None where the trace begins.
        is_remote: whether that one is another process's.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    is_remote: bool = False


@dataclass(frozen=True)
class Span:
    """Something that took time. Times are seconds since 1970.

    Attributes:
        name: what it was; a fixed word, or a route's template.
        place: in its trace.
        began, ended: when.
        kind: its part in an exchange.
        attributes: fixed words and numbers; nothing that a client sent.
        failed: whether it was our fault that it came to nothing.
        caused_by: span of the same trace that made this one happen, and was over long before.
    """

    name: str
    place: Place
    began: float
    ended: float
    kind: SpanKind = SpanKind.INTERNAL
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    failed: bool = False
    caused_by: str | None = None


class Spans:
    """Exports finished spans.

    Args:
        processor: takes them; None sends them in batches by OTLP over HTTP.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        self._processor = processor or BatchSpanProcessor(OTLPSpanExporter())
        self._resource = Resource.create(
            {"service.name": "nnunet-losses", "service.version": version("nnunet-losses")}
        )

    def export(self, span: Span) -> None:
        """Export one span, whether or not who called records the trace: the operator asked for them."""
        place = span.place
        above = (
            None if place.parent_id is None else _context(place, place.parent_id, is_remote=place.is_remote)
        )
        cause = () if span.caused_by is None else (Link(_context(place, span.caused_by, is_remote=True)),)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_context(place, place.span_id, is_remote=False),
                parent=above,
                resource=self._resource,
                attributes=span.attributes,
                links=cause,
                kind=span.kind,
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=int(span.began * _NANOSECONDS),
                end_time=int(span.ended * _NANOSECONDS),
            )
        )

    def close(self) -> None:
        """Send what is left."""
        self._processor.shutdown()


def _context(place: Place, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(
        int(place.trace_id, 16), int(span_id, 16), is_remote=is_remote, trace_flags=TraceFlags(1)
    )
