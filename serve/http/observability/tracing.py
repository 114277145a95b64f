"""W3C trace context: the trace that a request belongs to (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

TRACE: ContextVar[TraceContext | None] = ContextVar("trace", default=None)
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FORBIDDEN_VERSION = "ff"
_CURRENT_VERSION = "00"


@dataclass(frozen=True)
class TraceContext:
    """Where in a trace we are: hexadecimal digits only, so that no name can travel along.

    Attributes:
        trace_id: of the whole trace, 32 digits.
        span_id: of our part of it, 16 digits.
        is_sampled: whether who called records the trace.
        parent_id: the caller's part; None if the trace begins here.
    """

    trace_id: str
    span_id: str
    is_sampled: bool
    parent_id: str | None = None

    @property
    def header(self) -> str:
        """Value of ``traceparent`` for what we call, and of ``traceresponse`` for who called us."""
        return f"{_CURRENT_VERSION}-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


def begin(header: str | None) -> TraceContext:
    """Go on with the caller's trace, or begin one where there is none or its header is malformed.

    Example:
        >>> begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").trace_id
        '4bf92f3577b34da6a3ce929d0e0e4736'
        >>> begin("Jane Doe").parent_id is None
        True
    """
    span_id = secrets.token_hex(8)
    match = _FORM.fullmatch(header.strip()) if header is not None else None
    if match is None or not _is_valid(match):
        return TraceContext(secrets.token_hex(16), span_id, is_sampled=False)
    return TraceContext(match[2], span_id, is_sampled=bool(int(match[4], 16) & 1), parent_id=match[3])


def _is_valid(match: re.Match[str]) -> bool:
    version, trace_id, parent_id, _, more = match.groups()
    if version == _FORBIDDEN_VERSION or (version == _CURRENT_VERSION and more is not None):
        return False
    return bool(int(trace_id, 16)) and bool(int(parent_id, 16))
